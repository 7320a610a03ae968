//! What each command takes for the same trace, on one processor and on all, and how soon the first word
//! is there.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped, median};
use crate::shell;

/// What is typed, with TRACE and OUT where the paths stand; and with `taskset`, on one processor.
const COMMANDS: [&str; 8] = [
    "report TRACE",
    "taskset report TRACE",
    "report --json TRACE",
    "blame TRACE",
    "holes TRACE",
    "timeline TRACE -o OUT.png",
    "map TRACE -o OUT.png",
    "html TRACE -o OUT.html",
];

/// Calls of each of four threads of which the trace takes 1 MB.
const OF_A_MEGABYTE: &str = "22000";

/// Records the stress, then lets each command read it, in turn.
pub fn run(rig: &Rig) -> Result<String> {
    let stress = rig.compile("stress")?;
    let calls = if rig.quick { "20000" } else { "1000000" };
    shell::capture(&mut rig.command(Variant::Traced, &stress, &["4", calls])?)?;
    let facts = rig.facts()?;
    let mut seconds: [Vec<f64>; COMMANDS.len()] = Default::default();
    for _ in 0..rig.runs {
        for (words, seconds) in COMMANDS.iter().zip(&mut seconds) {
            if let Some(mut command) = command_of(rig, words, &facts.trace) {
                let start = Instant::now();
                shell::capture(&mut command)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let medians = seconds.map(|seconds| median(&seconds));
    let mut table = Table::new(&["command", "seconds", "of report's"]);
    for (words, seconds) in COMMANDS.iter().zip(medians) {
        let name = words.split(" TRACE").next().unwrap_or(words);
        let name = match name.strip_prefix("taskset ") {
            Some(name) => format!("{name}, on one processor"),
            None => name.to_owned(),
        };
        let share = seconds.zip(medians[0]).map(|(seconds, report)| seconds / report);
        table.row([name, figure(seconds, 2, " s"), figure(share, 2, " ×")]);
    }
    Ok(format!(
        "### Commands\n\nThe stress with 4 threads, {} events, 1,000 moments; read by each command in turn, on \
         all processors where nothing else is said. {}\n\n{table}\n{}",
        grouped(facts.events),
        facts.caveat(),
        first_output(rig, &stress)?
    ))
}

/// The command of some words; `None`: what it needs is not here.
fn command_of(rig: &Rig, words: &str, trace: &Path) -> Option<Command> {
    let (mut command, words) = match words.strip_prefix("taskset ") {
        Some(words) => {
            let mut command = Command::new(shell::find("taskset")?);
            command.args(["-c", "0"]).arg(&rig.artifacts.fragtrace);
            (command, words)
        }
        None => (Command::new(&rig.artifacts.fragtrace), words),
    };
    for word in words.split(' ') {
        match word.split_once("OUT.") {
            Some((_, ending)) => command.arg(rig.file("out").with_extension(ending)),
            None if word == "TRACE" => command.arg(trace),
            None => command.arg(word),
        };
    }
    Some(command)
}

/// A sentence about a small trace: after how long the report's first byte is there.
fn first_output(rig: &Rig, stress: &Path) -> Result<String> {
    shell::capture(&mut rig.command(Variant::Traced, stress, &["4", OF_A_MEGABYTE])?)?;
    let facts = rig.facts()?;
    let mut milliseconds = Vec::new();
    for _ in 0..rig.runs {
        let start = Instant::now();
        let mut report = Command::new(&rig.artifacts.fragtrace)
            .arg("report")
            .arg(&facts.trace)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start fragtrace")?;
        let mut out = report.stdout.take().context("its output is piped")?;
        out.read_exact(&mut [0]).context("the report says nothing")?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        out.read_to_end(&mut Vec::new())?;
        report.wait()?;
    }
    let slowest = milliseconds.iter().copied().reduce(f64::max);
    Ok(format!(
        "Of {} events, {} MB, the first output of `report` comes after {} (median of {}; slowest {}).",
        grouped(facts.events),
        figure(facts.bytes_per_event.map(|bytes| bytes * facts.events / 1e6), 1, ""),
        figure(median(&milliseconds), 0, " ms"),
        milliseconds.len(),
        figure(slowest, 0, " ms"),
    ))
}
