//! Pools that the program told of, as frames over the map: each where it lies, from its creation to
//! its end. What is below stays the allocator's view, to which a pool is a block like any other.

use super::bands::PlacedBand;
use crate::measure::{HeapMap, PoolFacts};
use crate::render::picture::canvas::Area;
use crate::render::picture::frame::{self, Align, TimeSpan};
use crate::render::picture::layout::{Metrics, Rect};
use crate::render::picture::palette::Palette;
use crate::render::picture::{RenderError, font, scale};
use plotters::element::{Rectangle, Text};
use std::cmp::Reverse;

/// Frames beyond this number hide what they stand for.
const MOST_DRAWN: usize = 40;
/// A frame with less inside it is a line.
const LEAST_PIXELS: f64 = 5.0;

/// A pool and the pixels that it takes, its edges included.
pub(super) struct Framed<'a> {
    pool: &'a PoolFacts,
    rect: Rect,
}

/// The pools that can be seen, largest first.
pub(super) fn place<'a>(
    pools: &'a [PoolFacts],
    map: &HeapMap,
    bands: &[PlacedBand],
    (rect, span): (&Rect, TimeSpan),
    metrics: &Metrics,
) -> Vec<Framed<'a>> {
    let least = metrics.px(LEAST_PIXELS);
    let mut framed: Vec<Framed<'a>> = pools
        .iter()
        .filter_map(|pool| {
            let end_ns = pool.destroyed_ns.unwrap_or(u64::MAX);
            let (left, right) = (span.x(rect, pool.created_ns), span.x(rect, end_ns) + 1);
            let (top, bottom) = rows(pool, map, bands)?;
            Some(Framed { pool, rect: Rect { left, top, right, bottom } })
        })
        .filter(|framed| framed.rect.width() >= least && framed.rect.height() >= least)
        .collect();
    framed.sort_by_key(|framed| Reverse(framed.rect.width() * framed.rect.height()));
    framed.truncate(MOST_DRAWN);
    framed
}

/// Upper and lower edge of a pool; `None`: it lies where no heap is drawn.
fn rows(pool: &PoolFacts, map: &HeapMap, bands: &[PlacedBand]) -> Option<(i32, i32)> {
    let placed = bands.iter().find(|placed| {
        let band = &map.bands[placed.index];
        let bytes = band.cells as u64 * map.cell_bytes;
        (band.start..band.start.saturating_add(bytes)).contains(&pool.start)
    })?;
    let cells = |bytes: u64| bytes as f64 / map.cell_bytes as f64;
    let from = cells(pool.start - map.bands[placed.index].start);
    let to = (from + cells(pool.bytes)).min(placed.cells.len() as f64);
    Some((placed.y(to), placed.y(from) + 1))
}

/// Draws the frames, and names where there is room for them.
pub(super) fn draw(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    framed: &[Framed<'_>],
) -> Result<(), RenderError> {
    let hairline = metrics.hairline() as i32;
    for Framed { pool, rect } in framed.iter().rev() {
        // Two colours: one of them is seen on any ground.
        for (colour, inwards) in [(palette.text, 0), (palette.ground, hairline)] {
            let corners = [
                (rect.left + inwards, rect.top + inwards),
                (rect.right - 1 - inwards, rect.bottom - 1 - inwards),
            ];
            area.draw(&Rectangle::new(corners, frame::stroke(colour, metrics.hairline())))?;
        }
        let line = metrics.line(metrics.small());
        let room = f64::from(rect.width() - 4 * metrics.px(3.0));
        if rect.height() < line + 4 * hairline || room < f64::from(metrics.px(24.0)) {
            continue;
        }
        let live = pool.live_bytes.filter(|_| pool.destroyed_ns.is_none());
        let words = match live {
            Some(live) => format!("{}: {} live in it", pool.name, scale::bytes(live)),
            None => pool.name.clone(),
        };
        let words = font::fit(&words, metrics.small(), false, room);
        let width = font::width(&words, metrics.small(), false).ceil() as i32;
        let (left, top) = (rect.left + 2 * hairline, rect.top + 2 * hairline);
        let behind = [(left, top), (left + width + 2 * metrics.px(3.0), top + line)];
        area.draw(&Rectangle::new(behind, frame::fill(palette.ground)))?;
        let style = frame::text(metrics.small(), palette.text, Align::LEFT);
        area.draw(&Text::new(words, (left + metrics.px(3.0), top + line / 2), style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Band;
    use crate::render::map::bands;
    use crate::render::picture::PictureOptions;
    use crate::render::picture::Theme;

    const RECT: Rect = Rect { left: 0, top: 0, right: 1000, bottom: 500 };

    fn pool(start: u64, bytes: u64, created_ns: u64, destroyed_ns: Option<u64>) -> PoolFacts {
        PoolFacts {
            name: "requests".into(),
            start,
            bytes,
            created_ns,
            destroyed_ns,
            live_bytes: None,
            live_blocks: None,
            free_bytes: None,
            peak_live_bytes: None,
            acquired: None,
            released: None,
        }
    }

    #[test]
    fn pools_are_framed_where_and_while_they_are_there() {
        let band = Band { start: 0x10_0000, cells: 500, label: String::new() };
        let map = HeapMap {
            cell_bytes: 4096,
            bands: vec![band],
            times_ns: vec![0, 1000],
            columns: vec![],
            owners: None,
        };
        let bands = bands::place(&map, &RECT, 10);
        let options = PictureOptions { width: 1200, height: 600, theme: Theme::Light };
        let metrics = Metrics::new(&options);
        let span = TimeSpan::new(0, 1000);
        let pools = [
            pool(0x10_0000 + 100 * 4096, 200 * 4096, 500, None),
            pool(0x10_0000, 40 * 4096, 0, Some(250)),
            pool(0x10_0000, 4096, 0, None),
            pool(0x1000, 200 * 4096, 0, None),
        ];
        let framed = place(&pools, &map, &bands, (&RECT, span), &metrics);
        let rects: Vec<_> =
            framed.iter().map(|f| [f.rect.left, f.rect.top, f.rect.right, f.rect.bottom]).collect();
        assert_eq!(rects, [[500, 200, 1000, 400], [0, 459, 251, 500]]);
    }
}
