//! What stands beside the map: addresses and offsets on the left, the bands' names and
//! sizes on the right, and the breaks between bands.

use super::bands::PlacedBand;
use crate::measure::{Band, HeapMap};
use crate::render::picture::canvas::Area;
use crate::render::picture::frame::{self, Align};
use crate::render::picture::layout::{Metrics, Rect, spread};
use crate::render::picture::palette::Palette;
use crate::render::picture::{RenderError, font, scale};
use plotters::prelude::*;

/// Room for labels, in pixels.
pub(super) struct Labels {
    pub left: i32,
    pub right: i32,
}

impl Labels {
    /// The room that the bands' addresses and names need; long names are cut.
    pub(super) fn measure(map: &HeapMap, metrics: &Metrics) -> Self {
        let width = |words: &str, bold| font::width(words, metrics.small(), bold).ceil() as i32;
        let drawn = || map.bands.iter().filter(|band| band.cells > 0);
        let addresses = drawn().map(|band| width(&address(band), false)).max().unwrap_or(0);
        let left = addresses.max(width("+1,000 MiB", false)) + metrics.px(12.0);
        let names =
            drawn().map(|band| width(&band.label, true).max(width(&size(band, map), false)));
        let right = names.max().unwrap_or(0) + metrics.px(14.0);
        Self { left, right: right.min(metrics.width / 6) }
    }
}

fn address(band: &Band) -> String {
    format!("{:#x}", band.start)
}

fn size(band: &Band, map: &HeapMap) -> String {
    scale::bytes((band.cells as u64).saturating_mul(map.cell_bytes))
}

/// Draws frames, breaks and labels of all bands.
pub(super) fn draw(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    map: &HeapMap,
    bands: &[PlacedBand],
    rect: &Rect,
) -> Result<(), RenderError> {
    let frame = frame::stroke(palette.axis, metrics.hairline());
    for band in bands {
        for x in [rect.left - 1, rect.right] {
            area.draw(&PathElement::new([(x, band.top), (x, band.bottom - 1)], frame))?;
        }
    }
    for pair in bands.windows(2) {
        let (height, overhang) = (pair[0].top - pair[1].bottom, metrics.px(7.0));
        if height >= 3 {
            let across = (rect.left - overhang, rect.right + overhang);
            let middle = (pair[1].bottom + pair[0].top) / 2;
            frame::draw_zigzag(area, metrics, palette, across, (middle, height))?;
        }
    }
    draw_addresses(area, metrics, palette, map, bands, rect)?;
    draw_names(area, metrics, palette, map, bands, rect)
}

/// Start address of each band, and offsets into it at round numbers, where there is room.
fn draw_addresses(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    map: &HeapMap,
    bands: &[PlacedBand],
    rect: &Rect,
) -> Result<(), RenderError> {
    let (line, tick) = (metrics.line(metrics.small()), metrics.px(5.0));
    let style = frame::text(metrics.small(), palette.muted, Align::RIGHT);
    let mut free_below = metrics.height;
    let mut label = |y: i32, words: String| -> Result<bool, RenderError> {
        let middle = y.min(rect.bottom - line / 2).max(rect.top + line / 3);
        if middle + line / 2 > free_below {
            return Ok(false);
        }
        let ends = [(rect.left - 1 - tick, y), (rect.left - 1, y)];
        let stroke = frame::stroke(palette.axis, metrics.hairline());
        area.draw(&PathElement::new(ends, stroke))?;
        area.draw(&Text::new(words, (rect.left - 2 * tick, middle), style.clone()))?;
        free_below = middle - line / 2;
        Ok(true)
    };
    for placed in bands {
        let band = &map.bands[placed.index];
        if !label(placed.bottom - 1, address(band))? {
            continue;
        }
        let bytes = band.cells as f64 * map.cell_bytes as f64;
        let ticks = scale::byte_ticks(bytes, (placed.height() / (3 * line)) as usize + 1);
        for at in ticks.at.iter().filter(|at| **at > 0.0) {
            label(placed.y(at / map.cell_bytes as f64), format!("+{}", ticks.label(*at)))?;
        }
    }
    let lowest = rect.bottom + frame::time_axis_height(metrics) - line / 2;
    area.draw(&Text::new("address ↑", (rect.left - 2 * tick, lowest), style))?;
    Ok(())
}

/// The bands' names and sizes, each beside its band.
fn draw_names(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    map: &HeapMap,
    bands: &[PlacedBand],
    rect: &Rect,
) -> Result<(), RenderError> {
    let line = metrics.line(metrics.small());
    let height = 2 * line + metrics.px(3.0);
    let left = rect.right + metrics.px(10.0);
    let room = f64::from(metrics.width - frame::margin(metrics) / 2 - left);
    for (placed, y) in named_beside(bands, f64::from(height), rect) {
        let band = &map.bands[placed.index];
        let wish = (placed.top + placed.bottom) / 2;
        let pointer = [(rect.right + 2, wish), (left - metrics.px(3.0), y)];
        let thin = frame::stroke(palette.axis, metrics.hairline());
        area.draw(&PathElement::new(pointer, thin))?;
        let name = font::fit(&band.label, metrics.small(), true, room);
        let bold = frame::bold(metrics.small(), palette.text, Align::LEFT);
        area.draw(&Text::new(name, (left, y - line / 2), bold))?;
        let plain = frame::text(metrics.small(), palette.muted, Align::LEFT);
        area.draw(&Text::new(size(band, map), (left, y + line / 2), plain))?;
    }
    Ok(())
}

/// Which bands are named, and at what height. Where there is no room for all names near
/// their bands, the smallest bands go without.
fn named_beside<'a>(
    bands: &'a [PlacedBand],
    height: f64,
    rect: &Rect,
) -> Vec<(&'a PlacedBand, i32)> {
    let mut named: Vec<&PlacedBand> = bands.iter().collect();
    named.sort_by_key(|band| std::cmp::Reverse(band.cells.len()));
    named.truncate((f64::from(rect.height()) / height) as usize);
    loop {
        let mut rising = named.clone();
        rising.sort_by_key(|band| band.top);
        let wanted: Vec<f64> = rising.iter().map(|b| f64::from(b.top + b.bottom) / 2.0).collect();
        let middles = spread(&wanted, height, f64::from(rect.top), f64::from(rect.bottom));
        if wanted.iter().zip(&middles).all(|(wish, middle)| (wish - middle).abs() < height) {
            return rising.into_iter().zip(middles.iter().map(|middle| *middle as i32)).collect();
        }
        named.pop();
    }
}
