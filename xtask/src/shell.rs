//! Running other programs, with errors that say which command failed and why.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Where a program is: on the PATH, or in the places for administrators that it may lack.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether this process may install packages: its effective user id is 0.
pub fn is_root() -> bool {
    // "Uid:  real  effective  saved  file system", proc_pid_status(5).
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}

/// Runs a command with our own input and outputs.
pub fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let status = command.status().with_context(|| format!("cannot start {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

/// Runs a command silently and returns what it did, whatever its exit status.
pub fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot start {}", describe(command)))
}

/// Runs a command and returns its standard output; when it fails, the last lines it said.
pub fn capture(command: &mut Command) -> Result<String> {
    let done = output(command)?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        bail!("{}: {}\n{last}", describe(command), done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The command as one would type it, its program without the folders.
pub fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str())];
    words.extend(command.get_args());
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}
