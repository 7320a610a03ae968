//! However a process ends whose ring has gone round, its trace says how, and holds exactly what
//! lived: while its other threads are in the middle of a call, or of a fold.
//!
//! FRAGTRACE_SOAK_ENDS says how often each end is met; twice unless told.
#![forbid(unsafe_code)]

use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::file_name;
use fragtrace_tests::victim::Victim;

/// Events of the first thread alone, whose number the moment of the end depends on.
const STEPS: usize = 150_000;
/// What victim.c ends with.
const STATUS: i32 = 7;
const ABORT: i32 = 6;
const SEGMENTATION_FAULT: i32 = 11;

/// Runs to this end again and again, with other threads, rings and moments, and checks what the
/// trace says of it.
fn assert_end(how: &[&str], status: Result<i32, i32>, ends: &[&str], clean: bool) {
    for time in 0..tools::soak("FRAGTRACE_SOAK_ENDS", 2) {
        let (threads, ring) = [(1, "64K"), (4, "256K"), (2, "1M"), (3, "64K")][time % 4];
        let steps = STEPS + time * 7_919 % 1_000;
        let victim = Victim::new(format!("{how:?} on {threads} threads, ring {ring}"), threads);
        let claim = &victim.claim;
        let mut command = victim.command(time, ring);
        let outcome = run(command.arg(steps.to_string()).args(how));
        let found = outcome.signal().map_or_else(|| Ok(outcome.code()), Err);
        assert!(found == status, "{claim}: {}", outcome.describe());
        assert!(outcome.stderr.is_empty(), "{claim}: {}", outcome.describe());
        let report = victim.assert_exact();
        assert!(report.value("/trace/wrapped").as_bool() == Some(true), "{claim}: it wraps");
        let end = report.text("/trace/end");
        assert!(ends.contains(&end), "{claim}: expected the end {ends:?}, found `{end}`");
        let found = report.value("/trace/clean_exit").as_bool();
        assert!(found == Some(clean), "{claim}: expected clean_exit {clean}, found {found:?}");
    }
}

#[test]
fn orderly_ends_are_told() {
    assert_end(&["return"], Ok(STATUS), &["exit"], true);
    assert_end(&["exit"], Ok(STATUS), &["exit"], true);
    assert_end(&["_exit"], Ok(STATUS), &["_exit"], true);
    // The contract knows no word of its own for this one.
    assert_end(&["quick_exit"], Ok(STATUS), &["exit", "_exit"], true);
}

#[test]
fn deaths_by_a_signal_are_not_clean() {
    assert_end(&["abort"], Err(ABORT), &["unknown"], false);
    assert_end(&["segv"], Err(SEGMENTATION_FAULT), &["unknown"], false);
}

#[test]
fn becoming_another_program_is_told() {
    assert_end(&["exec", "/bin/true"], Ok(0), &["exec"], true);
}

/// Then the first trace goes on.
#[test]
fn an_exec_that_fails_is_no_end() {
    assert_end(&["exec", "/nonexistent/program"], Ok(STATUS), &["exit"], true);
}

#[test]
fn a_signal_is_named_where_record_saw_it() {
    for (how, signal) in [("abort", ABORT), ("segv", SEGMENTATION_FAULT)] {
        let victim = Victim::new(format!("{how} under record"), 2);
        let traced = victim.command(signal as usize, "64K");
        let mut record = command(tools::analyzer());
        record.args(["record", "--ring", "64K", "-o"]).arg(victim.trace()).arg("--");
        record.arg(traced.get_program()).args(traced.get_args());
        let outcome = run(record.arg(STEPS.to_string()).arg(how));
        assert!(outcome.code() == 128 + signal, "{}", outcome.describe());
        let report = victim.assert_exact();
        let (end, trace) = (report.text("/trace/end"), file_name(&victim.trace()));
        assert!(end == format!("signal {signal}"), "{trace}: found the end `{end}`");
        assert!(report.value("/trace/wrapped").as_bool() == Some(true), "{trace}: it wraps");
    }
}
