//! `fragtrace timeline`: live, footprint, RSS and fragmentation over time as a picture.

use super::arguments::Picture;
use super::judge::judge;
use super::progress::Bar;
use super::symbols::SymbolOptions;
use super::{input, map, output};
use anyhow::Result;
use clap::Args;
use fragtrace_analyzer::measure;
use fragtrace_analyzer::render::timeline::{TimelineExtras, draw};
use fragtrace_analyzer::render::verdict;

const EXAMPLES: &str = "\
Examples:
  fragtrace timeline run.ftr -o timeline.png
  fragtrace timeline run.ftr -o timeline.png --size 2400x1200 --theme dark

The band between live and footprint is memory that the heap holds and the program does not
use. `fragtrace report` has the figures, `fragtrace map` shows where they lie.";

/// Draw live, footprint, RSS and fragmentation over time
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    picture: Picture,

    #[command(flatten)]
    symbols: SymbolOptions,
}

/// Draws the timeline.
///
/// # Errors
/// When the path leads to no trace, or the picture cannot be drawn or written.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let picture = &arguments.picture;
    let trace = input::open(&picture.trace)?;
    let mut symbols = arguments.symbols.open(&trace);
    let bar = Bar::of_replays(&trace, 1);
    let (mut analysis, replay, checkpoint) = measure::analyze_to_exit(&trace);
    drop(bar);
    let (_, diagnoses) =
        judge(&trace, &mut analysis, (replay, checkpoint), &mut symbols, picture.anonymize);
    let mut title = map::title("Timeline", "memory over time", &analysis.trace);
    title.verdict = verdict(&diagnoses);
    let extras = TimelineExtras {
        title,
        end_ns: analysis.trace.duration_ns,
        marks: map::marks(&analysis, &diagnoses),
    };
    let png = draw(&analysis.series, &extras, &picture.options())?;
    input::note_damage(&trace);
    output::write_picture(&picture.output, &png, &picture.trace)
}
