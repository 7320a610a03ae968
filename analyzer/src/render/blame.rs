//! Blame as text, as JSON, and as folded stacks for flame graphs.

use super::picture::scale;
use super::text::{self, BOLD, DIM};
use crate::measure::blame::{Blame, By, CallFacts, SiteFacts};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// How many sites the text lists.
const LISTED: usize = 20;
/// How many calls of a stack it shows.
const SHOWN_CALLS: usize = 12;

/// What the text needs to know besides the blame.
#[derive(Debug, Clone, Copy)]
pub struct BlameExtras {
    /// What blocks were charged to.
    pub by: By,
    /// Whether the trace holds call stacks; if not, why.
    pub stacks: Stacks,
}

/// Whether there are call stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stacks {
    /// There are.
    #[default]
    There,
    /// They were not asked for.
    Off,
    /// They were asked for, and there are none.
    None,
}

impl Stacks {
    /// The one line that says why no site is named; `None` if there are stacks.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Stacks::There => None,
            Stacks::Off => Some(
                "No code can be named: call stacks were off (FRAGTRACE_STACKS=off). Record again \
                 with `--stacks on`.",
            ),
            Stacks::None => Some("No code can be named: the trace holds no call stacks."),
        }
    }
}

/// The blame as text.
pub fn report(blame: &Blame, extras: BlameExtras) -> String {
    let mut words = format!(
        "At {}, {} of the {} that the heap {} are pinned waste: unused, but on pages with live \
         blocks.",
        scale::duration(blame.at_ns),
        scale::bytes(blame.pinned_waste_bytes),
        scale::bytes(blame.held_bytes),
        if blame.resident { "has in memory" } else { "has touched and not given back" }
    );
    if blame.releasable_bytes > 0 {
        let _ = write!(
            words,
            " {} more are on pages without a live block: these could go back as they are.",
            scale::bytes(blame.releasable_bytes)
        );
    }
    let mut out = text::paragraph(&words, BOLD);
    if extras.by != By::Thread
        && let Some(line) = extras.stacks.missing()
    {
        let _ = writeln!(out, "{line}");
        return out;
    }
    out.push('\n');
    out.push_str(&table(&blame.sites, LISTED, extras.by));
    let is_call = matches!(extras.by, By::Stack | By::Function);
    if let Some(first) = blame.sites.first().filter(|site| is_call && site.stack.len() > 1) {
        out.push('\n');
        out.push_str(&stack(first));
    }
    if let Some(note) = missing_symbols(&blame.sites[..blame.sites.len().min(LISTED)]) {
        out.push('\n');
        out.push_str(&note);
    }
    out
}

/// The sites that pin most, a line each.
pub fn table(sites: &[SiteFacts], most: usize, by: By) -> String {
    let what = match by {
        By::Thread => "thread",
        By::Module => "module",
        By::Stack | By::Function => "site",
    };
    let mut out = format!(
        "{BOLD}{:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>8}  {what}{BOLD:#}\n",
        "pinned", "alone", "unlocks", "in turn", "live", "pages", "age"
    );
    for site in sites.iter().take(most) {
        let age = site.age_ns.map_or_else(|| "-".into(), scale::duration);
        let _ = writeln!(
            out,
            "{:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {age:>8}  {}",
            scale::bytes(site.pinned_bytes),
            scale::bytes(site.sole_pinned_bytes),
            scale::bytes(site.unlock_bytes),
            scale::bytes(site.unlock_cumulative_bytes),
            scale::bytes(site.live_bytes),
            scale::count(site.pages),
            label(site, by)
        );
    }
    if let Some(rest) = sites.get(most..).filter(|rest| !rest.is_empty()) {
        let pinned: u64 = rest.iter().map(|site| site.pinned_bytes).sum();
        let _ = writeln!(
            out,
            "{:>10} {DIM}in {} more: --json lists all{DIM:#}",
            scale::bytes(pinned),
            scale::count(rest.len() as u64)
        );
    }
    out
}

/// What a line of the table calls its site.
fn label(site: &SiteFacts, by: By) -> String {
    match by {
        _ if site.live_blocks == 0 => "(the allocator's own)".to_owned(),
        By::Thread => {
            let number = site.thread.unwrap_or(0);
            let name = site.thread_name.as_deref();
            name.map_or_else(
                || format!("thread {number}"),
                |name| format!("thread {number} {name}"),
            )
        }
        By::Module => site.site.module_name().unwrap_or("(not known)").to_owned(),
        By::Stack | By::Function => site.site.in_words(),
    }
}

fn stack(site: &SiteFacts) -> String {
    let mut out = format!("{BOLD}The first is called by{BOLD:#}\n");
    for call in site.stack.iter().skip(1).take(SHOWN_CALLS) {
        let _ = writeln!(out, "  {}", call.in_words());
    }
    if site.stack.len() > SHOWN_CALLS + 1 {
        let _ = writeln!(out, "  {DIM}and {} more{DIM:#}", site.stack.len() - SHOWN_CALLS - 1);
    }
    out
}

/// What is known of the sites in one object.
#[derive(Default)]
struct Known<'a> {
    build_id: Option<&'a str>,
    sites: usize,
    without_line: usize,
    without_function: bool,
}

