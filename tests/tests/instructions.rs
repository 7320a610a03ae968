//! How many instructions the event path has, counted by callgrind: the same on every machine, busy
//! or not, so that one too many is seen at once. docs/benchmarks.md shows them one by one.
#![cfg(target_arch = "x86_64")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use fragtrace_tests::programs::program;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;

/// Pairs of malloc and free, in a short run and a long one: the difference is theirs alone.
const PAIRS: [u64; 2] = [20_000, 60_000];

/// What a pair may take: 127.0 without stacks and 170.2 with them when this was written, and 2 % for
/// what is rare.
const MOST_WITHOUT_STACKS: f64 = 129.5;
const MOST_WITH_STACKS: f64 = 173.6;

/// The same where jemalloc is preloaded, whose blocks go by size class: 134.6 and 178.0. All of it by Rust
/// took 185 and 242.
const MOST_ON_JEMALLOC: [f64; 2] = [137.3, 181.5];

/// The same of a calloc and its free, and of a realloc, each of which has a flag to say, without stacks:
/// 221.5 and 231.8 when this was written, and 2 % for what another compiler makes of it. By the slow way
/// they took 624 and 936.
const MOST_WITH_CALLOC: f64 = 225.9;
const MOST_WITH_REALLOC: f64 = 236.4;

/// Preloaded behind the tracer.
const JEMALLOC: &str = "libjemalloc.so.2";

/// The functions of the event path; what they call beyond each other is rare, and how often it is
/// called depends on time, which callgrind stretches.
const PATH: [&str; 9] = [
    "malloc",
    "free",
    "calloc",
    "realloc",
    "fragtrace::hooks::blocks::acquired_from",
    "fragtrace::hooks::blocks::acquired_from_glibc",
    "fragtrace::hooks::blocks::calloc_from",
    "fragtrace::hooks::blocks::moves",
    "fragtrace::hooks::blocks::realloc_from",
];

/// What a pair's block comes from, by the number that the program has for it.
#[derive(Clone, Copy)]
enum Way {
    Malloc = 0,
    Calloc = 1,
    Realloc = 2,
}

/// What is counted.
struct Kind {
    name: &'static str,
    way: Way,
    stacks: &'static str,
    /// Preloaded behind the tracer, if it is not glibc's.
    allocator: &'static str,
    most: f64,
}

/// Instructions on the event path, of a whole run.
fn count(valgrind: &Path, pairs: u64, kind: &Kind) -> u64 {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let profile = folder.path().join("profile");
    let mut counted = command(valgrind);
    counted.args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
    counted.arg(format!("--callgrind-out-file={}", profile.display()));
    counted.arg(program("pairs")).arg(pairs.to_string()).arg((kind.way as u8).to_string());
    let preloaded = format!("{} {}", tools::tracer().display(), kind.allocator);
    counted.env("LD_PRELOAD", preloaded).env("FRAGTRACE_STACKS", kind.stacks);
    counted.env("FRAGTRACE_OUT", folder.path().join("%e.%p.ftr")).env("FRAGTRACE_QUIET", "1");
    run(&mut counted).expect_code(0);
    let profile = fs::read_to_string(&profile).expect("callgrind has written its profile");
    own_instructions(&profile)
}

/// What the functions of the path took themselves. A profile has lines `ob=` and `fn=` for what
/// follows, then lines of a position and a count; the one behind `calls=` is what was called.
fn own_instructions(profile: &str) -> u64 {
    let (mut in_tracer, mut on_path, mut of_call, mut sum) = (false, false, false, 0);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            in_tracer = object.ends_with("libfragtrace.so");
        } else if let Some(function) = line.strip_prefix("fn=") {
            on_path = in_tracer && PATH.contains(&function);
        } else if line.starts_with("calls=") {
            of_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let count = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
            if on_path && !std::mem::take(&mut of_call) {
                sum += count.unwrap_or_else(|| panic!("a line of the profile: {line}"));
            }
            of_call = false;
        }
    }
    sum
}

fn of_a_pair(valgrind: &Path, kind: &Kind) -> f64 {
    let [short, long] = PAIRS.map(|pairs| count(valgrind, pairs, kind));
    (long - short) as f64 / (PAIRS[1] - PAIRS[0]) as f64
}

#[test]
fn a_pair_takes_no_more_instructions_than_it_did() {
    let Some(valgrind) = tools::find("valgrind") else { return };
    let kind = |name, way, stacks, allocator, most| Kind { name, way, stacks, allocator, most };
    let [without, with] = MOST_ON_JEMALLOC;
    for kind in [
        kind("without stacks", Way::Malloc, "off", "", MOST_WITHOUT_STACKS),
        kind("with stacks", Way::Malloc, "on", "", MOST_WITH_STACKS),
        kind("on jemalloc", Way::Malloc, "off", JEMALLOC, without),
        kind("on jemalloc with stacks", Way::Malloc, "on", JEMALLOC, with),
        kind("from calloc", Way::Calloc, "off", "", MOST_WITH_CALLOC),
        kind("by realloc", Way::Realloc, "off", "", MOST_WITH_REALLOC),
    ] {
        let found = of_a_pair(&valgrind, &kind);
        let Kind { name, most, .. } = kind;
        println!("{name} a pair takes {found:.1} instructions");
        // Fewer would mean that it was not recorded.
        let range = most * 0.9..=most;
        assert!(range.contains(&found), "{name} a pair takes {found:.1}, at most {most}");
    }
}
