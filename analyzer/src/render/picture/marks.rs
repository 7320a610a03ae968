//! Marks in time: a dashed line across the data and a name above it, the names in as many
//! rows as it takes to keep them apart.

use super::canvas::Area;
use super::frame::{self, Align, TimeSpan};
use super::layout::{Metrics, Rect};
use super::palette::Palette;
use super::{Mark, RenderError, font};
use plotters::prelude::*;

/// Marks that find no place in so many rows keep their line and lose their name.
const MOST_ROWS: usize = 3;

/// Marks and the places of their names.
pub(crate) struct Marks {
    placed: Vec<Placed>,
    rows: usize,
    row_height: i32,
}

struct Placed {
    /// Where the mark's line crosses the data.
    x: i32,
    /// Row counted from the data upwards, left edge, and words.
    name: Option<(usize, i32, String)>,
}

impl Marks {
    /// Places the names of `marks` above data that reaches from `left` to `right`.
    /// Moments outside the span are left out.
    pub(crate) fn place(
        marks: &[Mark],
        metrics: &Metrics,
        span: TimeSpan,
        (left, right): (i32, i32),
    ) -> Self {
        let size = metrics.small();
        let data = Rect { left, top: 0, right, bottom: 0 };
        let mut marks: Vec<&Mark> = marks.iter().filter(|mark| span.holds(mark.time_ns)).collect();
        marks.sort_by_key(|mark| mark.time_ns);
        let mut free_from: Vec<i32> = Vec::new();
        let place = |mark: &Mark| {
            let x = span.x(&data, mark.time_ns);
            let room = metrics.width - 2 * frame::margin(metrics);
            let words = font::fit(&mark.label, size, false, f64::from(room));
            let width = font::width(&words, size, false).ceil() as i32;
            let most_left = metrics.width - frame::margin(metrics) - width;
            let left = (x - width / 2).min(most_left).max(frame::margin(metrics));
            let row = free_from.iter().position(|free| *free <= left).unwrap_or(free_from.len());
            if row == free_from.len() && row < MOST_ROWS {
                free_from.push(0);
            }
            let name = free_from.get_mut(row).map(|free| {
                *free = left + width + metrics.px(10.0);
                (row, left, words)
            });
            Placed { x, name }
        };
        let placed = marks.into_iter().map(place).collect();
        Self { placed, rows: free_from.len(), row_height: metrics.line(size) }
    }

    /// Height of the names, in pixels; 0 without marks.
    pub(crate) fn height(&self, metrics: &Metrics) -> i32 {
        if self.rows == 0 { 0 } else { self.rows as i32 * self.row_height + metrics.px(4.0) }
    }

    /// Draws lines across `rect` and the names above it.
    pub(crate) fn draw(
        &self,
        area: &Area<'_>,
        metrics: &Metrics,
        palette: &Palette,
        rect: &Rect,
    ) -> Result<(), RenderError> {
        let (dash, width) = (metrics.px(5.0), metrics.px(1.2) as u32);
        // Gaps in the colour of the ground: else the line is lost on what is as dark as itself.
        let (line, gap) =
            (frame::stroke(palette.text, width), frame::stroke(palette.ground, width));
        let style = frame::text(metrics.small(), palette.text, Align::LEFT);
        for mark in &self.placed {
            for top in (rect.top..rect.bottom).step_by(2 * dash as usize) {
                let ends =
                    |from: i32| [from, from + dash].map(|y| (mark.x, y.min(rect.bottom - 1)));
                area.draw(&PathElement::new(ends(top + dash), gap))?;
                area.draw(&PathElement::new(ends(top), line))?;
            }
            if let Some((row, left, words)) = &mark.name {
                let lift = metrics.px(3.0) + self.row_height / 2 + *row as i32 * self.row_height;
                area.draw(&Text::new(words.as_str(), (*left, rect.top - lift), style.clone()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::picture::PictureOptions;

    fn placed(times: &[u64], label: &str) -> Marks {
        let mark = |time_ns: &u64| Mark { time_ns: *time_ns, label: label.to_owned() };
        let marks: Vec<Mark> = times.iter().map(mark).collect();
        let metrics = Metrics::new(&PictureOptions::default());
        Marks::place(&marks, &metrics, TimeSpan::new(0, 10_000), (100, 1500))
    }

    #[test]
    fn names_that_would_touch_stand_in_rows_of_their_own() {
        assert_eq!(placed(&[0, 5000, 9000], "burst").rows, 1);
        let crowded = placed(&[5000, 5001, 5002, 5003], "burst");
        assert_eq!(crowded.rows, MOST_ROWS);
        assert_eq!(crowded.placed.iter().filter(|mark| mark.name.is_some()).count(), 3);
    }

    #[test]
    fn marks_outside_the_window_are_left_out() {
        assert_eq!(placed(&[10_001, u64::MAX], "late").rows, 0);
        assert!(placed(&[], "").placed.is_empty());
    }
}
