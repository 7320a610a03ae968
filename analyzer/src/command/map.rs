//! `fragtrace map`: the heap as a picture, address by time, or its pages at one moment.

use super::arguments::{self, Picture};
use super::judge::judge;
use super::progress::Bar;
use super::symbols::SymbolOptions;
use super::{anonymize, input, output};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use fragtrace_analyzer::diagnose::{Diagnoses, Diagnosis, Severity};
use fragtrace_analyzer::measure::{
    self, Analysis, HeapMap, Kinds, KindsBy, PoolFacts, Step, TimeSpec, TraceFacts,
};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::render::map::{self, MapExtras, draw, draw_pages};
use fragtrace_analyzer::render::picture::{Mark, Title};
use fragtrace_analyzer::render::{text, verdict};
use fragtrace_analyzer::symbols::Symbols;

const EXAMPLES: &str = "\
Examples:
  fragtrace map run.ftr -o heap.png
  fragtrace map run.ftr -o heap.png --size 2400x1200 --theme dark
  fragtrace map run.ftr -o - | display
  fragtrace map run.ftr -o sites.png --colour-by site
  fragtrace map run.ftr -o pages.png --at peak --layout hilbert

Time runs from left to right, addresses from bottom to top. The colour of a point says how
much of that stretch of heap was live then: a heap that is held but hardly used shows.
With --at there is a square for each page. With --colour-by the colour says what most live
bytes of a point have in common: the site or the thread that acquired them, their size, or age.

TIME is 12.5s (or ms, min, h) since the start, 80%, peak, end, or 2025-06-01T12:00:00Z.";

/// Pixels of the smallest square that is asked for, squared.
const PIXELS_A_PAGE: usize = 6;
/// A burst that made the footprint grow by less than this part of its greatest is not marked.
const BURST_PART: u64 = 20;
const MOST_BURSTS: usize = 6;

/// Draw the heap: address by time
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    picture: Picture,

    /// Draw the pages at this moment: 12.5s, 80%, peak, end, or a date
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    at: Option<TimeSpec>,

    /// How pages follow each other, with --at
    #[arg(long, value_enum, default_value_t = Layout::Rows, requires = "at")]
    layout: Layout,

    /// What colours stand for
    #[arg(long, value_enum, default_value_t = Colouring::Fullness)]
    colour_by: Colouring,

    #[command(flatten)]
    symbols: SymbolOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// Row by row
    Rows,
    /// Along Hilbert curves: what is close in address is close in the picture
    Hilbert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colouring {
    /// How much of a page is live
    Fullness,
    /// Since when its blocks have been there
    Age,
    /// Which code acquired them
    Site,
    /// Which thread did
    Thread,
    /// How large they are
    Size,
}

impl Colouring {
    fn kinds(self) -> Option<KindsBy> {
        match self {
            Colouring::Fullness => None,
            Colouring::Age => Some(KindsBy::Age),
            Colouring::Site => Some(KindsBy::Site),
            Colouring::Thread => Some(KindsBy::Thread),
            Colouring::Size => Some(KindsBy::Size),
        }
    }
}

/// Draws the map.
///
/// # Errors
/// When the path leads to no trace, or the picture cannot be drawn or written.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let picture = &arguments.picture;
    let trace = input::open(&picture.trace)?;
    let mut symbols = arguments.symbols.open(&trace);
    if arguments.colour_by == Colouring::Site && !symbols.any_stacks() {
        bail!(
            "the trace has no call stacks, so no site is known\n\
             record it with FRAGTRACE_STACKS=on, or leave out --colour-by site"
        );
    }
    let kinds = arguments.colour_by.kinds();
    let bar = Bar::of_replays(&trace, passes(arguments));
    let png = match arguments.at {
        Some(at) => {
            let mut kinds = kinds.map(|by| Kinds::new(by, &trace, &mut symbols));
            pages(arguments, &trace, at, kinds.as_mut())?
        }
        None => over_time(arguments, &trace, kinds, &mut symbols)?,
    };
    drop(bar);
    input::note_damage(&trace);
    output::write_picture(&picture.output, &png, &picture.trace)
}

/// Replays of the whole trace: one up to a moment, or, over time, for all; with kinds, one for the
/// measures, one for which kinds there are, and one for the columns.
fn passes(arguments: &Arguments) -> u64 {
    match (arguments.at, arguments.colour_by.kinds()) {
        (Some(_), _) | (None, None) => 1,
        (None, Some(_)) => 3,
    }
}

/// The map over time, or what is known of it before it is asked whose the blocks are.
enum Drawn {
    Map(HeapMap),
    Axis(HeapMap, KindsBy),
}

