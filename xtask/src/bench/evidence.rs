//! What it costs to look at a large heap: the same program with looks and without.

use std::fs;

use anyhow::{Context, Result};

use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped, median};
use crate::shell;

const MEGABYTES: u64 = 4096;
const PAIRS: u64 = 3_000_000;
const RUNS: usize = 3;
/// The heap, what the ring's pages take of the page cache, and something for everybody else.
const NEEDED_MEGABYTES: u64 = MEGABYTES + 2048;

/// How often looks are taken, by FRAGTRACE_LOOK_MS.
const LOOKS: [(&str, &str); 2] = [("at start and end only", "0"), ("every 50 ms", "50")];

#[derive(Default)]
struct Samples {
    seconds: Vec<f64>,
    /// What the tracer says that its rare work took, looks among it.
    cost_seconds: Vec<f64>,
    looks: Vec<f64>,
}

/// Measures, on machines that have the memory.
pub fn run(rig: &Rig) -> Result<String> {
    let (megabytes, pairs) =
        if rig.quick { (MEGABYTES / 8, PAIRS / 8) } else { (MEGABYTES, PAIRS) };
    let heading = "### Looking at a large heap";
    if available_megabytes() < megabytes + NEEDED_MEGABYTES - MEGABYTES {
        return Ok(format!("{heading}\n\nSkipped: not enough memory is free for {megabytes} MB."));
    }
    let program = rig.compile("large")?;
    let arguments = [megabytes.to_string(), pairs.to_string()];
    let mut samples = LOOKS.map(|_| Samples::default());
    for _ in 0..rig.runs.min(RUNS) {
        for ((_, look_ms), samples) in LOOKS.iter().zip(&mut samples) {
            let mut command = rig.command(Variant::WithoutStacks, &program, &arguments)?;
            let text = shell::capture(command.env("FRAGTRACE_LOOK_MS", look_ms))?;
            samples.seconds.push(text.trim().parse().context("large printed no figure")?);
            let facts = rig.facts()?;
            samples.cost_seconds.push(facts.tracer_cost_ns / 1e9);
            samples.looks.push(facts.looks);
        }
    }
    let mut table = Table::new(&["looks", "seconds", "more", "looks taken", "rare work", "share"]);
    let [without, _] = &samples;
    let (bare, bare_cost) = (median(&without.seconds), median(&without.cost_seconds));
    for ((name, _), samples) in LOOKS.iter().zip(&samples) {
        let (seconds, cost) = (median(&samples.seconds), median(&samples.cost_seconds));
        let more = seconds.zip(bare).map(|(seconds, bare)| 100.0 * (seconds / bare - 1.0));
        let share = cost.zip(bare_cost).zip(seconds);
        let share = share.map(|((cost, bare), seconds)| 100.0 * (cost - bare) / seconds);
        table.row([
            (*name).to_owned(),
            figure(seconds, 3, ""),
            figure(more, 2, " %"),
            grouped(median(&samples.looks).unwrap_or_default()),
            figure(cost, 3, " s"),
            figure(share, 2, " %"),
        ]);
    }
    Ok(format!(
        "{heading}\n\nBlocks come and go in a heap of {megabytes} MB, all of it touched; medians of {} \
         runs. *More*: by the program's own clock. *Rare work*: what the tracer itself counts, chunks, \
         looks, the first and the last one among them; *share*: what it is more than without looks, of \
         the run.\n\n{table}",
        rig.runs.min(RUNS)
    ))
}

fn available_megabytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() >> 10
}
