//! The report as text: what happened to the memory of one process, readable at three in
//! the morning.
//!
//! The order is that of the questions: what is this, can it be trusted, how much was where,
//! what do the figures say, what next. Nothing is said that the figures do not say.
//! The text carries styles; whoever prints it drops them where they are not wanted.

mod details;
mod findings;
mod modules;
mod parts;
mod places;
mod pools;
mod sentences;
mod sparkline;
mod table;
mod unseen;
mod warnings;

use super::blame::{self, Stacks};
use super::picture::scale;
use crate::diagnose::Diagnoses;
use crate::measure::blame::{Blame, By};
use crate::measure::{Analysis, Parts, TraceFacts};
use anstyle::Style;
use std::fmt::Write;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
const WARNING: Style =
    Style::new().bold().fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Yellow)));
/// Where a line of prose is broken.
const WIDTH: usize = 90;
/// Sites that the report lists; `fragtrace blame` has more.
const LISTED_SITES: usize = 5;

/// What the report needs besides the analysis.
#[derive(Debug, Clone, Default)]
pub struct ReportExtras {
    /// The trace's path, as one would type it.
    pub path: String,
    /// What limited the recording: the header's bits.
    pub limits: u64,
    /// What reading could not make sense of, in words.
    pub damage: Vec<String>,
    /// Whether the reader's terminal shows block characters.
    pub unicode: bool,
    /// Columns of the terminal, where small charts over time are wanted, of block characters.
    pub charts: Option<usize>,
    /// Who pins memory at the end.
    pub blame: Blame,
    /// What the heap is made of at the end.
    pub parts: Parts,
    /// Whether that is wanted in tables.
    pub details: bool,
    /// Whether there are call stacks to tell it by.
    pub stacks: Stacks,
    /// What is wrong.
    pub diagnoses: Diagnoses,
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A size in bytes as every text shows it: "640 B", "12.5 MiB".
pub fn size_in_words(bytes: u64) -> String {
    scale::bytes(bytes)
}

/// A span in nanoseconds as every text shows it: "850 ms", "9.80 s".
pub fn time_in_words(nanoseconds: u64) -> String {
    scale::duration(nanoseconds)
}

/// The whole report.
pub fn report(analysis: &Analysis, extras: &ReportExtras) -> String {
    let mut page = String::new();
    if let Some(warning) = unseen::warning(analysis) {
        page.push_str(&paragraph(&warning, WARNING));
        page.push('\n');
    }
    page.push_str(&heading(&analysis.trace));
    for warning in warnings::all(&analysis.trace, extras) {
        page.push('\n');
        page.push_str(&paragraph(&warning, WARNING));
    }
    page.push('\n');
    page.push_str(&findings::draw(&extras.diagnoses));
    if extras.diagnoses.list.iter().all(|found| found.id != "pinned-pages")
        && let Some(sentence) = blame::sentence(&extras.blame)
    {
        page.push_str(&paragraph(&sentence, Style::new()));
    }
    page.push('\n');
    page.push_str(&table::draw(analysis));
    if let Some(columns) = extras.charts
        && let Some(lines) = sparkline::draw(analysis, columns)
    {
        page.push('\n');
        page.push_str(&lines);
    }
    page.push('\n');
    for sentence in sentences::all(analysis) {
        page.push_str(&paragraph(&sentence, Style::new()));
    }
    if let Some(line) = parts::line(&extras.parts) {
        page.push_str(&paragraph(&line, Style::new()));
    }
    if let Some(line) = places::line(&extras.parts.free_places) {
        page.push_str(&paragraph(&line, Style::new()));
    }
    page.push_str(&pools::table(&extras.parts.pools));
    page.push_str(&sites(extras));
    if extras.details {
        page.push_str(&details::tables(&extras.parts));
    }
    page.push('\n');
    page.push_str(&next_steps(&extras.path));
    // Of all signs used here, the micro sign alone has a plain stand-in.
    if extras.unicode { page } else { page.replace('µ', "u") }
}

/// The sites that pin most at the end, or why none can be named.
fn sites(extras: &ReportExtras) -> String {
    if let Some(line) = extras.stacks.missing() {
        return format!("\n{}", paragraph(line, DIM));
    }
    if extras.blame.pinned_waste_bytes == 0 {
        return String::new();
    }
    let sites = &extras.blame.sites[..extras.blame.sites.len().min(LISTED_SITES)];
    let mut out = format!(
        "\nAt the end {} are pinned waste: unused, but on pages with live blocks.\n{}",
        scale::bytes(extras.blame.pinned_waste_bytes),
        blame::table(sites, LISTED_SITES, By::Function)
    );
    if let Some(line) = modules::line(&extras.blame.sites) {
        out.push_str(&paragraph(&line, Style::new()));
    }
    out.push_str(&blame::missing_symbols(sites).unwrap_or_default());
    out
}

/// Whose malloc it is: a file's, or one that is linked in, which is no path.
fn allocator(path: &str) -> String {
    if path.contains('/') { format!("malloc from {}", file_name(path)) } else { path.to_owned() }
}

/// A line about one trace, for a list of many; with its heading as [`list_heading`].
pub fn list_line(analysis: &Analysis, name: &str) -> String {
    let Analysis { trace, peak, peak_footprint, end, .. } = analysis;
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "not known".into(), scale::bytes);
    let mut remarks = vec![trace.end.clone()];
    remarks.extend((trace.dropped_events > 0).then(|| "events dropped".to_owned()));
    remarks.extend(unseen::warning(analysis).map(|_| "heap not seen".to_owned()));
    format!(
        "{name:<36} {:>8} {:>10} {:>10} {:>14} {:>10} {:>10}  {}\n",
        trace.pid,
        scale::duration(trace.own_time_ns()),
        scale::bytes(peak.live_bytes),
        known(peak_footprint.footprint_bytes),
        scale::bytes(end.live_bytes),
        known(end.footprint_bytes),
        remarks.join(", ")
    )
}

