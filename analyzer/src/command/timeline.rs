//! `fragtrace timeline`: live, footprint, RSS and fragmentation over time as a picture.

use super::arguments::Picture;
use super::{anonymize, input, map};
use anyhow::Result;
use clap::Args;
use fragtrace_analyzer::measure;
use fragtrace_analyzer::render::timeline::{TimelineExtras, draw};

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
}

/// Draws the timeline.
///
/// # Errors
/// When the path leads to no trace, or the picture cannot be drawn or written.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let picture = &arguments.picture;
    let trace = input::open(&picture.trace)?;
    let mut analysis = measure::analyze(&trace);
    if picture.anonymize {
        anonymize::facts(&mut analysis.trace);
    }
    let extras = TimelineExtras {
        title: map::title("Timeline", "memory over time", &analysis.trace),
        end_ns: analysis.trace.duration_ns,
        marks: map::bursts(&analysis),
    };
    let png = draw(&analysis.series, &extras, &picture.options())?;
    map::finish(picture, &png)
}
