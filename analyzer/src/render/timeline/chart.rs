//! One panel: its scale and grid, the shaded band, its lines.

use super::labels;
use super::series::{Line, Panel};
use crate::render::picture::canvas::Area;
use crate::render::picture::frame::{self, Align, TimeSpan};
use crate::render::picture::layout::{Metrics, Rect};
use crate::render::picture::palette::Palette;
use crate::render::picture::scale::Axis;
use crate::render::picture::{RenderError, font};
use plotters::prelude::*;

/// How strongly the memory that is held and not live is tinted.
pub(super) const HELD_OPACITY: f64 = 0.22;
/// How strongly live memory is tinted.
const LIVE_OPACITY: f64 = 0.18;

/// Room for the labels of a scale, in pixels.
pub(in crate::render) fn scale_width(metrics: &Metrics) -> i32 {
    font::width("1,000 MiB", metrics.small(), false).ceil() as i32 + metrics.px(8.0)
}

/// What all panels share.
pub(in crate::render) struct Chart<'a> {
    pub metrics: &'a Metrics,
    pub palette: &'a Palette,
    pub span: TimeSpan,
    /// The moments of the states.
    pub times: &'a [u64],
}

impl Chart<'_> {
    /// Draws one panel: its data in `rect`, its title at `title_y`, labels beside it.
    pub(in crate::render) fn draw(
        &self,
        area: &Area<'_>,
        panel: &Panel,
        (rect, title_y): (&Rect, i32),
    ) -> Result<(), RenderError> {
        let (metrics, palette) = (self.metrics, self.palette);
        let title = frame::bold(metrics.small(), palette.text, Align::LEFT);
        area.draw(&Text::new(panel.title.as_str(), (rect.left, title_y), title))?;
        if !panel.lines.iter().any(Line::is_known) {
            let middle = ((rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2);
            let style = frame::text(metrics.small(), palette.muted, Align::CENTRE);
            area.draw(&Text::new("not known from this trace", middle, style))?;
            return Ok(());
        }
        // Room above the greatest value, for its line's width.
        let top_value = match panel.max() {
            max if max > 0.0 && max.is_finite() => max * 1.04,
            _ => 1.0,
        };
        self.draw_scale(area, panel, rect, top_value)?;
        let y = |value: f64| {
            let share = (value / top_value).clamp(0.0, 1.0);
            rect.bottom - 1 - (share * f64::from(rect.height() - 1)).round() as i32
        };
        self.shade(area, panel, rect, &y)?;
        let mut ends = Vec::with_capacity(panel.lines.len());
        for line in &panel.lines {
            ends.push(self.draw_line(area, line, rect, &y)?);
        }
        labels::draw(area, metrics, (panel, self.times), rect, &ends)
    }

    fn draw_scale(
        &self,
        area: &Area<'_>,
        panel: &Panel,
        rect: &Rect,
        top_value: f64,
    ) -> Result<(), RenderError> {
        let (metrics, palette) = (self.metrics, self.palette);
        let most = rect.height() * 2 / (3 * metrics.line(metrics.small()));
        let ticks = panel.kind.ticks(top_value, most.max(2) as usize);
        let values = Axis { range: 0.0..top_value, ticks };
        let left = scale_width(metrics);
        let chart_area =
            area.clone().shrink((rect.left - left, rect.top), (left + rect.width(), rect.height()));
        ChartBuilder::on(&chart_area)
            .y_label_area_size(left)
            .build_cartesian_2d(self.span.axis(metrics, rect.width()), values)?
            .configure_mesh()
            .bold_line_style(frame::stroke(palette.grid, metrics.hairline()))
            .light_line_style(TRANSPARENT)
            .axis_style(frame::stroke(palette.axis, metrics.hairline()))
            .label_style(frame::text(metrics.small(), palette.muted, Align::RIGHT))
            .set_all_tick_mark_size(metrics.px(3.0))
            .draw()?;
        Ok(())
    }

    /// Tints what is live, and what lies between the panel's two shaded lines.
    fn shade(
        &self,
        area: &Area<'_>,
        panel: &Panel,
        rect: &Rect,
        y: &impl Fn(f64) -> i32,
    ) -> Result<(), RenderError> {
        let Some((lower, upper)) = panel.shaded else { return Ok(()) };
        let (lower, upper) = (&panel.lines[lower], &panel.lines[upper]);
        for at in 1..self.times.len() {
            let pair = |line: &Line| Some((line.values[at - 1]?, line.values[at]?));
            let (from, to) = (self.times[at - 1], self.times[at]);
            let (first, end) = (self.span.x(rect, from), self.span.x(rect, to));
            for x in first..end {
                let share = f64::from(x - first) / f64::from(end - first);
                let between = |(a, b): (f64, f64)| y(a + (b - a) * share);
                let Some(low) = pair(lower).map(between) else { continue };
                let live = frame::rgb(lower.colour).mix(LIVE_OPACITY).filled();
                area.draw(&Rectangle::new([(x, low), (x + 1, rect.bottom - 1)], live))?;
                let Some(high) = pair(upper).map(between).filter(|high| *high < low) else {
                    continue;
                };
                let held = frame::rgb(upper.colour).mix(HELD_OPACITY).filled();
                area.draw(&Rectangle::new([(x, high), (x + 1, low)], held))?;
            }
        }
        Ok(())
    }

    /// Draws one line, broken where values are missing; returns where it ends.
    fn draw_line(
        &self,
        area: &Area<'_>,
        line: &Line,
        rect: &Rect,
        y: &impl Fn(f64) -> i32,
    ) -> Result<Option<(i32, i32)>, RenderError> {
        let style = frame::stroke(line.colour, self.metrics.px(line.weight) as u32);
        let points: Vec<Option<(i32, i32)>> = (self.times.iter().zip(&line.values))
            .map(|(time, value)| Some((self.span.x(rect, *time), y((*value)?))))
            .collect();
        for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
            let path: Vec<(i32, i32)> = run.iter().flatten().copied().collect();
            area.draw(&PathElement::new(path, style))?;
        }
        Ok(points.iter().rev().flatten().next().copied())
    }
}
