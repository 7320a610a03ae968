//! What the kernel says of the heap, and the program of its blocks, in the middle of a run: after
//! a burst, after its frees, after a trim, and filled again; on one thread and on eight, on each
//! allocator, and with settings of glibc that change its heaps. `FRAGTRACE_TEST_MEGABYTES` makes
//! the heaps larger than the 10 MB of every day.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_near};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};
use serde_json::Value;
use std::path::{Path, PathBuf};

const STEPS: [&str; 4] = ["burst", "freed", "trimmed", "refilled"];
/// How far clocks of the program and of the report may be apart.
const CLOCKS_NS: u64 = 1_000_000;

/// How far figures may be apart, in thousandths.
const MAPPED: u64 = 10;
const RESIDENT: u64 = 20;
const USABLE: u64 = 1;

fn run(name: &str, program: &Path, threads: u64, preloaded: Option<&str>, tunables: &str) {
    let megabytes = std::env::var("FRAGTRACE_TEST_MEGABYTES").unwrap_or_else(|_| "10".into());
    let mut command = command(program);
    command.args([&megabytes, &threads.to_string()]).env("FRAGTRACE_LOOK_MS", "20");
    if !tunables.is_empty() {
        command.env("GLIBC_TUNABLES", tunables);
    }
    if let Some(library) = preloaded {
        command.env("LD_PRELOAD", preload_list(&[&tools::tracer(), Path::new(library)]));
    }
    let traced = Traced::run_well(command);
    let (answers, report) = (Answers::of(&traced.outcome), traced.report());
    report.assert_complete();
    let name = format!("{name}, {threads} threads");
    // What the C library, libstdc++ and the allocator's library took for themselves by then.
    let begin = states_at(&report, &answers, "begin");
    let others = |key: &str| begin[0][key].as_u64().expect("known");
    let (others_live, others_usable) = (others("live_bytes"), others("usable_bytes"));
    for step in STEPS {
        for state in states_at(&report, &answers, step) {
            let check = |key: &str, more: u64, thousandths: u64| {
                let expected = answers.get(&format!("{step}.{key}"));
                let found =
                    state[key].as_u64().unwrap_or_else(|| panic!("{name}, {step}: no {key}"));
                let slack = expected / 1000 * thousandths;
                assert_near(&format!("{name}, {step}: {key}"), expected + more, found, slack);
            };
            check("live_bytes", others_live, 0);
            check("usable_bytes", others_usable, USABLE);
            check("heap_mapped_bytes", 0, MAPPED);
            check("heap_resident_bytes", 0, RESIDENT);
        }
    }
}

/// The report's moments while the program stood still.
fn states_at(report: &Report, answers: &Answers, step: &str) -> Vec<Value> {
    let start_ns = report.number("/trace/start_unix_ns");
    let at = |key: &str| answers.get(&format!("{step}.{key}")) - start_ns;
    let still = at("from_unix_ns") + CLOCKS_NS..at("to_unix_ns") - CLOCKS_NS;
    let states = report.array("/series").iter();
    let states: Vec<Value> = states
        .filter(|state| still.contains(&state["time_ns"].as_u64().expect("an integer")))
        .cloned()
        .collect();
    assert!(!states.is_empty(), "no moment of the series lies in {still:?}");
    states
}

fn glibc() -> PathBuf {
    program("checkpoints")
}

fn on_one_thread_and_on_eight(name: &str, program: &Path, preloaded: Option<&str>) {
    for threads in [1, 8] {
        run(name, program, threads, preloaded, "");
    }
}

#[test]
fn on_glibc() {
    on_one_thread_and_on_eight("glibc", &glibc(), None);
}

#[test]
fn on_musl() {
    let Some(program) = musl_program("checkpoints") else { return };
    on_one_thread_and_on_eight("musl", &program, None);
}

#[test]
fn on_jemalloc() {
    on_one_thread_and_on_eight("jemalloc", &glibc(), Some("libjemalloc.so.2"));
}

#[test]
fn on_mimalloc() {
    on_one_thread_and_on_eight("mimalloc", &glibc(), Some("libmimalloc.so.2"));
}

#[test]
fn on_tcmalloc() {
    on_one_thread_and_on_eight("tcmalloc", &glibc(), Some("libtcmalloc_minimal.so.4"));
}

fn with_tunables(tunables: &str) {
    run(tunables, &glibc(), 8, None, tunables);
}

#[test]
fn with_one_arena_for_all_threads() {
    with_tunables("glibc.malloc.arena_max=1");
}

#[test]
fn with_mappings_for_most_blocks_and_for_none() {
    with_tunables("glibc.malloc.mmap_threshold=4096");
    with_tunables("glibc.malloc.mmap_max=0");
}

#[test]
fn without_thread_caches() {
    with_tunables("glibc.malloc.tcache_count=0");
}

#[test]
fn with_heaps_that_are_trimmed_at_once() {
    with_tunables("glibc.malloc.trim_threshold=4096:glibc.malloc.top_pad=0");
}

#[test]
fn with_heaps_of_huge_pages() {
    with_tunables("glibc.malloc.hugetlb=1");
    with_tunables("glibc.malloc.hugetlb=2");
}
