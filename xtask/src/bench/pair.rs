//! One malloc and its free from the thread's cache, on one thread and on two.

use anyhow::{Context, Result};

use super::bytes::Row;
use super::facts::Facts;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure};
use crate::shell;

/// Measures; returns the section and the facts of the last traces.
pub fn run(rig: &Rig) -> Result<(String, Row)> {
    let program = rig.compile("pair")?;
    let mut table = Table::new(&[
        "a pair",
        "bare",
        "stamps alone",
        "without stacks",
        "with stacks",
        "heaptrack",
        "without, of heaptrack's",
        "with, of heaptrack's",
    ]);
    let mut row =
        Row { name: "pair, 2 threads".to_owned(), without: None, with: None, in_mix: false };
    let mut caveats = Vec::new();
    for threads in [1, 2] {
        let mut samples = Samples::default();
        for run in 1..=rig.runs {
            for variant in rig.variants() {
                let arguments = [threads.to_string(), pairs(rig, variant).to_string()];
                let text = shell::capture(&mut rig.command(variant, &program, &arguments)?)?;
                samples.add(variant, first_number(&text)?);
                match variant {
                    Variant::Traced if run == rig.runs => row.with = Some(rig.facts()?),
                    Variant::WithoutStacks if run == rig.runs => row.without = Some(rig.facts()?),
                    _ => {}
                }
            }
        }
        caveats.extend([&row.without, &row.with].into_iter().flatten().map(Facts::caveat));
        let ns = |variant| figure(samples.median(variant), 1, " ns");
        let share = |variant| figure(samples.of_heaptracks(variant), 1, " %");
        table.row([
            format!("{threads} thread{}", if threads == 1 { "" } else { "s" }),
            ns(Variant::Bare),
            ns(Variant::Stamps),
            ns(Variant::WithoutStacks),
            ns(Variant::Traced),
            ns(Variant::Heaptrack),
            share(Variant::WithoutStacks),
            share(Variant::Traced),
        ]);
    }
    caveats.dedup();
    let section = format!(
        "### What a pair costs\n\n\
         malloc(64) and its free, served by the thread's cache; threads share nothing. heaptrack \
         takes stacks, and has its interpreter running beside it. *Stamps alone*: under a library \
         that reads the clock and stores eight bytes for each event, and does nothing else: no tracer \
         goes below. The last columns: what a pair costs above the bare run of the same round, of \
         what it costs above it under heaptrack. {}\n\n{table}",
        caveats.join(" ")
    );
    Ok((section, row))
}

/// Enough for a run of a tenth of a second; heaptrack is slower by an order of magnitude.
fn pairs(rig: &Rig, variant: Variant) -> u64 {
    let pairs = if variant == Variant::Heaptrack { 1_000_000 } else { 5_000_000 };
    if rig.quick { pairs / 5 } else { pairs }
}

/// The program's own line, wherever a launcher's lines are around it.
pub fn first_number(text: &str) -> Result<f64> {
    text.lines().find_map(|line| line.trim().parse().ok()).context("pair printed no figure")
}
