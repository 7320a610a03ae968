//! The timeline: what the program has live, what its heap holds, what the kernel counts,
//! and below it how fragmented the heap is; one time axis for all.
//!
//! The shaded band between live and footprint is the memory that is held and not used:
//! the thing to look at. What is not known is left out of the drawing and named in the
//! legend; a value missing in between is a gap in its line, never zero.

pub(in crate::render) mod chart;
pub(in crate::render) mod labels;
pub(in crate::render) mod series;

use super::picture::canvas::Canvas;
use super::picture::frame::{self, Header, TimeSpan};
use super::picture::layout::{Metrics, Rect};
use super::picture::legend::{Entry, Legend, Sample};
use super::picture::marks::Marks;
use super::picture::palette::{self, Palette};
use super::picture::{Mark, PictureOptions, RenderError, Title, scale};
use crate::measure::{State, with_gaps};
use chart::Chart;
use series::{Line, Panel};

/// What the picture says besides the states themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimelineExtras {
    /// The lines above the charts.
    pub title: Title,
    /// Where the window ends, in nanoseconds since the trace's start; the time axis
    /// reaches at least to the last state.
    pub end_ns: u64,
    /// Moments to point out; the peak of live bytes is marked without being asked for.
    pub marks: Vec<Mark>,
}

/// Draws the timeline of `states`, whose times rise; returns the bytes of a PNG file.
///
/// # Errors
/// [`RenderError::TooSmall`] and [`RenderError::TooLarge`] for sizes that make no
/// picture; the others only if drawing or packing fails.
pub fn draw(
    states: &[State],
    extras: &TimelineExtras,
    options: &PictureOptions,
) -> Result<Vec<u8>, RenderError> {
    let states = &with_gaps(states)[..];
    let palette = Palette::of(options.theme);
    let mut canvas = Canvas::new(options, palette.ground)?;
    let metrics = Metrics::new(options);
    let times: Vec<u64> = states.iter().map(|state| state.time_ns).collect();
    let panels = series::panels(states, palette);
    let span = TimeSpan::new(
        times.iter().copied().min().unwrap_or(0),
        times.iter().copied().max().unwrap_or(0).max(extras.end_ns),
    );
    let header = header(states, &panels, extras, &metrics, palette);
    let left = frame::margin(&metrics) + chart::scale_width(&metrics);
    let right = metrics.width - frame::margin(&metrics) - labels::width(&panels, &times, &metrics);
    let marks = Marks::place(&marks(states, extras), &metrics, span, (left, right));
    let free_rows = (header.height(&metrics), marks.height(&metrics));
    let places = place(panels.len(), (left, right), free_rows, &metrics);

    let area = canvas.area();
    header.draw(&area, &metrics, palette)?;
    let chart = Chart { metrics: &metrics, palette, span, times: &times };
    for (panel, place) in panels.iter().zip(&places) {
        chart.draw(&area, panel, (&place.rect, place.title_y))?;
    }
    let (first, last) = (places[0].rect, places[places.len() - 1].rect);
    span.draw_axis(&area, &metrics, palette, &last)?;
    let whole = Rect { bottom: last.bottom, ..first };
    marks.draw(&area, &metrics, palette, &whole)?;
    drop(area);
    canvas.into_png()
}

/// The caller's marks and the peak of live bytes.
fn marks(states: &[State], extras: &TimelineExtras) -> Vec<Mark> {
    let peak = peak(states).map(|state| Mark {
        time_ns: state.time_ns,
        label: format!(
            "peak of live: {} at {}",
            scale::bytes(state.live_bytes),
            scale::duration(state.time_ns)
        ),
    });
    peak.into_iter().chain(extras.marks.iter().cloned()).collect()
}

fn header<'a>(
    states: &[State],
    panels: &[Panel],
    extras: &'a TimelineExtras,
    metrics: &Metrics,
    palette: &Palette,
) -> Header<'a> {
    let width = metrics.width - 2 * frame::margin(metrics);
    let lines = panels.first().map_or(&[][..], |panel| &panel.lines);
    let legend = |in_full: bool| {
        let entry = |line: &Line| match (line.is_known(), in_full) {
            (false, _) => Entry::new(Sample::None, format!("{}: not known", line.name)),
            (true, true) => {
                Entry::new(line.sample(metrics), format!("{}: {}", line.name, line.meaning))
            }
            (true, false) => Entry::new(line.sample(metrics), &*line.name),
        };
        let mut entries: Vec<Entry> = lines.iter().rev().map(entry).collect();
        let shade = palette::mix(palette.ground, palette.series.footprint, chart::HELD_OPACITY);
        entries.push(Entry::new(Sample::Square(shade), "held, not live"));
        Legend::place(entries, metrics, width)
    };
    let in_full = legend(true);
    let legend = if in_full.height() * 6 > metrics.height { legend(false) } else { in_full };
    Header::new(&extras.title, &finding(states), legend, metrics)
}

/// The moment when most was live; of several the first.
fn peak(states: &[State]) -> Option<&State> {
    states.iter().rev().max_by_key(|state| state.live_bytes).filter(|state| state.live_bytes > 0)
}

/// What is live and what is held when most was live, and at the end.
fn finding(states: &[State]) -> String {
    let (Some(peak), Some(end)) = (peak(states), states.last()) else { return String::new() };
    let of = |state: &State, is: &str| match (state.footprint_bytes, scale::bytes(state.live_bytes))
    {
        (Some(held), live) => format!("{live} of {} held{is}", scale::bytes(held)),
        (None, live) => format!("{live}{is}"),
    };
    let peak_time = scale::duration(peak.time_ns);
    format!("At the peak ({peak_time}) {}; at the end {}.", of(peak, " was live"), of(end, ""))
}

/// Where a panel stands.
struct Place {
    /// Where its data is drawn.
    rect: Rect,
    /// The middle of its title's line.
    title_y: i32,
}

/// The places of the panels below `top`. The first takes half of the height, and the
/// names of marks stand below its title; of the others as many are drawn as can be read.
fn place(
    panels: usize,
    (left, right): (i32, i32),
    (top, marks_height): (i32, i32),
    metrics: &Metrics,
) -> Vec<Place> {
    let title = metrics.line(metrics.small()) + metrics.px(4.0);
    let gap = metrics.px(12.0);
    let bottom = metrics.height - frame::margin(metrics) - frame::time_axis_height(metrics);
    let place = |top: i32, below_title: i32, bottom: i32| Place {
        rect: Rect { left, top: top + title + below_title, right, bottom },
        title_y: top + title / 2,
    };

    let least = title + gap + 2 * metrics.line(metrics.small());
    let room = bottom - top;
    let lower = panels.saturating_sub(1).min((room / 2 / least).max(0) as usize) as i32;
    let upper_bottom = if lower == 0 { bottom } else { bottom - room / 2 };
    let mut places = vec![place(top, marks_height, upper_bottom)];
    for index in 0..lower {
        let edge = |index: i32| upper_bottom + room / 2 * index / lower;
        places.push(place(edge(index) + gap, 0, edge(index + 1)));
    }
    places
}

#[cfg(test)]
mod tests;
