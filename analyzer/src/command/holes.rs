//! `fragtrace holes`: the free ranges of the heap at one moment.

use super::arguments::{self, Look};
use super::output::{self, Output};
use super::progress::Bar;
use super::{anonymize, input, map};
use anyhow::Result;
use clap::Args;
use fragtrace_analyzer::measure::{self, TimeSpec};
use fragtrace_analyzer::render::holes::{self, Fit};
use fragtrace_analyzer::render::{histogram, text};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  fragtrace holes run.ftr                     at the end
  fragtrace holes run.ftr --at peak           when most was live
  fragtrace holes run.ftr --at 80% --fit 1M   how much of it would hold a block of 1 MiB?
  fragtrace holes run.ftr -o holes.png        by size, beside pages by how full they are

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

    /// Draw holes by size and pages by how full they are: FILE.png or FILE.svg; - for SVG on
    /// standard output
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["json", "fit"])]
    output: Option<PathBuf>,

    #[command(flatten)]
    look: Look,

    /// Leave out paths, to share the result: regions are named by their kind, so none are there
    #[arg(long)]
    anonymize: bool,
}

/// Prints or draws the holes.
///
/// # Errors
/// When the path leads to no trace, the moment lies outside it, or the result cannot be printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    let format = arguments.output.as_deref().map(output::format_of).transpose()?;
    let trace = input::open(&arguments.trace)?;
    // One to the moment, one for what came to its holes and went.
    let bar = Bar::of_replays(&trace, 2);
    let at_ns = measure::resolve_time(&trace, arguments.at)?;
    let listed = arguments.largest.unwrap_or(if arguments.json { IN_JSON } else { IN_TEXT });
    let holes = measure::holes_at(&trace, at_ns, listed);
    drop(bar);
    input::note_damage(&trace);
    if let (Some(path), Some(format)) = (&arguments.output, format) {
        let mut facts = measure::process_facts(&trace);
        if arguments.anonymize {
            anonymize::facts(&mut facts);
        }
        let moment = format!("by size at {}", text::time_in_words(at_ns));
        let title = map::title("Holes", &moment, &facts);
        let bytes = histogram::draw(&holes, &title, &arguments.look.options(), format)?;
        return output::write_picture(path, &bytes, &arguments.trace);
    }
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
