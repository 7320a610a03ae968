//! A setting of the tracer that makes no sense, or a trace that cannot be written, costs one line
//! on stderr; the program's output and exit status never change.
#![forbid(unsafe_code)]

use std::process::Command;

use fragtrace_tests::check::assert_calm;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, files_in};

/// A program with answers on stdout and exit status 7.
fn ends() -> Command {
    let mut ends = command(program("ends"));
    ends.arg("exit");
    ends
}

fn assert_runs_on(outcome: &Outcome) {
    let bare = run(&mut ends());
    assert!(outcome.stdout == bare.stdout, "other output: {}", outcome.describe());
    assert!(outcome.code() == 7, "expected exit status 7: {}", outcome.describe());
}

#[test]
fn nothing_is_printed_when_all_is_well() {
    let traced = Traced::run(ends());
    assert_runs_on(&traced.outcome);
    assert!(traced.outcome.stderr.is_empty(), "{}", traced.outcome.describe());
}

#[test]
fn a_nonsensical_variable_is_named_with_its_value_and_the_default() {
    for (name, value, default) in [
        ("FRAGTRACE_RING", "banana", "256M"),
        ("FRAGTRACE_RING", "10", "256M"),
        ("FRAGTRACE_RING", "2T", "256M"),
        ("FRAGTRACE_RING", "-1M", "256M"),
        ("FRAGTRACE_RING", "99999999999999999999G", "256M"),
        ("FRAGTRACE_STACKS", "sometimes", "on"),
        ("FRAGTRACE_STACKS", "257", "on"),
        ("FRAGTRACE_LOOK_MS", "-5", "50"),
        ("FRAGTRACE_LOOK_MS", "soon", "50"),
        ("FRAGTRACE_CHILDREN", "perhaps", "on"),
        ("FRAGTRACE_KEEP", "few", "0"),
        ("FRAGTRACE_KEEP", "-1", "0"),
    ] {
        let mut program = ends();
        program.env(name, value);
        let traced = Traced::run(program);
        assert_runs_on(&traced.outcome);
        let says = traced.outcome.err();
        assert!(says.lines().count() == 1, "one line: {}", traced.outcome.describe());
        for part in [name, value, default] {
            assert!(says.contains(part), "no `{part}`: {}", traced.outcome.describe());
        }
        traced.report().assert_adds_up();
    }
}

#[test]
fn sensible_values_are_taken_in_silence() {
    for (name, value) in [
        ("FRAGTRACE_RING", "64K"),
        ("FRAGTRACE_RING", "1G"),
        ("FRAGTRACE_STACKS", "off"),
        ("FRAGTRACE_STACKS", "1"),
        ("FRAGTRACE_STACKS", "256"),
        ("FRAGTRACE_LOOK_MS", "0"),
        ("FRAGTRACE_CHILDREN", "off"),
        ("FRAGTRACE_KEEP", "0"),
        ("FRAGTRACE_KEEP", "100"),
    ] {
        let mut program = ends();
        program.env(name, value);
        let traced = Traced::run(program);
        assert_runs_on(&traced.outcome);
        assert!(traced.outcome.stderr.is_empty(), "{name}={value}: {}", traced.outcome.describe());
        Report::of(&traced.trace());
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_said_in_one_line() {
    for out in ["/nonexistent/dir/x", "/proc/x.ftr", "/dev/null/x"] {
        let mut program = ends();
        program.env("FRAGTRACE_OUT", out);
        let traced = Traced::run(program);
        assert_runs_on(&traced.outcome);
        assert_calm(&traced.outcome, 1);
        assert!(traced.outcome.err().lines().count() == 1, "{}", traced.outcome.describe());
        assert!(traced.outcome.err().contains(out), "{}", traced.outcome.describe());
    }
}

#[test]
fn quiet_means_quiet() {
    let mut program = ends();
    program.env("FRAGTRACE_QUIET", "1").env("FRAGTRACE_RING", "banana");
    program.env("FRAGTRACE_OUT", "/nonexistent/dir/x");
    let traced = Traced::run(program);
    assert_runs_on(&traced.outcome);
    assert!(traced.outcome.stderr.is_empty(), "{}", traced.outcome.describe());
}

#[test]
fn children_print_nothing() {
    let mut shell = command("/bin/sh");
    shell.args(["-c", "\"$0\" exit; \"$0\" exit; exit 3"]).arg(program("ends"));
    shell.env("FRAGTRACE_RING", "banana");
    let traced = Traced::run(shell);
    assert!(traced.outcome.code() == 3, "{}", traced.outcome.describe());
    let lines = traced.outcome.err().lines().count();
    assert!(lines == 1, "one line for all processes, found {lines}: {}", traced.outcome.describe());
}

#[test]
fn the_default_place_is_replaced_by_the_temporary_folder_and_that_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut program = ends();
    program.env("LD_PRELOAD", tools::tracer()).env("TMPDIR", folder.path());
    // Nobody can write here, not even root.
    let outcome = run(program.current_dir("/proc"));
    assert_runs_on(&outcome);
    assert!(outcome.err().lines().count() == 1, "one line: {}", outcome.describe());
    let place = folder.path().to_string_lossy();
    assert!(outcome.err().contains(&*place), "`{place}` is named: {}", outcome.describe());
    let traces = files_in(folder.path());
    assert!(traces.len() == 1, "one trace in `{place}`: {traces:?}");
    Report::of(&traces[0]).assert_adds_up();
}

#[test]
fn a_limit_on_file_sizes_does_not_kill_the_program() {
    for blocks in [0, 1, 64, 4096] {
        let mut limited = command("/bin/sh");
        limited.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" exit")]).arg(program("ends"));
        let traced = Traced::run(limited);
        assert_runs_on(&traced.outcome);
        assert!(traced.outcome.err().lines().count() <= 2, "{}", traced.outcome.describe());
    }
}

/// A file system of 256 KiB, in a mount namespace of its own.
#[test]
fn a_full_disk_does_not_kill_the_program() {
    let script = "mount -t tmpfs -o size=256K none \"$1\" || exit 77; \
                  LD_PRELOAD=\"$2\" FRAGTRACE_OUT=\"$1/%e.%p.ftr\" exec \"$3\" family 3000";
    if !tools::is_root() {
        return tools::skip_anyway("only root can mount a small file system");
    }
    let Some(unshare) = tools::find("unshare") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let counts = program("counts");
    let mut small = command(unshare);
    small.args(["--mount", "/bin/sh", "-c", script, "sh"]);
    small.arg(folder.path()).arg(tools::tracer()).arg(&counts);
    let outcome = run(&mut small);
    if outcome.status.code() != Some(0) && outcome.err().contains("mount") {
        return tools::skip_anyway("no file system can be mounted here");
    }
    let bare = run(command(&counts).args(["family", "3000"])).expect_code(0);
    assert!(outcome.code() == 0, "{}", outcome.describe());
    assert!(outcome.stdout == bare.stdout, "other output: {}", outcome.describe());
    assert!(outcome.err().lines().count() <= 1, "one line: {}", outcome.describe());
}
