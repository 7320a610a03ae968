//! `fragtrace html`: the whole report as one page.

use super::judge::judge;
use super::progress::Bar;
use super::symbols::SymbolOptions;
use super::{anonymize, input, output};
use anyhow::{Context, Result};
use clap::Args;
use fragtrace_analyzer::measure::PoolFacts;
use fragtrace_analyzer::measure::frames::frames;
use fragtrace_analyzer::render::html::{HtmlExtras, page};
use fragtrace_analyzer::render::text;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  fragtrace html run.ftr -o report.html
  fragtrace html run.ftr -o report.html --symbols ./debug
  fragtrace html run.ftr -o shared.html --anonymize

One file, without anything from a network, below 5 MB whatever the trace: findings, the heap's
pages at some 250 moments with a slider, who pins them, its holes, charts. What was left out
for size is said on the page. It needs a browser of 2023 or later.";

/// Write a report to look at in a browser: one file
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,

    /// Where to write the page; - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Leave out the command, folders, host, environment and names of threads, to share the
    /// page; functions and the names of source files stay
    #[arg(long)]
    anonymize: bool,

    #[command(flatten)]
    symbols: SymbolOptions,
}

/// Writes the page.
///
/// # Errors
/// When the path leads to no trace, or the page cannot be written.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let trace = input::open(&arguments.trace)?;
    let mut symbols = arguments.symbols.open(&trace);
    let bar = Bar::of_replays(&trace, 1);
    let (mut analysis, mut frames, replay, checkpoint) = frames(&trace, &mut symbols);
    drop(bar);
    let mut pools = PoolFacts::all(&trace, &replay);
    let (_, diagnoses) =
        judge(&trace, &mut analysis, (replay, checkpoint), &mut symbols, arguments.anonymize);
    if arguments.anonymize {
        let exe = &trace.process().exe;
        frames.sites.iter_mut().for_each(|calls| anonymize::calls(calls, exe));
        frames.threads.clear();
        anonymize::pools(&mut pools);
    }
    let extras = HtmlExtras { began: text::began(analysis.trace.start_unix_ns), pools };
    let bytes = page(&analysis, &diagnoses, frames, &extras).context("cannot pack the page")?;
    input::note_damage(&trace);
    output::write_picture(&arguments.output, &bytes, &arguments.trace)
}
