//! The allocators that are known: where their libraries are called what, how their settings are
//! said, and which package brings them.

use crate::read::Process;

/// A kind of allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// As it is named on the command line.
    pub name: &'static str,
    /// File names of its library, the usual one first; none: it is the C library's own.
    pub libraries: &'static [&'static str],
    /// How it comes to be here.
    pub remedy: &'static str,
    /// How a setting is said to it.
    settings: Settings,
    /// What it is tried with unless allocators are named.
    pub usual: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settings {
    /// `GLIBC_TUNABLES=glibc.malloc.NAME=VALUE:…`
    Tunables,
    /// `VARIABLE=NAME:VALUE,…`
    Pairs(&'static str),
    /// `PREFIX_NAME=VALUE` each.
    Variables(&'static str),
    /// None is known.
    No,
}

/// All that are known.
pub const FAMILIES: [Family; 6] = [
    Family {
        name: "glibc",
        libraries: &[],
        remedy: "it is the C library's own",
        settings: Settings::Tunables,
        usual: &[
            "",
            "arena_max=1",
            "arena_max=2",
            "mmap_threshold=128K",
            "trim_threshold=128K",
            "tcache_count=0",
        ],
    },
    Family {
        name: "jemalloc",
        libraries: &["libjemalloc.so.2", "libjemalloc.so.1", "libjemalloc.so"],
        remedy: "apt install libjemalloc2",
        settings: Settings::Pairs("MALLOC_CONF"),
        usual: &[
            "",
            "dirty_decay_ms=0",
            "dirty_decay_ms=1000",
            "dirty_decay_ms=10000+muzzy_decay_ms=10000",
            "background_thread=true",
        ],
    },
    Family {
        name: "mimalloc",
        libraries: &["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so"],
        remedy: "apt install libmimalloc2.0 (or libmimalloc3)",
        settings: Settings::Variables("MIMALLOC_"),
        usual: &[""],
    },
    Family {
        name: "tcmalloc",
        libraries: &["libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc_minimal.so"],
        remedy: "apt install libtcmalloc-minimal4",
        settings: Settings::Variables("TCMALLOC_"),
        usual: &[""],
    },
    Family {
        name: "musl",
        libraries: &["libmuslmalloc.so"],
        remedy: "musl's malloc is part of its C library, which cannot be preloaded into a glibc \
                 process; built as a library of its own, give it with --allocator musl=PATH",
        settings: Settings::No,
        usual: &[""],
    },
    Family {
        name: "snmalloc",
        libraries: &["libsnmallocshim.so", "libsnmallocshim-checks-memcpy-only.so"],
        remedy: "no Debian package: `cargo xtask snmalloc` in fragtrace's sources builds \
                 libsnmallocshim.so from its crate, with cmake and g++ (apt install cmake g++)",
        settings: Settings::No,
        usual: &[""],
    },
];

/// An allocator to be tried, with settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocator {
    /// As results call it, without settings.
    pub name: String,
    /// As they were said: `arena_max=1`, several with + between them.
    pub settings: String,
    /// Environment variables, and their values.
    pub variables: Vec<(String, String)>,
    /// What it is, if it is known.
    pub family: Option<&'static Family>,
    /// Its library, where the command line says it.
    pub path: Option<String>,
}

/// What is wrong with the name of an allocator, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(String);

impl Family {
    /// The family of this name.
    pub fn named(name: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// The variables that say settings, in the form NAME=VALUE with + between them.
    fn variables(&self, settings: &str) -> Result<Vec<(String, String)>, BadSetting> {
        if settings.is_empty() {
            return Ok(Vec::new());
        }
        let pairs: Result<Vec<(&str, &str)>, BadSetting> = settings
            .split('+')
            .map(|setting| {
                setting.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                    BadSetting(format!(
                        "{setting:?} is no setting of {}\nsettings are NAME=VALUE, several with + \
                         between them",
                        self.name
                    ))
                })
            })
            .collect();
        let joined = |separator: &str, words: Vec<String>| words.join(separator);
        let pairs = pairs?;
        Ok(match self.settings {
            Settings::Tunables => {
                let words: Result<Vec<String>, BadSetting> =
                    pairs.iter().map(|(name, value)| tunable(name, value)).collect();
                vec![("GLIBC_TUNABLES".into(), joined(":", words?))]
            }
            Settings::Pairs(variable) => {
                let words = pairs.iter().map(|(name, value)| format!("{name}:{value}"));
                vec![(variable.into(), joined(",", words.collect()))]
            }
            Settings::Variables(prefix) => pairs
                .iter()
                .map(|(name, value)| {
                    (format!("{prefix}{}", name.to_uppercase()), (*value).to_owned())
                })
                .collect(),
            Settings::No => {
                return Err(BadSetting(format!("{} has no settings that are known", self.name)));
            }
        })
    }
}

