//! Workloads that were published on fragmentation in services: the ratio that the report gives is
//! what the kernel and the program's own sum come to, over time and on each allocator; and where
//! memory did not come back, the figures say why.
#![forbid(unsafe_code)]

use fragtrace_tests::check::assert_near;
use fragtrace_tests::checkpoint::{Checkpoints, number};
use fragtrace_tests::programs::{library, program, rust_program_with_library};
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;
use std::path::PathBuf;

const ALLOCATORS: [(&str, &[(&str, &str)]); 3] = [
    ("glibc", &[]),
    ("jemalloc", &[("LD_PRELOAD", "libjemalloc.so.2")]),
    ("mimalloc", &[("LD_PRELOAD", "libmimalloc.so.2")]),
];
/// glibc keeps no freed chunk apart: all are merged at once.
const NOTHING_CACHED: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0");
/// How far ratios may be apart.
const RATIO: f64 = 0.02;
/// Blocks that libraries took before the program's first: libstdc++'s reserve of 72,704 bytes,
/// which comes with jemalloc, and Rust's runtime.
const MOST_OF_OTHERS: u64 = 80 << 10;
const PAGE: u64 = 4096;

/// The ratio at each step is (resident heap − live) / live, of the kernel's and the program's own.
fn assert_ratios(run: &Checkpoints, steps: &[&str]) {
    let others = run.of_others("live_bytes");
    assert!(others <= MOST_OF_OTHERS, "{}: {others} bytes before the first block", run.name);
    for step in steps {
        let live = (run.said(step, "live_bytes") + others) as f64;
        let expected = (run.said(step, "heap_resident_bytes") as f64 - live) / live;
        for state in run.states(step) {
            let found = state["fragmentation_ratio"].as_f64().expect("something is live");
            assert!(
                (found - expected).abs() <= expected * RATIO,
                "{}, {step}: the ratio is {found}, expected {expected}",
                run.name
            );
            assert_eq!(number(&state, "live_bytes") as f64, live, "{}, {step}", run.name);
        }
    }
}

#[test]
fn the_async_server_fragments_as_the_kernel_and_its_own_sum_say() {
    for (name, settings) in ALLOCATORS {
        let run = Checkpoints::of(name, command(program("async")), settings);
        assert_ratios(&run, &["load1", "load2", "load3", "load4", "load5"]);
        // After the drop nothing of the program's is live, and no ratio says anything.
        let expected = run.said("dropped", "heap_resident_bytes");
        for state in run.states("dropped") {
            assert_near(name, expected, number(&state, "heap_resident_bytes"), expected / 50);
        }
    }
}

/// What the report says is wrong.
fn found(run: &Checkpoints) -> Vec<&str> {
    run.report.array("/diagnoses").iter().filter_map(|found| found["id"].as_str()).collect()
}

fn in_c() -> PathBuf {
    program("interleaved")
}

fn in_rust() -> PathBuf {
    let checkpoint = library("checkpoint_for_rust", "libcheckpoint.so", &[]);
    rust_program_with_library("interleaved", &checkpoint)
}

const STEPS: [&str; 3] = ["filled", "without_small", "without_any"];

fn interleaved(
    name: &str,
    program: PathBuf,
    first: bool,
    settings: &[(&str, &str)],
) -> Checkpoints {
    let run = Checkpoints::read(name, &run_interleaved(program, first, settings));
    assert_ratios(&run, &STEPS);
    run
}

fn run_interleaved(program: PathBuf, first: bool, settings: &[(&str, &str)]) -> Traced {
    let mut command = command(program);
    if first {
        command.arg("first");
    }
    Checkpoints::run(command, settings)
}

/// Where blocks of so many bytes lay, in the order in which they came.
fn places(traced: &Traced, bytes: u64) -> Vec<u64> {
    let events = analyze("dump", &traced.trace(), &[]).expect_code(0).out();
    let lines = events.lines().map(|line| line.split('\t').collect::<Vec<&str>>());
    let of_size = lines.filter(|line| line[2] == "alloc" && line[4].parse() == Ok(bytes));
    let address = |line: Vec<&str>| u64::from_str_radix(line[3].trim_start_matches("0x"), 16);
    of_size.map(|line| address(line).expect("an address")).collect()
}

