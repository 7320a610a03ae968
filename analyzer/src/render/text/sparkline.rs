//! Live, footprint and RSS over time in one line each, all to one scale.

use super::{DIM, scale};
use crate::measure::{Analysis, State};
use std::fmt::Write;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const COLUMNS: usize = 60;
const LABEL_WIDTH: usize = 16;

/// The lines; `None` when there is nothing to draw.
pub(super) fn draw(analysis: &Analysis) -> Option<String> {
    let (from, to) = (analysis.trace.window_start_ns, analysis.trace.duration_ns);
    if analysis.series.len() < 2 || to <= from {
        return None;
    }
    type Figure = fn(&State) -> Option<u64>;
    let curves: [(&str, Figure); 3] = [
        ("live", |state| Some(state.live_bytes)),
        ("footprint", |state| state.footprint_bytes),
        ("RSS", |state| state.rss_bytes),
    ];
    let columns = curves.map(|(_, figure)| columns(&analysis.series, (from, to), figure));
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
    let (from, to) = (scale::duration(from), scale::duration(to));
    let gap = COLUMNS.saturating_sub(from.chars().count());
    let _ = writeln!(out, "{DIM}{:<LABEL_WIDTH$}{from}{to:>gap$}{DIM:#}", "");
    Some(out)
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
    figure: fn(&State) -> Option<u64>,
) -> [Option<u64>; COLUMNS] {
    let mut columns = [None; COLUMNS];
    for state in series {
        let Some(value) = figure(state) else { continue };
        let since = u128::from(state.time_ns.saturating_sub(from));
        let column = since * COLUMNS as u128 / u128::from(to - from);
        let column = &mut columns[(column as usize).min(COLUMNS - 1)];
        *column = (*column).max(Some(value));
    }
    let mut last = None;
    for column in &mut columns {
        last = column.or(last);
        *column = last;
    }
    columns
}
