//! Names and last values at the right end of lines, so that no colour has to be matched
//! with a legend.

use super::series::{Kind, Line, Panel};
use crate::render::picture::canvas::Area;
use crate::render::picture::frame::{self, Align};
use crate::render::picture::layout::{Metrics, Rect, spread};
use crate::render::picture::{RenderError, font, scale};
use plotters::prelude::*;

/// What a line is called at its end; nothing for a line without a value. A line that
/// ends before the last moment says when.
fn text(line: &Line, kind: Kind, times: &[u64]) -> Option<String> {
    let last = line.values.iter().rposition(Option::is_some)?;
    let named = format!("{} {}", line.name, kind.value(line.values[last]?));
    let is_over = last + 1 < line.values.len();
    Some(if is_over { format!("{named} at {}", scale::duration(times[last])) } else { named })
}

/// The room that the labels of all panels need right of the data, in pixels.
pub(in crate::render) fn width(panels: &[Panel], times: &[u64], metrics: &Metrics) -> i32 {
    let texts =
        panels.iter().flat_map(|p| p.lines.iter().filter_map(|line| text(line, p.kind, times)));
    let widest = texts.map(|t| font::width(&t, metrics.small(), false)).fold(0.0, f64::max);
    (widest.ceil() as i32 + pointer(metrics)).min(metrics.width / 3)
}

fn pointer(metrics: &Metrics) -> i32 {
    metrics.px(18.0)
}

/// Draws the labels beside `rect`, each joined to the end of its line. `ends` holds the
/// pixel at which each line ends.
pub(super) fn draw(
    area: &Area<'_>,
    metrics: &Metrics,
    (panel, times): (&Panel, &[u64]),
    rect: &Rect,
    ends: &[Option<(i32, i32)>],
) -> Result<(), RenderError> {
    let height = f64::from(metrics.line(metrics.small()));
    let mut labelled: Vec<(usize, &Line, (i32, i32), String)> = (panel.lines.iter().zip(ends))
        .enumerate()
        .filter_map(|(order, (line, end))| {
            Some((order, line, (*end)?, text(line, panel.kind, times)?))
        })
        .collect();
    // Where there is no room for all, the lines drawn last are those that matter most.
    let room = ((f64::from(rect.height()) + height) / height) as usize;
    labelled.drain(..labelled.len().saturating_sub(room));
    labelled.sort_by_key(|(order, _, end, _)| (end.1, *order));

    let wanted: Vec<f64> = labelled.iter().map(|(_, _, end, _)| f64::from(end.1)).collect();
    let (from, to) = (f64::from(rect.top), f64::from(rect.bottom) + height / 2.0);
    let room = f64::from(metrics.width - rect.right - pointer(metrics)) - 2.0;
    for ((_, line, end, words), middle) in labelled.iter().zip(spread(&wanted, height, from, to)) {
        let (left, y) = (rect.right + pointer(metrics), middle as i32);
        let path = [(rect.right + metrics.px(3.0), end.1), (left - metrics.px(4.0), y)];
        area.draw(&PathElement::new(path, frame::stroke(line.colour, metrics.hairline())))?;
        let words = font::fit(words, metrics.small(), false, room);
        let style = frame::text(metrics.small(), line.colour, Align::LEFT);
        area.draw(&Text::new(words, (left, y), style))?;
    }
    Ok(())
}