/// 5,000 blocks of 64 bytes between 5,000 of 4,096: freeing the small ones makes 5,000 holes that
/// no page fits into, and not one page without a live byte.
fn assert_small_ones_hold_no_page(run: &Checkpoints) {
    let before = run.said("filled", "heap_resident_bytes");
    assert_near("resident", before, run.said("without_small", "heap_resident_bytes"), before / 50);
    for state in run.states("without_small") {
        let holes = number(&state, "hole_count");
        assert!((5000..5010).contains(&holes), "{}: {holes} holes", run.name);
        assert!(number(&state, "largest_hole_bytes") < PAGE, "{}: {state:#}", run.name);
        assert_eq!(number(&state, "releasable_bytes"), 0, "{}", run.name);
        // Each hole is a chunk of 80 bytes.
        assert!(number(&state, "pinned_waste_bytes") >= 5000 * 80, "{}: {state:#}", run.name);
    }
}

/// Of what is still resident, so much has no live byte.
fn releasable_in_the_end(run: &Checkpoints) -> f64 {
    let resident = run.said("without_any", "heap_resident_bytes");
    let state = &run.states("without_any")[0];
    number(state, "releasable_bytes") as f64 / resident as f64
}

#[test]
fn interleaved_sizes_in_c() {
    let run = interleaved("C", in_c(), false, &[]);
    assert_small_ones_hold_no_page(&run);
    // Nothing is live there, and all of it stays.
    assert!(run.said("without_any", "heap_resident_bytes") > 20_000_000);
    assert!(releasable_in_the_end(&run) > 0.99);
    assert_eq!(found(&run), ["cached-free-chunks"]);
    let merged = interleaved("C, nothing cached", in_c(), false, &[NOTHING_CACHED]);
    assert_small_ones_hold_no_page(&merged);
    assert!(merged.said("without_any", "heap_resident_bytes") < 2_000_000);
    assert_eq!(found(&merged), [""; 0]);
}

#[test]
fn interleaved_sizes_in_rust() {
    for first in [false, true] {
        let run = interleaved("Rust", in_rust(), first, &[]);
        assert_small_ones_hold_no_page(&run);
        assert!(run.said("without_any", "heap_resident_bytes") > 20_000_000);
        assert!(releasable_in_the_end(&run) > 0.98);
        // The last block comes to a top of a few KiB: with one of 60 it would have made a free chunk
        // that merges all, which is chance.
        assert_eq!(found(&run), ["cached-free-chunks"]);
        // It is not stdout's buffer: that lies below all of them, where the C library had read
        // the list of mappings when Rust's runtime asked it for the stack's bounds. A chunk of 1,040
        // bytes is the largest that a thread's cache keeps, and the buffer has the same size.
        let traced = run_interleaved(in_rust(), first, &[]);
        let (buffers, blocks) = (places(&traced, 1024), places(&traced, 4096));
        assert_eq!((buffers.len(), blocks.len()), (2, 5000), "{buffers:x?}");
        assert_eq!(buffers[0], buffers[1], "stdout's buffer comes from the thread's cache");
        assert!(blocks.iter().all(|block| *block > buffers[1]), "{buffers:x?}");
    }
    // Where chunks are merged, stdout's buffer alone holds the top, unless it was there before.
    let pinned = interleaved("Rust, nothing cached", in_rust(), false, &[NOTHING_CACHED]);
    assert!(pinned.said("without_any", "heap_resident_bytes") > 20_000_000);
    assert!(releasable_in_the_end(&pinned) > 0.98);
    assert_eq!(found(&pinned), ["top-pinned"]);
    let evidence = &pinned.report.array("/diagnoses")[0]["evidence"];
    assert_eq!(evidence["stream_buffer"], true, "{evidence:#}");
    assert_eq!(evidence["site"]["function"], "interleaved::main");
    let printed = interleaved("Rust, printed first", in_rust(), true, &[NOTHING_CACHED]);
    assert_eq!(found(&printed), [""; 0]);
    assert!(printed.said("without_any", "heap_resident_bytes") < 2_000_000);
}

#[test]
fn interleaved_sizes_on_other_allocators() {
    for (name, settings) in &ALLOCATORS[1..] {
        interleaved(name, in_c(), false, settings);
        interleaved(name, in_rust(), false, settings);
    }
}
