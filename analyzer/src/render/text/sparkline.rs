//! Live, footprint, resident and RSS over time in one line each, all to one scale; below them the
//! fragmentation, to its own.

use super::{DIM, scale};
use crate::measure::{Analysis, State};
use std::fmt::Write;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a chart at most, and at least: with fewer it shows no course.
const MOST_COLUMNS: usize = 60;
const LEAST_COLUMNS: usize = 12;
const LABEL_WIDTH: usize = 16;
/// What stands behind a chart: "  1,023 MiB at most".
const TAIL_WIDTH: usize = 20;
const LEAST_LIVE_PART: u64 = 100;

/// The lines, for a terminal so wide; `None` when there is nothing to draw, or no room.
pub(super) fn draw(analysis: &Analysis, terminal_columns: usize) -> Option<String> {
    let width = terminal_columns.saturating_sub(LABEL_WIDTH + TAIL_WIDTH).min(MOST_COLUMNS);
    if width < LEAST_COLUMNS {
        return None;
    }
    let (from, to) = (analysis.trace.window_start_ns, analysis.trace.duration_ns);
    if analysis.series.len() < 2 || to <= from {
        return None;
    }
    type Figure = fn(&State) -> Option<u64>;
    let curves: [(&str, Figure); 4] = [
        ("live", |state| Some(state.live_bytes)),
        ("footprint", |state| state.footprint_bytes),
        ("heap resident", |state| state.heap_resident_bytes),
        ("RSS", |state| state.rss_bytes),
    ];
    let columns = curves.map(|(_, figure)| columns(&analysis.series, (from, to), width, figure));
    let top = columns.iter().flatten().flatten().copied().max().filter(|top| *top > 0)?;

    let mut out = String::new();
    for ((label, _), columns) in curves.iter().zip(&columns) {
        if columns.iter().all(Option::is_none) {
            continue;
        }
        let bars: String = columns.iter().map(|value| bar(*value, top)).collect();
        let most = columns.iter().flatten().max().copied().unwrap_or(0);
        let _ = writeln!(out, "{label:<LABEL_WIDTH$}{bars}  {} at most", scale::bytes(most));
    }
    if let Some(line) = fragmentation(analysis, (from, to), width) {
        out.push_str(&line);
    }
    let (from, to) = (scale::duration(from), scale::duration(to));
    let gap = width.saturating_sub(from.chars().count());
    let _ = writeln!(out, "{DIM}{:<LABEL_WIDTH$}{from}{to:>gap$}{DIM:#}", "");
    Some(out)
}

/// While hardly anything is live the ratio says nothing, and would flatten all other columns: of
/// moments with less than a hundredth of what was live at the peak there is none.
fn fragmentation(analysis: &Analysis, span: (u64, u64), width: usize) -> Option<String> {
    let least = analysis.peak.live_bytes / LEAST_LIVE_PART;
    let ratio = |state: &State| state.fragmentation_ratio.filter(|_| state.live_bytes > least);
    let thousandths = |state: &State| ratio(state).map(|ratio| (ratio.max(0.0) * 1000.0) as u64);
    let columns = columns(&analysis.series, span, width, thousandths);
    let top = columns.iter().flatten().copied().max().filter(|top| *top > 0)?;
    let bars: String = columns.iter().map(|value| bar(*value, top)).collect();
    let most = scale::ratio(top as f64 / 1000.0);
    Some(format!("{:<LABEL_WIDTH$}{bars}  {most} at most\n", "fragmentation"))
}

fn bar(value: Option<u64>, top: u64) -> char {
    match value {
        None | Some(0) => ' ',
        Some(value) => LEVELS[(u128::from(value - 1) * 8 / u128::from(top)) as usize % 8],
    }
}

/// The greatest value in each column; a column without a sample has that before it.
fn columns(
    series: &[State],
    (from, to): (u64, u64),
    width: usize,
    figure: impl Fn(&State) -> Option<u64>,
) -> Vec<Option<u64>> {
    let mut columns = vec![None; width];
    for state in series {
        let Some(value) = figure(state) else { continue };
        let since = u128::from(state.time_ns.saturating_sub(from));
        let column = since * width as u128 / u128::from(to - from);
        let column = &mut columns[(column as usize).min(width - 1)];
        *column = (*column).max(Some(value));
    }
    let mut last = None;
    for column in &mut columns {
        last = column.or(last);
        *column = last;
    }
    columns
}
