//! Programs that people use, from Debian's packages: each writes, leaves behind and returns what
//! it does without the tracer, and the trace of each of its processes opens and is whole. What was
//! tried stands in docs/compatibility.md, which `FRAGTRACE_BLESS=1` has this test write.
//!
//! FRAGTRACE_SOAK_MATRIX says how often each runs under the tracer, all but the first time with
//! the machine's processors kept busy; once unless told. FRAGTRACE_MATRIX_ONLY names one program.
#![forbid(unsafe_code)]

mod inputs;
mod languages;
mod servers;
mod tools;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use fragtrace_tests::check::assert_same_run;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools as machine;
use fragtrace_tests::traced::files_in;
use inputs::Left;
use tempfile::TempDir;

/// A program, the package that brings it, what it is set to do here, and the line of shell that
/// has it do so. The name's first word is the command by which one sees that it is installed.
struct Program {
    name: &'static str,
    package: &'static str,
    work: &'static str,
    line: &'static str,
}

const GROUPS: [(&str, &[Program]); 3] =
    [("language", languages::LANGUAGES), ("tool", tools::TOOLS), ("server", servers::SERVERS)];

/// Programs that run at once; most wait for their own children half of the time.
const AT_ONCE: usize = 3;

/// What a line did: how it ended, what it wrote, and which files it left.
struct Done {
    outcome: Outcome,
    left: Left,
}

/// Where a program runs, time and again under the same path, and where its traces go. Both can be
/// reached by servers that drop their privileges.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        open_to_all(folder.path(), 0o755);
        Self { folder }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn run(&self, line: &str, arm: impl Fn(&mut Command)) -> Done {
        let work = self.work();
        inputs::write(&work);
        let mut shell = command("/bin/sh");
        shell.args(["-c", line]).current_dir(&work).env("HOME", &work);
        // What Debian installed, whatever else this machine has.
        shell.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("TMPDIR", &work);
        arm(&mut shell);
        let outcome = run(&mut shell);
        let left = Left::of(&work);
        fs::remove_dir_all(&work).expect("what a program left can be removed");
        Done { outcome, left }
    }
}

fn open_to_all(folder: &Path, mode: u32) {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(folder, mode).expect("the mode of one's own folder can be changed");
}

/// How many processes left a trace, each of which is whole.
fn check_traces(name: &str, traces: &Path) -> usize {
    let (paths, reports) = (files_in(traces), Report::of_each(traces));
    assert!(!paths.is_empty(), "{name}: no process left a trace");
    assert!(paths.len() == reports.len(), "{name}: a report on each of {paths:#?}");
    for report in &reports {
        report.assert_complete();
        // What a child has from its parent it may release, too.
        if !report.value("/trace/forked_from").is_u64() {
            report.assert_adds_up();
        }
    }
    reports.len()
}

/// Runs a program bare and so many times traced, and gives its line of the table.
fn row(group: &str, program: &Program, times: usize) -> String {
    let place = Place::new();
    let bare = place.run(program.line, |_| {});
    assert!(!bare.outcome.stdout.is_empty(), "{}: {}", program.name, bare.outcome.describe());
    let mut processes = 0;
    for _ in 0..times {
        let traces = place.folder.path().join("traces");
        fs::create_dir(&traces).expect("a folder for traces can be made");
        open_to_all(&traces, 0o777);
        let traced = place.run(program.line, |shell| {
            shell.env("LD_PRELOAD", machine::tracer());
            shell.env("FRAGTRACE_OUT", traces.join("%e.%p.ftr"));
        });
        assert_same_run(&bare.outcome, &traced.outcome);
        bare.left.assert_same(&traced.left, program.name);
        processes = check_traces(program.name, &traces);
        fs::remove_dir_all(&traces).expect("traces can be removed");
    }
    // How many it is exactly depends on versions, and for some on how fast the machine is.
    let processes = if processes > 2 { "several" } else { "one" };
    let Program { name, package, work, .. } = program;
    format!("| {name} | {package} | {group} | {work} | {processes} |")
}

/// Rows of all programs that are installed here, in the order of their lists.
fn rows(times: usize) -> Vec<String> {
    let only = std::env::var("FRAGTRACE_MATRIX_ONLY").ok();
    let all: Vec<_> = GROUPS
        .iter()
        .flat_map(|(group, programs)| programs.iter().map(move |program| (*group, program)))
        .filter(|(_, program)| only.as_ref().is_none_or(|only| program.name == *only))
        .filter(|(_, program)| {
            let word = program.name.split([' ', ',']).next().unwrap_or_default();
            machine::find(word).is_some()
        })
        .collect();
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); all.len()]));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((group, program)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let index = all.iter().position(|(_, other)| other.name == program.name);
                    let row = row(group, program, times);
                    rows.lock().expect("no panic while it is held")[index.expect("one of them")] =
                        row;
                }
            });
        }
    });
    rows.into_inner().expect("all threads have ended well")
}

/// Keeps one processor busy until it is dropped.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const BEGIN: &str = "<!-- written by tests/tests/matrix -->\n";
const END: &str = "<!-- end -->";

#[test]
fn real_programs_run_as_they_do_untraced() {
    let times = machine::soak("FRAGTRACE_SOAK_MATRIX", 1);
    let stop = AtomicBool::new(false);
    let rows = thread::scope(|scope| {
        let _busy = Busy(&stop);
        if times > 1 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        rows(times)
    });
    let page = machine::workspace().join("docs/compatibility.md");
    let text = fs::read_to_string(&page).expect("the page can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("FRAGTRACE_BLESS").is_some() {
        let head = "| program | package | kind | what it does | processes |\n|---|---|---|---|---|";
        let table = format!("{head}\n{}\n", rows.join("\n"));
        fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page");
        return;
    }
    // A program that this machine lacks has no row here.
    let missing: Vec<_> = rows.iter().filter(|row| !table.lines().any(|l| l == *row)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
}
