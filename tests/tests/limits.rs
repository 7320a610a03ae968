//! Programs that live with little: address space, descriptors, file sizes, no /proc, a file system
//! that cannot be written. They run as they do untraced; at most a line says what is missing.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, files_in};

/// A program with many lines to say, on a heap of some MB and on threads, started by a line of
/// shell: its arguments are a folder for traces, the tracer or nothing, and the program.
fn started_by(line: &str, folder: &Path, tracer: &str) -> Command {
    let mut shell = command("/bin/sh");
    shell.args(["-c", line, "sh"]).arg(folder).arg(tracer);
    shell.arg(program("counts")).args(["threads", "3", "3000"]);
    shell
}

/// Runs it bare and traced: the same but for a line on stderr at most. What stderr says.
fn assert_same(claim: &str, line: &str) -> (String, Vec<Report>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let bare = run(&mut started_by(line, folder.path(), ""));
    let tracer = tools::tracer();
    let traced = run(&mut started_by(line, folder.path(), &tracer.to_string_lossy()));
    assert!(bare.status.success() && bare.stdout.len() > 50, "{claim}: {}", bare.describe());
    assert_as_bare(claim, &bare, &traced);
    let traces = files_in(folder.path()).into_iter().filter(|path| path.is_file());
    (traced.err(), traces.map(|trace| Report::of(&trace)).collect())
}

fn assert_as_bare(claim: &str, bare: &Outcome, traced: &Outcome) {
    assert!(traced.status == bare.status, "{claim}: {}", traced.describe());
    assert!(traced.stdout == bare.stdout, "{claim}: {}", traced.describe());
    assert!(traced.err().lines().count() <= 1, "{claim}: {}", traced.describe());
}

/// Under a limit, with the tracer in no other process.
fn limited(limit: &str) -> String {
    format!(r#"ulimit {limit} && cd "$1" && LD_PRELOAD="$2" exec "$3" "$4" "$5" "$6""#)
}

#[test]
fn limits_on_address_space_leave_the_program_what_it_has_without_the_tracer() {
    let (mut recorded, mut said) = (0, 0);
    let address_space = [8, 16, 24, 64, 128, 192, 256, 512, 2048].map(|mib| ("-v", mib));
    let data = [16, 64, 256, 1024].map(|mib| ("-d", mib));
    for (option, mib) in address_space.into_iter().chain(data) {
        let limit = format!("{option} {}", mib << 10);
        // On one thread: others take stacks and arenas of many MiB.
        let line = format!(
            r#"ulimit {limit} && cd "$1" && export LD_PRELOAD="$2" && exec "$3" family 300"#
        );
        let (stderr, reports) = assert_same(&limit, &line);
        assert!(stderr.is_empty() != reports.is_empty(), "{limit}: {stderr}");
        said += u32::from(stderr.contains("no memory for the recorder"));
        recorded += reports.len();
        reports.iter().for_each(Report::assert_complete);
    }
    assert!(said > 2 && recorded > 2, "{said} were not recorded, {recorded} were");
}

/// Nothing can be opened any more: what was opened just before serves on, until it is closed.
#[test]
fn a_program_that_allows_itself_hardly_any_descriptors_is_recorded_on() {
    for steps in ["descriptors", "prlimit", "descriptors close", "child descriptors"] {
        let mut leaves = command(program("leaves"));
        leaves.args(steps.split(' '));
        let bare = run(&mut leaves).expect_code(0);
        let traced = Traced::run(leaves);
        assert_as_bare(steps, &bare, &traced.outcome);
        let reports = traced.traces().into_iter().map(|trace| Report::of(&trace));
        let allocs = |report: &Report| report.number("/trace/allocs");
        let report = reports.max_by_key(allocs).expect("there is a trace");
        let answers = Answers::of(&bare);
        let keys = ["allocs", "frees", "dropped_events"];
        let found = keys.map(|key| report.number(&format!("/trace/{key}")));
        let events = answers.get("allocs") + answers.get("frees");
        assert_numbers(steps, &[("events, or said to be missing", events, found.iter().sum())]);
        assert_eq!(found[2] > 0, steps.ends_with("close"), "{steps}: {found:?}");
    }
}

/// The signal of a file that is too large kills.
#[test]
fn limits_on_file_sizes_from_none_to_plenty_end_nobody() {
    for blocks in [0, 8, 100, 200, 400, 1000, 8000] {
        assert_same("file sizes", &limited(&format!("-f {blocks}")));
    }
}

/// Runs a line of shell as root of a mount namespace of its own.
fn assert_same_in_namespace(claim: &str, before: &str) -> Option<(String, Vec<Report>)> {
    let unshare = tools::find("unshare").filter(|_| tools::is_root())?;
    let inner = r#"cd "$1" && LD_PRELOAD="$2" exec "$3" "$4" "$5" "$6""#;
    let line = format!(
        r#"exec '{}' --mount /bin/sh -c '{before} || exit 77; {inner}' sh "$@""#,
        unshare.display()
    );
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    if run(&mut started_by(&line, folder.path(), "")).status.code() == Some(77) {
        tools::skip_anyway(&format!("{claim}: nothing can be mounted here"));
        return None;
    }
    Some(assert_same(claim, &line))
}

#[test]
fn without_proc_a_program_is_recorded() {
    let Some((stderr, reports)) = assert_same_in_namespace("no /proc", "umount -l /proc") else {
        return;
    };
    assert!(stderr.is_empty(), "{stderr}");
    assert!(reports.len() == 1, "{} traces", reports.len());
    reports[0].assert_complete();
    assert!(reports[0].number("/trace/allocs") > 9000, "all is on record");
}

#[test]
fn a_file_system_that_cannot_be_written_is_said_in_a_line() {
    let before = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && \
        export FRAGTRACE_OUT="$1/%e.ftr""#;
    let Some((stderr, reports)) = assert_same_in_namespace("read-only", before) else { return };
    assert!(stderr.contains("(read-only file system)"), "{stderr}");
    assert!(reports.is_empty());
}

/// Without a path of one's own it goes to a folder for temporary files.
#[test]
fn the_default_place_on_such_a_file_system_is_replaced() {
    let before = r#"mount --bind "$1" "$1" && mkdir -p "$1/tmp" && mount -t tmpfs none "$1/tmp" && \
        mount -o remount,ro,bind "$1" && export TMPDIR="$1/tmp""#;
    let Some((stderr, _)) = assert_same_in_namespace("read-only", before) else { return };
    assert!(stderr.contains("/tmp/fragtrace-counts."), "{stderr}");
}
