//! Threads that come and go by the thousand, and threads that rest for ages, while the ring goes
//! round: the heap at the end is exact, and the file stays within its bound.
//!
//! FRAGTRACE_SOAK_THREADS says how many threads come and go; 100,000 unless told.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use fragtrace_tests::bound::most_bytes;
use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;
use fragtrace_tests::witness::Sandwich;

const MIB: u64 = 1 << 20;
/// Blocks that churn.c keeps for others, and those that its threads have at once.
const MOST_BLOCKS: u64 = 1000 + 8 * 10;
const AT_ONCE: u64 = 8;
/// The C library keeps a block for each stack that it keeps.
const BLOCKS_OF_LIBC: u64 = 1000;

fn assert_wrapped(claim: &str, report: &Report) {
    report.assert_complete();
    assert!(report.value("/trace/wrapped").as_bool() == Some(true), "{claim}: it wraps");
}

fn assert_bounded(claim: &str, traced: &Traced, most: u64) {
    let file = fs::metadata(traced.trace()).expect("the trace is there");
    assert!(file.len() <= most, "{claim}: {} bytes, more than {most}", file.len());
    assert!(file.blocks() * 512 <= most, "{claim}: {} blocks of the file", file.blocks());
}

fn churn(threads: usize) -> Command {
    let mut churn = command(program("churn"));
    churn.args([threads.to_string(), AT_ONCE.to_string()]).env("FRAGTRACE_RING", "4M");
    churn
}

#[test]
fn threads_that_live_for_a_moment_leave_nothing_behind() {
    let threads = tools::soak("FRAGTRACE_SOAK_THREADS", 100_000);
    // Counts everything, what the C library takes for threads too.
    let run = Sandwich::run(churn(threads));
    let claim = format!("{threads} threads, {AT_ONCE} at a time, through 4 MiB");
    let (answers, report) = (Answers::of(run.outcome()), run.traced.report());
    run.assert_reported(&report);
    assert_wrapped(&claim, &report);
    let seen = report.number("/trace/threads");
    assert_numbers(&claim, &[("threads", answers.get("threads"), seen)]);
    let (live, own) = (report.number("/end/live_blocks"), answers.get("live_blocks"));
    assert!(own > 0 && live >= own, "{claim}: {live} blocks, {own} of them the program's own");
    // A thread that begins may meet the lane of one that is still ending.
    let most = most_bytes(4 * MIB, 2 * AT_ONCE + 1, MOST_BLOCKS + BLOCKS_OF_LIBC);
    assert_bounded(&claim, &run.traced, most);
}

fn assert_rested_exact(threads: u64, ring: (&str, u64), steps: &str) {
    let run = |steps: &str| {
        let mut rest = command(program("rest"));
        rest.args([&threads.to_string(), steps]).env("FRAGTRACE_RING", ring.0);
        Traced::run_well(rest)
    };
    // What the C library takes for threads.
    let idle = run("0");
    let (of_idle, idle) = (Answers::of(&idle.outcome), idle.report());
    let traced = run(steps);
    let (answers, report) = (Answers::of(&traced.outcome), traced.report());
    let claim = format!("{threads} threads rest while a ring of {} goes round", ring.0);
    let keys = [
        ("allocs", "/trace/allocs"),
        ("frees", "/trace/frees"),
        ("live_blocks", "/end/live_blocks"),
        ("live_bytes", "/end/live_bytes"),
    ];
    let numbers = keys.map(|(name, key)| {
        let of_libc = idle.number(key) - of_idle.get(name);
        (name, answers.get(name) + of_libc, report.number(key))
    });
    assert_numbers(&claim, &numbers);
    assert_wrapped(&claim, &report);
    // Each takes more than four bytes.
    let events = report.number("/trace/events");
    assert!(events > 10 * ring.1 / 4, "{claim}: {events} events do not go round ten times");
    let most = most_bytes(ring.1, threads + 1, threads * 31 + 1000);
    assert_bounded(&claim, &traced, most);
}

#[test]
fn threads_that_rest_keep_their_blocks() {
    assert_rested_exact(4, ("64K", MIB / 16), "1000000");
    assert_rested_exact(60, ("64K", MIB / 16), "1000000");
    assert_rested_exact(60, ("1M", MIB), "3000000");
}
