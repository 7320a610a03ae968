//! The heap at one moment: a square for each page, the lowest address first.
//!
//! Row by row shows runs of pages as lines. Along Hilbert curves, each in a square of its own
//! and square after square along the row, what is close in address is close in the picture, so
//! that runs show as patches.

use super::pixels::Tally;
use super::states;
use crate::measure::{Cell, HeapMap};
use crate::render::picture::canvas::{Area, Canvas};
use crate::render::picture::frame::{self, Align, Header};
use crate::render::picture::layout::{Metrics, Rect};
use crate::render::picture::legend::{Entry, Legend, Sample};
use crate::render::picture::palette::Palette;
use crate::render::picture::{PictureOptions, RenderError, Title, font, scale};
use plotters::element::{PathElement, Text};
use std::ops::Range;

/// Squares are no larger than this, in pixels of a picture of 1600×900.
const MOST_SIDE: f64 = 22.0;
/// From this many pixels on a line of ground stands between squares.
const SIDE_WITH_GAP: i32 = 5;

/// How pages follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// From left to right, row below row.
    #[default]
    Rows,
    /// Along Hilbert curves.
    Hilbert,
}

/// A band of addresses in the picture.
struct Placed {
    /// Index into the map's bands.
    index: usize,
    /// Its cells, counted over all bands.
    cells: Range<usize>,
    top: i32,
    /// Pixels below the last row.
    bottom: i32,
}

/// Where each square stands.
struct Grid {
    layout: Layout,
    /// Pixels of a square's side.
    side: i32,
    /// Squares in a row.
    columns: usize,
    /// Side of a Hilbert curve, in squares: a power of two.
    curve: usize,
}

impl Grid {
    /// The largest squares with which all bands fit.
    fn fit(bands: &[usize], rect: &Rect, layout: Layout, metrics: &Metrics) -> Grid {
        let largest = bands.iter().copied().max().unwrap_or(0);
        let mut curve = 4;
        while curve < 32 && 16 * curve * curve < largest {
            curve *= 2;
        }
        let grid = |side: i32| {
            let columns = (rect.width() / side).max(1) as usize;
            Grid { layout, side, columns, curve }
        };
        let fits = |grid: &Grid| {
            let rows: usize = bands.iter().map(|cells| grid.rows(*cells)).sum();
            let gaps = gap(metrics) * bands.len().saturating_sub(1) as i32;
            rows as i64 * i64::from(grid.side) + i64::from(gaps) <= i64::from(rect.height())
        };
        let sides = (1..=metrics.px(MOST_SIDE)).rev();
        sides.map(grid).find(fits).unwrap_or_else(|| grid(1))
    }

    /// Curves side by side.
    fn curves_in_row(&self) -> usize {
        (self.columns / self.curve).max(1)
    }

    /// Rows of squares that so many cells take.
    fn rows(&self, cells: usize) -> usize {
        match self.layout {
            Layout::Rows => cells.div_ceil(self.columns),
            Layout::Hilbert => {
                let in_row = self.curve * self.curve * self.curves_in_row();
                cells.div_ceil(in_row) * self.curve.min(cells)
            }
        }
    }

    /// Column and row of a band's cell.
    fn place(&self, cell: usize) -> (usize, usize) {
        match self.layout {
            Layout::Rows => (cell % self.columns, cell / self.columns),
            Layout::Hilbert => {
                let area = self.curve * self.curve;
                let (number, within) = (cell / area, cell % area);
                let (x, y) = hilbert(self.curve, within);
                let (across, down) = (number % self.curves_in_row(), number / self.curves_in_row());
                (across * self.curve + x, down * self.curve + y)
            }
        }
    }
}

/// The place of a step along the curve that fills a square of `side`, from its first corner to
/// the one right of it.
fn hilbert(side: usize, step: usize) -> (usize, usize) {
    let (mut x, mut y, mut rest, mut scale) = (0, 0, step, 1);
    while scale < side {
        let right = 1 & (rest / 2);
        let down = 1 & (rest ^ right);
        if down == 0 {
            if right == 1 {
                (x, y) = (scale - 1 - x, scale - 1 - y);
            }
            (x, y) = (y, x);
        }
        (x, y) = (x + scale * right, y + scale * down);
        rest /= 4;
        scale *= 2;
    }
    (x, y)
}

fn gap(metrics: &Metrics) -> i32 {
    metrics.px(13.0)
}

