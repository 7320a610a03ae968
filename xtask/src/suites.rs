//! The workspace's test programs.
//!
//! Many of them compare a report with what the kernel said of a moment, on a machine that runs
//! several at once. One that fails is therefore run once more by itself: what fails twice fails,
//! and what passes then is named in the summary, so that nobody takes it for steady.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::test::Outcome;
use crate::{project, shell};

/// More failures than these are no chance, of some eighty programs on a machine however busy.
const MOST_UNSTEADY: usize = 6;

pub fn run() -> Result<Outcome> {
    let workspace = ["--no-fail-fast", "--workspace", "--exclude", "fragtrace-preload"];
    let failed = failed_of(&mut test(&workspace))?;
    if failed.len() > MOST_UNSTEADY {
        bail!("{} test programs failed: {}", failed.len(), failed.join("; "));
    }
    for program in &failed {
        println!("\nonce more, by itself: {program}");
        let mut alone: Vec<&str> = program.split(' ').collect();
        alone.extend(["--", "--test-threads=1"]);
        shell::run(&mut test(&alone)).context("failed twice")?;
    }
    match failed.as_slice() {
        [] => Ok(Outcome::Passed),
        programs => Ok(Outcome::PassedBut(format!(
            "failed beside others, passed alone: {}",
            programs.join("; ")
        ))),
    }
}

fn test(arguments: &[&str]) -> Command {
    let mut cargo = project::cargo();
    cargo.args(["test", "--profile", "checks"]).args(arguments);
    if shell::is_root() && shell::find("apt-get").is_some() {
        // Then everything was installed before: a test that finds something missing must fail.
        cargo.env("FRAGTRACE_REQUIRE_ALL", "1");
    }
    cargo
}

/// Runs tests and passes on what they say. The programs that failed, as cargo names them: the
/// arguments that run them again.
fn failed_of(cargo: &mut Command) -> Result<Vec<String>> {
    let line = shell::describe(cargo);
    let mut running =
        cargo.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start {line}"))?;
    let said = running.stderr.take().context("no pipe")?;
    let mut failed = Vec::new();
    for said in BufReader::new(said).split(b'\n') {
        let said = String::from_utf8_lossy(&said?).into_owned();
        eprintln!("{said}");
        failed.extend(named(&said));
    }
    let status = running.wait()?;
    if !status.success() && failed.is_empty() {
        bail!("{line}: {status}");
    }
    Ok(failed)
}

/// The test program in a line of cargo's list of those that failed.
fn named(line: &str) -> Option<String> {
    let program = line.strip_prefix("    `")?.strip_suffix('`')?;
    program.starts_with("-p ").then(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{failed_of, named};
    use std::process::Command;

    #[test]
    fn programs_that_failed_are_those_of_cargos_list() {
        assert_eq!(
            named("    `-p some-tests --test one`").as_deref(),
            Some("-p some-tests --test one")
        );
        assert_eq!(named("error: 1 target failed:"), None);
        assert_eq!(named("error: test failed, to rerun pass `-p some-tests --test one`"), None);
    }

    #[test]
    fn what_fails_without_such_a_list_is_an_error() {
        assert!(failed_of(&mut Command::new("false")).is_err());
        assert!(failed_of(&mut Command::new("true")).expect("all is well").is_empty());
    }
}
