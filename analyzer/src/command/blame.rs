//! `fragtrace blame`: which code pins the heap's pages.

use super::arguments::Look;
use super::output::Output;
use super::progress::Bar;
use super::symbols::SymbolOptions;
use super::{anonymize, arguments, input, map, output};
use anyhow::Result;
use clap::{ArgGroup, Args, ValueEnum};
use fragtrace_analyzer::measure::blame::{By, CallFacts, PinnedHeap, Weight, heap_at};
use fragtrace_analyzer::measure::{self, TimeSpec};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::render::blame::{self, BlameExtras, Stacks};
use fragtrace_analyzer::render::picture::Format;
use fragtrace_analyzer::render::{flame, text};
use fragtrace_analyzer::symbols::Symbols;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  fragtrace blame run.ftr                      who pins memory at the end
  fragtrace blame run.ftr --at peak --by stack
  fragtrace blame run.ftr --symbols ./debug --skip 'shop::alloc::*'
  fragtrace blame run.ftr -o flame.svg         the same as a flame graph
  fragtrace blame run.ftr --folded --weight live | flamegraph.pl > live.svg

A page that holds a live block cannot go back to the kernel; the bytes of it that no block uses
are pinned waste. For each site, the first call of a block's stack that is the program's own:
  pinned    its share of that waste, in proportion to its bytes on each page
  alone     the waste of pages that no other site has a block on
  unlocks   pages that would come free if its blocks were not there
  in turn   the same for it and all sites above it: two sites on one page hold it both
  live      what its live blocks asked for
  pages     pages with its blocks and unused bytes
  age       mean age of its blocks, weighed by what they pin

TIME is 12.5s (or ms, min, h) since the start, 80%, peak, end, or 2025-06-01T12:00:00Z.";

/// Show which code pins the heap's pages
#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    group = ArgGroup::new("whole_stacks").args(["folded", "output"])
)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,

    /// The moment: 12.5s, 80%, peak, end, or a date
    #[arg(long, value_name = "TIME", default_value = "end", value_parser = arguments::time)]
    at: TimeSpec,

    /// What to charge blocks to
    #[arg(long, value_enum, default_value_t = Grouping::Function)]
    by: Grouping,

    /// Print whole stacks with their weights, for flame graphs
    #[arg(long, conflicts_with_all = ["json", "by"])]
    folded: bool,

    /// Draw whole stacks as a flame graph, as high as they are deep: FILE.svg or FILE.png; - for
    /// SVG on standard output
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["json", "by", "folded"])]
    output: Option<PathBuf>,

    #[command(flatten)]
    look: Look,

    /// What the stacks weigh, with --folded or -o
    #[arg(long, value_enum, default_value_t = Weighing::Pinned, requires = "whole_stacks")]
    weight: Weighing,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Leave out folders, and the names of the program and of threads, to share the result;
    /// functions and the names of source files stay
    #[arg(long)]
    anonymize: bool,

    #[command(flatten)]
    symbols: SymbolOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Grouping {
    /// Each call stack for itself
    Stack,
    /// The function that is the site
    Function,
    /// The object that the site is in
    Module,
    /// The thread that allocated
    Thread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weighing {
    /// Pinned waste
    Pinned,
    /// Live bytes
    Live,
    /// Calls that returned a new block
    Allocs,
    /// Usable bytes that were not asked for
    Slop,
}

impl From<Grouping> for By {
    fn from(by: Grouping) -> By {
        match by {
            Grouping::Stack => By::Stack,
            Grouping::Function => By::Function,
            Grouping::Module => By::Module,
            Grouping::Thread => By::Thread,
        }
    }
}

impl From<Weighing> for Weight {
    fn from(weight: Weighing) -> Weight {
        match weight {
            Weighing::Pinned => Weight::Pinned,
            Weighing::Live => Weight::Live,
            Weighing::Allocs => Weight::Allocs,
            Weighing::Slop => Weight::Slop,
        }
    }
}

/// Prints the blame.
///
/// # Errors
/// When the path leads to no trace, the moment lies outside it, or the result cannot be printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    let format = arguments.output.as_deref().map(output::format_of).transpose()?;
    let trace = input::open(&arguments.trace)?;
    let at_ns = measure::resolve_time(&trace, arguments.at)?;
    let mut symbols = arguments.symbols.open(&trace);
    let bar = Bar::of_replays(&trace, 1);
    let replay = heap_at(&trace, at_ns);
    drop(bar);
    input::note_damage(&trace);
    let by = By::from(arguments.by);
    let stacks = stacks_of(&trace, &symbols);
    let heap = PinnedHeap::new(&trace, &replay, at_ns, by);
    if by != By::Thread && (arguments.json || arguments.folded || arguments.output.is_some()) {
        say_if_missing(stacks);
    }
    if arguments.folded || arguments.output.is_some() {
        let stacks = whole_stacks(arguments, &trace, &heap, &mut symbols);
        return match (&arguments.output, format) {
            (Some(path), Some(format)) => {
                flame_graph(arguments, (path, format), &trace, at_ns, &stacks)
            }
            _ => folded(output, &stacks),
        };
    }
    let mut found = heap.blame(&mut symbols);
    if arguments.anonymize {
        anonymize::sites(&mut found.sites, &trace.process().exe);
    }
    if arguments.json {
        let mut out = output.plain();
        blame::json(&found, &mut out)?;
        out.flush()?;
    } else {
        output.print(&blame::report(&found, BlameExtras { by, stacks }))?;
    }
    Ok(0)
}