/// What glibc's malloc can be told (its manual, "Memory Allocation Tunables").
const TUNABLES: [&str; 13] = [
    "arena_max",
    "arena_test",
    "check",
    "hugetlb",
    "mmap_max",
    "mmap_threshold",
    "mxfast",
    "perturb",
    "tcache_count",
    "tcache_max",
    "tcache_unsorted_limit",
    "top_pad",
    "trim_threshold",
];

/// A tunable and its value. glibc passes over what it does not know, and says nothing: the run would be
/// none of what its name says.
fn tunable(name: &str, value: &str) -> Result<String, BadSetting> {
    if !TUNABLES.contains(&name) {
        let known = TUNABLES.join(", ");
        return Err(BadSetting(format!("glibc has no setting {name:?}: {known} are known")));
    }
    let bytes = in_bytes(value);
    let is_number = match bytes.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).is_ok(),
        None => bytes.parse::<u64>().is_ok(),
    };
    if !is_number {
        return Err(BadSetting(format!(
            "{value:?} is no value for glibc's {name}: a number is one, as 2, 0x2 or 128K"
        )));
    }
    Ok(format!("glibc.malloc.{name}={bytes}"))
}

/// 128K as 131072; glibc's tunables know no units.
fn in_bytes(value: &str) -> String {
    let unit = |c: char| match c {
        'K' | 'k' => Some(10),
        'M' | 'm' => Some(20),
        'G' | 'g' => Some(30),
        _ => None,
    };
    let shift = value.chars().last().and_then(unit);
    let number = shift.and_then(|_| value[..value.len() - 1].parse::<u64>().ok());
    match (number.and_then(|number| number.checked_mul(1 << shift?)), shift) {
        (Some(bytes), Some(_)) => bytes.to_string(),
        _ => value.to_owned(),
    }
}

impl Allocator {
    /// From `NAME` or `NAME:SETTINGS`.
    ///
    /// # Errors
    /// When the allocator is not known, or a setting makes no sense.
    pub fn named(text: &str) -> Result<Allocator, BadSetting> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let family = Family::named(name).ok_or_else(|| {
            let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            BadSetting(format!(
                "the allocator {name:?} is not known: {} are\nname any other with --allocator \
                 NAME=PATH",
                known.join(", ")
            ))
        })?;
        let variables = family.variables(settings)?;
        let (name, settings) = (name.to_owned(), settings.to_owned());
        Ok(Allocator { name, settings, variables, family: Some(family), path: None })
    }

    /// From `NAME=PATH[,VARIABLE=VALUE…]`.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn given(text: &str) -> Result<Allocator, BadSetting> {
        let form = || BadSetting("an allocator is NAME=PATH[,VARIABLE=VALUE…]".into());
        let mut parts = text.split(',');
        let (name, path) = parts.next().and_then(|part| part.split_once('=')).ok_or_else(form)?;
        if name.is_empty() || path.is_empty() {
            return Err(form());
        }
        let variables: Option<Vec<(String, String)>> = parts
            .map(|part| part.split_once('=').map(|(name, value)| (name.into(), value.into())))
            .collect();
        let settings = text.split_once(',').map_or("", |(_, settings)| settings).to_owned();
        Ok(Allocator {
            name: name.to_owned(),
            settings,
            variables: variables.ok_or_else(form)?,
            family: None,
            path: Some(path.to_owned()),
        })
    }

    /// Those that are tried unless some are named. `threads`: how many the trace has.
    pub fn usual(threads: u64) -> Vec<Allocator> {
        let all = FAMILIES.iter().flat_map(|family| {
            family.usual.iter().filter_map(move |settings| {
                let variables = family.variables(settings).ok()?;
                let (name, settings) = (family.name.to_owned(), (*settings).to_owned());
                Some(Allocator { name, settings, variables, family: Some(family), path: None })
            })
        });
        // One thread has one arena.
        all.filter(|known| threads > 1 || !known.settings.starts_with("arena_max")).collect()
    }
}

/// The allocator that the recorded program used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// A known one, with the settings that it had.
    Known(Allocator),
    /// Another, or one that is linked into the program: its path.
    Unknown(String),
}

