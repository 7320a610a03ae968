//! One malloc and its free from the thread's cache, on one thread and on two.

use anyhow::{Context, Result};

use super::facts::Facts;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure, median};
use crate::shell;

/// Measures; returns the section and the facts of the last trace.
pub fn run(rig: &Rig) -> Result<(String, Facts)> {
    let program = rig.compile("pair")?;
    let mut table = Table::new(&[
        "a pair",
        "bare",
        "traced",
        "heaptrack",
        "fragtrace adds",
        "heaptrack adds",
        "ratio",
    ]);
    let mut last = None;
    let mut caveats = Vec::new();
    for threads in [1, 2] {
        let mut samples = Samples::default();
        for run in 1..=rig.runs {
            for variant in rig.variants() {
                let arguments = [threads.to_string(), pairs(rig, variant).to_string()];
                let text = shell::capture(&mut rig.command(variant, &program, &arguments)?)?;
                samples.add(variant, first_number(&text)?);
                if variant == Variant::Traced && run == rig.runs {
                    last = Some(rig.facts()?);
                }
            }
        }
        caveats.extend(last.as_ref().map(Facts::caveat));
        let (bare, traced) = (median(&samples.bare), median(&samples.traced));
        let heaptrack = median(&samples.heaptrack);
        let above = |value: Option<f64>| Some(value? - bare?);
        let ratio = above(traced).zip(above(heaptrack)).map(|(ours, theirs)| 100.0 * ours / theirs);
        table.row([
            format!("{threads} thread{}", if threads == 1 { "" } else { "s" }),
            figure(bare, 1, " ns"),
            figure(traced, 1, " ns"),
            figure(heaptrack, 1, " ns"),
            figure(above(traced), 1, " ns"),
            figure(above(heaptrack), 1, " ns"),
            figure(ratio, 1, " %"),
        ]);
    }
    caveats.dedup();
    let section = format!(
        "### What a pair costs\n\n\
         malloc(64) and its free, served by the thread's cache; threads share nothing. Both take \
         stacks; heaptrack has its interpreter running beside it. {}\n\n{table}",
        caveats.join(" ")
    );
    Ok((section, last.context("no traced run")?))
}

/// Enough for a run of a tenth of a second; heaptrack is slower by an order of magnitude.
fn pairs(rig: &Rig, variant: Variant) -> u64 {
    let pairs = if variant == Variant::Heaptrack { 1_000_000 } else { 5_000_000 };
    if rig.quick { pairs / 5 } else { pairs }
}

/// The program's own line, wherever a launcher's lines are around it.
fn first_number(text: &str) -> Result<f64> {
    text.lines().find_map(|line| line.trim().parse().ok()).context("pair printed no figure")
}
