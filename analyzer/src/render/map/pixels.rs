//! The pixels of the map, written straight into the canvas.
//!
//! A pixel often stands for many cells: several addresses high, several columns wide. It
//! takes the mean live share of those that are held as one colour, and mixes it with
//! "given back" and "never used" in proportion to how many cells are in each state. So a
//! stretch that is held in every fourth page looks a quarter as strong as one that is
//! held throughout, at any size of the picture. Where colours stand for kinds, hues are not
//! mixed: what is held takes that of the kind that has most of it.

use super::bands::PlacedBand;
use crate::measure::{Cell, HeapMap, KindsBy, Owners};
use crate::render::picture::canvas::Canvas;
use crate::render::picture::frame::TimeSpan;
use crate::render::picture::layout::Rect;
use crate::render::picture::palette::{Palette, Rgb};
use std::ops::Range;

/// Paints all bands.
pub(super) fn paint(
    canvas: &mut Canvas,
    map: &HeapMap,
    bands: &[PlacedBand],
    (rect, span): (&Rect, TimeSpan),
    palette: &Palette,
) {
    for x in rect.left..rect.right {
        let columns = columns_at(map, span, (x - rect.left, rect.width()));
        let owners = map.owners.as_ref();
        let kinds = owners.and_then(|owners| owners.columns.get(columns.clone()));
        let columns = map.columns.get(columns).unwrap_or(&[]);
        for band in bands {
            for y in band.top..band.bottom {
                let mut tally = Tally::default();
                for column in columns {
                    tally.add(column, band.cells_at(y));
                }
                for (column, kinds) in columns.iter().zip(kinds.unwrap_or(&[])) {
                    tally.add_kinds(column, kinds, band.cells_at(y));
                }
                canvas.set(x, y, tally.colour(palette, owners));
            }
        }
    }
}

/// The columns in force at some time during a column of pixels: the one that was taken
/// last before it began, and those taken within it.
fn columns_at(map: &HeapMap, span: TimeSpan, (x, width): (i32, i32)) -> Range<usize> {
    let (from, to) = (span.time_at(x, width), span.time_at(x + 1, width));
    let known = map.times_ns.len().min(map.columns.len());
    let times = &map.times_ns[..known];
    let first = times.partition_point(|time| *time <= from).saturating_sub(1);
    let end = times.partition_point(|time| *time < to);
    first.min(end)..end
}

/// More kinds than any picture tells apart, and 0 for none.
const MOST_KINDS: usize = 16;
/// A whole cell, in the units of [`Tally`].
const WHOLE: u64 = 255;

/// How much of the cells of a pixel is in which state.
#[derive(Default)]
pub(super) struct Tally {
    used: u64,
    /// Of the used part, in units of 1/255.
    live: u64,
    given_back: u64,
    unused: u64,
    /// The used part by kind.
    kinds: [u64; MOST_KINDS],
}

impl Tally {
    /// Of one cell alone.
    pub(super) fn of(cell: Cell, kind: u8) -> Tally {
        let mut tally = Tally::default();
        tally.add(&[cell], 0..1);
        tally.add_kinds(&[cell], &[kind], 0..1);
        tally
    }

    /// Adds whose the blocks in the cells are.
    fn add_kinds(&mut self, column: &[Cell], kinds: &[u8], cells: Range<usize>) {
        let known = cells.start.min(column.len())..cells.end.min(column.len());
        for (cell, kind) in column[known.clone()].iter().zip(kinds.get(known).unwrap_or(&[])) {
            if let Cell::Used { held, .. } = cell {
                self.kinds[usize::from(*kind).min(MOST_KINDS - 1)] += u64::from(*held);
            }
        }
    }

    /// The kind that has most of what is held, if blocks have any of it.
    fn kind(&self) -> Option<u8> {
        let kinds = self.kinds.iter().enumerate().skip(1).rev();
        let (kind, cells) = kinds.max_by_key(|(_, cells)| **cells)?;
        (*cells > 0).then_some(kind as u8)
    }

    fn add(&mut self, column: &[Cell], cells: Range<usize>) {
        let known = cells.start.min(column.len())..cells.end.min(column.len());
        self.unused += WHOLE * (cells.len() - known.len()) as u64;
        for cell in &column[known] {
            match cell {
                Cell::Unused => self.unused += WHOLE,
                Cell::GivenBack => self.given_back += WHOLE,
                Cell::Used { live, held } => {
                    self.used += u64::from(*held);
                    self.live += u64::from(*held) * u64::from(*live);
                    self.given_back += WHOLE - u64::from(*held);
                }
            }
        }
    }