/// Which objects have no symbols or not for all of these sites, and what to do about it.
pub fn missing_symbols(sites: &[SiteFacts]) -> Option<String> {
    let mut objects: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    for call in sites.iter().map(|site| &site.site).filter(|call| call.offset.is_some()) {
        let Some(module) = call.module.as_deref() else { continue };
        let known = objects.entry(module).or_default();
        known.build_id = call.build_id.as_deref();
        known.sites += 1;
        known.without_line += usize::from(call.line.is_none() && call.file.is_none());
        known.without_function |= call.function.is_none();
    }
    objects.retain(|_, known| known.without_line > 0);
    if objects.is_empty() {
        return None;
    }
    let mut out = String::new();
    for (module, known) in &objects {
        let id = known.build_id.map_or_else(|| "no build-id".into(), |id| format!("build-id {id}"));
        let _ = match known {
            Known { sites, without_line, .. } if without_line < sites => writeln!(
                out,
                "Of {without_line} of these {sites} sites in {module} no line is known: its debug \
                 information\ndoes not cover them ({id})."
            ),
            Known { without_function: true, .. } => {
                writeln!(out, "Neither functions nor lines are known of {module} ({id}).")
            }
            Known { .. } => writeln!(out, "No lines are known of {module} ({id})."),
        };
    }
    if objects.values().any(|known| known.without_line == known.sites) {
        out.push_str(
            "To get them, build with -g (Rust: debug = \"line-tables-only\" in the profile), or \
             install its debug\nsymbols; --symbols DIR names a folder with the unstripped file or \
             its separate debug file.\n",
        );
    }
    Some(out)
}

/// A sentence on the site whose blocks pin most, where that is worth a word.
pub fn sentence(blame: &Blame) -> Option<String> {
    /// Less than this is not worth a sentence.
    const LEAST_BYTES: u64 = 1 << 20;
    /// Nor is less than this part of the heap.
    const LEAST_SHARE: u64 = 20;
    let waste = blame.pinned_waste_bytes;
    if waste < LEAST_BYTES || waste < blame.held_bytes / LEAST_SHARE {
        return None;
    }
    let first = blame.sites.first()?;
    let mut out = format!(
        "{} holds most back: {} of its blocks keep {} from the kernel, {} of which nobody uses, {} \
         of what is pinned. Without them {} of the heap's {} would come free",
        first.site.in_words(),
        scale::bytes(first.live_bytes),
        text::plural(first.pages, "page"),
        scale::bytes(first.pinned_bytes),
        scale::percent(first.pinned_bytes as f64 / waste as f64),
        scale::bytes(first.unlock_bytes),
        scale::bytes(blame.held_bytes),
    );
    match blame.sites.get(1) {
        // Others stand in the way.
        Some(next) if first.unlock_bytes < first.pinned_bytes / 2 => {
            let _ = write!(
                out,
                "; together with {}, {}.",
                next.site.in_words(),
                scale::bytes(next.unlock_cumulative_bytes)
            );
        }
        _ => out.push('.'),
    }
    Some(out)
}

/// The blame as the contract's JSON object, a site a line.
///
/// # Errors
/// Whatever writing says.
pub fn json(blame: &Blame, out: &mut impl Write) -> io::Result<()> {
    let Blame { at_ns, pinned_waste_bytes, releasable_bytes, sites, .. } = blame;
    write!(
        out,
        "{{\n\"at_ns\": {at_ns},\n\"pinned_waste_bytes\": {pinned_waste_bytes},\n\
         \"releasable_bytes\": {releasable_bytes},\n\"sites\": "
    )?;
    list(sites, out)?;
    out.write_all(b"\n}\n")
}

/// A list of sites, one a line.
///
/// # Errors
/// Whatever writing says.
pub fn list(sites: &[SiteFacts], out: &mut impl Write) -> io::Result<()> {
    if sites.is_empty() {
        return out.write_all(b"[]");
    }
    for (index, site) in sites.iter().enumerate() {
        out.write_all(if index == 0 { b"[\n" } else { b",\n" })?;
        super::json::value(site, out)?;
    }
    out.write_all(b"\n]")
}

/// Stacks with their weights, a line each: root first, calls apart by semicolons.
///
/// # Errors
/// Whatever writing says.
pub fn folded(stacks: &[(Vec<CallFacts>, u64)], out: &mut impl Write) -> io::Result<()> {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for (calls, weight) in stacks {
        let names: Vec<String> =
            calls.iter().map(|call| call.name().replace(';', ":").replace('\n', " ")).collect();
        let line = if names.is_empty() { CallFacts::default().name() } else { names.join(";") };
        let sum = lines.entry(line).or_default();
        *sum = sum.saturating_add(*weight);
    }
    for (line, weight) in lines {
        writeln!(out, "{line} {weight}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::blame::CallFacts;

    #[test]
    fn what_is_missing_of_an_object_is_told_by_its_sites() {
        let site = |module: &str, line| {
            let function = Some("run".into());
            let (module, offset) = (Some(module.into()), Some(1));
            let site = CallFacts { function, module, offset, line, ..CallFacts::default() };
            SiteFacts { site, ..SiteFacts::default() }
        };
        let known = site("server", Some(7));
        assert_eq!(missing_symbols(std::slice::from_ref(&known)), None);
        let part = missing_symbols(&[known, site("server", None)]).expect("a note");
        assert!(part.contains("Of 1 of these 2 sites in server no line is known"), "{part}");
        assert!(!part.contains("build with -g"), "it was: {part}");
        let none = missing_symbols(&[site("server", None)]).expect("a note");
        assert!(none.contains("No lines are known of server") && none.contains("build with -g"));
    }
}
