//! The frame of a picture: headline, finding, sub-line and legend above; the time axis
//! below.

use super::canvas::Area;
use super::layout::{Metrics, Rect};
use super::legend::Legend;
use super::palette::{Palette, Rgb};
use super::scale::{self, Axis};
use super::{RenderError, Title, font};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(crate) struct Align(HPos, VPos);

impl Align {
    pub(crate) const LEFT: Self = Self(HPos::Left, VPos::Center);
    pub(crate) const RIGHT: Self = Self(HPos::Right, VPos::Center);
    pub(crate) const CENTRE: Self = Self(HPos::Center, VPos::Center);
    pub(crate) const BELOW: Self = Self(HPos::Center, VPos::Top);
}

/// Text of one size and colour.
pub(crate) fn text(size: f64, colour: Rgb, align: Align) -> TextStyle<'static> {
    styled(("bundled", size).into_font(), colour, align)
}

/// The same in bold.
pub(crate) fn bold(size: f64, colour: Rgb, align: Align) -> TextStyle<'static> {
    styled(("bundled", size).into_font().style(FontStyle::Bold), colour, align)
}

/// The font's name is for plotters only: the pen knows one font.
fn styled(font: FontDesc<'static>, colour: Rgb, align: Align) -> TextStyle<'static> {
    TextStyle { font, color: rgb(colour).to_backend_color(), pos: Pos::new(align.0, align.1) }
}

/// An area filled with one colour.
pub(crate) fn fill(colour: Rgb) -> ShapeStyle {
    rgb(colour).filled()
}

/// A line of one colour, `width` pixels wide.
pub(crate) fn stroke(colour: Rgb, width: u32) -> ShapeStyle {
    rgb(colour).stroke_width(width)
}

/// plotters' own type for a colour.
pub(crate) fn rgb((r, g, b): Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

/// The lines above the data.
pub(crate) struct Header<'a> {
    title: &'a Title,
    /// What is wrong, in lines.
    verdict: Vec<String>,
    /// What the picture was computed to say, in lines.
    finding: Vec<String>,
    legend: Legend,
}

impl<'a> Header<'a> {
    /// Breaks the finding, which may be empty, into lines.
    pub(crate) fn new(title: &'a Title, finding: &str, legend: Legend, metrics: &Metrics) -> Self {
        let room = f64::from(metrics.width - 2 * margin(metrics));
        let verdict = font::wrap(&title.verdict, metrics.body(), true, room, 2);
        let finding = font::wrap(finding, metrics.body(), false, room, 2);
        Self { title, verdict, finding, legend }
    }

    /// Pixels from the upper edge of the picture to where the data may begin.
    pub(crate) fn height(&self, metrics: &Metrics) -> i32 {
        let mut height = margin(metrics) + metrics.line(metrics.headline());
        let lines = self.verdict.len() + self.finding.len();
        height += lines as i32 * metrics.line(metrics.body());
        if !self.title.subline.is_empty() {
            height += metrics.line(metrics.small());
        }
        height + metrics.px(7.0) + self.legend.height() + metrics.px(8.0)
    }

    /// Draws the lines.
    pub(crate) fn draw(
        &self,
        area: &Area<'_>,
        metrics: &Metrics,
        palette: &Palette,
    ) -> Result<(), RenderError> {
        let left = margin(metrics);
        let room = f64::from(metrics.width - 2 * left);
        let mut top = margin(metrics);
        let mut line = |words: &str, size: f64, colour: Rgb, is_bold: bool| {
            if words.is_empty() {
                return Ok(());
            }
            let height = metrics.line(size);
            let style = if is_bold { bold } else { text }(size, colour, Align::LEFT);
            let words = font::fit(words, size, is_bold, room);
            let drawn = area.draw(&Text::new(words, (left, top + height / 2), style));
            top += height;
            drawn
        };
        line(&self.title.headline, metrics.headline(), palette.text, true)?;
        for words in &self.verdict {
            line(words, metrics.body(), palette.text, true)?;
        }
        for words in &self.finding {
            line(words, metrics.body(), palette.text, false)?;
        }
        line(&self.title.subline, metrics.small(), palette.muted, false)?;
        if self.title.headline.is_empty() {
            top += metrics.line(metrics.headline());
        }
        self.legend.draw(area, metrics, palette, (left, top + metrics.px(7.0)))
    }
}

/// A zigzag from `left` to `right` around the row `middle`, `height` pixels high: here the
/// axis leaves something out.
pub(crate) fn draw_zigzag(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    (left, right): (i32, i32),
    (middle, height): (i32, i32),
) -> Result<(), RenderError> {
    let swing = (height / 4).max(1);
    let turns = (left..=right).step_by(metrics.px(7.0) as usize);
    let sides = [middle - swing, middle + swing].into_iter().cycle();
    let style = stroke(palette.muted, metrics.hairline());
    area.draw(&PathElement::new(turns.zip(sides).collect::<Vec<_>>(), style))?;
    Ok(())
}

/// The free edge around a picture.
pub(crate) fn margin(metrics: &Metrics) -> i32 {
    metrics.px(16.0)
}

/// Height of the time axis below the data: labels and the words that name it.
pub(crate) fn time_axis_height(metrics: &Metrics) -> i32 {
    metrics.px(8.0) + 2 * metrics.line(metrics.small())
}

/// A span of time laid across the pixels of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TimeSpan {
    /// First moment shown, in nanoseconds since the trace's start.
    pub start_ns: u64,
    /// Where the picture ends, always later.
    pub end_ns: u64,
}

