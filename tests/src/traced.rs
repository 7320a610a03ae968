//! Runs a program under the tracer and keeps what it recorded.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::report::Report;
use crate::run::{Outcome, Running, command, run};
use crate::tools;

/// A traced run: how it went, and a folder with its traces.
pub struct Traced {
    /// How the program ended.
    pub outcome: Outcome,
    folder: TempDir,
}

impl Traced {
    /// Runs a command under the tracer, one trace a process, named `<executable>.<pid>.ftr`.
    /// Settings that the command brings along stay as they are.
    pub fn run(mut command: Command) -> Self {
        let folder = arm(&mut command);
        Self { outcome: run(&mut command), folder }
    }

    /// Runs a command that must end with status 0.
    pub fn run_well(command: Command) -> Self {
        let Self { outcome, folder } = Self::run(command);
        Self { outcome: outcome.expect_code(0), folder }
    }

    /// The paths of all traces, sorted.
    pub fn traces(&self) -> Vec<PathBuf> {
        files_in(self.folder.path())
    }

    /// The path of the only trace.
    pub fn trace(&self) -> PathBuf {
        only(self.traces(), &self.outcome)
    }

    /// The path of the only trace of this executable.
    pub fn trace_of(&self, executable: &str) -> PathBuf {
        let prefix = format!("{executable}.");
        let traces = self.traces().into_iter().filter(|path| file_name(path).starts_with(&prefix));
        only(traces.collect(), &self.outcome)
    }

    /// The report on the only trace.
    pub fn report(&self) -> Report {
        Report::of(&self.trace())
    }
}

/// A traced program that still runs.
pub struct TracedRunning {
    /// The program.
    pub running: Running,
    folder: TempDir,
}

impl TracedRunning {
    /// Starts a command under the tracer.
    pub fn start(mut command: Command) -> Self {
        let folder = arm(&mut command);
        Self { running: Running::start(&mut command), folder }
    }

    /// Waits for the end.
    pub fn finish(self) -> Traced {
        Traced { outcome: self.running.finish(), folder: self.folder }
    }
}

/// Sets the tracer's variables where the command has none, and returns the folder of the traces.
fn arm(command: &mut Command) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let defaults = [
        ("LD_PRELOAD", tools::tracer().into_os_string()),
        ("FRAGTRACE_OUT", folder.path().join("%e.%p.ftr").into_os_string()),
    ];
    for (name, value) in defaults {
        if !command.get_envs().any(|(known, given)| known == name && given.is_some()) {
            command.env(name, value);
        }
    }
    folder
}

/// A value for `LD_PRELOAD`.
pub fn preload_list(libraries: &[&Path]) -> OsString {
    let mut list = OsString::new();
    for (index, library) in libraries.iter().enumerate() {
        if index > 0 {
            list.push(":");
        }
        list.push(library);
    }
    list
}

/// A run without address randomisation and with this library preloaded, which alone has it:
/// `setarch` and `env` before it run bare. Settings are `NAME=value`. `None`, after saying so, where the
/// system does not let randomisation be turned off.
pub fn run_at_fixed_addresses(
    preload: &Path,
    settings: &[&str],
    program: &Path,
    arguments: &[&str],
) -> Option<Outcome> {
    let setarch = tools::find("setarch")?;
    if run(command(&setarch).args(["-R", "true"])).status.code() != Some(0) {
        tools::skip_anyway("address randomisation cannot be turned off here");
        return None;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut fixed = command(setarch);
    fixed.args(["-R", "env"]);
    fixed.arg(assignment("LD_PRELOAD", preload.as_os_str()));
    fixed.arg(assignment("FRAGTRACE_OUT", folder.path().join("%e.%p.ftr").as_os_str()));
    fixed.args(settings).arg(program).args(arguments);
    Some(run(&mut fixed).expect_code(0))
}

fn assignment(name: &str, value: &OsStr) -> OsString {
    let mut assignment = OsString::from(name);
    assignment.push("=");
    assignment.push(value);
    assignment
}

/// The paths of the files in a folder, sorted.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

/// The last part of a path, as text.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn only(mut paths: Vec<PathBuf>, outcome: &Outcome) -> PathBuf {
    assert!(paths.len() == 1, "expected one trace, found {paths:?}: {}", outcome.describe());
    paths.remove(0)
}

/// A shell that runs one line, from the system's own folder.
pub fn shell(line: &str) -> Command {
    let mut shell = command("/bin/sh");
    shell.args(["-c", line]);
    shell
}