/// Draws the pages of a map of one moment; returns the bytes of a PNG file.
///
/// # Errors
/// As [`super::draw`].
pub fn draw_pages(
    map: &HeapMap,
    title: &Title,
    layout: Layout,
    options: &PictureOptions,
) -> Result<Vec<u8>, RenderError> {
    let palette = Palette::of(options.theme);
    let mut canvas = Canvas::new(options, palette.ground)?;
    let metrics = Metrics::new(options);
    let header = header(map, title, layout, &metrics, palette);
    let width = |words: &str| font::width(words, metrics.small(), false).ceil() as i32;
    let labels = width("0x7fffffffffff").max(width("mapped blocks")) + metrics.px(14.0);
    let rect = Rect {
        left: frame::margin(&metrics) + labels,
        top: header.height(&metrics),
        right: metrics.width - frame::margin(&metrics) - labels,
        bottom: metrics.height - frame::margin(&metrics),
    };
    let counts: Vec<usize> = map.bands.iter().map(|b| b.cells).filter(|cells| *cells > 0).collect();
    let grid = Grid::fit(&counts, &rect, layout, &metrics);
    let placed = place(map, &grid, &rect, &metrics);
    paint(&mut canvas, map, &grid, &placed, &rect, palette);
    let area = canvas.area();
    header.draw(&area, &metrics, palette)?;
    name_bands(&area, &metrics, palette, map, (&grid, &placed), &rect)?;
    if placed.is_empty() {
        let middle = ((rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2);
        let style = frame::text(metrics.body(), palette.muted, Align::CENTRE);
        area.draw(&Text::new("no heap was there at this moment", middle, style))?;
    }
    drop(area);
    canvas.into_png()
}

fn header<'a>(
    map: &HeapMap,
    title: &'a Title,
    layout: Layout,
    metrics: &Metrics,
    palette: &Palette,
) -> Header<'a> {
    let mut entries = states(map.owners.as_ref(), palette);
    let order = match layout {
        Layout::Rows => "row by row",
        Layout::Hilbert => "along Hilbert curves",
    };
    let size = scale::bytes(map.cell_bytes);
    let words = format!("a square is {size}; {order}, from the lowest address");
    entries.push(Entry::new(Sample::None, words));
    let legend = Legend::place(entries, metrics, metrics.width - 2 * frame::margin(metrics));
    Header::new(title, &super::finding::of_one_moment(map), legend, metrics)
}

/// Stacks the bands, low addresses above, as far as there is room.
fn place(map: &HeapMap, grid: &Grid, rect: &Rect, metrics: &Metrics) -> Vec<Placed> {
    let (mut first, mut top, mut placed) = (0, rect.top, Vec::new());
    for (index, band) in map.bands.iter().enumerate() {
        let cells = first..first + band.cells;
        first = cells.end;
        if band.cells == 0 || top >= rect.bottom {
            continue;
        }
        let rows = i32::try_from(grid.rows(band.cells)).unwrap_or(i32::MAX);
        let bottom = top.saturating_add(rows.saturating_mul(grid.side)).min(rect.bottom);
        placed.push(Placed { index, cells, top, bottom });
        top = bottom + gap(metrics);
    }
    placed
}

fn paint(
    canvas: &mut Canvas,
    map: &HeapMap,
    grid: &Grid,
    placed: &[Placed],
    rect: &Rect,
    palette: &Palette,
) {
    let Some(column) = map.columns.first() else { return };
    let owners = map.owners.as_ref();
    let kinds = owners.and_then(|owners| owners.columns.first());
    let drawn = grid.side - i32::from(grid.side >= SIDE_WITH_GAP);
    for band in placed {
        for (at, index) in band.cells.clone().enumerate() {
            let cell = column.get(index).copied().unwrap_or(Cell::Unused);
            let kind = kinds.and_then(|kinds| kinds.get(index)).copied().unwrap_or(0);
            let colour = Tally::of(cell, kind).colour(palette, owners);
            let (across, down) = grid.place(at);
            let left = rect.left + across as i32 * grid.side;
            let top = band.top + down as i32 * grid.side;
            if top + drawn > band.bottom {
                continue;
            }
            for y in top..top + drawn {
                (left..left + drawn).for_each(|x| canvas.set(x, y, colour));
            }
        }
    }
}

/// Addresses on the left, names and sizes on the right; zigzags where addresses are left out.
fn name_bands(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    map: &HeapMap,
    (grid, placed): (&Grid, &[Placed]),
    rect: &Rect,
) -> Result<(), RenderError> {
    let line = metrics.line(metrics.small());
    let right = rect.left + grid.columns as i32 * grid.side + metrics.px(8.0);
    let left = rect.left - metrics.px(8.0);
    let (muted, bold) = (
        |align| frame::text(metrics.small(), palette.muted, align),
        frame::bold(metrics.small(), palette.text, Align::LEFT),
    );
    let mut free_from = rect.top;
    for (at, placed) in placed.iter().enumerate() {
        if at > 0 {
            let middle = (placed.top - gap(metrics) / 2, gap(metrics));
            let across = (rect.left, right - metrics.px(8.0));
            frame::draw_zigzag(area, metrics, palette, across, middle)?;
        }
        let y = placed.top.max(free_from) + line / 2;
        if y > placed.bottom.max(placed.top + line) + gap(metrics) || y + line > rect.bottom + line
        {
            continue;
        }
        let band = &map.bands[placed.index];
        let address = format!("{:#x}", band.start);
        area.draw(&Text::new(address, (left, y), muted(Align::RIGHT)))?;
        area.draw(&Text::new(band.label.as_str(), (right, y), bold.clone()))?;
        free_from = y + line / 2;
        if placed.bottom - placed.top >= 2 * line {
            let size = scale::bytes((band.cells as u64).saturating_mul(map.cell_bytes));
            area.draw(&Text::new(size, (right, y + line), muted(Align::LEFT)))?;
            free_from += line;
        }
        offsets(area, metrics, palette, map, (grid, placed), (left, free_from + line))?;
    }
    Ok(())
}