fn whole_stacks<'t>(
    arguments: &Arguments,
    trace: &'t Trace,
    heap: &PinnedHeap<'_, 't>,
    symbols: &mut Symbols<'t>,
) -> Vec<(Vec<CallFacts>, u64)> {
    let mut stacks = heap.folded(arguments.weight.into(), symbols);
    if arguments.anonymize {
        for (calls, _) in &mut stacks {
            anonymize::calls(calls, &trace.process().exe);
        }
    }
    stacks
}

fn folded(output: &Output, stacks: &[(Vec<CallFacts>, u64)]) -> Result<u8> {
    let mut out = output.plain();
    blame::folded(stacks, &mut out)?;
    out.flush()?;
    Ok(0)
}

fn flame_graph(
    arguments: &Arguments,
    (path, format): (&Path, Format),
    trace: &Trace,
    at_ns: u64,
    stacks: &[(Vec<CallFacts>, u64)],
) -> Result<u8> {
    let mut facts = measure::process_facts(trace);
    if arguments.anonymize {
        anonymize::facts(&mut facts);
    }
    let (what, unit) = match arguments.weight {
        Weighing::Pinned => ("pinned", flame::Unit::Bytes),
        Weighing::Live => ("live", flame::Unit::Bytes),
        Weighing::Allocs => ("to malloc", flame::Unit::Calls),
        Weighing::Slop => ("of slop", flame::Unit::Bytes),
    };
    let moment = format!("whose blocks weigh most at {}", text::time_in_words(at_ns));
    let title = map::title("Heap", &moment, &facts);
    let bytes = flame::draw((&title, what, unit), stacks, &arguments.look.options(), format)?;
    output::write_picture(path, &bytes, &arguments.trace)
}

/// Whether a trace has call stacks, and why not.
pub fn stacks_of(trace: &Trace, symbols: &Symbols<'_>) -> Stacks {
    match trace.process().stack_depth {
        _ if symbols.any_stacks() => Stacks::There,
        // A module of wasm32 is no process, and has none.
        0 if trace.header().pid != 0 => Stacks::Off,
        _ => Stacks::None,
    }
}

/// Without stacks the list of sites is empty: says why, beside the result.
pub fn say_if_missing(stacks: Stacks) {
    if let Some(line) = stacks.missing() {
        let _ = writeln!(io::stderr(), "fragtrace: {line}");
    }
}