impl Recorded {
    /// Of a trace. `names`: what its threads are called, and `starts_threads`: whether the allocator
    /// has any of its own: these tell of settings that the program made itself.
    pub fn of<'n>(
        process: &Process,
        mut names: impl Iterator<Item = &'n str>,
        starts_threads: bool,
    ) -> Recorded {
        let file = process.allocator.rsplit('/').next().unwrap_or_default();
        let is_libc = file.starts_with("libc.so") || file.starts_with("libc-2");
        let family = if is_libc && process.libc.starts_with("glibc") {
            Family::named("glibc")
        } else {
            let shared = file.contains(".so");
            FAMILIES.iter().skip(1).find(|family| {
                let stem = family.libraries.first().and_then(|name| name.split('.').next());
                shared && stem.is_some_and(|stem| file.starts_with(stem))
            })
        };
        let Some(family) = family else { return Recorded::of_no_family(process, file) };
        let mut variables: Vec<(String, String)> = process
            .allocator_env
            .iter()
            .filter_map(|text| text.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let has_threads = starts_threads || names.any(|name| name == JEMALLOC_THREAD);
        if family.name == "jemalloc" && has_threads {
            run_in_background(&mut variables);
        }
        let words: Vec<String> =
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Recorded::Known(Allocator {
            name: family.name.to_owned(),
            settings: words.join(" "),
            variables,
            family: Some(family),
            path: None,
        })
    }

    /// A library that is none of a C library can be preloaded by its path.
    fn of_no_family(process: &Process, file: &str) -> Recorded {
        let is_loader = file.starts_with("libc.") || file.starts_with("ld-");
        if is_loader || !file.contains(".so") || !process.libc.starts_with("glibc") {
            return Recorded::Unknown(process.allocator.clone());
        }
        let stem = file.split('.').next().unwrap_or(file);
        Recorded::Known(Allocator {
            name: stem.strip_prefix("lib").unwrap_or(stem).to_owned(),
            settings: String::new(),
            variables: Vec::new(),
            family: None,
            path: Some(process.allocator.clone()),
        })
    }
}

/// What jemalloc calls the threads that purge in the background: redis, for one, asks for them by
/// itself.
pub(super) const JEMALLOC_THREAD: &str = "jemalloc_bg_thd";

fn run_in_background(variables: &mut Vec<(String, String)>) {
    const SETTING: &str = "background_thread:true";
    match variables.iter_mut().find(|(name, _)| name == "MALLOC_CONF") {
        Some((_, value)) if value.contains("background_thread:") => {}
        Some((_, value)) => *value = format!("{value},{SETTING}"),
        None => variables.push(("MALLOC_CONF".into(), SETTING.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> Vec<(String, String)> {
        Allocator::named(text).expect("known").variables
    }

    #[test]
    fn settings_are_said_as_each_allocator_reads_them() {
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let tunables = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=131072";
        assert_eq!(
            variables("glibc:arena_max=1+mmap_threshold=128K"),
            one("GLIBC_TUNABLES", tunables)
        );
        assert_eq!(
            variables("jemalloc:dirty_decay_ms=0+background_thread=true"),
            one("MALLOC_CONF", "dirty_decay_ms:0,background_thread:true")
        );
        assert_eq!(variables("mimalloc:purge_delay=0"), one("MIMALLOC_PURGE_DELAY", "0"));
        assert!(variables("glibc").is_empty());
    }

    #[test]
    fn what_is_not_known_is_said_with_the_names_that_are() {
        let error = Allocator::named("hoard").expect_err("not known").to_string();
        assert!(error.contains("jemalloc") && error.contains("--allocator"), "{error}");
        for wrong in ["arena_max", "arena_max=abc", "arenamax=1", "mmap_threshold=128Q"] {
            assert!(Allocator::named(&format!("glibc:{wrong}")).is_err(), "{wrong}");
        }
        assert!(Allocator::named("snmalloc:x=1").is_err());
    }

    #[test]
    fn others_are_given_by_path() {
        let given = Allocator::given("mine=/opt/mine.so,MINE=1").expect("well formed");
        assert_eq!(given.path.as_deref(), Some("/opt/mine.so"));
        assert_eq!(given.variables, [("MINE".to_owned(), "1".to_owned())]);
        assert!(Allocator::given("/opt/mine.so").is_err());
        assert!(Allocator::given("mine=/opt/mine.so,1").is_err());
    }

    #[test]
    fn the_recorded_allocator_is_known_by_its_library() {
        let of = |allocator: &str, libc: &str| {
            let (allocator, libc) = (allocator.to_owned(), libc.to_owned());
            Recorded::of(&Process { allocator, libc, ..Process::default() }, [].into_iter(), false)
        };
        let name = |recorded| match recorded {
            Recorded::Known(known) => known.name,
            Recorded::Unknown(path) => format!("unknown {path}"),
        };
        assert_eq!(name(of("/lib/x86_64-linux-gnu/libc.so.6", "glibc 2.36")), "glibc");
        assert_eq!(name(of("/usr/lib/libjemalloc.so.2", "glibc 2.36")), "jemalloc");
        assert_eq!(
            name(of("/lib/ld-musl-x86_64.so.1", "musl")),
            "unknown /lib/ld-musl-x86_64.so.1"
        );
        assert_eq!(name(of("/srv/server", "glibc 2.36")), "unknown /srv/server");
        let other = of("/opt/lib/libhoard.so.3", "glibc 2.36");
        let Recorded::Known(other) = other else { panic!("it can be preloaded: {other:?}") };
        assert_eq!(
            (&*other.name, other.path.as_deref()),
            ("hoard", Some("/opt/lib/libhoard.so.3"))
        );
    }
}
