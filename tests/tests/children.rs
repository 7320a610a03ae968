//! Processes that start others: each program has a trace of its own, and none disturbs another's.
#![forbid(unsafe_code)]

use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;

fn children(how: &[&str]) -> Command {
    let mut children = command(program("children"));
    children.args(how);
    children
}

/// The reports on a run's traces, the parent's first.
fn reports(traced: &Traced) -> Vec<Report> {
    let mut reports: Vec<_> = traced.traces().iter().map(|trace| Report::of(trace)).collect();
    reports.sort_by_key(|report| report.number("/trace/pid") != u64::from(traced.outcome.pid));
    reports
}

fn assert_parent_exact(traced: &Traced, report: &Report) {
    let answers = Answers::of(&traced.outcome);
    let keys = [
        ("allocs", "/trace/allocs"),
        ("frees", "/trace/frees"),
        ("live_blocks", "/end/live_blocks"),
    ];
    let numbers = keys.map(|(name, key)| (name, answers.get(name), report.number(key)));
    assert_numbers(&format!("the parent of `{}`", traced.outcome.command), &numbers);
    report.assert_complete();
    let pid = u64::from(traced.outcome.pid);
    assert_numbers("the parent", &[("pid", pid, report.number("/trace/pid"))]);
}

#[test]
fn a_forked_child_has_a_trace_of_its_own_and_leaves_its_parents_alone() {
    let traced = Traced::run_well(children(&["fork"]));
    let answers = Answers::of(&traced.outcome);
    assert_numbers("the child's status", &[("status", 33, answers.get("child_status"))]);
    let reports = reports(&traced);
    assert!(reports.len() == 2, "one each: {:?}", traced.traces());
    assert_parent_exact(&traced, &reports[0]);
    let (allocs, kept) = (answers.get("child_allocs"), answers.get("child_kept"));
    let number = |key: &str| reports[1].number(key);
    assert_numbers(
        "the child, which begins with its parent's blocks",
        &[
            ("allocs", allocs, number("/trace/allocs")),
            ("frees", allocs - kept, number("/trace/frees")),
            ("live blocks", answers.get("allocs") + kept, number("/end/live_blocks")),
            ("its parent", traced.outcome.pid.into(), number("/trace/forked_from")),
        ],
    );
    assert_eq!(number("/trace/forked_ns"), number("/trace/window_start_ns"), "its own time begins");
    assert!((1..number("/trace/duration_ns")).contains(&number("/trace/forked_ns")));
    assert!(reports[0].value("/trace/forked_ns").is_null());
    reports[1].assert_complete();
    assert!(traced.outcome.stderr.is_empty(), "{}", traced.outcome.describe());
}

#[test]
fn a_child_that_becomes_another_program_leaves_only_that_programs_trace() {
    for how in ["exec", "vfork", "spawn"] {
        let ends = program("ends");
        let traced = Traced::run_well(children(&[how, &ends.to_string_lossy(), "exit"]));
        let reports = reports(&traced);
        assert!(reports.len() == 2, "{how}: parent and program: {:?}", traced.traces());
        assert_parent_exact(&traced, &reports[0]);
        let program = &reports[1];
        assert!(program.text("/trace/exe").ends_with("ends"), "{how}: the program is traced");
        assert_numbers(how, &[("allocs", 1000, program.number("/trace/allocs"))]);
        program.assert_adds_up();
    }
}

#[test]
fn children_are_left_alone_on_request() {
    for how in ["fork", "exec", "vfork", "spawn"] {
        let ends = program("ends");
        let mut program = children(&[how, &ends.to_string_lossy(), "exit"]);
        program.env("FRAGTRACE_CHILDREN", "off");
        let traced = Traced::run_well(program);
        let reports = reports(&traced);
        assert!(reports.len() == 1, "{how}: the parent alone: {:?}", traced.traces());
        assert_parent_exact(&traced, &reports[0]);
    }
}