    pub(super) fn colour(&self, palette: &Palette, owners: Option<&Owners>) -> Rgb {
        let by_kind = |by: KindsBy, count| match self.kind() {
            Some(kind) => palette.kind(by, kind, count),
            None => palette.idle,
        };
        let held = match (owners, self.live) {
            (Some(owners), _) => by_kind(owners.by, owners.labels.len()),
            (None, 0) => palette.empty,
            (None, live) => palette.filled(live as f64 / (self.used as f64 * 255.0)),
        };
        let parts = [
            (self.used, held),
            (self.given_back, palette.given_back),
            (self.unused, palette.unused),
        ];
        let total = self.used + self.given_back + self.unused;
        if total == 0 {
            return palette.unused;
        }
        let mean = |of: fn(Rgb) -> u8| {
            let sum: u64 = parts.iter().map(|(cells, colour)| cells * u64::from(of(*colour))).sum();
            ((sum + total / 2) / total) as u8
        };
        (mean(|c| c.0), mean(|c| c.1), mean(|c| c.2))
    }
}

/// The line of each band that follows the highest address used so far, as pixels.
///
/// A band without a line has not been used, or was used up to its top from the first.
pub(super) fn high_water(
    map: &HeapMap,
    bands: &[PlacedBand],
    (rect, span): (&Rect, TimeSpan),
) -> Vec<Vec<(i32, i32)>> {
    bands.iter().filter_map(|band| high_water_of(map, band, (rect, span))).collect()
}

fn high_water_of(
    map: &HeapMap,
    band: &PlacedBand,
    (rect, span): (&Rect, TimeSpan),
) -> Option<Vec<(i32, i32)>> {
    let mut mark = 0;
    let mut path: Vec<(i32, i32)> = Vec::new();
    for (column, time) in map.columns.iter().zip(&map.times_ns) {
        let end = band.cells.end.min(column.len());
        let cells = column.get(band.cells.start..end).unwrap_or(&[]);
        let reached = cells.iter().rposition(|cell| *cell != Cell::Unused).map_or(0, |at| at + 1);
        if reached > mark {
            mark = reached;
            let x = span.x(rect, *time);
            if let Some(last) = path.last() {
                path.push((x, last.1));
            }
            path.push((x, band.y(mark as f64)));
        }
    }
    let (first, last) = (path.first()?.1, path.last()?.1);
    path.push((rect.right - 1, last));
    (first != last || last > band.top + 1).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::picture::Theme;

    fn colour_of(cells: &[Cell]) -> Rgb {
        let mut tally = Tally::default();
        tally.add(cells, 0..cells.len());
        tally.colour(Palette::of(Theme::Light), None)
    }

    #[test]
    fn a_pixel_takes_the_mean_share_of_what_is_held() {
        let palette = Palette::of(Theme::Light);
        let (empty, full) =
            (Cell::Used { live: 0, held: 255 }, Cell::Used { live: 255, held: 255 });
        assert_eq!(colour_of(&[empty, empty]), palette.empty);
        assert_eq!(colour_of(&[full]), palette.filled(1.0));
        assert_eq!(colour_of(&[empty, full]), palette.filled(0.5));
        assert_eq!(colour_of(&[Cell::GivenBack]), palette.given_back);
        assert_eq!(colour_of(&[]), palette.unused);
    }

    #[test]
    fn states_mix_in_proportion() {
        let palette = Palette::of(Theme::Light);
        let mixed = colour_of(&[Cell::GivenBack, Cell::Unused]);
        let mean = |a: u8, b: u8| (u16::from(a) + u16::from(b)).div_ceil(2) as u8;
        assert_eq!(mixed.0, mean(palette.given_back.0, palette.unused.0));
    }

    #[test]
    fn of_kinds_the_one_that_has_most_gives_the_hue() {
        let palette = Palette::of(Theme::Light);
        let labels = vec!["login".into(), "import".into()];
        let owners = Owners { by: KindsBy::Site, labels, columns: vec![] };
        let sparse = Cell::Used { live: 3, held: 255 };
        let empty = Cell::Used { live: 0, held: 255 };
        let mut tally = Tally::default();
        tally.add(&[sparse, sparse, sparse, empty], 0..4);
        tally.add_kinds(&[sparse, sparse, sparse, empty], &[2, 2, 1, 0], 0..4);
        assert_eq!(tally.colour(palette, Some(&owners)), palette.named[1]);
        assert_eq!(Tally::of(empty, 0).colour(palette, Some(&owners)), palette.idle);
        assert_eq!(Tally::of(sparse, 1).colour(palette, Some(&owners)), palette.named[0]);
    }

    #[test]
    fn a_short_column_counts_as_unused_where_it_ends() {
        let mut tally = Tally::default();
        tally.add(&[Cell::GivenBack], 0..4);
        tally.add(&[], 2..4);
        assert_eq!((tally.given_back, tally.unused), (WHOLE, 5 * WHOLE));
    }

    #[test]
    fn no_moment_between_columns_is_lost() {
        let times_ns = vec![100, 200, 300, 400];
        let columns = vec![vec![]; 4];
        let map = HeapMap { cell_bytes: 1, bands: vec![], times_ns, columns, owners: None };
        let span = TimeSpan::new(100, 10_100);
        assert_eq!(columns_at(&map, span, (0, 1)), 0..4);
        assert_eq!(columns_at(&map, span, (0, 100)), 0..1);
        assert_eq!(columns_at(&map, span, (1, 100)), 1..2);
        assert_eq!(columns_at(&map, span, (99, 100)), 3..4);
    }
}
