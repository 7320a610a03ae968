//! Where each band of addresses stands: low addresses below, a gap between two bands.

use crate::measure::HeapMap;
use crate::render::picture::layout::Rect;
use std::ops::Range;

/// A band of addresses and the rows of pixels that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedBand {
    /// Index into the map's bands.
    pub index: usize,
    /// The band's cells, counted over all bands.
    pub cells: Range<usize>,
    /// Upper edge, in pixels.
    pub top: i32,
    /// Lower edge, in pixels; outside.
    pub bottom: i32,
}

impl PlacedBand {
    pub(super) fn height(&self) -> i32 {
        self.bottom - self.top
    }

    /// The pixel of an offset into the band, counted in cells; at its lower edge for 0.
    pub(super) fn y(&self, cells: f64) -> i32 {
        let share = cells / self.cells.len().max(1) as f64;
        self.bottom - 1 - (share * f64::from(self.height() - 1)).round() as i32
    }

    /// The cells that a row of pixels stands for; at least one.
    pub(super) fn cells_at(&self, y: i32) -> Range<usize> {
        let (row, rows) = ((self.bottom - 1 - y) as u128, self.height() as u128);
        let count = self.cells.len();
        let before = |row: u128| (row * count as u128 / rows) as usize;
        let first = before(row).min(count - 1);
        let end = before(row + 1).clamp(first + 1, count);
        self.cells.start + first..self.cells.start + end
    }
}

/// Stacks the map's bands in `rect`, each as high as its share of the cells; small ones
/// get enough to be seen. Bands without cells, or without a pixel left, are not placed.
pub(super) fn place(map: &HeapMap, rect: &Rect, wanted_gap: i32) -> Vec<PlacedBand> {
    let mut first_cell = 0usize;
    let mut drawn: Vec<(usize, Range<usize>)> = Vec::new();
    for (index, band) in map.bands.iter().enumerate() {
        let end = first_cell.saturating_add(band.cells);
        if end > first_cell {
            drawn.push((index, first_cell..end));
        }
        first_cell = end;
    }
    if drawn.is_empty() || rect.width() == 0 {
        return Vec::new();
    }
    let gaps = drawn.len() - 1;
    let height = f64::from(rect.height());
    let gap = f64::from(wanted_gap).min((0.2 * height / gaps.max(1) as f64).floor());
    let room = height - gap * gaps as f64;
    let heights = share_out(drawn.iter().map(|(_, cells)| cells.len() as f64), room, wanted_gap);

    let mut bottom = f64::from(rect.bottom);
    let mut placed = Vec::with_capacity(drawn.len());
    for ((index, cells), height) in drawn.into_iter().zip(heights) {
        let top = bottom - height;
        let band =
            PlacedBand { index, cells, top: top.round() as i32, bottom: bottom.round() as i32 };
        if band.height() > 0 {
            placed.push(band);
        }
        bottom = top - gap;
    }
    placed
}

/// Shares `room` out in proportion to `weights`; who would get less than `least` gets
/// that much, as long as such small ones do not take half of the room.
fn share_out(weights: impl Iterator<Item = f64>, room: f64, least: i32) -> Vec<f64> {
    let weights: Vec<f64> = weights.collect();
    let total: f64 = weights.iter().sum();
    let least = f64::from(least).min(room / (2.0 * weights.len() as f64));
    let is_small = |weight: f64| weight / total * room < least;
    let (small, large_total) = weights.iter().fold((0.0, 0.0), |(small, large), weight| {
        if is_small(*weight) { (small + 1.0, large) } else { (small, large + weight) }
    });
    let left = room - small * least;
    weights
        .iter()
        .map(|weight| if is_small(*weight) { least } else { weight / large_total * left })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Band;

    const RECT: Rect = Rect { left: 0, top: 100, right: 50, bottom: 400 };

    fn placed(cells: &[usize]) -> Vec<PlacedBand> {
        let band = |cells: &usize| Band { start: 0, cells: *cells, label: String::new() };
        let bands = cells.iter().map(band).collect();
        let map =
            HeapMap { cell_bytes: 4096, bands, times_ns: vec![], columns: vec![], owners: None };
        place(&map, &RECT, 10)
    }

    #[test]
    fn low_addresses_stand_below_and_a_gap_divides_bands() {
        let bands = placed(&[100, 100]);
        assert_eq!((bands[0].top, bands[0].bottom), (255, 400));
        assert_eq!((bands[1].top, bands[1].bottom), (100, 245));
        assert_eq!(bands[1].cells, 100..200);
    }

    #[test]
    fn a_small_band_is_seen_and_an_empty_one_is_not() {
        let bands = placed(&[1, 0, 100_000]);
        assert_eq!(bands.len(), 2);
        assert_eq!(bands[0].height(), 10);
        assert_eq!(bands[1].index, 2);
    }

    #[test]
    fn thousands_of_bands_share_what_room_there_is() {
        let bands = placed(&[3; 5000]);
        assert!(!bands.is_empty() && bands.iter().all(|b| b.top >= 99 && b.bottom <= 400));
        assert!(placed(&[usize::MAX, usize::MAX]).len() <= 2);
    }

    #[test]
    fn rows_cover_all_cells_once() {
        for cells in [1, 7, 145, 146, 1000] {
            let band = &placed(&[cells])[0];
            assert_eq!(band.cells_at(band.bottom - 1).start, 0);
            assert_eq!(band.cells_at(band.top).end, cells);
            for y in band.top + 1..band.bottom {
                let (above, below) = (band.cells_at(y - 1), band.cells_at(y));
                assert!(above.start == below.end || above == below, "{below:?} {above:?}");
            }
        }
    }
}
