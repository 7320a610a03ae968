//! `fragtrace holes`: the free ranges of the heap at one moment.

use super::output::{self, Output};
use super::{arguments, input};
use anyhow::Result;
use clap::Args;
use fragtrace_analyzer::measure::{self, TimeSpec};
use fragtrace_analyzer::render::holes::{self, Fit};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  fragtrace holes run.ftr                     at the end
  fragtrace holes run.ftr --at peak           when most was live
  fragtrace holes run.ftr --at 80% --fit 1M   how much of it would hold a block of 1 MiB?

A hole is a free range inside the footprint: memory that the heap has touched, that no block
uses, and that was not given back to the kernel.

TIME is 12.5s (or ms, min, h) since the start, 80%, peak, end, or 2025-06-01T12:00:00Z.";

/// Largest holes that are listed.
const IN_TEXT: usize = 10;
const IN_JSON: usize = 20;

/// Show the holes in the heap at one moment
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,

    /// The moment: 12.5s, 80%, peak, end, or a date
    #[arg(long, value_name = "TIME", default_value = "end", value_parser = arguments::time)]
    at: TimeSpec,

    /// Say how much of the free memory would hold a block of this size
    #[arg(long, value_name = "SIZE", value_parser = arguments::size)]
    fit: Option<u64>,

    /// List so many of the largest holes: in the text 10, in JSON 20 without this
    #[arg(long, value_name = "COUNT")]
    largest: Option<usize>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Leave out paths, to share the result: regions are named by their kind, so none are there
    #[arg(long)]
    anonymize: bool,
}

/// Prints the holes.
///
/// # Errors
/// When the path leads to no trace, the moment lies outside it, or the result cannot be printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    let trace = input::open(&arguments.trace)?;
    let at_ns = measure::resolve_time(&trace, arguments.at)?;
    let listed = arguments.largest.unwrap_or(if arguments.json { IN_JSON } else { IN_TEXT });
    let holes = measure::holes_at(&trace, at_ns, listed);
    let fit = arguments.fit.map(|size| Fit {
        size,
        share_ratio: holes.fit_share(size),
        over_time: measure::fit_over_time(&trace, size),
    });
    if arguments.json {
        let mut out = output.plain();
        holes::json(&holes, fit, &mut out)?;
        out.flush()?;
    } else {
        output.print(&holes::report(&holes, fit, output::unicode()))?;
    }
    Ok(0)
}
