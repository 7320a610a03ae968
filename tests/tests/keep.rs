//! FRAGTRACE_KEEP and `record --keep`: of the traces of one name only the newest stay, and
//! nothing else is ever removed.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Running, Signal, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{file_name, files_in};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A traced program that ends at once, or never.
fn traced(folder: &Path, pattern: &str, keep: &str, how: &str) -> Command {
    let mut ends = command(program("ends"));
    ends.arg(how).env("LD_PRELOAD", tools::tracer()).env("FRAGTRACE_OUT", folder.join(pattern));
    ends.env("FRAGTRACE_KEEP", keep);
    ends
}

/// Runs the program so often; the names that are there in the end.
fn after(runs: usize, folder: &Path, pattern: &str, keep: &str) -> Vec<String> {
    for _ in 0..runs {
        let outcome = run(&mut traced(folder, pattern, keep, "exit")).expect_code(7);
        assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
    }
    files_in(folder).iter().map(|path| file_name(path)).collect()
}

#[test]
fn only_the_newest_stay() {
    let folder = folder();
    let names = after(5, folder.path(), "x.ftr", "3");
    assert!(names.len() == 3, "three are kept: {names:?}");
    let starts = files_in(folder.path()).into_iter().map(|trace| {
        let report = Report::of(&trace);
        report.assert_adds_up();
        report.number("/trace/start_unix_ns")
    });
    let oldest_kept = starts.min().expect("traces are there");
    let names = after(1, folder.path(), "x.ftr", "3");
    assert!(names.len() == 3, "three are kept: {names:?}");
    let mut left = files_in(folder.path()).into_iter().map(|trace| Report::of(&trace));
    let gone = left.all(|report| report.number("/trace/start_unix_ns") > oldest_kept);
    assert!(gone, "the oldest one went: {names:?}");
}

#[test]
fn the_pattern_tells_which_names_are_the_same() {
    for pattern in ["%e.%p.ftr", "%e-%t.ftr", "%h.%e.%%.%p", "fragtrace-%e.%p.ftr"] {
        let folder = folder();
        let names = after(4, folder.path(), pattern, "2");
        assert!(names.len() == 2, "{pattern}: two are kept: {names:?}");
    }
    // Traces of another program, and those of another pattern, are others.
    let folder = folder();
    let mut other = command("/bin/true");
    other.env("LD_PRELOAD", tools::tracer()).env("FRAGTRACE_OUT", folder.path().join("%e.%p.ftr"));
    run(&mut other).expect_code(0);
    after(1, folder.path(), "mine-%e.%p.ftr", "1");
    let names = after(3, folder.path(), "%e.%p.ftr", "1");
    let of = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
    let found = (of("true."), of("mine-"), of("ends."));
    assert!(found == (1, 1, 1), "one of each: {names:?}");
}

#[test]
fn all_stay_unless_told() {
    for keep in ["", "0"] {
        let folder = folder();
        let names = after(4, folder.path(), "%e.%p.ftr", keep);
        assert!(names.len() == 4, "FRAGTRACE_KEEP={keep}: all are kept: {names:?}");
    }
}

#[test]
fn what_is_no_trace_stays() {
    let (folder, elsewhere) = (folder(), folder());
    let here = |name: &str| folder.path().join(name);
    fs::write(here("x.ftr.1"), "a file of the user's").expect("a file can be written");
    fs::write(here("x.ftr.2"), "").expect("a file can be written");
    fs::create_dir(here("x.ftr.3")).expect("a folder can be made");
    // A trace by another name, here only by a link.
    after(1, elsewhere.path(), "kept", "0");
    symlink(elsewhere.path().join("kept"), here("x.ftr.4")).expect("a link can be made");
    run(command("/usr/bin/mkfifo").arg(here("x.ftr.5"))).expect_code(0);
    fs::copy(elsewhere.path().join("kept"), here("x.ftr.old")).expect("a file can be copied");
    let names = after(4, folder.path(), "x.ftr", "1");
    for name in ["x.ftr.1", "x.ftr.2", "x.ftr.3", "x.ftr.4", "x.ftr.5", "x.ftr.old"] {
        assert!(names.iter().any(|found| found == name), "{name} stays: {names:?}");
    }
    assert!(names.len() == 7, "and one trace beside them: {names:?}");
    assert!(elsewhere.path().join("kept").is_file(), "what a link points to stays");
}

#[test]
fn the_trace_of_a_process_that_runs_stays() {
    let folder = folder();
    let mut hangs = Running::start(&mut traced(folder.path(), "%e.%p.ftr", "1", "hang"));
    hangs.wait_for("ready");
    let own = format!("ends.{}.ftr", hangs.pid());
    let names = after(3, folder.path(), "%e.%p.ftr", "1");
    assert!(names.len() == 2 && names.contains(&own), "{own} and the newest: {names:?}");
    hangs.signal(Signal::KILL);
    hangs.finish();
    Report::of(&folder.path().join(&own)).assert_adds_up();
    let names = after(1, folder.path(), "%e.%p.ftr", "1");
    assert!(names.len() == 1 && !names.contains(&own), "{own} has gone: {names:?}");
}

#[test]
fn record_keeps_as_many_as_it_is_told() {
    let folder = folder();
    for _ in 0..4 {
        let mut record = command(tools::analyzer());
        record.current_dir(folder.path()).args(["record", "--keep", "2", "--"]);
        let outcome = run(record.arg(program("ends")).arg("exit")).expect_code(7);
        assert!(outcome.err().contains("the trace is"), "{}", outcome.describe());
    }
    let names = files_in(folder.path());
    assert!(names.len() == 2, "two are kept: {names:?}");
}
