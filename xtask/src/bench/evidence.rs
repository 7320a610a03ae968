//! What it costs to look at a large heap: the same program with looks and without.
//!
//! Looks are taken on the program's own thread, so the processor time of the process holds all that
//! they cost: the calls, and what they leave of the caches. Runs are compared in pairs, one right
//! after the other and in changing order: the machine's speed drifts by more than what is measured.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped, median};
use crate::shell;

const MEGABYTES: u64 = 4096;
/// Some seconds of work, so that there are looks at all of the heap.
const PAIRS: u64 = 6_000_000;
const RUNS: usize = 5;
/// The heap, what the ring's pages take of the page cache, and something for everybody else.
const NEEDED_MEGABYTES: u64 = MEGABYTES + 2048;

/// How often looks are taken, by FRAGTRACE_LOOK_MS.
const LOOKS: [(&str, &str); 2] = [("at start and end only", "0"), ("every 50 ms", "50")];

/// One run of the program: its pairs alone, not the heap's filling.
#[derive(Clone, Copy)]
struct Run {
    clock_seconds: f64,
    processor_seconds: f64,
    /// What the tracer says that its rare work took in the whole run, looks among it.
    cost_seconds: f64,
    looks: f64,
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
    let mut runs: [Vec<Run>; 2] = Default::default();
    for round in 0..rig.runs.min(RUNS) {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            runs[which].push(measure(rig, &program, &arguments, LOOKS[which].1)?);
        }
    }
    Ok(format!(
        "{heading}\n\nBlocks come and go in a heap of {megabytes} MB, all of it touched; medians of \
         {} pairs of runs. *More*: processor time of the process, looks included, beside the run \
         without them right before or after it; from the least to the most of the pairs. *Rare work*: \
         what the tracer itself counts of the whole run, chunks, looks, the first and the last one \
         among them.\n\n{}",
        runs[0].len(),
        table(&runs)
    ))
}

fn measure(rig: &Rig, program: &Path, arguments: &[String], look_ms: &str) -> Result<Run> {
    let mut command = rig.command(Variant::WithoutStacks, program, arguments)?;
    let text = shell::capture(command.env("FRAGTRACE_LOOK_MS", look_ms))?;
    let mut figures = text.split_whitespace().map(str::parse);
    let mut next = || figures.next().context("large printed too few figures");
    let (clock_seconds, processor_seconds) = (next()??, next()??);
    let facts = rig.facts()?;
    let cost_seconds = facts.tracer_cost_ns / 1e9;
    Ok(Run { clock_seconds, processor_seconds, cost_seconds, looks: facts.looks })
}

fn table(runs: &[Vec<Run>; 2]) -> Table {
    let [without, with] = runs;
    let pairs = without.iter().zip(with);
    let more =
        pairs.map(|(bare, run)| 100.0 * (run.processor_seconds / bare.processor_seconds - 1.0));
    let mut more: Vec<f64> = more.collect();
    more.sort_by(f64::total_cmp);
    let mut table = Table::new(&[
        "looks",
        "seconds",
        "of processor",
        "more",
        "least",
        "most",
        "looks taken",
        "rare work",
    ]);
    for ((name, look_ms), runs) in LOOKS.iter().zip(runs) {
        let of = |figure: fn(&Run) -> f64| median(&runs.iter().map(figure).collect::<Vec<_>>());
        let told = |percent: Option<f64>| figure(percent.filter(|_| *look_ms != "0"), 2, " %");
        table.row([
            (*name).to_owned(),
            figure(of(|run| run.clock_seconds), 3, ""),
            figure(of(|run| run.processor_seconds), 3, ""),
            told(median(&more)),
            told(more.first().copied()),
            told(more.last().copied()),
            grouped(of(|run| run.looks).unwrap_or_default()),
            figure(of(|run| run.cost_seconds), 3, " s"),
        ]);
    }
    table
}

fn available_megabytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() >> 10
}
