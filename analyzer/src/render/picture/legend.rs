//! The legend above a picture: samples of what is drawn, each with its meaning.

use super::RenderError;
use super::canvas::Area;
use super::font;
use super::frame::{self, Align};
use super::layout::Metrics;
use super::palette::{Palette, Rgb};
use plotters::prelude::*;

/// What is shown before the words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sample {
    /// A filled square.
    Square(Rgb),
    /// The outline of one, as areas are framed.
    Frame,
    /// A line of this colour and width in pixels.
    Line(Rgb, u32),
    /// The heap map's colours from full to nearly empty, with words of their own.
    Shares,
    /// The zigzag between two bands of the heap map.
    Break,
    /// Nothing: a remark.
    None,
}

/// One entry of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub sample: Sample,
    pub text: String,
}

impl Entry {
    pub(crate) fn new(sample: Sample, text: impl Into<String>) -> Self {
        Self { sample, text: text.into() }
    }
}

/// Entries placed in rows.
pub(crate) struct Legend {
    entries: Vec<(i32, i32, Entry)>,
    rows: i32,
    row_height: i32,
}

impl Legend {
    /// Places entries from left to right, a new row wherever the width is used up.
    pub(crate) fn place(entries: Vec<Entry>, metrics: &Metrics, width: i32) -> Self {
        let row_height = metrics.line(metrics.body()) + metrics.px(2.0);
        let (mut x, mut row, mut placed) = (0, 0, Vec::new());
        for entry in entries {
            let taken = sample_width(entry.sample, metrics)
                + font::width(&entry.text, metrics.body(), false).ceil() as i32;
            if x > 0 && x + taken > width {
                (x, row) = (0, row + 1);
            }
            placed.push((x, row * row_height, entry));
            x += taken + metrics.px(26.0);
        }
        let rows = if placed.is_empty() { 0 } else { row + 1 };
        Self { entries: placed, rows, row_height }
    }

    /// Height in pixels.
    pub(crate) fn height(&self) -> i32 {
        self.rows * self.row_height
    }

    /// Draws the legend with its upper left corner at `(left, top)`.
    pub(crate) fn draw(
        &self,
        area: &Area<'_>,
        metrics: &Metrics,
        palette: &Palette,
        (left, top): (i32, i32),
    ) -> Result<(), RenderError> {
        for (x, y, entry) in &self.entries {
            let (x, middle) = (left + x, top + y + self.row_height / 2);
            draw_sample(area, metrics, palette, entry.sample, (x, middle))?;
            let text_left = x + sample_width(entry.sample, metrics);
            let style = frame::text(metrics.body(), palette.text, Align::LEFT);
            area.draw(&Text::new(entry.text.as_str(), (text_left, middle), style))?;
        }
        Ok(())
    }
}

const FULL: &str = "full of live blocks";
const HALF: &str = "half";
const SPARSE: &str = "nearly empty";

fn bar_width(metrics: &Metrics) -> i32 {
    metrics.px(190.0)
}

fn sample_width(sample: Sample, metrics: &Metrics) -> i32 {
    let words = |text: &str| font::width(text, metrics.body(), false).ceil() as i32;
    match sample {
        Sample::None => 0,
        Sample::Square(_) | Sample::Frame => metrics.px(24.0),
        Sample::Line(..) | Sample::Break => metrics.px(34.0),
        Sample::Shares => words(FULL) + words(SPARSE) + bar_width(metrics) + metrics.px(16.0),
    }
}

fn draw_sample(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    sample: Sample,
    (x, middle): (i32, i32),
) -> Result<(), RenderError> {
    let half = metrics.px(8.0);
    match sample {
        Sample::None => {}
        Sample::Square(colour) => {
            let box_ = [(x, middle - half), (x + 2 * half, middle + half)];
            area.draw(&Rectangle::new(box_, frame::fill(colour)))?;
            let outline = frame::stroke(palette.axis, metrics.hairline());
            area.draw(&Rectangle::new(box_, outline))?;
        }
        Sample::Frame => {
            let box_ = [(x, middle - half), (x + 2 * half, middle + half)];
            let outline = frame::stroke(palette.text, metrics.hairline());
            area.draw(&Rectangle::new(box_, outline))?;
        }
        Sample::Line(colour, width) => {
            let ends = [(x, middle), (x + metrics.px(26.0), middle)];
            area.draw(&PathElement::new(ends, frame::stroke(colour, width)))?;
        }
        Sample::Break => {
            frame::draw_zigzag(area, metrics, palette, (x, x + metrics.px(26.0)), (middle, half))?;
        }
        Sample::Shares => {
            let style = |colour, align| frame::text(metrics.body(), colour, align);
            area.draw(&Text::new(FULL, (x, middle), style(palette.text, Align::LEFT)))?;
            let full_width = font::width(FULL, metrics.body(), false).ceil() as i32;
            let left = x + full_width + metrics.px(8.0);
            let width = bar_width(metrics);
            for step in 0..width {
                let share = 1.0 - f64::from(step) / f64::from(width - 1).max(1.0);
                let column = [(left + step, middle - half), (left + step + 1, middle + half)];
                area.draw(&Rectangle::new(column, frame::fill(palette.filled(share))))?;
            }
            let centre = (left + width / 2, middle);
            area.draw(&Text::new(HALF, centre, style((255, 255, 255), Align::CENTRE)))?;
            let right = (left + width + metrics.px(8.0), middle);
            area.draw(&Text::new(SPARSE, right, style(palette.text, Align::LEFT)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::picture::PictureOptions;

    #[test]
    fn entries_wrap_where_the_width_ends() {
        let metrics = Metrics::new(&PictureOptions::default());
        let rows = |entries, width| {
            let entries = vec![Entry::new(Sample::Square((0, 0, 0)), "given back"); entries];
            Legend::place(entries, &metrics, width).rows
        };
        assert_eq!([rows(3, 1500), rows(3, 10), rows(0, 10)], [1, 3, 0]);
    }
}