/// What stands above the lines of [`list_line`].
pub fn list_heading() -> String {
    format!(
        "{BOLD}{:<36} {:>8} {:>10} {:>10} {:>14} {:>10} {:>10}  {}{BOLD:#}\n",
        "trace", "pid", "ran for", "peak live", "peak footprint", "end live", "end heap", "end"
    )
}

fn heading(trace: &TraceFacts) -> String {
    let program = program_name(trace);
    let whose = match trace.pid {
        // A module of wasm32 is none.
        0 => format!(
            " was seen for {}, until its trace was saved.",
            scale::duration(trace.duration_ns)
        ),
        pid => format!(", process {pid}, {}", ending(&trace.end, trace.own_time_ns())),
    };
    let mut out = format!("{BOLD}{program}{BOLD:#}{whose}\n");
    if let Some(command) = &trace.command {
        let _ = writeln!(out, "  {command}");
    }
    let mut setting = Vec::new();
    setting.extend(trace.libc.clone());
    setting.extend(trace.allocator.as_deref().map(allocator));
    setting.extend((trace.wrapped_blocks > 0).then(|| "one wrapped by fragtrace-alloc".to_owned()));
    setting.extend(trace.allocator_env.iter().cloned());
    setting.extend(
        trace
            .kernel
            .as_deref()
            .and_then(|kernel| kernel.split(' ').next())
            .map(|release| format!("Linux {release}")),
    );
    setting.extend(trace.host.as_deref().map(|host| format!("on {host}")));
    setting.extend(began(trace.start_unix_ns));
    if let Some(limit) = trace.cgroup_limit_bytes {
        setting.push(format!("memory limit {}", scale::bytes(limit)));
    }
    out.push_str(&indented(&setting.join(", "), 2, DIM));
    let counts = format!(
        "{} allocs, {} frees, {} reallocs, {} mmaps, {} munmaps on {}",
        scale::count(trace.allocs),
        scale::count(trace.frees),
        scale::count(trace.reallocs),
        scale::count(trace.mmaps),
        scale::count(trace.munmaps),
        plural(trace.threads, "thread")
    );
    out.push_str(&indented(&counts, 2, DIM));
    if let Some(parent) = trace.forked_from {
        out.push_str(&indented(&fork(trace, parent), 2, Style::new()));
    }
    if trace.wrapped {
        out.push_str(&indented(&window(trace), 2, Style::new()));
    }
    out
}

