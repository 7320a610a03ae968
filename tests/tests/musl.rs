//! The same library in programs on musl: they run as they do without it, and counts are exact.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use fragtrace_tests::check::{Answers, assert_numbers, assert_same_run};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::traced::Traced;

/// Runs a program bare and traced, compares, and returns what it and the report say.
fn compared(program: &PathBuf, arguments: &[&str]) -> (Answers, Report) {
    let bare = run(command(program).args(arguments)).expect_code(0);
    let mut again = command(program);
    again.args(arguments);
    let traced = Traced::run(again);
    assert_same_run(&bare, &traced.outcome);
    (Answers::of(&bare), traced.report())
}

fn assert_exact(answers: &Answers, report: &Report, keys: &[&str]) {
    let numbers: Vec<_> = keys
        .iter()
        .map(|name| {
            let part = if name.starts_with("live") { "end" } else { "trace" };
            (*name, answers.get(name), report.number(&format!("/{part}/{name}")))
        })
        .collect();
    assert_numbers("a program on musl is counted exactly", &numbers);
    report.assert_complete();
}

const ALL: [&str; 5] = ["allocs", "frees", "reallocs", "live_blocks", "live_bytes"];

#[test]
fn counts_are_exact_on_musl() {
    let Some(counts) = musl_program("counts") else { return };
    let (answers, report) = compared(&counts, &["family", "1000"]);
    assert_exact(&answers, &report, &ALL);
    assert!(report.text("/trace/libc").contains("musl"), "libc: {}", report.text("/trace/libc"));
}

#[test]
fn counts_are_exact_on_musl_with_threads() {
    let Some(counts) = musl_program("counts") else { return };
    let (answers, report) = compared(&counts, &["threads", "8", "500"]);
    assert_exact(&answers, &report, &ALL);
}

#[test]
fn frees_at_the_end_of_a_thread_are_counted_on_musl() {
    let Some(counts) = musl_program("counts") else { return };
    let (answers, report) = compared(&counts, &["short", "200", "20"]);
    assert_exact(&answers, &report, &ALL);
}

#[test]
fn handovers_are_in_order_on_musl() {
    let Some(handover) = musl_program("handover") else { return };
    let (answers, report) = compared(&handover, &["4", "400000"]);
    assert_exact(&answers, &report, &["allocs", "frees", "live_blocks", "live_bytes"]);
}

#[test]
fn corner_cases_answer_as_they_do_bare_on_musl() {
    let Some(corners) = musl_program("corners") else { return };
    compared(&corners, &[]);
}

#[test]
fn ends_are_told_on_musl() {
    let Some(ends) = musl_program("ends") else { return };
    for (how, end) in [("return", "exit"), ("exit", "exit"), ("_exit", "_exit")] {
        let mut program = command(&ends);
        program.arg(how);
        let traced = Traced::run(program);
        assert!(traced.outcome.code() == 7, "{}", traced.outcome.describe());
        let report = traced.report();
        assert!(report.text("/trace/end") == end, "{how}: end is {}", report.text("/trace/end"));
        assert_exact(
            &Answers::of(&traced.outcome),
            &report,
            &["allocs", "frees", "live_blocks", "live_bytes"],
        );
    }
}

/// musl's calloc trusts no malloc but its own to say what is zero.
#[test]
fn large_blocks_of_zeroes_are_not_touched_on_musl() {
    for program in [musl_program("zeroes"), Some(program("zeroes"))].into_iter().flatten() {
        let bare = run(&mut command(&program)).expect_code(0);
        assert!(bare.out() == "few_faults=1\nzero=1\ntoo_much=1\n", "{}", bare.describe());
        assert_same_run(&bare, &Traced::run(command(&program)).outcome);
    }
}
