//! The heap map: time across, address up, colour by how full each stretch of heap was.
//!
//! It shows at a glance what numbers hide: whether memory that a burst took is full of
//! live blocks afterwards, given back, or held by a few bytes on each page.

mod axis;
mod bands;
mod finding;
mod grid;
mod pixels;
mod pools;

use super::picture::canvas::Canvas;
use super::picture::frame::{self, Header, TimeSpan};
use super::picture::layout::{Metrics, Rect};
use super::picture::legend::{Entry, Legend, Sample};
use super::picture::marks::Marks;
use super::picture::palette::Palette;
use super::picture::{Mark, PictureOptions, RenderError, Title, scale};
use crate::measure::{HeapMap, KindsBy, Owners, PoolFacts};

pub use grid::{Layout, draw_pages};

/// What the picture says besides the map itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapExtras {
    /// The lines above the map.
    pub title: Title,
    /// When most was live, in nanoseconds since the trace's start.
    pub peak_ns: u64,
    /// Where the window ends, in nanoseconds since the trace's start: the last column is
    /// drawn up to here.
    pub end_ns: u64,
    /// Heap address space ever used, in bytes, by the end of the window; named in the
    /// legend beside the high-water line, which is drawn from the map's own cells.
    pub high_water_bytes: Option<u64>,
    /// Moments to point out.
    pub marks: Vec<Mark>,
    /// Pools that the program told of.
    pub pools: Vec<PoolFacts>,
}

/// Draws the heap map; returns the bytes of a PNG file.
///
/// A map without bands or columns gives a picture that says so.
///
/// # Errors
/// [`RenderError::TooSmall`] and [`RenderError::TooLarge`] for sizes that make no
/// picture; the others only if drawing or packing fails.
pub fn draw(
    map: &HeapMap,
    extras: &MapExtras,
    options: &PictureOptions,
) -> Result<Vec<u8>, RenderError> {
    let palette = Palette::of(options.theme);
    let mut canvas = Canvas::new(options, palette.ground)?;
    let metrics = Metrics::new(options);
    let header = header(map, extras, &metrics, palette);
    let span = span(map, extras.end_ns);

    let labels = axis::Labels::measure(map, &metrics);
    let left = frame::margin(&metrics) + labels.left;
    let right = metrics.width - frame::margin(&metrics) - labels.right;
    let marks = Marks::place(&extras.marks, &metrics, span, (left, right));
    let top = header.height(&metrics) + marks.height(&metrics);
    let bottom = metrics.height - frame::margin(&metrics) - frame::time_axis_height(&metrics);
    let rect = Rect { left, top, right, bottom };
    let bands = bands::place(map, &rect, metrics.px(13.0));
    pixels::paint(&mut canvas, map, &bands, (&rect, span), palette);

    let area = canvas.area();
    header.draw(&area, &metrics, palette)?;
    span.draw_axis(&area, &metrics, palette, &rect)?;
    axis::draw(&area, &metrics, palette, map, &bands, &rect)?;
    let line_width = metrics.px(1.6) as u32;
    for path in pixels::high_water(map, &bands, (&rect, span)) {
        let style = frame::stroke(palette.text, line_width);
        area.draw(&plotters::element::PathElement::new(path, style))?;
    }
    let framed = pools::place(&extras.pools, map, &bands, (&rect, span), &metrics);
    pools::draw(&area, &metrics, palette, &framed)?;
    marks.draw(&area, &metrics, palette, &rect)?;
    if bands.is_empty() || map.times_ns.is_empty() {
        let middle = ((rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2);
        let style = frame::text(metrics.body(), palette.muted, frame::Align::CENTRE);
        area.draw(&plotters::element::Text::new("no heap was seen in this window", middle, style))?;
    }
    drop(area);
    canvas.into_png()
}

fn header<'a>(
    map: &HeapMap,
    extras: &'a MapExtras,
    metrics: &Metrics,
    palette: &Palette,
) -> Header<'a> {
    let high_water = match extras.high_water_bytes {
        Some(bytes) => format!("high-water mark ({} ever used)", scale::bytes(bytes)),
        None => "high-water mark".to_owned(),
    };
    let mut entries = states(map.owners.as_ref(), palette);
    entries.push(Entry::new(Sample::Line(palette.text, metrics.px(1.6) as u32), high_water));
    if map.bands.iter().filter(|band| band.cells > 0).count() > 1 {
        entries.push(Entry::new(Sample::Break, "addresses left out"));
    }
    if !extras.pools.is_empty() {
        let words = "pool that the program told of, where it is large enough";
        entries.push(Entry::new(Sample::Frame, words));
    }
    let width = metrics.width - 2 * frame::margin(metrics);
    let legend = Legend::place(entries, metrics, width);
    Header::new(&extras.title, &finding::sentence(map, extras.peak_ns), legend, metrics)
}

/// What colours stand for.
fn states(owners: Option<&Owners>, palette: &Palette) -> Vec<Entry> {
    let square = |colour, words: &str| Entry::new(Sample::Square(colour), words);
    let mut entries = match owners {
        None => vec![Entry::new(Sample::Shares, ""), square(palette.empty, "held, nothing live")],
        Some(Owners { by, labels, .. }) => {
            let what = match by {
                KindsBy::Site => "most live bytes from",
                KindsBy::Thread => "most live bytes of",
                KindsBy::Size => "most live bytes in blocks of",
                KindsBy::Age => "most live bytes of an age of",
            };
            let kind = |(at, label): (usize, &String)| {
                square(palette.kind(*by, at as u8 + 1, labels.len()), label)
            };
            let mut entries = vec![Entry::new(Sample::None, what)];
            entries.extend(labels.iter().enumerate().map(kind));
            entries.push(square(palette.idle, "held, nothing live"));
            entries
        }
    };
    entries.push(square(palette.given_back, "given back"));
    entries.push(square(palette.unused, "never used"));
    entries
}

/// From the first column to the end of the window; without one, the last column is as
/// wide as the others.
fn span(map: &HeapMap, end_ns: u64) -> TimeSpan {
    let first = map.times_ns.first().copied().unwrap_or(0);
    let last = map.times_ns.last().copied().unwrap_or(0).max(first);
    let columns_but_one = (map.times_ns.len() as u64).saturating_sub(1).max(1);
    let end =
        if end_ns > last { end_ns } else { last.saturating_add((last - first) / columns_but_one) };
    TimeSpan::new(first, end)
}

#[cfg(test)]
mod tests;