/// Of a child of fork: what is its own, and what its parent's.
fn fork(trace: &TraceFacts, parent: u32) -> String {
    let at = trace.forked_ns.map(|at_ns| format!(" at {}", scale::duration(at_ns)));
    format!(
        "Forked by process {parent}{}, whose heap it began with. Moments are since that one began; \
         counts are its own.",
        at.unwrap_or_default()
    )
}

/// From when to when events are kept, and what is known of the time before.
fn window(trace: &TraceFacts) -> String {
    let mut out = format!(
        "Events are kept from {} to {}: the ring of {} holds no more, and what was live then is \
         known as a whole. Counts are of the whole life; curves and peaks are of these {}.",
        scale::duration(trace.window_start_ns),
        scale::duration(trace.duration_ns),
        scale::bytes(trace.ring_bytes),
        scale::duration(trace.duration_ns.saturating_sub(trace.window_start_ns)),
    );
    if let (Some(bytes), Some(at_ns)) = (trace.earlier_peak_live_bytes, trace.earlier_peak_live_ns)
    {
        let _ = write!(
            out,
            " Before, as much as {} was live, at {}.",
            scale::bytes(bytes),
            scale::duration(at_ns)
        );
    }
    if let Some(bytes) = trace.rss_peak_bytes {
        let _ = write!(out, " The greatest RSS ever was {}.", scale::bytes(bytes));
    }
    out
}

/// The name of the program, as it was called: its file may go by another name, as that of
/// redis-server does.
pub fn program_name(trace: &TraceFacts) -> &str {
    let command = trace.command.as_deref().unwrap_or_default();
    let called = file_name(command.split(' ').next().unwrap_or_default());
    // Quotes are a part of the text, and login shells are called with a dash.
    if called.is_empty() || called.starts_with('-') || command.starts_with('\'') {
        return trace.exe.as_deref().map_or("a program", file_name);
    }
    called
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// When recording began, in words.
pub fn began(start_unix_ns: u64) -> Option<String> {
    let start = jiff::Timestamp::from_nanosecond(i128::from(start_unix_ns)).ok()?;
    Some(format!("began {} UTC", start.strftime("%Y-%m-%d %H:%M:%S")))
}

fn ending(end: &str, duration_ns: u64) -> String {
    let duration = scale::duration(duration_ns);
    match end {
        "exit" => format!("ran for {duration} and exited."),
        "_exit" => format!("ran for {duration} and ended through _exit."),
        "exec" => format!("ran for {duration} and became another program through exec."),
        "running" => format!("has run for {duration} so far."),
        _ => match end.strip_prefix("signal ").and_then(|number| number.parse().ok()) {
            Some(signal @ (1 | 2 | 15)) => {
                format!("ran for {duration} and was told to end by {}.", signal_name(signal))
            }
            Some(signal) => {
                format!("ran for {duration} and was killed by {}.", signal_name(signal))
            }
            None => format!("was seen for {duration}; its end was not (killed?)."),
        },
    }
}

fn signal_name(signal: u32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

fn next_steps(path: &str) -> String {
    let steps = [
        ("timeline", " -o timeline.png", "live, footprint and RSS over time"),
        ("map", " -o heap.png", "where in the heap the live blocks lie"),
        ("holes", "", "the holes by size, and what would fit"),
        ("blame", "", "which code pins memory, and what would come free"),
    ];
    let commands = steps.map(|(name, output, _)| format!("fragtrace {name} {path}{output}"));
    let width = commands.iter().map(|command| command.chars().count()).max().unwrap_or(0);
    let mut out = format!("{BOLD}Next{BOLD:#}\n");
    for (command, (_, _, what)) in commands.iter().zip(steps) {
        let _ = writeln!(out, "  {command:<width$}  {DIM}{what}{DIM:#}");
    }
    out
}

/// "1 thread", "4 threads".
pub(super) fn plural(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", scale::count(count), if count == 1 { "" } else { "s" })
}

/// A text broken into lines.
pub(super) fn paragraph(text: &str, style: Style) -> String {
    indented(text, 0, style)
}

fn indented(text: &str, indent: usize, style: Style) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - indent {
            let _ = writeln!(out, "{:indent$}{style}{line}{style:#}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{:indent$}{style}{line}{style:#}", "");
    }
    out
}

#[cfg(test)]
mod tests;
