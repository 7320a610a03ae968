//! What the kernel says of the heap, and the program of its blocks, in the middle of a run: after
//! a burst, after its frees, after a trim, and filled again; on one thread and on eight, with heaps
//! of 10 MB and of 2 GB, on each allocator, and with settings of glibc that change its heaps.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{assert_near, assert_numbers};
use fragtrace_tests::checkpoint::{Checkpoints, number};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::run::command;
use fragtrace_tests::tools::skip_anyway;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

const STEPS: [&str; 4] = ["burst", "freed", "trimmed", "refilled"];

/// How far figures may be apart, in thousandths.
const MAPPED: u64 = 10;
const RESIDENT: u64 = 20;
const USABLE: u64 = 1;

/// What jemalloc takes for itself from its own arenas.
const OF_JEMALLOC_BYTES: u64 = 64 << 10;

/// jemalloc's size class for the block that the program waits with.
const MOST_TO_WAIT_WITH: u64 = 48;

/// Megabytes that the program takes at first.
const SMALL: u64 = 10;
const LARGE: u64 = 2048;
/// A machine has this much to spare where large heaps are tried, one after the other.
const LEAST_AVAILABLE_BYTES: u64 = 3 << 30;
static LARGE_HEAP: Mutex<()> = Mutex::new(());

/// A run with a heap of 10 MB on so many threads, with variables set.
fn run(name: &str, program: &Path, threads: u64, settings: &[(&str, &str)]) -> Checkpoints {
    Checkpoints::of(&format!("{name}, {threads} threads"), start(program, SMALL, threads), settings)
}

fn start(program: &Path, megabytes: u64, threads: u64) -> Command {
    let mut command = command(program);
    command.args([megabytes.to_string(), threads.to_string()]);
    command
}

/// Every figure at every step is the program's own, or the kernel's.
fn assert_true(run: &Checkpoints) {
    for step in STEPS {
        let states = run.states(step);
        for state in &states {
            // All pages were scanned since the program came to rest.
            let age = "residency_age_ns";
            assert!(run.is_since_rest(step, state, age), "{}, {step}: {}", run.name, state[age]);
            let check = |key: &str, others: u64, thousandths: u64| {
                let expected = run.said(step, key);
                let what = format!("{}, {step}: {key}", run.name);
                let slack = expected / 1000 * thousandths;
                assert_near(&what, expected + others, number(state, key), slack);
            };
            check("live_bytes", run.of_others("live_bytes"), 0);
            check("usable_bytes", run.of_others("usable_bytes"), USABLE);
            check("heap_mapped_bytes", 0, MAPPED);
            check("heap_resident_bytes", 0, RESIDENT);
        }
    }
}

fn glibc() -> PathBuf {
    program("checkpoints")
}

fn on_one_thread_and_on_eight(name: &str, program: &Path, settings: &[(&str, &str)]) {
    for threads in [1, 8] {
        assert_true(&run(name, program, threads, settings));
    }
}

fn on_a_large_heap(name: &str, program: &Path, threads: u64, settings: &[(&str, &str)]) {
    let memory = fs::read_to_string("/proc/meminfo").expect("Linux tells it");
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = available.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let alone = LARGE_HEAP.lock().unwrap_or_else(PoisonError::into_inner);
    if kilobytes.is_some_and(|kilobytes| kilobytes << 10 < LEAST_AVAILABLE_BYTES) {
        return skip_anyway("there is no memory for a heap of 2 GB");
    }
    let traced = Checkpoints::run(start(program, LARGE, threads), settings);
    drop(alone);
    assert_true(&Checkpoints::read(&format!("{name}, 2 GB, {threads} threads"), &traced));
}

#[test]
fn on_glibc() {
    on_one_thread_and_on_eight("glibc", &glibc(), &[]);
}

#[test]
fn on_musl() {
    let Some(program) = musl_program("checkpoints") else { return };
    on_one_thread_and_on_eight("musl", &program, &[]);
}

#[test]
fn on_jemalloc() {
    on_one_thread_and_on_eight("jemalloc", &glibc(), &[("LD_PRELOAD", "libjemalloc.so.2")]);
}

#[test]
fn on_mimalloc() {
    on_one_thread_and_on_eight("mimalloc", &glibc(), &[("LD_PRELOAD", "libmimalloc.so.2")]);
}

#[test]
fn on_tcmalloc() {
    on_one_thread_and_on_eight("tcmalloc", &glibc(), &[("LD_PRELOAD", "libtcmalloc_minimal.so.4")]);
}

#[test]
fn on_large_heaps_of_glibc() {
    on_a_large_heap("glibc", &glibc(), 1, &[]);
    on_a_large_heap("glibc", &glibc(), 8, &[]);
}

#[test]
fn on_a_large_heap_of_musl() {
    let Some(program) = musl_program("checkpoints") else { return };
    on_a_large_heap("musl", &program, 1, &[]);
}

#[test]
fn on_a_large_heap_of_jemalloc() {
    on_a_large_heap("jemalloc", &glibc(), 8, &[("LD_PRELOAD", "libjemalloc.so.2")]);
}

#[test]
fn on_a_large_heap_of_mimalloc() {
    on_a_large_heap("mimalloc", &glibc(), 8, &[("LD_PRELOAD", "libmimalloc.so.2")]);
}

#[test]
fn on_a_large_heap_of_tcmalloc() {
    on_a_large_heap("tcmalloc", &glibc(), 8, &[("LD_PRELOAD", "libtcmalloc_minimal.so.4")]);
}

