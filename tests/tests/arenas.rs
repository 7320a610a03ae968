//! Arenas of glibc: of which of them each heap is, how much each holds and whose blocks lie in it, as
//! malloc_info of the same process says.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_near, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;
use serde_json::Value;

const THREADS: u64 = 8;
/// What glibc counts as in use at the end of a heap, behind its last block, and 8 bytes at its start.
const MOST_AT_ENDS: u64 = 64;

fn traced() -> (Answers, Traced) {
    let mut arenas = command(program("arenas"));
    arenas.arg(THREADS.to_string());
    // What a thread keeps for itself counts as in use there; and there is an arena for each.
    arenas.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=16");
    let traced = Traced::run_well(arenas);
    (Answers::of(&traced.outcome), traced)
}

fn integer(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key} is {} in {of}", of[key]))
}

/// Heaps, accessible bytes and bytes in use, of secondary arenas.
fn as_glibc_says(said: &Answers) -> Vec<[u64; 3]> {
    let figures = |number: u64| {
        ["heaps", "mapped", "used"].map(|key| said.get(&format!("arena.{number:02}.{key}")))
    };
    let mut arenas: Vec<_> = (1..said.get("arenas")).map(figures).collect();
    arenas.sort_unstable();
    arenas
}

fn as_the_report_says(report: &Report) -> Vec<[u64; 3]> {
    let arenas = report.array("/arenas").iter().filter(|arena| !arena["start"].is_null());
    let figures = |arena| ["heaps", "mapped_bytes", "live_bytes"].map(|key| integer(arena, key));
    let mut arenas: Vec<_> = arenas.map(figures).collect();
    arenas.sort_unstable();
    arenas
}

#[test]
fn heaps_belong_to_arenas_as_glibc_says() {
    let (said, traced) = traced();
    let report = traced.report();
    let (expected, found) = (as_glibc_says(&said), as_the_report_says(&report));
    assert_eq!(expected.len() as u64, THREADS, "one for each thread: {expected:?}");
    assert_eq!(found.len(), expected.len(), "{found:?}, glibc says {expected:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found[..2], expected[..2], "heaps and accessible bytes");
        assert!(found[0] >= 2, "several heaps each: {found:?}");
        assert_near("in use", expected[2], found[2], MOST_AT_ENDS * found[0]);
    }
    assert_numbers(
        "arenas",
        &[
            ("arena_count", said.get("arenas"), report.number("/end/arena_count")),
            ("in the list", said.get("arenas"), report.array("/arenas").len() as u64),
        ],
    );
    let heaps = report.array("/heaps").iter().filter(|heap| heap["kind"] == "arena heap");
    let of_arenas: u64 = found.iter().map(|[heaps, ..]| heaps).sum();
    assert_eq!(heaps.filter(|heap| !heap["first_heap"].is_null()).count() as u64, of_arenas);
}

/// Each thread's blocks lie in an arena of its own.
#[test]
fn an_arena_names_the_threads_whose_blocks_it_holds() {
    let (_, traced) = traced();
    let report = traced.report();
    let mut seen = Vec::new();
    for arena in report.array("/arenas").iter().filter(|arena| !arena["start"].is_null()) {
        assert_eq!(arena["told"], true, "{arena}");
        let threads = arena["threads"].as_array().expect("a list");
        assert_eq!(threads.len(), 1, "{arena}");
        let blocks = integer(&threads[0], "live_blocks");
        assert!(blocks > 500 && integer(&threads[0], "live_bytes") > blocks * 90_000, "{arena}");
        seen.push(integer(&threads[0], "thread"));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, THREADS, "{seen:?}");
    let details = analyze("report", &traced.trace(), &["--details"]).expect_code(0).out();
    assert!(details.contains("Arenas, largest first"), "{details}");
}
