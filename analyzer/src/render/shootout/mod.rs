//! The shootout as text, JSON and a picture.

mod picture;

pub use picture::draw;

use super::json;
use super::picture::scale;
use super::text::{self, BOLD, DIM};
use crate::shootout::{Run, Shootout, Threads};
use std::fmt::Write as _;
use std::io::{self, Write};

/// An error of the replay above this is said in words.
const SAID_ERROR: f64 = 0.05;

/// Writes the JSON object: a key a line, an allocator a line.
///
/// # Errors
/// Whatever writing says.
pub fn json(found: &Shootout, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\n\"recorded\": ")?;
    json::value(&found.recorded, out)?;
    out.write_all(b",\n\"error_ratio\": ")?;
    json::value(&found.error_ratio, out)?;
    out.write_all(b",\n\"reproduced\": ")?;
    json::value(&found.reproduced, out)?;
    out.write_all(b",\n\"threads\": ")?;
    json::value(&found.threads, out)?;
    out.write_all(b",\n\"processors\": ")?;
    json::value(&found.processors, out)?;
    out.write_all(b",\n\"kept_from_ns\": ")?;
    json::value(&found.kept_from_ns, out)?;
    out.write_all(b",\n\"allocators\": [")?;
    for (index, run) in found.allocators.iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        json::value(run, out)?;
    }
    out.write_all(b"\n],\n\"missing\": ")?;
    json::value(&found.missing, out)?;
    out.write_all(b",\n\"verdict\": ")?;
    json::value(&found.verdict, out)?;
    out.write_all(b"\n}\n")
}

/// A column of the table: its heading, and what stands in it.
type Column = (&'static str, fn(&Run) -> Option<String>);

const COLUMNS: [Column; 12] = [
    ("peak RSS", |run| size(run.peak_rss_bytes)),
    ("after drop", |run| size(run.after_drop_rss_bytes)),
    ("after decay", |run| size(run.after_decay_rss_bytes)),
    ("end RSS", |run| size(run.end_rss_bytes)),
    ("returned", |run| run.returned_ratio.map(scale::percent)),
    ("fragm.", |run| ratio(run.mean_fragmentation_ratio)),
    ("worst", |run| ratio(run.worst_fragmentation_ratio)),
    ("mapped", |run| size(run.peak_mapped_bytes)),
    ("in calls", |run| run.alloc_time_ns.map(scale::duration)),
    ("calls/s", |run| run.throughput_calls_per_second.map(scale::count)),
    ("faults", |run| run.faults.map(scale::count)),
    ("sys. calls", |run| run.system_calls.map(scale::count)),
];
/// Columns that are left out where no row knows them.
const OPTIONAL: [&str; 6] =
    ["after drop", "after decay", "returned", "in calls", "calls/s", "sys. calls"];

fn size(bytes: Option<u64>) -> Option<String> {
    bytes.map(scale::bytes)
}

fn ratio(ratio: Option<f64>) -> Option<String> {
    ratio.map(|ratio| format!("{ratio:.2}"))
}

/// The shootout as text.
pub fn report(found: &Shootout) -> String {
    let mut out = String::new();
    let rows: Vec<&Run> = std::iter::once(&found.recorded).chain(&found.allocators).collect();
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(name, of)| !OPTIONAL.contains(name) || rows.iter().any(|run| of(run).is_some()))
        .collect();
    let names: Vec<String> = rows.iter().map(|run| run.shown()).collect();
    let first = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) + 2;
    let _ = write!(out, "{BOLD}{:<first$}", "");
    for (name, _) in &columns {
        let _ = write!(out, "{name:>WIDTH$}");
    }
    let _ = writeln!(out, "{BOLD:#}");
    for (run, name) in rows.iter().zip(&names) {
        let _ = write!(out, "{name:<first$}");
        let failed = run.error.is_some() && run.peak_rss_bytes.is_none();
        if !failed {
            for (_, of) in &columns {
                let figure = of(run).unwrap_or_else(|| "–".to_owned());
                let _ = write!(out, "{figure:>WIDTH$}");
            }
        }
        if let Some(error) = &run.error {
            let _ = write!(out, "  {error}");
        }
        out.push('\n');
    }
    out.push('\n');
    for line in notes(found) {
        out += &text::paragraph(&line, DIM);
    }
    out += &text::paragraph(&found.verdict, BOLD);
    out
}

const WIDTH: usize = 12;

/// How far the figures can be believed, and what is not there.
fn notes(found: &Shootout) -> Vec<String> {
    let mut lines = Vec::new();
    match found.error_ratio {
        Some(error) if error > SAID_ERROR => lines.push(format!(
            "The recorded allocator, run again, misses the program's own peak or final RSS by {}: \
             take differences below that as none.",
            scale::percent(error)
        )),
        Some(error) => lines.push(format!(
            "The recorded allocator, run again, is within {} of the program's own peak and final \
             RSS.",
            if error < 0.01 { "1 %".to_owned() } else { scale::percent(error) }
        )),
        None if found.threads == Threads::One => lines.push(
            "One thread made all calls, other than in the recorded program: the rows are to be \
             compared with each other, not with the first."
                .to_owned(),
        ),
        None if found.threads == Threads::Free => lines.push(format!(
            "Threads ran freely{}: order was kept only where blocks change hands, so their peaks \
             fall together in other ways than in the recorded program. calls/s is of all threads \
             together, with writing to the blocks in it. The rows are to be compared with each \
             other, not with the first.",
            match found.processors {
                Some(1) => ", on 1 processor".to_owned(),
                Some(many) => format!(", on {many} processors"),
                None => String::new(),
            }
        )),
        None => lines.push(
            "How closely a replay meets the program's own figures is not known: the recorded \
             allocator was not run again."
                .to_owned(),
        ),
    }
    lines.extend(found.kept_from_ns.map(|from_ns| {
        format!(
            "Events are kept from {} on: what was live then is put in place first, side by side. The \
             holes that were between are in no row but the first.",
            scale::duration(from_ns)
        )
    }));
    lines.extend(found.missing.iter().map(|missing| format!("Not tried: {missing}.")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash_and_an_error_is_said() {
        let run = |name: &str| Run { name: name.into(), ..Run::default() };
        let found = Shootout {
            recorded: Run { peak_rss_bytes: Some(1 << 20), ..run("recorded") },
            error_ratio: Some(0.07),
            allocators: vec![Run { error: Some("killed by signal 11".into()), ..run("mine") }],
            missing: vec!["snmalloc".into()],
            kept_from_ns: Some(2_000_000_000),
            verdict: "Stay.".into(),
            ..Shootout::default()
        };
        let text = report(&found);
        assert!(text.contains("1.00 MiB") && text.contains('–'), "{text}");
        assert!(text.contains("mine") && text.contains("killed by signal 11"), "{text}");
        assert!(text.contains("by 7 %") && text.contains("Not tried: snmalloc."), "{text}");
        assert!(!text.contains("after drop"), "{text}");
        assert!(text.contains("Events are kept from 2.00 s on"), "{text}");
        let mut bytes = Vec::new();
        json(&found, &mut bytes).expect("written");
        let json = String::from_utf8(bytes).expect("text");
        assert!(
            json.contains("\"end_rss_bytes\":null") && json.ends_with("\"Stay.\"\n}\n"),
            "{json}"
        );
    }
}