fn with_tunables(tunables: &str) {
    assert_true(&run(tunables, &glibc(), 8, &[("GLIBC_TUNABLES", tunables)]));
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

/// What glibc's mallinfo2 and malloc_info say, beside ours: docs/metrics.md explains the rest.
#[test]
fn glibc_says_the_same_of_itself() {
    for (tunables, cached_at_most) in
        [("glibc.malloc.tcache_count=0", 0), ("glibc.malloc.tcache_count=7", 7 * 64 * 1040)]
    {
        let run = run(tunables, &glibc(), 8, &[("GLIBC_TUNABLES", tunables)]);
        for step in STEPS {
            let said = |key: &str| run.said(step, key);
            for state in run.states(step) {
                let ours = |key: &str| number(&state, key);
                let name = format!("{}, {step}", run.name);
                assert_numbers(
                    &name,
                    &[(
                        "mapped",
                        said("malloc_info.accessible") + said("malloc_info.mapped_blocks"),
                        ours("heap_mapped_bytes"),
                    )],
                );
                // The word before a heap's first header counts as metadata here, and as a part
                // of its last chunk there.
                let used = said("mallinfo2.uordblks") + said("mallinfo2.hblkhd");
                let used_here =
                    ours("usable_bytes") + ours("metadata_bytes") - 8 * ours("arena_count");
                assert!(
                    (used_here..=used_here + cached_at_most * 8).contains(&used),
                    "{name}: {used} in use or cached for a thread, {used_here} of it in use"
                );
                // Free there: ours without what is cached, and what was never touched.
                let free = said("mallinfo2.fordblks") + used - used_here;
                let untouched = ours("heap_mapped_bytes") - ours("footprint_bytes");
                assert_near(
                    &format!("{name}: free"),
                    free,
                    ours("free_bytes") + untouched,
                    8 * ours("arena_count"),
                );
            }
        }
    }
}

/// The top and the bins of glibc, where nothing is cached: the program's last figures are those of
/// its end. The word in front of the top belongs to the last block, as we count.
#[test]
fn glibc_says_the_same_of_where_free_bytes_are() {
    let tunables = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0";
    let run = run(tunables, &glibc(), 1, &[("GLIBC_TUNABLES", tunables)]);
    let said = |key: &str| run.said("refilled", key);
    let place = |key: &str| run.report.number(&format!("/free_places/as_allocator/{key}"));
    let (free, top) = (said("mallinfo2.fordblks"), said("mallinfo2.keepcost"));
    assert_numbers(
        "free bytes by place",
        &[
            ("top", top - 8, place("top_bytes")),
            ("bins", free - top, place("bins_bytes")),
            ("thread caches", 0, place("thread_caches_bytes")),
        ],
    );
}

/// mimalloc tells how much it has committed. Without purges by time, that is the same when a look
/// asks for it and when the program does.
#[test]
fn mimalloc_says_the_same_of_itself() {
    let settings = [
        ("LD_PRELOAD", "libmimalloc.so.2"),
        // Of versions to 2.0, and from 2.1 on.
        ("MIMALLOC_ALLOW_DECOMMIT", "0"),
        ("MIMALLOC_PURGE_DELAY", "-1"),
    ];
    let run = run("mimalloc without purges", &glibc(), 8, &settings);
    for step in STEPS {
        let committed = run.said(step, "mimalloc.current_commit");
        for state in run.states(step) {
            let shown = number(&state["allocator_view"]["figures"], "current_commit");
            let name = format!("{}, {step}", run.name);
            assert_numbers(&name, &[("current_commit", committed, shown)]);
            let here = number(&state, "heap_resident_bytes");
            assert!(here <= shown, "{name}: {here} in memory of {shown} committed");
        }
    }
}

/// What jemalloc's statistics say, beside ours: docs/metrics.md explains the rest.
#[test]
fn jemalloc_says_the_same_of_itself() {
    for (conf, cached_at_most) in [("tcache:false", 0), ("tcache:true", 16 << 20)] {
        let settings = [("LD_PRELOAD", "libjemalloc.so.2"), ("MALLOC_CONF", conf)];
        let run = run(conf, &glibc(), 8, &settings);
        for step in STEPS {
            let said = |key: &str| run.said(step, &format!("jemalloc.{key}"));
            for state in run.states(step) {
                let ours = |key: &str| number(&state, key);
                let name = format!("{}, {step}", run.name);
                let (allocated, usable) = (said("allocated"), ours("usable_bytes"));
                let most = usable + OF_JEMALLOC_BYTES + cached_at_most;
                assert!(
                    (usable..=most).contains(&allocated),
                    "{name}: {allocated} allocated, {usable} usable"
                );
                assert!(said("active") >= allocated, "{name}: active");
                let (there, here) = (said("resident"), ours("heap_resident_bytes"));
                assert!(there >= here, "{name}: {there} resident, {here} in memory");
                // When jemalloc was asked at a look, a block to wait with was live.
                let figures = &state["allocator_view"]["figures"];
                let shown = number(figures, "stats.allocated");
                assert!(
                    (allocated..=allocated + MOST_TO_WAIT_WITH).contains(&shown),
                    "{name}: {allocated} allocated, {shown} shown"
                );
                assert_eq!(number(figures, "stats.metadata"), said("metadata"), "{name}: metadata");
            }
        }
        let place = |key: &str| run.report.number(&format!("/free_places/as_allocator/{key}"));
        let cached = place("thread_caches_bytes");
        assert!(cached <= OF_JEMALLOC_BYTES + cached_at_most, "{conf}: {cached} cached");
        let figures = run.report.value("/end/allocator_view/figures");
        assert_numbers(
            conf,
            &[(
                "free places of slabs",
                number(figures, "stats.active") - number(figures, "stats.allocated"),
                place("bins_bytes"),
            )],
        );
    }
}
