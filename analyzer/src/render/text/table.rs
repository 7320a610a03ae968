//! The figures of the three moments that count, side by side.

use super::{BOLD, scale};
use crate::measure::{AllocatorSays, Analysis, State};
use std::fmt::Write;

const LABEL_WIDTH: usize = 16;
const COLUMN_WIDTH: usize = 16;

/// What a row shows of a state; `None` where it is not known.
type Figure = fn(&State) -> Option<String>;

fn size(bytes: Option<u64>) -> Option<String> {
    bytes.map(scale::bytes)
}

/// Rows in the order of the questions: used, held, lost in between.
const ROWS: [(&str, Figure); 17] = [
    ("live", |state| size(Some(state.live_bytes))),
    ("live blocks", |state| Some(scale::count(state.live_blocks))),
    ("usable", |state| size(state.usable_bytes)),
    ("footprint", |state| size(state.footprint_bytes)),
    ("heap mapped", |state| size(state.heap_mapped_bytes)),
    ("heap resident", |state| size(state.heap_resident_bytes)),
    ("  age of that", |state| state.residency_age_ns.map(scale::duration)),
    ("RSS", |state| size(state.rss_bytes)),
    ("  huge pages", |state| size(state.huge_bytes)),
    ("  lazily freed", |state| size(state.lazyfree_bytes)),
    ("metadata", |state| size(state.metadata_bytes)),
    ("free in holes", |state| size(state.free_bytes)),
    ("holes", |state| state.hole_count.map(scale::count)),
    ("largest hole", |state| size(state.largest_hole_bytes)),
    ("footprint/live", |state| {
        let footprint = state.footprint_bytes.filter(|_| state.live_bytes > 0)?;
        Some(format!("{:.2}", footprint as f64 / state.live_bytes as f64))
    }),
    ("fragmentation", |state| {
        let ratio = state.fragmentation_ratio.filter(|_| residency_is_recent(state))?;
        Some(format!("{ratio:.2}"))
    }),
    ("pinned waste", |state| size(state.pinned_waste_bytes.filter(|_| residency_is_recent(state)))),
];
/// Rows that are left out where no moment knows them: they need residency by page, or smaps, or
/// an allocator whose headers are known.
const OPTIONAL: [&str; 7] = [
    "heap resident",
    "  age of that",
    "  huge pages",
    "  lazily freed",
    "metadata",
    "fragmentation",
    "pinned waste",
];

/// Of these, rows that are left out where there is nothing of it, too.
const WHERE_ANY: [&str; 2] = ["  huge pages", "  lazily freed"];

/// Whether what was seen in memory is still about what blocks have touched: where a heap grew
/// or fell much since then, what follows from both would mislead.
fn residency_is_recent(state: &State) -> bool {
    match (state.heap_resident_bytes, state.footprint_bytes) {
        (Some(resident), Some(footprint)) => resident.abs_diff(footprint) <= footprint / 8,
        _ => false,
    }
}

/// The table, with its heading.
pub(super) fn draw(analysis: &Analysis) -> String {
    let moments = [&analysis.peak, &analysis.peak_footprint, &analysis.end];
    let mut out = String::new();
    let headings = ["most live", "most footprint", "end"];
    row(&mut out, "", headings.map(|heading| format!("{BOLD}{heading:>COLUMN_WIDTH$}{BOLD:#}")));
    row(&mut out, "at", moments.map(|state| scale::duration(state.time_ns)));
    for (label, figure) in ROWS {
        let figures = moments.map(figure);
        let is_nothing = |figure: &Option<String>| {
            figure.is_none() || (WHERE_ANY.contains(&label) && *figure == size(Some(0)))
        };
        if OPTIONAL.contains(&label) && figures.iter().all(is_nothing) {
            continue;
        }
        row(&mut out, label, figures.map(|figure| figure.unwrap_or_else(|| "not known".into())));
    }
    allocators_own(&mut out, moments);
    out
}

/// What the allocator says of itself, under its own names.
fn allocators_own(out: &mut String, moments: [&State; 3]) {
    let views = moments.map(|state| state.allocator_view.as_ref());
    let Some(fullest) = views.iter().flatten().max_by_key(|view| view.figures.figures.len()) else {
        return;
    };
    let _ = writeln!(out, "its allocator says of itself");
    for (name, _) in &fullest.figures.figures {
        let of = |view: Option<&AllocatorSays>| {
            let figures = &view?.figures.figures;
            figures.iter().find(|(other, _)| other == name).map(|(_, bytes)| scale::bytes(*bytes))
        };
        row(out, name, views.map(|view| of(view).unwrap_or_else(|| "not known".into())));
    }
    let ages = views.map(|view| view.map(|view| scale::duration(view.age_ns)));
    row(out, "  age of that", ages.map(|age| age.unwrap_or_default()));
}

fn row(out: &mut String, label: &str, figures: [String; 3]) {
    let [first, second, third] = figures;
    let _ = writeln!(
        out,
        "{label:<LABEL_WIDTH$}{first:>COLUMN_WIDTH$}{second:>COLUMN_WIDTH$}{third:>COLUMN_WIDTH$}"
    );
}