fn over_time<'t>(
    arguments: &Arguments,
    trace: &'t Trace,
    kinds: Option<KindsBy>,
    symbols: &mut Symbols<'t>,
) -> Result<Vec<u8>> {
    let hidden = arguments.picture.anonymize;
    let options = arguments.picture.options();
    let rows = options.height as usize;
    let (mut analysis, drawn, replay, checkpoint) = match kinds {
        None => {
            let (analysis, map, replay, checkpoint) = measure::analyze_with_map(trace, rows);
            (analysis, Drawn::Map(map), replay, checkpoint)
        }
        Some(by) => {
            let (analysis, replay, checkpoint) = measure::analyze_to_exit(trace);
            let axis = measure::heap_axis(trace, &replay, rows);
            (analysis, Drawn::Axis(axis, by), replay, checkpoint)
        }
    };
    let mut pools = PoolFacts::all(trace, &replay);
    if hidden {
        anonymize::pools(&mut pools);
    }
    // It takes the replay: one heap at a time.
    let (_, diagnoses) = judge(trace, &mut analysis, (replay, checkpoint), symbols, hidden);
    let mut heap = match drawn {
        Drawn::Map(map) => map,
        Drawn::Axis(axis, by) => {
            let mut kinds = Kinds::new(by, trace, symbols);
            measure::heap_map(trace, options.width as usize, axis, Some(&mut kinds))
        }
    };
    if hidden {
        hide_names(&mut heap, &trace.process().exe);
    }
    let mut marks = vec![Mark { time_ns: analysis.peak.time_ns, label: "most live".into() }];
    marks.extend(self::marks(&analysis, &diagnoses));
    let mut title = title("Heap map", "address × time", &analysis.trace);
    title.verdict = verdict(&diagnoses);
    let extras = MapExtras {
        title,
        peak_ns: analysis.peak.time_ns,
        end_ns: analysis.trace.duration_ns,
        high_water_bytes: analysis.end.high_water_bytes,
        marks,
        pools,
    };
    Ok(draw(&heap, &extras, &options)?)
}

fn pages(
    arguments: &Arguments,
    trace: &Trace,
    at: TimeSpec,
    kinds: Option<&mut Kinds<'_, '_>>,
) -> Result<Vec<u8>> {
    let at_ns = measure::resolve_time(trace, at)?;
    let options = arguments.picture.options();
    let cells = options.width as usize * options.height as usize / PIXELS_A_PAGE;
    let mut heap = measure::heap_pages(trace, at_ns, cells, kinds);
    let mut facts = measure::process_facts(trace);
    if arguments.picture.anonymize {
        anonymize::facts(&mut facts);
        hide_names(&mut heap, &trace.process().exe);
    }
    let moment = format!("its pages at {}", text::time_in_words(at_ns));
    let layout = match arguments.layout {
        Layout::Rows => map::Layout::Rows,
        Layout::Hilbert => map::Layout::Hilbert,
    };
    Ok(draw_pages(&heap, &title("Heap", &moment, &facts), layout, &options)?)
}

/// The bursts after which the heap stayed larger, largest first where they are many, and since
/// when it has been ill.
pub fn marks(analysis: &Analysis, diagnoses: &Diagnoses) -> Vec<Mark> {
    let most = analysis.peak_footprint.footprint_bytes.unwrap_or(0);
    let is_told = |step: &&Step| step.is_burst() && step.bytes > most / BURST_PART;
    let mut steps: Vec<&Step> = analysis.steps.iter().filter(is_told).collect();
    steps.sort_by_key(|step| std::cmp::Reverse(step.bytes));
    let bursts = steps.into_iter().take(MOST_BURSTS).map(|step| Mark {
        time_ns: step.peak_ns,
        label: format!("burst: +{}", text::size_in_words(step.bytes)),
    });
    let grave = diagnoses.list.iter().filter(|found| found.severity >= Severity::Warning);
    let since = |found: &Diagnosis| {
        let time_ns = found.since_ns?;
        let label = format!("{} since {}", found.id, text::time_in_words(time_ns));
        Some(Mark { time_ns, label })
    };
    bursts.chain(grave.filter_map(since)).collect()
}

/// Takes names of threads, folders and the program out of the legend: they may be those of people
/// or machines.
fn hide_names(heap: &mut HeapMap, exe: &str) {
    let Some(owners) = heap.owners.as_mut() else { return };
    let program = anonymize::file_name(exe);
    for label in &mut owners.labels {
        let Some(place) = label.rfind(" (") else {
            if let Some(offset) = label.strip_prefix(&*program).filter(|o| o.starts_with('+')) {
                *label = format!("program{offset}");
            }
            continue;
        };
        match (owners.by, label[place..].rfind('/')) {
            (KindsBy::Thread, _) => label.truncate(place),
            (KindsBy::Site, Some(folder)) => label.replace_range(place + 2..=place + folder, ""),
            _ => {}
        }
    }
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
        ..Title::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fragtrace_analyzer::measure::Owners;

    #[test]
    fn an_anonymous_legend_keeps_functions_and_files_alone() {
        let hidden = |by, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let owners = Some(Owners { by, labels, columns: Vec::new() });
            let (bands, times_ns, columns) = (Vec::new(), Vec::new(), Vec::new());
            let mut heap = HeapMap { cell_bytes: 4096, bands, times_ns, columns, owners };
            hide_names(&mut heap, "/srv/secret/shop");
            heap.owners.map(|owners| owners.labels).unwrap_or_default()
        };
        assert_eq!(
            hidden(KindsBy::Site, &["login (secret/session.c:9)", "shop+0x10", "3 other sites"]),
            ["login (session.c:9)", "program+0x10", "3 other sites"]
        );
        assert_eq!(
            hidden(KindsBy::Thread, &["thread 3 (anna)", "thread 4"]),
            ["thread 3", "thread 4"]
        );
    }
}
