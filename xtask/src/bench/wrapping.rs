//! What it costs when the ring goes round: time for a pair, and room for a live block.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use super::facts::Facts;
use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped, median};
use crate::shell;

const RUNS: usize = 5;
/// Its size, pairs enough to go round it several times, and whether it does.
const RINGS: [(&str, &str, u64, bool); 3] = [
    ("2 GiB, not full", "2G", 5_000_000, false),
    ("1 MiB, goes round", "1M", 5_000_000, true),
    ("256 MiB, goes round", "256M", 100_000_000, true),
];
/// Blocks that live, for what one takes in the table.
const LIVE_BLOCKS: [u64; 2] = [10_000, 1_000_000];

/// Measures both.
pub fn run(rig: &Rig) -> Result<String> {
    let pair = rig.compile("pair")?;
    let runs = rig.runs.min(RUNS);
    let mut samples = [const { Vec::new() }; RINGS.len()];
    let mut caveats = Vec::new();
    for run in 1..=runs {
        for ((name, ring, pairs, wraps), samples) in RINGS.iter().zip(&mut samples) {
            let text = trace(rig, &pair, ["1", &pairs.to_string()], ring)?;
            samples.push(text.trim().parse::<f64>().context("pair printed no figure")?);
            if run == runs {
                let facts = rig.facts()?;
                caveats.push(facts.caveat());
                if facts.wrapped != *wraps {
                    caveats.push(format!("**{name}: that is not so, its figure does not count.**"));
                }
            }
        }
    }
    caveats.dedup();
    let medians = samples.map(|samples| median(&samples));
    let mut table = Table::new(&["ring", "a pair", "of not full"]);
    for ((name, ..), pair) in RINGS.iter().zip(medians) {
        let ratio = pair.zip(medians[0]).map(|(pair, unwrapped)| pair / unwrapped);
        table.row([(*name).to_owned(), figure(pair, 1, " ns"), figure(ratio, 2, " ×")]);
    }
    Ok(format!(
        "### Wrapping\n\nmalloc(64) and its free on one thread, without stacks; medians of {runs} \
         runs. {}\n\n{table}\n{}",
        caveats.join(" "),
        bytes_a_block(rig)?
    ))
}

/// Room for a live block in the table that the ring's oldest events go into.
fn bytes_a_block(rig: &Rig) -> Result<String> {
    let live = rig.compile("live")?;
    let mut table = Table::new(&["live blocks", "of them a table of", "bytes a block"]);
    for blocks in LIVE_BLOCKS {
        trace(rig, &live, [&*blocks.to_string(), "1000000"], "1M")?;
        let facts = rig.facts()?;
        let bytes = base_bytes(&facts)? as f64;
        let each = (facts.live_blocks > 0.0).then(|| bytes / facts.live_blocks);
        table.row([grouped(facts.live_blocks), grouped(bytes), figure(each, 1, "")]);
    }
    Ok(format!(
        "Room in the file for the table of live blocks, that made ahead included; through a ring of \
         1 MiB.\n\n{table}"
    ))
}

/// Runs a program under the tracer through a ring of this size; what it prints.
fn trace(rig: &Rig, program: &Path, arguments: [&str; 2], ring: &str) -> Result<String> {
    let mut command = rig.command(Variant::WithoutStacks, program, &arguments)?;
    shell::capture(command.env("FRAGTRACE_RING", ring))
}

/// Bytes of the base table's segments, by the table in the trace's header: see
/// docs/trace-format.md. All of them are reserved on the disk.
fn base_bytes(facts: &Facts) -> Result<u64> {
    const HEADER_BYTES: usize = 16 << 10;
    const COUNT_AT: usize = 4088;
    const SEGMENTS_AT: usize = 4096;
    const AREA_BITS: u64 = (1 << 12) - 1;
    const BASE: u64 = 3;
    let trace = &facts.trace;
    let mut header = [0; HEADER_BYTES];
    File::open(trace)
        .and_then(|mut file| file.read_exact(&mut header))
        .with_context(|| format!("cannot read {}", trace.display()))?;
    let (words, _) = header.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let count = words[COUNT_AT / 8] as usize;
    let segments = words[SEGMENTS_AT / 8..].chunks_exact(2).take(count);
    Ok(segments.filter(|entry| entry[0] & AREA_BITS == BASE).map(|entry| entry[1]).sum())
}
