//! `cargo xtask test`: everything that must hold before a change is taken.
//!
//! Every step runs even when an earlier one failed, so that one run tells all; the summary at the
//! end lists what was skipped and why.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{aarch64, debian, project, shell, snmalloc, suites, wasm32};

/// How a step ended, when it did not fail.
pub enum Outcome {
    /// It ran, and all is well.
    Passed,
    /// It ran, and all is well but what is said here.
    PassedBut(String),
    /// It could not run here, for this reason.
    Skipped(String),
}

struct Step {
    name: &'static str,
    result: Result<Outcome>,
    took: Duration,
}

/// The steps by name, in their order.
pub const STEPS: [&str; 10] = [
    "packages",
    "format",
    "clippy",
    "clippy.so",
    "build",
    "snmalloc",
    "wasm32",
    "tests",
    "aarch64",
    "deny",
];

struct Steps {
    only: Vec<String>,
    done: Vec<Step>,
}

impl Steps {
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Outcome>) {
        if !self.only.is_empty() && !self.only.iter().any(|wanted| wanted == name) {
            return;
        }
        println!("\n── {name}");
        let start = Instant::now();
        let result = step();
        match &result {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::PassedBut(what)) => println!("{what}"),
            Ok(Outcome::Skipped(why)) => println!("skipped: {why}"),
            Err(error) => eprintln!("{name}: {error:#}"),
        }
        self.done.push(Step { name, result, took: start.elapsed() });
    }

    /// A step that is one call of cargo.
    fn cargo(&mut self, name: &'static str, arguments: &str) {
        self.run(name, || {
            shell::run(project::cargo().args(arguments.split(' ')))?;
            Ok(Outcome::Passed)
        });
    }

    fn summarise(&self) -> Result<()> {
        println!("\n── summary");
        for Step { name, result, took } in &self.done {
            let said = match result {
                Ok(Outcome::Passed) => "passed".to_owned(),
                Ok(Outcome::PassedBut(what)) => format!("passed, but {what}"),
                Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
                Err(_) => "FAILED".to_owned(),
            };
            println!("{name:<10} {:6.1} s  {said}", took.as_secs_f64());
        }
        let failed: Vec<&str> =
            self.done.iter().filter(|step| step.result.is_err()).map(|step| step.name).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

/// Installs what is missing, then checks, builds and tests; or only the steps named.
pub fn run(only: Vec<String>) -> Result<()> {
    let mut steps = Steps { only, done: Vec::new() };
    steps.run("packages", packages);
    steps.cargo("format", "fmt --all --check");
    // The tracer is a no_std library with its own panic handler: linted apart, so that features
    // that the analyzer asks of common dependencies do not reach it, and without test targets.
    steps.cargo(
        "clippy",
        // In the profile of the tests: C libraries that some of them link are built only once.
        "clippy --profile checks --workspace --exclude fragtrace-preload --all-targets -- -D warnings",
    );
    steps.cargo("clippy.so", "clippy --release --package fragtrace-preload -- -D warnings");
    steps.cargo("build", "build --release");
    steps.run("snmalloc", snmalloc::step);
    steps.run("wasm32", wasm32::build);
    steps.run("tests", suites::run);
    steps.run("aarch64", aarch64::check);
    steps.run("deny", deny);
    steps.summarise()
}

fn packages() -> Result<Outcome> {
    let missing = debian::missing();
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    let names = missing.join(" ");
    if shell::find("apt-get").is_none() {
        return Ok(Outcome::Skipped(format!(
            "no apt-get here; tests that need these Debian packages skip: {names}"
        )));
    }
    if !shell::is_root() {
        return Ok(Outcome::Skipped(format!(
            "not root; tests that need these packages skip: {names}"
        )));
    }
    match debian::install(&missing)?.as_slice() {
        [] => Ok(Outcome::Passed),
        absent => bail!("not to be had from this system's packages: {}", absent.join(" ")),
    }
}

/// Licences and sources are judged offline; advisories need a database that may be out of reach.
fn deny() -> Result<Outcome> {
    if shell::find("cargo-deny").is_none() {
        return Ok(Outcome::Skipped("no cargo-deny here (cargo install cargo-deny)".to_owned()));
    }
    let deny = |arguments: &[&str]| {
        let mut command: Command = project::cargo();
        command.arg("deny").args(arguments);
        command
    };
    shell::run(&mut deny(&["check", "licenses", "bans", "sources"]))?;
    if shell::output(&mut deny(&["fetch", "db"]))?.status.success() {
        shell::run(&mut deny(&["check", "advisories"]))?;
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::Skipped("licences are in order; no advisory database to be had".to_owned()))
}
