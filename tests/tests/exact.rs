//! A program that knows its own counts, and a report that must say the same.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;
use fragtrace_tests::witness::Sandwich;

/// Where the report says what the program calls by the same name.
const COUNTS: [(&str, &str); 6] = [
    ("allocs", "/trace/allocs"),
    ("frees", "/trace/frees"),
    ("reallocs", "/trace/reallocs"),
    ("live_blocks", "/end/live_blocks"),
    ("live_bytes", "/end/live_bytes"),
    ("usable_bytes", "/end/usable_bytes"),
];

fn counted(arguments: &[&str]) -> (Answers, Report) {
    let mut counts = command(program("counts"));
    counts.args(arguments);
    let traced = Traced::run_well(counts);
    let report = traced.report();
    report.assert_complete();
    (Answers::of(&traced.outcome), report)
}

fn assert_counts(claim: &str, answers: &Answers, report: &Report, keys: &[(&str, &str)]) {
    let numbers: Vec<_> =
        keys.iter().map(|(name, key)| (*name, answers.get(name), report.number(key))).collect();
    assert_numbers(claim, &numbers);
}

#[test]
fn counts_are_exact_on_a_program_with_known_counts() {
    let (answers, report) = counted(&["family", "2000"]);
    assert_counts("one thread, every entry point", &answers, &report, &COUNTS);
}

#[test]
fn the_greatest_live_size_is_exact() {
    let (answers, report) = counted(&["family", "300"]);
    let peak = [("peak_live_bytes", "/peak/live_bytes")];
    assert_counts("the peak of live bytes", &answers, &report, &peak);
}

/// The C library takes a block for each new thread, so counts are compared with a run whose
/// threads do nothing.
#[test]
fn counts_are_exact_on_eight_threads() {
    let (_, idle) = counted(&["threads", "8", "0"]);
    let (answers, busy) = counted(&["threads", "8", "2000"]);
    let numbers: Vec<_> = COUNTS
        .iter()
        .map(|(name, key)| (*name, idle.number(key) + answers.get(name), busy.number(key)))
        .collect();
    assert_numbers("eight threads, every entry point", &numbers);
    assert_numbers("all threads are seen", &[("threads", 9, busy.number("/trace/threads"))]);
}

#[test]
fn counts_agree_with_an_independent_count() {
    for arguments in [["family", "500", ""], ["threads", "8", "500"], ["short", "40", "50"]] {
        let mut counts = command(program("counts"));
        counts.args(arguments.iter().filter(|argument| !argument.is_empty()));
        let sandwich = Sandwich::run(counts);
        sandwich.assert_reported(&sandwich.traced.report());
    }
}

#[test]
fn a_realloc_that_fails_leaves_its_block_alive() {
    let (answers, report) = counted(&["failing", "100"]);
    let keys = ["allocs", "frees", "live_blocks", "live_bytes"];
    let keys: Vec<_> = COUNTS.into_iter().filter(|(name, _)| keys.contains(name)).collect();
    assert_counts("200 failed reallocs of one block", &answers, &report, &keys);
    report.assert_adds_up();
}

#[test]
fn sized_frees_are_frees() {
    let (answers, report) = counted(&["sized", "500"]);
    assert_numbers(
        "the tracer offers free_sized and free_aligned_sized",
        &[("allocs", 1000, answers.get("allocs"))],
    );
    assert_counts("sized frees", &answers, &report, &COUNTS);
}

/// Blocks are taken and freed by destructors of thread-specific data, after the thread's body has
/// ended and in several rounds.
#[test]
fn frees_at_the_end_of_a_thread_are_counted() {
    let (first, one) = counted(&["short", "1", "0"]);
    let (answers, many) = counted(&["short", "2000", "20"]);
    let names = ["allocs", "frees", "live_blocks", "live_bytes"];
    let numbers: Vec<_> = COUNTS
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, key)| {
            // What libc takes for the one stack that all these threads share.
            let of_libc = one.number(key) - first.get(name);
            (name, answers.get(name) + of_libc, many.number(key))
        })
        .collect();
    assert_numbers("2,000 threads one after another", &numbers);
}

#[test]
fn calls_of_the_mmap_family_are_counted() {
    let traced = Traced::run_well(command(program("mappings")));
    let (answers, report) = (Answers::of(&traced.outcome), traced.report());
    let keys = ["mmaps", "munmaps", "mremaps", "madvises"];
    let numbers =
        keys.map(|name| (name, answers.get(name), report.number(&format!("/trace/{name}"))));
    assert_numbers("calls of the mmap family", &numbers);
}
