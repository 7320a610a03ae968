//! `fragtrace record`: the command's own exit status, signals passed on, options kept apart from
//! the command's, and a word at the end about where the trace is.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_calm, assert_no_panic, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{Outcome, Running, Signal, command, run, run_with_input};
use fragtrace_tests::tools::analyzer;
use fragtrace_tests::traced::{file_name, files_in};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn record<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut record = command(analyzer());
    record.current_dir(folder).arg("record").args(arguments);
    record
}

fn recorded(folder: &Path, arguments: &[&str]) -> Outcome {
    run(&mut record(folder, arguments))
}

fn only_trace(folder: &Path) -> PathBuf {
    let files = files_in(folder);
    assert!(files.len() == 1, "expected one trace, found {files:?}");
    files.into_iter().next().expect("there is one")
}

#[test]
fn the_exit_status_is_the_commands_own() {
    for status in [0, 1, 2, 3, 7, 126, 255] {
        let folder = folder();
        let line = format!("exit {status}");
        let outcome = recorded(folder.path(), &["--", "/bin/sh", "-c", &line]);
        assert!(outcome.code() == status, "exit {status}: {}", outcome.describe());
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("USR1", 10)] {
        let folder = folder();
        let line = format!("ulimit -c 0; kill -{name} $$");
        let outcome = recorded(folder.path(), &["--", "/bin/sh", "-c", &line]);
        assert!(outcome.code() == 128 + number, "SIG{name}: {}", outcome.describe());
    }
}

#[test]
fn a_command_that_is_not_there_is_said_so_and_is_127() {
    let folder = folder();
    let outcome = recorded(folder.path(), &["--", "no-such-command-anywhere", "x"]);
    assert!(outcome.code() == 127, "expected 127: {}", outcome.describe());
    assert_calm(&outcome, 1);
    assert!(outcome.err().contains("no-such-command-anywhere"), "{}", outcome.describe());
    assert!(files_in(folder.path()).is_empty(), "no trace of nothing");
}

#[test]
fn the_path_of_the_trace_and_the_next_command_are_printed_on_stderr() {
    let folder = folder();
    let outcome = recorded(folder.path(), &["--", "/bin/echo", "hello"]).expect_code(0);
    assert!(outcome.stdout == b"hello\n", "stdout is the command's: {}", outcome.describe());
    let trace = only_trace(folder.path());
    let name = file_name(&trace);
    assert!(
        name.starts_with("fragtrace-echo.") && name.ends_with(".ftr"),
        "the name is fragtrace-%e.%p.ftr, found {name}"
    );
    for expected in [name.as_str(), "fragtrace report"] {
        assert!(outcome.err().contains(expected), "no `{expected}`: {}", outcome.describe());
    }
    let next = outcome.err();
    let next = next.lines().find_map(|line| line.find("fragtrace report").map(|at| &line[at..]));
    let path = next.and_then(|line| line.split_whitespace().nth(2)).unwrap_or_default();
    let path = path.trim_matches(['\'', '"', '`']);
    assert!(folder.path().join(path).is_file(), "`{path}` is a file: {}", outcome.describe());
}

#[test]
fn input_is_the_commands() {
    let folder = folder();
    let outcome = run_with_input(&mut record(folder.path(), ["--", "cat"]), b"one\ntwo\n");
    assert!(outcome.stdout == b"one\ntwo\n", "{}", outcome.describe());
}

#[test]
fn the_trace_goes_where_it_is_told() {
    let folder = folder();
    let counts = program("counts");
    let counts = counts.to_string_lossy();
    for option in [vec!["-o", "my.ftr"], vec!["-o", "my.ftr"]] {
        let arguments = [option, vec!["--", &counts, "family", "10"]].concat();
        recorded(folder.path(), &arguments).expect_code(0);
    }
    let names: Vec<_> = files_in(folder.path()).iter().map(|path| file_name(path)).collect();
    assert!(names == ["my.ftr", "my.ftr.1"], "an existing file stays: {names:?}");
    for path in files_in(folder.path()) {
        Report::of(&path).assert_adds_up();
    }
}

#[test]
fn options_after_the_command_are_the_commands() {
    for separator in [&[][..], &["--"][..]] {
        let folder = folder();
        let echo = ["/bin/echo", "-o", "x", "--ring", "banana", "--", "--help"];
        let arguments = [separator, &echo].concat();
        let outcome = recorded(folder.path(), &arguments).expect_code(0);
        assert!(
            outcome.stdout == b"-o x --ring banana -- --help\n",
            "arguments arrive unchanged: {}",
            outcome.describe()
        );
    }
}

#[test]
fn options_reach_the_tracer() {
    let folder = folder();
    let options = ["--ring", "1M", "--stacks", "off", "--look-ms", "0", "-o", "t.ftr", "--"];
    let counts = program("counts");
    let counts = counts.to_string_lossy();
    recorded(folder.path(), &[&options[..], &[&counts, "family", "100"]].concat()).expect_code(0);
    let report = Report::of(&folder.path().join("t.ftr"));
    assert_numbers("--ring 1M", &[("ring_bytes", 1 << 20, report.number("/trace/ring_bytes"))]);
    report.assert_adds_up();
}

