//! What is to be different from the recorded run: `--pool`, `--reuse`, `--same-thread-free`.

use super::Arguments;
use anyhow::{Result, bail};
use fragtrace_analyzer::measure::blame::CallFacts;
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::Replay;
use fragtrace_analyzer::shootout::{Options, Sites};
use fragtrace_analyzer::symbols::Pattern;

/// What is asked for.
pub struct Change {
    /// In words, as results show it.
    pub words: String,
    pooled: Sites,
    reused: Sites,
    same_thread_free: bool,
}

impl Change {
    /// Whether anything is to be different.
    pub fn is_asked_for(arguments: &Arguments) -> bool {
        let Arguments { pool, reuse, same_thread_free, .. } = arguments;
        !pool.is_empty() || !reuse.is_empty() || *same_thread_free
    }

    /// `None`: nothing is.
    ///
    /// # Errors
    /// When a site has no block in the trace.
    pub fn of(arguments: &Arguments, trace: &Trace, replay: &Replay<'_>) -> Result<Option<Change>> {
        let Arguments { pool, reuse, same_thread_free, .. } = arguments;
        if !Change::is_asked_for(arguments) {
            return Ok(None);
        }
        let sites = names_of_sites(arguments, trace, replay);
        let (mut pooled, mut reused) = (Sites::default(), Sites::default());
        let mut words = Vec::new();
        for (names, stacks, word) in [(pool, &mut pooled, "pool"), (reuse, &mut reused, "reuse")] {
            for name in names {
                let found = stacks_of(name, &sites);
                if found.is_empty() {
                    bail!(
                        "no block was allocated at {name:?}\n`fragtrace blame {}` names the sites",
                        arguments.trace.display()
                    );
                }
                stacks.extend(found);
                words.push(format!("{word} {name}"));
            }
        }
        if *same_thread_free {
            words.push("same-thread-free".to_owned());
        }
        let same_thread_free = *same_thread_free;
        Ok(Some(Change { words: words.join(", "), pooled, reused, same_thread_free }))
    }

    /// The options of the changed run.
    pub fn apply(&self, options: Options) -> Options {
        Options {
            pooled: self.pooled.clone(),
            reused: self.reused.clone(),
            same_thread_free: self.same_thread_free,
            ..options
        }
    }
}

/// The site of each stack that returned blocks.
fn names_of_sites(arguments: &Arguments, trace: &Trace, replay: &Replay<'_>) -> Vec<(u32, String)> {
    let mut symbols = arguments.symbols.open(trace);
    let last = trace.last_stamp();
    let known = replay.sources().allocs().filter(|(stack, _)| *stack != 0);
    let named = known.filter_map(|(stack, _)| {
        let site = symbols.site(stack, last)?;
        Some((stack, CallFacts::of(site.call(), symbols.modules()).name()))
    });
    named.collect()
}

/// The stacks whose site has this name; where none has, those that it is a part or pattern of.
fn stacks_of(name: &str, sites: &[(u32, String)]) -> Vec<u32> {
    let of = |fits: &dyn Fn(&str) -> bool| -> Vec<u32> {
        sites.iter().filter(|(_, site)| fits(site)).map(|(stack, _)| *stack).collect()
    };
    let exact = of(&|site| site == name);
    if exact.is_empty() { of(&|site| Pattern::new(name).fits(site)) } else { exact }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_meant_by_its_name_or_by_part_of_it() {
        let sites = [(1, "keep"), (2, "keep_session"), (3, "keep"), (4, "begin")];
        let sites = sites.map(|(stack, name)| (stack, name.to_owned()));
        assert_eq!(stacks_of("keep", &sites), [1, 3]);
        assert_eq!(stacks_of("session", &sites), [2]);
        assert_eq!(stacks_of("k*", &sites), [1, 2, 3]);
        assert!(stacks_of("nowhere", &sites).is_empty());
    }
}