impl TimeSpan {
    /// At least a microsecond, so that no axis has a length of nothing.
    pub(crate) fn new(start_ns: u64, end_ns: u64) -> Self {
        let start_ns = start_ns.min(u64::MAX - 1000);
        Self { start_ns, end_ns: end_ns.max(start_ns + 1000) }
    }

    fn length(&self) -> f64 {
        (self.end_ns - self.start_ns) as f64
    }

    /// Whether a moment is shown.
    pub(crate) fn holds(&self, time_ns: u64) -> bool {
        (self.start_ns..=self.end_ns).contains(&time_ns)
    }

    /// The pixel of a moment, inside `rect`.
    pub(crate) fn x(&self, rect: &Rect, time_ns: u64) -> i32 {
        let time_ns = time_ns.clamp(self.start_ns, self.end_ns);
        let share = (time_ns - self.start_ns) as f64 / self.length();
        rect.left + (share * f64::from(rect.width() - 1)).round() as i32
    }

    /// The moment at which a column of pixels begins, counted from the left of `width`.
    pub(crate) fn time_at(&self, column: i32, width: i32) -> u64 {
        let share = f64::from(column) / f64::from(width.max(1));
        self.start_ns.saturating_add((share * self.length()) as u64).min(self.end_ns)
    }

    /// The axis, with ticks that leave room for their labels.
    pub(crate) fn axis(&self, metrics: &Metrics, width: i32) -> Axis {
        let most = (width / metrics.px(95.0)).max(2) as usize;
        let range = self.start_ns as f64..self.end_ns as f64;
        Axis { ticks: scale::time_ticks(range.start, range.end, most), range }
    }

    /// Draws the axis along the lower edge of `rect`, and what it counts.
    pub(crate) fn draw_axis(
        &self,
        area: &Area<'_>,
        metrics: &Metrics,
        palette: &Palette,
        rect: &Rect,
    ) -> Result<(), RenderError> {
        let axis_area = area.clone().shrink(
            (rect.left, rect.top),
            (rect.width(), rect.height() + metrics.px(4.0) + metrics.line(metrics.small())),
        );
        ChartBuilder::on(&axis_area)
            .x_label_area_size(metrics.px(4.0) + metrics.line(metrics.small()))
            .build_cartesian_2d(self.axis(metrics, rect.width()), 0f64..1f64)?
            .configure_mesh()
            .disable_mesh()
            .axis_style(stroke(palette.axis, metrics.hairline()))
            .label_style(text(metrics.small(), palette.muted, Align::BELOW))
            .set_all_tick_mark_size(metrics.px(4.0))
            .draw()?;
        let name = "time since the trace began →";
        let middle = ((rect.left + rect.right) / 2, rect.bottom + time_axis_height(metrics));
        let at = (middle.0, middle.1 - metrics.line(metrics.small()) / 2);
        area.draw(&Text::new(name, at, text(metrics.small(), palette.muted, Align::CENTRE)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECT: Rect = Rect { left: 100, top: 0, right: 301, bottom: 10 };

    #[test]
    fn time_runs_from_the_left_edge_to_the_right() {
        let span = TimeSpan::new(1_000_000, 3_000_000);
        assert_eq!(
            [0, 1_000_000, 2_000_000, 9_000_000].map(|t| span.x(&RECT, t)),
            [100, 100, 200, 300]
        );
        assert_eq!(span.time_at(0, 201), 1_000_000);
        assert_eq!(span.time_at(201, 201), 3_000_000);
    }

    #[test]
    fn a_span_of_nothing_still_has_a_length() {
        assert!(TimeSpan::new(5, 5).length() > 0.0);
        assert!(TimeSpan::new(5, 1).length() > 0.0);
        assert!(TimeSpan::new(u64::MAX, u64::MAX).length() > 0.0);
    }
}