/// Offsets into a band at some of its rows.
fn offsets(
    area: &Area<'_>,
    metrics: &Metrics,
    palette: &Palette,
    map: &HeapMap,
    (grid, placed): (&Grid, &Placed),
    (right, from): (i32, i32),
) -> Result<(), RenderError> {
    let row_height = match grid.layout {
        Layout::Rows => grid.side,
        Layout::Hilbert => grid.side * grid.curve as i32,
    };
    let cells_in_row = match grid.layout {
        Layout::Rows => grid.columns,
        Layout::Hilbert => grid.curve * grid.curve * grid.curves_in_row(),
    };
    let every = (4 * metrics.line(metrics.small()) / row_height).max(1);
    let style = frame::text(metrics.small(), palette.muted, Align::RIGHT);
    let rows = (placed.bottom - placed.top) / row_height;
    for row in (every..rows).step_by(every as usize) {
        let y = placed.top + row * row_height;
        if y < from {
            continue;
        }
        let bytes = (row as u64 * cells_in_row as u64).saturating_mul(map.cell_bytes);
        let tick = [(right, y), (right + metrics.px(6.0), y)];
        area.draw(&PathElement::new(tick, frame::stroke(palette.axis, metrics.hairline())))?;
        let words = format!("+{}", scale::bytes(bytes));
        area.draw(&Text::new(words, (right - metrics.px(3.0), y), style.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Band;
    use crate::render::picture::{Theme, testing};

    #[test]
    fn a_hilbert_curve_steps_from_neighbour_to_neighbour_over_the_whole_square() {
        for side in [4, 8, 32] {
            let path: Vec<(usize, usize)> =
                (0..side * side).map(|step| hilbert(side, step)).collect();
            assert_eq!((path[0], path[side * side - 1]), ((0, 0), (side - 1, 0)));
            for pair in path.windows(2) {
                let away = pair[0].0.abs_diff(pair[1].0) + pair[0].1.abs_diff(pair[1].1);
                assert_eq!(away, 1, "{pair:?}");
            }
        }
    }

    fn heap() -> HeapMap {
        let band = |start, cells| Band { start, cells, label: "brk heap".to_owned() };
        let full = Cell::Used { live: 255, held: 255 };
        let mut column = vec![full; 100];
        column.extend([Cell::Used { live: 0, held: 255 }; 300]);
        HeapMap {
            cell_bytes: 4096,
            bands: vec![band(0x1000, 100), band(0x7f00_0000_0000, 300)],
            times_ns: vec![5],
            columns: vec![column],
            owners: None,
        }
    }

    #[test]
    fn every_page_has_its_square_in_both_layouts() {
        let options = PictureOptions { width: 800, height: 500, theme: Theme::Light };
        let palette = Palette::of(options.theme);
        let counts = [Layout::Rows, Layout::Hilbert].map(|layout| {
            let png = draw_pages(&heap(), &Title::default(), layout, &options).unwrap();
            let image = testing::decode(&png);
            let mut counts = [0usize; 2];
            let metrics = Metrics::new(&options);
            let title = Title::default();
            let top = header(&heap(), &title, layout, &metrics, palette).height(&metrics);
            for y in top as usize..500 {
                for x in 0..800 {
                    counts[0] += usize::from(image.at(x, y) == palette.filled(1.0));
                    counts[1] += usize::from(image.at(x, y) == palette.empty);
                }
            }
            assert_eq!(counts[0] * 3, counts[1], "{layout:?}: three times as many are empty");
            counts[0]
        });
        assert!(counts.iter().all(|count| *count >= 100), "{counts:?}");
    }

    #[test]
    fn no_number_of_bands_or_cells_makes_it_fail() {
        let options = PictureOptions { width: 480, height: 320, theme: Theme::Dark };
        let heap = heap();
        let many = HeapMap { bands: vec![heap.bands[1].clone(); 2000], ..heap.clone() };
        let huge = HeapMap {
            bands: vec![Band { cells: 4_000_000, ..heap.bands[0].clone() }],
            ..heap.clone()
        };
        let none = HeapMap { bands: vec![], columns: vec![], ..heap };
        for map in [many, huge, none] {
            for layout in [Layout::Rows, Layout::Hilbert] {
                draw_pages(&map, &Title::default(), layout, &options).unwrap();
            }
        }
    }
}
