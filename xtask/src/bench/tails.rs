//! The slowest of a million calls: what a tracer does now and then, a call in the middle waits for.

use anyhow::{Context, Result};

use super::rig::{Rig, Variant};
use super::table::{Table, figure, median};
use crate::shell;

const RUNS: usize = 3;
/// Million calls a run.
const MILLIONS: u64 = 20;

/// How the program is run, and what is set for it.
type Setting = (&'static str, Variant, &'static [(&'static str, &'static str)]);

const SETTINGS: [Setting; 5] = [
    ("bare", Variant::Bare, &[]),
    ("without stacks, no looks", Variant::WithoutStacks, &[("FRAGTRACE_LOOK_MS", "0")]),
    ("with stacks, no looks", Variant::Traced, &[("FRAGTRACE_LOOK_MS", "0")]),
    (
        "ring of 16 MiB goes round, without stacks, no looks",
        Variant::WithoutStacks,
        &[("FRAGTRACE_LOOK_MS", "0"), ("FRAGTRACE_RING", "16M")],
    ),
    ("as it comes", Variant::Traced, &[]),
];

/// What the program prints, in this order.
const COLUMNS: [&str; 8] = [
    "median",
    "99 %",
    "99.9 %",
    "99.99 %",
    "99.999 %",
    "slowest of a million",
    "slowest of all",
    "set apart",
];

/// And behind that, calls of a million that took longer than this.
const LONGER_THAN: [&str; 6] = ["10 µs", "20 µs", "50 µs", "100 µs", "200 µs", "500 µs"];

/// Measures.
pub fn run(rig: &Rig) -> Result<String> {
    let program = rig.compile("tails")?;
    let millions = if rig.quick { MILLIONS / 5 } else { MILLIONS };
    let mut samples = [const { Vec::new() }; SETTINGS.len()];
    for _ in 0..rig.runs.min(RUNS) {
        for ((_, variant, variables), samples) in SETTINGS.iter().zip(&mut samples) {
            let mut command = rig.command(*variant, &program, &[millions.to_string()])?;
            let text = shell::capture(command.envs(variables.iter().copied()))?;
            let figures: Vec<f64> =
                text.lines().filter_map(|line| line.trim().parse().ok()).collect();
            let figures = <[f64; COLUMNS.len() + LONGER_THAN.len()]>::try_from(figures);
            samples.push(figures.ok().context("tails: figures")?);
        }
    }
    let mut table = Table::new(&[&["a call"], &COLUMNS[..]].concat());
    let mut histogram =
        Table::new(&[&["calls of a million longer than"], &LONGER_THAN[..]].concat());
    for ((name, ..), samples) in SETTINGS.iter().zip(&samples) {
        let column = |at: usize| {
            let values: Vec<f64> = samples.iter().map(|figures| figures[at]).collect();
            median(&values)
        };
        let cells = (0..COLUMNS.len()).map(|at| match COLUMNS[at] {
            "set apart" => figure(column(at), 0, ""),
            _ => in_words(column(at)),
        });
        table.row([(*name).to_owned()].into_iter().chain(cells));
        let counts =
            (COLUMNS.len()..COLUMNS.len() + LONGER_THAN.len()).map(|at| figure(column(at), 2, ""));
        histogram.row([(*name).to_owned()].into_iter().chain(counts));
    }
    Ok(format!(
        "### The slowest calls\n\n{millions} million calls of malloc and free, each timed: random sizes \
         up to 4 KB in 20,000 slots. *Slowest of a million*: the median of the slowest ones of each \
         million. Calls in which the kernel gave the processor to somebody else are set apart, and \
         counted in the last column. Medians of {} runs. A look may take up to 1 ms of the call in \
         which it falls due, at most every 50 ms.\n\n{table}\n{histogram}",
        rig.runs.min(RUNS)
    ))
}

fn in_words(ns: Option<f64>) -> String {
    match ns {
        Some(ns) if ns >= 10_000.0 => figure(Some(ns / 1000.0), 0, " µs"),
        ns => figure(ns, 0, " ns"),
    }
}
