//! Where traces go and what they are called: patterns, numbers instead of overwriting, and who
//! may read them.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{file_name, files_in};

/// Runs a program under the tracer in a folder, with this pattern for its trace.
fn run_in(folder: &Path, pattern: Option<&str>) -> Outcome {
    let mut ends = command(program("ends"));
    ends.arg("exit").current_dir(folder).env("LD_PRELOAD", tools::tracer());
    if let Some(pattern) = pattern {
        ends.env("FRAGTRACE_OUT", pattern);
    }
    let outcome = run(&mut ends).expect_code(7);
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
    outcome
}

fn names(folder: &Path) -> Vec<String> {
    files_in(folder).iter().map(|path| file_name(path)).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn by_default_the_name_has_the_executable_and_the_process() {
    let folder = folder();
    let outcome = run_in(folder.path(), None);
    let expected = format!("fragtrace-ends.{}.ftr", outcome.pid);
    assert!(
        names(folder.path()) == [expected.as_str()],
        "expected {expected}, found {:?}",
        names(folder.path())
    );
}

#[test]
fn patterns_expand() {
    let folder = folder();
    let outcome = run_in(folder.path(), Some("%e-%p-%h-%t-%%-%e.ftr"));
    let found = names(folder.path()).join(" ");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux tells its name");
    let front = format!("ends-{}-{}-", outcome.pid, host.trim());
    let time = found.strip_prefix(&front).and_then(|rest| rest.strip_suffix("-%-ends.ftr"));
    let time = time.unwrap_or_else(|| panic!("expected {front}<time>-%-ends.ftr, found {found}"));
    assert!(
        !time.is_empty() && time.starts_with(|digit: char| digit.is_ascii_digit()),
        "the start time begins with a digit: `{time}`"
    );
}

#[test]
fn a_path_may_be_relative_and_the_program_may_change_its_folder() {
    let folder = folder();
    fs::create_dir(folder.path().join("traces")).expect("a folder can be made");
    let mut shell = command("/bin/sh");
    shell.args(["-c", "cd /; exit 3"]).current_dir(folder.path());
    shell.env("LD_PRELOAD", tools::tracer()).env("FRAGTRACE_OUT", "traces/x.ftr");
    run(&mut shell).expect_code(3);
    let report = Report::of(&folder.path().join("traces/x.ftr"));
    report.assert_adds_up();
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = folder();
    let mine = folder.path().join("x.ftr");
    fs::write(&mine, "mine").expect("a file can be written");
    for _ in 0..3 {
        run_in(folder.path(), Some("x.ftr"));
    }
    let found = names(folder.path());
    assert!(found == ["x.ftr", "x.ftr.1", "x.ftr.2", "x.ftr.3"], "found {found:?}");
    assert!(fs::read(&mine).expect("it is still there") == b"mine", "the first file changed");
    for name in &found[1..] {
        Report::of(&folder.path().join(name)).assert_adds_up();
    }
}

#[test]
fn a_link_is_not_followed() {
    let folder = folder();
    symlink(folder.path().join("elsewhere"), folder.path().join("x.ftr")).expect("a link");
    run_in(folder.path(), Some("x.ftr"));
    let found = names(folder.path());
    assert!(found == ["x.ftr", "x.ftr.1"], "a trace beside the link: {found:?}");
}

#[test]
fn only_the_owner_may_read_a_trace() {
    let folder = folder();
    for mask in ["0", "077"] {
        let mut shell = command("/bin/sh");
        shell.args(["-c", &format!("umask {mask}; exec \"$0\" exit")]).arg(program("ends"));
        shell.current_dir(folder.path()).env("LD_PRELOAD", tools::tracer());
        shell.env("FRAGTRACE_OUT", format!("{mask}-%e.ftr"));
        run(&mut shell).expect_code(7);
        let path = folder.path().join(format!("{mask}-ends.ftr"));
        let mode = fs::metadata(&path).expect("the trace is there").permissions().mode() & 0o7777;
        assert!(mode == 0o600, "umask {mask}: expected mode 600, found {mode:o}");
    }
}

#[test]
fn the_file_is_cut_to_what_it_holds() {
    let folder = folder();
    run_in(folder.path(), Some("x.ftr"));
    let bytes = fs::metadata(folder.path().join("x.ftr")).expect("the trace is there").len();
    assert!(bytes < 16 << 20, "1,700 events in a file of {bytes} bytes");
}
