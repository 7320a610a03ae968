//! A ring that is used over and over: what is left of it, with the base, is the whole heap.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use fragtrace_tests::bound::most_bytes;
use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;

const KIB: u64 = 1 << 10;
/// With some 2.25 events a step, about ten million.
const STEPS: &str = "4400000";
/// Most blocks that live at once: the places where the program keeps them.
const MOST_BLOCKS_OWN: u64 = 2048;
const MOST_BLOCKS_SHARED: u64 = 4096;

fn wrap(threads: &str, steps: &str, ring: &str) -> (Traced, Report) {
    let mut wrap = command(program("wrap"));
    wrap.args([threads, steps]).env("FRAGTRACE_RING", ring);
    let traced = Traced::run_well(wrap);
    let report = traced.report();
    (traced, report)
}

fn assert_exact(threads: &str, ring: (&str, u64)) {
    let (_, idle) = wrap(threads, "0", ring.0);
    let (traced, report) = wrap(threads, STEPS, ring.0);
    let claim = format!("{threads} threads through a ring of {}", ring.0);
    report.assert_complete();
    assert!(report.value("/trace/wrapped").as_bool() == Some(true), "{claim}: it wraps");
    assert!(report.number("/trace/window_start_ns") > 0, "{claim}: old events are gone");
    // The C library takes a block for each new thread.
    let answers = Answers::of(&traced.outcome);
    let numbers = [
        ("allocs", "/trace/allocs"),
        ("frees", "/trace/frees"),
        ("reallocs", "/trace/reallocs"),
        ("live_blocks", "/end/live_blocks"),
        ("live_bytes", "/end/live_bytes"),
    ]
    .map(|(name, key)| (name, idle.number(key) + answers.get(name), report.number(key)));
    assert_numbers(&claim, &numbers);
    let file = fs::metadata(traced.trace()).expect("the trace is there");
    let threads: u64 = threads.parse().expect("a number of threads");
    let blocks = MOST_BLOCKS_OWN * threads + MOST_BLOCKS_SHARED + threads;
    let most = most_bytes(ring.1, threads, blocks);
    assert!(file.len() <= most, "{claim}: {} bytes, more than {most}", file.len());
    assert!(file.blocks() * 512 <= most, "{claim}: blocks of the file");
}

#[test]
fn one_thread_through_small_and_large_rings() {
    for ring in [("64K", 64 * KIB), ("1M", 1024 * KIB), ("16M", 16 * 1024 * KIB)] {
        assert_exact("1", ring);
    }
}

#[test]
fn eight_threads_that_hand_blocks_over() {
    for ring in [("64K", 64 * KIB), ("1M", 1024 * KIB), ("16M", 16 * 1024 * KIB)] {
        assert_exact("8", ring);
    }
}
