//! Programs that give up their user, their root directory and their descriptors, as servers do:
//! their trace goes on growing behind that, and holds all.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::files_in;
use tempfile::TempDir;

/// A run, and its largest trace.
struct Run {
    outcome: Outcome,
    trace: PathBuf,
    _folder: TempDir,
}

/// Runs the program in a folder which nobody but its owner may enter.
fn run_steps(program: &Path, steps: &str) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let owners_alone = fs::Permissions::from_mode(0o700);
    fs::set_permissions(folder.path(), owners_alone).expect("it is one's own");
    let mut leaves = command(program);
    leaves.args(steps.split(' ')).env("LD_PRELOAD", tools::tracer());
    leaves.env("FRAGTRACE_OUT", folder.path().join("%p.ftr"));
    let outcome = run(&mut leaves).expect_code(0);
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
    let bytes = |trace: &PathBuf| fs::metadata(trace).expect("a trace that was found").len();
    let trace = files_in(folder.path()).into_iter().max_by_key(bytes).expect("there is a trace");
    Run { outcome, trace, _folder: folder }
}

/// All events are on record.
fn assert_whole(program: &Path, steps: &str) {
    let run = run_steps(program, steps);
    let (answers, report) = (Answers::of(&run.outcome), Report::of(&run.trace));
    // The child's first block and its release.
    let more = u64::from(steps.contains("fork"));
    assert_numbers(
        &format!("a process after `{steps}`"),
        &[
            ("allocs", answers.get("allocs") + more, report.number("/trace/allocs")),
            ("frees", answers.get("frees") + more, report.number("/trace/frees")),
            ("live", answers.get("live_blocks"), report.number("/end/live_blocks")),
        ],
    );
    report.assert_complete();
}

#[test]
fn a_process_that_gives_up_its_user_is_recorded_on() {
    if !tools::is_root() {
        return tools::skip_anyway("only root has a user to give up");
    }
    for steps in [
        "setuid",
        "setresuid",
        "seteuid",
        "syscall",
        "cd close setuid",
        "fork setuid",
        "child setuid",
    ] {
        assert_whole(&program("leaves"), steps);
    }
    if let Some(program) = musl_program("leaves") {
        assert_whole(&program, "close setuid");
    }
}

#[test]
fn a_process_that_changes_its_root_is_recorded_on() {
    if !tools::is_root() {
        return tools::skip_anyway("only root can change its root");
    }
    for steps in ["chroot", "cd close chroot setuid", "fork chroot cd setresuid", "child chroot"] {
        assert_whole(&program("leaves"), steps);
    }
}

#[test]
fn a_process_that_closes_all_is_recorded_on() {
    for steps in ["close", "cd close", "fork close"] {
        assert_whole(&program("leaves"), steps);
    }
}

#[test]
fn what_cannot_be_recorded_any_more_is_said() {
    if !tools::is_root() {
        return tools::skip_anyway("only root has a user to give up");
    }
    let run = run_steps(&program("leaves"), "setuid close");
    let (answers, report) = (Answers::of(&run.outcome), Report::of(&run.trace));
    let found =
        ["allocs", "frees", "dropped_events"].map(|key| report.number(&format!("/trace/{key}")));
    assert!(found[2] > 0, "there was a way to grow");
    let events = answers.get("allocs") + answers.get("frees");
    assert_numbers("recorded or said to be missing", &[("events", events, found.iter().sum())]);
    let text = analyze("report", &run.trace, &[]).expect_code(0).out();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("could not be opened again"), "{text}");
}
