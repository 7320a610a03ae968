//! What users of the command line meet, as far as no trace is needed: help, clear errors,
//! and `record` as a faithful wrapper around a program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SUBCOMMANDS: [&str; 8] =
    ["record", "report", "map", "timeline", "holes", "blame", "dump", "doctor"];

fn fragtrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fragtrace"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FRAGTRACE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("LD_PRELOAD");
    command
}

fn run(arguments: &[&str]) -> Output {
    fragtrace().args(arguments).output().expect("the program under test runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A library that does nothing in place of the tracer: the C library, which is loaded anyway.
fn harmless_library() -> String {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let libc = paths.find(|path| path.contains("/libc.so") || path.contains("/ld-musl"));
    libc.expect("this test is linked dynamically").to_owned()
}

/// `fragtrace record -- COMMAND`, with a tracer that records nothing.
fn record(folder: &Path, command: &[&str]) -> Command {
    let mut record = fragtrace();
    record.env("FRAGTRACE_LIB", harmless_library()).current_dir(folder);
    record.args(["record", "--"]).args(command);
    record
}

#[track_caller]
fn assert_cannot(output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "results only: {}", text(&output.stdout));
    assert!((1..=2).contains(&said.lines().count()), "one or two lines:\n{said}");
    assert!(!said.contains("panicked") && !said.contains("os error"), "for users:\n{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

#[test]
fn every_subcommand_has_short_help_and_long_help_with_examples() {
    for subcommand in SUBCOMMANDS {
        let short = run(&[subcommand, "-h"]);
        let long = run(&[subcommand, "--help"]);
        assert!(short.status.success() && long.status.success(), "{subcommand}");
        assert!(text(&long.stdout).contains("Examples:"), "{subcommand}");
        assert!(!text(&short.stdout).contains("Examples:"), "{subcommand}: -h is short");
        assert!(short.stderr.is_empty() && long.stderr.is_empty(), "{subcommand}");
    }
    assert!(text(&run(&["--help"]).stdout).contains("Examples:"));
}

#[test]
fn what_is_no_trace_is_said_in_a_line_or_two() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let cases: [(PathBuf, &str); 5] = [
        (folder.path().join("missing.ftr"), "no such file"),
        (file("empty.ftr", b""), "empty"),
        (file("text.ftr", b"this is no trace at all, but a text\n"), "is no trace"),
        (file("zeros.ftr", &[0; 100_000]), "is no trace"),
        (file("cut.ftr", &[&b"\x89FTRACE\n"[..], &[0; 100]].concat()), "cut"),
    ];
    for (path, words) in &cases {
        for subcommand in ["report", "holes", "blame", "dump"] {
            assert_cannot(&run(&[subcommand, path.to_str().expect("text")]), &[words]);
        }
        for subcommand in ["map", "timeline"] {
            let picture = folder.path().join("never.png");
            let arguments =
                [subcommand, path.to_str().expect("text"), "-o", picture.to_str().expect("text")];
            assert_cannot(&run(&arguments), &[words]);
            assert!(!picture.exists(), "no picture of nothing");
        }
    }
}

#[test]
fn a_folder_is_a_list_to_report_and_no_trace_to_the_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("text");
    assert_cannot(&run(&["report", path]), &["no trace in", "fragtrace record"]);
    assert_cannot(&run(&["dump", path]), &["is a directory", "fragtrace report"]);
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    for (arguments, words) in [
        (vec!["holes", "x.ftr", "--at", "noon"], "80%"),
        (vec!["holes", "x.ftr", "--fit", "12Q"], "64K"),
        (vec!["blame", "x.ftr", "--by", "luck"], "function"),
        (vec!["blame", "x.ftr", "--weight", "live"], "--folded"),
        (vec!["map", "x.ftr", "-o", "x.svg"], ".png"),
        (vec!["map", "x.ftr", "-o", "x.png", "--size", "big"], "1600x900"),
        (vec!["map", "x.ftr", "-o", "x.png", "--theme", "pink"], "light or dark"),
        (vec!["record", "--ring", "1K", "true"], "64K to 1T"),
        (vec!["record", "--stacks", "257", "true"], "1 to 256"),
        (vec!["record", "--color", "maybe", "true"], "always"),
        (vec!["frobnicate"], "frobnicate"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{arguments:?}:\n{}", text(&output.stderr));
    }
}

#[test]
fn record_returns_the_status_of_the_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (script, status) in
        [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)]
    {
        let output = record(folder.path(), &["sh", "-c", script]).output().expect("runs");
        assert_eq!(output.status.code(), Some(status), "{script}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn record_says_as_shells_do_why_a_program_did_not_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lost = folder.path().join("lost");
    fs::write(&lost, "#!/nonexistent/interpreter\n").expect("written");
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o755)).expect("made executable");
    fs::write(folder.path().join("plain"), "text").expect("written");
    for (command, status, words) in [
        ("no-such-program-at-all", 127, "command not found"),
        ("./nowhere", 127, "no such file"),
        ("./lost", 127, "interpreter"),
        ("./plain", 126, "not executable"),
    ] {
        let output = record(folder.path(), &[command]).output().expect("runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{command}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{command}: {said}");
    }
}

#[test]
fn record_refuses_a_place_that_cannot_be_written_before_the_program_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mark = folder.path().join("mark");
    let mut command = record(folder.path(), &["touch", "mark"]);
    let output = command.env("FRAGTRACE_OUT", "/nonexistent/t.ftr").output().expect("runs");
    assert_cannot(&output, &["/nonexistent", "-o"]);
    assert!(!mark.exists());
}

#[test]
fn record_without_a_tracer_says_where_it_looked() {
    let output = fragtrace().env("FRAGTRACE_LIB", "/nonexistent").args(["record", "true"]).output();
    assert_cannot(&output.expect("runs"), &["FRAGTRACE_LIB", "/nonexistent"]);
}

#[test]
fn a_signal_to_record_alone_reaches_the_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = record(folder.path(), &["sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("the program says that it is ready");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let status = child.wait().expect("ends");
    assert_eq!((status.code(), status.signal()), (Some(7), None));
}

#[test]
fn the_program_inherits_what_it_would_without_record() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "trap '' PIPE; \"$0\" record -- grep -E '^Sig(Blk|Ign)' /proc/self/status; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_fragtrace")])
        .env("FRAGTRACE_LIB", harmless_library())
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let stdout = text(&output.stdout);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[..2], lines[2..], "signals blocked and ignored are the same");
}

#[test]
fn doctor_tells_what_can_be_traced() {
    let doctor =
        |arguments: &[&str]| fragtrace().arg("doctor").args(arguments).output().expect("runs");
    let output = doctor(&["no-such-program-at-all"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("no such program"), "{}", text(&output.stdout));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [["doctor", "sh"], ["report", "--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = fragtrace().args(arguments).stdout(writer).output().expect("runs");
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn output_that_finds_no_room_is_said_to_be_that() {
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux");
    let mut doctor = fragtrace();
    doctor.arg("doctor").stdout(full).stderr(Stdio::piped());
    let output = doctor.output().expect("the program under test runs");
    assert_cannot(&output, &["cannot write to standard output: no space left on device"]);
}
