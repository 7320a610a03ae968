//! However a process ends, its trace opens, says how it ended, and has every event.
#![forbid(unsafe_code)]

use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, Running, Signal, command};
use fragtrace_tests::tools::analyzer;
use fragtrace_tests::traced::{Traced, TracedRunning, files_in};

fn ends(how: &[&str]) -> Command {
    let mut ends = command(program("ends"));
    ends.args(how);
    ends
}

/// All of the program's events are in the trace.
fn assert_whole(outcome: &Outcome, report: &Report) {
    let answers = Answers::of(outcome);
    let keys = [
        ("allocs", "/trace/allocs"),
        ("frees", "/trace/frees"),
        ("live_blocks", "/end/live_blocks"),
        ("live_bytes", "/end/live_bytes"),
    ];
    let numbers = keys.map(|(name, key)| (name, answers.get(name), report.number(key)));
    assert_numbers(&format!("`{}` is recorded whole", outcome.command), &numbers);
    report.assert_complete();
}

fn assert_end(report: &Report, how: &str, expected: &[&str], clean: bool) {
    let end = report.text("/trace/end");
    assert!(expected.contains(&end), "{how}: expected the end {expected:?}, found `{end}`");
    let found = report.value("/trace/clean_exit").as_bool();
    assert!(found == Some(clean), "{how}: expected clean_exit {clean}, found {found:?}");
}

#[test]
fn orderly_ends_are_told() {
    for (how, expected) in [
        ("return", &["exit"][..]),
        ("exit", &["exit"]),
        ("_exit", &["_exit"]),
        // The contract knows no word of its own for this one.
        ("quick_exit", &["exit", "_exit"]),
    ] {
        let traced = Traced::run(ends(&[how]));
        assert!(traced.outcome.code() == 7, "{}", traced.outcome.describe());
        assert_whole(&traced.outcome, &traced.report());
        assert_end(&traced.report(), how, expected, true);
    }
}

#[test]
fn an_exit_on_another_thread_is_told() {
    let traced = Traced::run(ends(&["thread_exit"]));
    assert!(traced.outcome.code() == 7, "{}", traced.outcome.describe());
    let report = traced.report();
    assert_end(&report, "thread_exit", &["exit"], true);
    report.assert_adds_up();
}

#[test]
fn deaths_by_a_signal_leave_a_whole_trace() {
    for (how, signal) in [
        (&["abort"][..], 6),
        (&["segv"], 11),
        (&["signal", "15"], 15),
        (&["signal", "9"], 9),
        (&["signal", "2"], 2),
    ] {
        let traced = Traced::run(ends(how));
        let outcome = &traced.outcome;
        assert!(outcome.signal() == Some(signal), "signal {signal}: {}", outcome.describe());
        assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
        assert_whole(outcome, &traced.report());
        let told = format!("signal {signal}");
        assert_end(&traced.report(), &how.join(" "), &["unknown", &told], false);
    }
}

#[test]
fn a_process_killed_from_outside_leaves_a_whole_trace() {
    let mut traced = TracedRunning::start(ends(&["hang"]));
    traced.running.wait_for("ready");
    traced.running.signal(Signal::KILL);
    let traced = traced.finish();
    assert!(traced.outcome.signal() == Some(9), "{}", traced.outcome.describe());
    assert_whole(&traced.outcome, &traced.report());
    assert_end(&traced.report(), "killed", &["unknown", "signal 9"], false);
}

#[test]
fn a_process_killed_under_record_leaves_a_whole_trace() {
    for (how, signal) in [(["signal", "9"], 9), (["signal", "15"], 15)] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut record = command(analyzer());
        record.current_dir(folder.path()).args(["record", "-o", "t.ftr", "--"]);
        record.arg(program("ends")).args(how);
        let outcome = Running::start(&mut record).finish();
        assert!(outcome.code() == 128 + signal, "{}", outcome.describe());
        let report = Report::of(&folder.path().join("t.ftr"));
        assert_whole(&outcome, &report);
        let told = format!("signal {signal}");
        assert_end(&report, &how.join(" "), &["unknown", &told], false);
    }
}

#[test]
fn the_trace_of_a_running_process_opens() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let trace = folder.path().join("live.ftr");
    let mut program = ends(&["hang"]);
    program.env("FRAGTRACE_OUT", &trace);
    let mut traced = TracedRunning::start(program);
    traced.running.wait_for("ready");
    let report = Report::of(&trace);
    let end = report.text("/trace/end");
    assert!(end == "running", "expected the end `running`, found `{end}`");
    traced.running.signal(Signal::KILL);
    assert_whole(&traced.finish().outcome, &report);
}

#[test]
fn a_process_that_becomes_another_program_leaves_two_traces() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let ends_path = program("ends");
    let mut first = ends(&["exec", &ends_path.to_string_lossy(), "exit"]);
    first.env("FRAGTRACE_OUT", folder.path().join("x.ftr"));
    let outcome = Traced::run(first).outcome;
    assert!(outcome.code() == 7, "{}", outcome.describe());
    let traces = files_in(folder.path());
    let expected = ["x.ftr", "x.ftr.1"].map(|name| folder.path().join(name));
    assert!(traces == expected, "expected {expected:?}, found {traces:?}");
    for (trace, end) in expected.iter().zip(["exec", "exit"]) {
        let report = Report::of(trace);
        // Both programs print the same answers.
        assert_whole(&outcome, &report);
        let found = report.text("/trace/end");
        assert!(found == end, "{}: expected the end `{end}`, found `{found}`", trace.display());
    }
    let [before, after] = expected.map(|trace| Report::of(&trace).number("/trace/pid"));
    assert!(before == after, "the process id stays: {before} and {after}");
}

#[test]
fn an_exec_that_fails_goes_on_in_the_same_trace() {
    let traced = Traced::run(ends(&["exec", "/nonexistent/program"]));
    assert!(traced.outcome.code() == 7, "{}", traced.outcome.describe());
    assert_whole(&traced.outcome, &traced.report());
    assert_end(&traced.report(), "failed exec, then return", &["exit"], true);
}

/// A folder may be executed as far as its mode goes.
#[test]
fn a_process_that_is_killed_after_an_exec_that_failed_did_not_end_by_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let traced = Traced::run(ends(&["fails", &folder.path().to_string_lossy()]));
    assert!(traced.outcome.signal() == Some(9), "{}", traced.outcome.describe());
    assert_whole(&traced.outcome, &traced.report());
    assert_end(&traced.report(), "failed exec, then a signal", &["unknown", "signal 9"], false);
}
