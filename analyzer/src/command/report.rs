//! `fragtrace report`: what happened to the memory of a process, as text or JSON; of a
//! folder, a line a trace.

use super::check::Bounds;
use super::judge::judge;
use super::output::{self, Output};
use super::progress::Bar;
use super::record::places;
use super::symbols::SymbolOptions;
use super::{anonymize, blame, input};
use anyhow::{Context, Result, bail};
use clap::Args;
use fragtrace_analyzer::measure::{self, Analysis, Parts};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::render::{json, text};
use fragtrace_format::header::MAGIC;
use rayon::prelude::*;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  fragtrace report fragtrace-server.4242.ftr
  fragtrace report .                       a line for each trace in this folder
  fragtrace report run.ftr --details       with tables by heap, thread, place and size
  fragtrace report run.ftr --json | jq .end.footprint_bytes
  fragtrace report run.ftr --check --max-rss 512M     for CI: exit status 1 if it is ill

The words: live is what the program asked for and has not freed. The footprint is the part
of the heap that was touched and not given back to the kernel. Holes are the free ranges in
it. RSS is what the kernel counts for the whole process, less the tracer's own memory.

With --check the exit status is 1 when a finding is a warning or serious, or a figure is above
the bound that was given for it; what cannot be told is no finding. Bounds without --check do the
same for that figure alone. A figure that has a bound and is not known is exit status 2.

With --json, sizes are bytes, times are nanoseconds, and what is not known is null; of a
folder, each line is an object of its own, without the series.";

/// Show what happened to the memory of a process
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The trace, or a folder of traces
    #[arg(value_name = "TRACE|DIR")]
    trace: PathBuf,

    /// Print JSON: all figures, exact, and their course over time
    #[arg(long)]
    json: bool,

    /// Add tables: heap by heap, thread by thread, free bytes by place, slop by size class
    #[arg(long, conflicts_with = "json")]
    details: bool,

    /// Exit with status 1 if a finding is a warning or serious
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    bounds: Bounds,

    /// Leave out the command, paths, host and environment, to share the report
    #[arg(long)]
    anonymize: bool,

    #[command(flatten)]
    symbols: SymbolOptions,
}

/// Prints the report.
///
/// # Errors
/// When the path leads to no trace, or the result cannot be printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    if arguments.trace.is_dir() {
        if arguments.check || arguments.bounds.any() {
            bail!(
                "--check and bounds are for one trace, and {} is a folder\nname a trace in it",
                arguments.trace.display()
            );
        }
        return report_folder(arguments, output);
    }
    let trace = input::open(&arguments.trace)?;
    let mut symbols = arguments.symbols.open(&trace);
    let bar = Bar::of_replays(&trace, 1);
    let (mut analysis, replay, checkpoint) = measure::analyze_to_exit(&trace);
    drop(bar);
    let stacks = blame::stacks_of(&trace, &symbols);
    let shared = |mut parts: Parts| {
        if arguments.anonymize {
            anonymize::parts(&mut parts);
        }
        parts
    };
    let parts = match arguments.json || arguments.details {
        true => Parts::of,
        false => Parts::brief,
    };
    let parts = shared(parts(&trace, &replay, analysis.end.time_ns));
    let (blame, diagnoses) =
        judge(&trace, &mut analysis, (replay, checkpoint), &mut symbols, arguments.anonymize);
    let status = arguments.bounds.status(arguments.check, &analysis, &diagnoses)?;
    if arguments.json {
        let at_peak = match analysis.peak == analysis.end {
            true => parts.clone(),
            false => shared(Parts::at_peak(&trace, &analysis)),
        };
        let parts = json::PartsTwice { end: &parts, peak: &at_peak };
        let mut out = output.plain();
        json::report(&analysis, &diagnoses, &parts, &blame.sites, &mut out)?;
        out.flush()?;
        return Ok(status);
    }
    let extras = text::ReportExtras {
        // The name of a trace holds that of its program.
        path: if arguments.anonymize { "TRACE".into() } else { places::quoted(&arguments.trace) },
        limits: trace.header().limits,
        damage: analysis.damage.clone(),
        unicode: output::unicode(),
        charts: output.charts(),
        blame,
        parts,
        details: arguments.details,
        stacks,
        diagnoses,
    };
    output.print(&text::report(&analysis, &extras))?;
    Ok(status)
}

fn analyze(trace: &Trace, arguments: &Arguments) -> Analysis {
    let mut analysis = measure::analyze(trace);
    if arguments.anonymize {
        anonymize::facts(&mut analysis.trace);
    }
    analysis
}

fn report_folder(arguments: &Arguments, output: &Output) -> Result<u8> {
    let folder = &arguments.trace;
    let traces = traces_in(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    if traces.is_empty() {
        bail!(
            "there is no trace in {}\nmake one with `fragtrace record -- PROGRAM`",
            folder.display()
        );
    }
    if !arguments.json {
        output.print(&text::list_heading())?;
    }
    let mut readable = false;
    // As many at once as there are processors; lines come in order, as soon as they can.
    for paths in traces.chunks(rayon::current_num_threads()) {
        let open = |path: &PathBuf| input::open(path).map(|trace| analyze(&trace, arguments));
        let analyses: Vec<_> = paths.par_iter().map(open).collect();
        for (path, analysis) in paths.iter().zip(analyses) {
            match analysis {
                Err(error) => {
                    let _ = writeln!(io::stderr(), "fragtrace: {error:#}");
                }
                Ok(analysis) => {
                    readable = true;
                    list(path, &analysis, arguments, output)?;
                }
            }
        }
    }
    Ok(if readable { 0 } else { crate::CANNOT })
}

/// Prints one line of a folder's list.
fn list(path: &Path, analysis: &Analysis, arguments: &Arguments, output: &Output) -> Result<()> {
    // The name of a trace holds that of its program.
    let name = match arguments.anonymize {
        true => "trace".into(),
        false => path.file_name().unwrap_or_default().to_string_lossy(),
    };
    if arguments.json {
        let mut out = output.plain();
        json::list_line(analysis, &name, &mut out)?;
        out.flush()?;
        return Ok(());
    }
    output.print(&text::list_line(analysis, &name))
}

/// The files of a folder that begin as traces do, sorted by name.
fn traces_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if fs::metadata(&path).is_ok_and(|file| file.is_file()) && begins_as_trace(&path) {
            traces.push(path);
        }
    }
    traces.sort();
    Ok(traces)
}

fn begins_as_trace(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == MAGIC
}
