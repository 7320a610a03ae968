//! `fragtrace map`: the heap as a picture, address by time.

use super::arguments::Picture;
use super::{anonymize, input, output};
use anyhow::Result;
use clap::Args;
use fragtrace_analyzer::measure::{self, TraceFacts};
use fragtrace_analyzer::render::map::{MapExtras, draw};
use fragtrace_analyzer::render::picture::{Mark, Title};
use fragtrace_analyzer::render::text;
use std::io::{self, Write};

const EXAMPLES: &str = "\
Examples:
  fragtrace map run.ftr -o heap.png
  fragtrace map run.ftr -o heap.png --size 2400x1200 --theme dark
  fragtrace map run.ftr -o - | display

Time runs from left to right, addresses from bottom to top. The colour of a point says how
much of that stretch of heap was live then: a heap that is held but hardly used shows.";

/// Draw the heap: address by time
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    picture: Picture,
}

/// Draws the map.
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
    let options = picture.options();
    let heap = measure::heap_map(&trace, options.width as usize, options.height as usize);
    let extras = MapExtras {
        title: title("Heap map", "address × time", &analysis.trace),
        end_ns: analysis.trace.duration_ns,
        high_water_bytes: analysis.end.high_water_bytes,
        marks: vec![Mark { time_ns: analysis.peak.time_ns, label: "most live".into() }],
    };
    let png = draw(&heap, &extras, &options)?;
    finish(picture, &png)
}

/// Writes a picture and says where it is.
pub fn finish(picture: &Picture, png: &[u8]) -> Result<u8> {
    output::write_file(&picture.output, png, &picture.trace)?;
    if picture.output.as_os_str() != "-" {
        let _ = writeln!(io::stderr(), "fragtrace: wrote {}", picture.output.display());
    }
    Ok(0)
}

/// What is seen, and of which run.
pub fn title(what: &str, axes: &str, trace: &TraceFacts) -> Title {
    let mut run = Vec::new();
    run.extend(trace.command.clone());
    run.push(format!("pid {}", trace.pid));
    run.extend(trace.host.as_ref().map(|host| format!("on {host}")));
    run.extend(text::began(trace.start_unix_ns));
    run.push(format!(
        "{} – {}",
        text::time_in_words(trace.window_start_ns),
        text::time_in_words(trace.duration_ns)
    ));
    Title {
        headline: format!("{what} of {}: {axes}", text::program_name(trace)),
        subline: run.join(", "),
    }
}
