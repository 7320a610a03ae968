//! Programs that give up system calls: from then on the tracer makes none, and goes on recording in
//! the room that it has. Programs that begin behind a filter, where even finding out may kill.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers, assert_same_run};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;
use fragtrace_tests::victim::{field, header_field};

/// Blocks that libc takes for threads, and may not have given back.
const OF_LIBC: u64 = 64;

fn sandbox(steps: &str) -> Command {
    let mut sandbox = command(program("sandbox"));
    sandbox.args(steps.split(' '));
    // Behind a filter it keeps a quarter of that. It goes round, and a look is nearly always due.
    sandbox.env("FRAGTRACE_RING", "16M").env("FRAGTRACE_LOOK_MS", "1");
    sandbox
}

/// Runs it bare and traced, with the same result.
fn same(steps: &str) -> Traced {
    let bare = run(&mut sandbox(steps)).expect_code(0);
    let traced = Traced::run(sandbox(steps));
    assert_same_run(&bare, &traced.outcome);
    traced
}

/// The trace with most events: the child's, where the program forks.
fn fullest(traced: &Traced) -> Report {
    let reports = traced.traces().into_iter().map(|trace| Report::of(&trace));
    reports.max_by_key(|report| report.number("/trace/allocs")).expect("there is a trace")
}

/// All that the program counted is in the trace, which went round behind the filter.
fn assert_recorded(traced: &Traced) {
    let (answers, report) = (Answers::of(&traced.outcome), fullest(traced));
    let dropped = report.number("/trace/dropped_events");
    assert!(dropped == 0, "{dropped} events dropped: {}", traced.outcome.describe());
    report.assert_complete();
    for (name, key) in [("allocs", "/trace/allocs"), ("frees", "/trace/frees")] {
        let (counted, found) = (answers.get(name), report.number(key));
        assert!(
            (counted..counted + OF_LIBC).contains(&found),
            "{name}: {counted} by the program, {found} on record"
        );
    }
    assert!(report.value("/trace/wrapped") == true, "the ring is too large for this test");
}

/// The filter itself looks at who calls.
#[test]
fn behind_a_filter_the_tracer_makes_no_system_call() {
    for way in ["prctl", "seccomp", "fork"] {
        let traced = same(&format!("caller {way}"));
        let answers = Answers::of(&traced.outcome);
        assert_numbers(
            way,
            &[
                ("calls from the tracer", 0, answers.get("trapped")),
                ("the first, plus one", 0, answers.get("first_trapped")),
            ],
        );
        assert_recorded(&traced);
    }
}

/// The count above is worth nothing unless it counts.
#[test]
fn a_filter_that_the_tracer_cannot_see_counts_its_calls_and_harms_nobody() {
    let bare = run(&mut sandbox("caller unseen")).expect_code(0);
    let traced = Traced::run(sandbox("caller unseen"));
    assert!(traced.outcome.code() == 0, "{}", traced.outcome.describe());
    let (bare, found) = (Answers::of(&bare), Answers::of(&traced.outcome));
    assert_numbers("the program's own", &[("allocs", bare.get("allocs"), found.get("allocs"))]);
    assert!(found.get("trapped") > 0, "nothing is trapped: {}", traced.outcome.describe());
}

#[test]
fn a_filter_that_kills_for_most_calls_kills_nobody() {
    for way in ["prctl", "seccomp", "fork"] {
        assert_recorded(&same(&format!("few {way}")));
    }
}

/// Names of the calls that a program makes once its filter is there.
fn calls_behind_the_filter(strace: &Path, library: Option<&Path>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let calls = folder.path().join("calls");
    let mut traced = command(strace);
    traced.arg("-o").arg(&calls);
    if let Some(library) = library {
        traced.arg("-E").arg(format!("LD_PRELOAD={}", library.display()));
        traced.arg("-E").arg(format!("FRAGTRACE_OUT={}/%e.ftr", folder.path().display()));
    }
    traced.arg("-E").arg("FRAGTRACE_RING=1M").arg(program("sandbox")).args(["alone", "prctl"]);
    let outcome = run(&mut traced);
    assert!(outcome.code() == 0, "{}", outcome.describe());
    let text = fs::read_to_string(&calls).expect("strace writes it");
    let behind = text.lines().skip_while(|line| !line.contains("SECCOMP_MODE_FILTER"));
    behind.filter_map(|line| Some(line.split_once('(')?.0.to_owned())).collect()
}

#[test]
fn strace_sees_the_same_calls_behind_a_filter_with_and_without_the_tracer() {
    let Some(strace) = tools::find("strace") else { return };
    let bare = calls_behind_the_filter(&strace, None);
    let traced = calls_behind_the_filter(&strace, Some(&tools::tracer()));
    assert!(bare.len() > 5, "strace saw nothing: {bare:?}");
    assert_eq!(bare, traced);
}

#[test]
fn strict_mode_ends_the_recording_and_nothing_else() {
    let traced = same("strict prctl");
    let report = traced.report();
    report.assert_complete();
    assert_numbers(
        "what was before",
        &[
            ("allocs", 2, report.number("/trace/allocs")),
            ("frees", 1, report.number("/trace/frees")),
        ],
    );
}

/// What libraries ask to find out what the kernel knows installs nothing.
#[test]
fn questions_and_filters_that_are_refused_change_nothing() {
    for steps in ["question prctl", "refused prctl"] {
        let mut asks = sandbox(steps);
        asks.env("FRAGTRACE_RING", "1M");
        let traced = Traced::run(asks);
        assert_same_run(&run(&mut sandbox(steps)), &traced.outcome);
        assert_recorded(&traced);
        let limits = header_field(&traced.trace(), field::LIMITS);
        assert!(limits == 0, "{steps}: limits {limits:#x}");
        let looks = traced.report().number("/trace/looks");
        assert!(looks > 5, "{steps}: {looks} looks");
    }
}

#[test]
fn a_report_says_that_there_was_a_filter() {
    let traced = same("few prctl");
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("installed a filter on system calls"), "{text}");
}

fn behind(filter: &str) -> Command {
    let mut sandbox = sandbox(&format!("{filter} prctl then"));
    sandbox.arg(program("ends")).arg("exit");
    sandbox
}

/// A service's filter, as systemd installs it before it starts the service: what kills there is not
/// done, the rest is.
#[test]
fn a_program_that_begins_behind_a_services_filter_is_recorded() {
    for filter in ["service", "childless"] {
        let bare = run(&mut behind(filter)).expect_code(7);
        let traced = Traced::run(behind(filter));
        assert_same_run(&bare, &traced.outcome);
        let report = Report::of(&traced.trace_of("ends"));
        report.assert_adds_up();
        let answers = Answers::of(&traced.outcome);
        let counts = [("allocs", answers.get("allocs"), report.number("/trace/allocs"))];
        assert_numbers(filter, &counts);
    }
}

/// Where hardly more is allowed than loading a program nothing can be recorded: a line says so.
#[test]
fn a_program_that_begins_behind_a_narrow_filter_runs_untraced() {
    let bare = run(&mut behind("loading")).expect_code(7);
    let traced = Traced::run(behind("loading"));
    let outcome = &traced.outcome;
    assert!(
        outcome.status == bare.status && outcome.stdout == bare.stdout,
        "{}",
        outcome.describe()
    );
    let said = outcome.err();
    assert!(said.lines().count() == 1 && said.contains("nothing is recorded"), "{said}");
}