#[test]
fn no_children_means_one_trace() {
    let line = "/bin/echo a; /bin/echo b; exit 3";
    for (option, expected) in [(Some("--no-children"), 1), (None, 3)] {
        let folder = folder();
        let arguments = option.into_iter().chain(["--", "/bin/sh", "-c", line]);
        let outcome = run(&mut record(folder.path(), arguments));
        assert!(outcome.code() == 3, "{}", outcome.describe());
        let traces = files_in(folder.path());
        assert!(traces.len() == expected, "{option:?}: expected {expected}, found {traces:?}");
    }
}

#[test]
fn ctrl_c_reaches_the_command_and_record_outlives_it() {
    // As a terminal sends it, to the whole group; and as a script sends it, to record alone.
    for to_group in [true, false] {
        for (how, status) in [("handle", 5), ("wait", 130)] {
            let folder = folder();
            let ends = program("ends");
            let arguments: [&OsStr; 3] = ["--".as_ref(), ends.as_ref(), how.as_ref()];
            let mut running = Running::start(&mut record(folder.path(), arguments));
            running.wait_for("ready");
            if to_group {
                running.signal_group(Signal::INT);
            } else {
                running.signal(Signal::INT);
            }
            let outcome = running.finish();
            let context = format!("{how}, to the group: {to_group}: {}", outcome.describe());
            assert!(outcome.code() == status, "expected {status}: {context}");
            assert!(how != "handle" || outcome.out().contains("interrupted"), "{context}");
            assert!(outcome.err().contains("fragtrace report"), "no last word: {context}");
            let (answers, report) = (Answers::of(&outcome), Report::of(&only_trace(folder.path())));
            let keys = ["allocs", "frees"];
            let found =
                keys.map(|key| (key, answers.get(key), report.number(&format!("/trace/{key}"))));
            // A handler of the C library's may take blocks at exit; none of these programs does.
            assert_numbers(&context, &found);
        }
    }
}

#[test]
fn other_signals_to_record_reach_the_command() {
    let folder = folder();
    let ends = program("ends");
    let arguments: [&OsStr; 3] = ["--".as_ref(), ends.as_ref(), "hang".as_ref()];
    let mut running = Running::start(&mut record(folder.path(), arguments));
    running.wait_for("ready");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert!(outcome.code() == 143, "expected 143: {}", outcome.describe());
    // Told to end: no crash, and not killed for want of memory.
    let trace = only_trace(folder.path());
    assert_eq!(Report::of(&trace).text("/trace/end"), "signal 15");
    let text = analyze("report", &trace, &[]).expect_code(0).out().replace('\n', " ");
    assert!(text.contains("was told to end by signal 15 (SIGTERM)"), "{text}");
    assert!(!text.contains("crash") && !text.contains("OOM"), "{text}");
}

#[test]
fn mistakes_are_said_in_one_or_two_lines() {
    let folder = folder();
    let mistakes: [(&[&str], &str); 4] = [
        (&["--ring", "banana", "--", "/bin/true"], "banana"),
        (&["--stacks", "sometimes", "--", "/bin/true"], "sometimes"),
        (&["--look-ms", "soon", "--", "/bin/true"], "soon"),
        (&["-o", "/nonexistent/folder/t.ftr", "--", "/bin/true"], "/nonexistent/folder"),
    ];
    for (arguments, named) in mistakes {
        let outcome = recorded(folder.path(), arguments);
        assert!(outcome.err().contains(named), "no `{named}`: {}", outcome.describe());
        assert_no_panic(&outcome);
    }
    let nothing = recorded(folder.path(), &[]);
    assert!(nothing.code() == 2, "no command is a mistake: {}", nothing.describe());
    assert_no_panic(&nothing);
}

/// The pages that go back are those of an allocator that calls past all hooks, and then the
/// program sleeps: only a look from outside can see it before the end.
#[test]
fn what_goes_back_while_the_program_sleeps_is_seen_before_it_ends() {
    let folder = folder();
    let sleeper = program("sleeper");
    let sleeper = sleeper.to_str().expect("a path in UTF-8");
    let outcome = recorded(folder.path(), &["-o", "sleep.ftr", "--", sleeper]);
    assert!(outcome.code() == 0, "{}", outcome.describe());
    let report = Report::of(&folder.path().join("sleep.ftr"));
    report.assert_complete();
    let peak = report.number("/peak_footprint/footprint_bytes");
    assert!(peak > 45 << 20, "footprint at most {peak}");
    // Half a second before the end the process had slept for two.
    let before_ns = report.number("/trace/duration_ns") - 500_000_000;
    let asleep = report
        .array("/series")
        .iter()
        .rfind(|state| state["time_ns"].as_u64().is_some_and(|time_ns| time_ns < before_ns))
        .expect("a moment asleep");
    for key in ["footprint_bytes", "heap_resident_bytes", "rss_bytes"] {
        let bytes = asleep[key].as_u64().expect("known");
        assert!(bytes < peak / 2, "{key} is {bytes}, of {peak} before");
    }
    assert!(asleep["residency_age_ns"].as_u64().is_some_and(|age_ns| age_ns < 2_400_000_000));
}
