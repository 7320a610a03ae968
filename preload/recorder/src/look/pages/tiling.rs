//! Cuts what the kernel tells of a range into tiles.

use super::kept::Kept;
use super::kernel::PageRegion;
use super::{PAGE, TILE_BYTES};
use core::ops::Range;
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};

/// The bits of word `word` of a tile that stand for pages of a range.
pub(super) fn mask(word: u64, pages: &Range<u64>) -> u64 {
    let from = pages.start.clamp(word * 64, word * 64 + 64) - word * 64;
    let to = pages.end.clamp(word * 64, word * 64 + 64) - word * 64;
    if from >= to { 0 } else { u64::MAX << from & u64::MAX >> (64 - to) }
}

/// A range whose regions come in rising order.
pub(super) struct Tiling<'t> {
    range: Range<u64>,
    kept: &'t mut Kept,
    writer: TileWriter<'t>,
    /// Where the tile that is filled begins, or the range. All before was told.
    at: u64,
    tile: TilePages,
    /// There was no room for a tile.
    stopped: bool,
}

impl<'t> Tiling<'t> {
    /// Tiles go to `out`.
    pub(super) fn new(range: &Range<u64>, kept: &'t mut Kept, out: &'t mut [u8]) -> Tiling<'t> {
        let writer = TileWriter::new(out, range.start / TILE_BYTES);
        let (range, at) = (range.clone(), range.start);
        Tiling { range, kept, writer, at, tile: TilePages::default(), stopped: false }
    }

    fn tile_end(&self) -> u64 {
        (self.at / TILE_BYTES + 1).saturating_mul(TILE_BYTES).min(self.range.end)
    }

    /// Adds a region whose pages are in memory.
    pub(super) fn add(&mut self, region: &PageRegion) {
        // With more regions than its buffer of 512 holds, Linux 6.18 was seen to tell one of
        // them twice, the second time behind those that follow it.
        let mut start = region.start.max(self.at);
        let region_end = region.end.min(self.range.end);
        while start < region_end && self.come_to(start) {
            let end = self.tile_end().min(region_end);
            let first = start / PAGE % TILE_PAGES;
            let pages = first..first + (end - start) / PAGE;
            for (word, bits) in self.tile.resident.iter_mut().enumerate() {
                *bits |= mask(word as u64, &pages);
            }
            self.tile.huge |= region.is_huge();
            start = end;
        }
    }

    /// The kernel told of all below an address: tiles that end there are told. False: there is no
    /// room for them.
    pub(super) fn come_to(&mut self, address: u64) -> bool {
        while !self.stopped && self.tile_end() <= address && self.at < self.range.end {
            let end = self.tile_end();
            if self.kept.tell(self.at..end, &self.tile, &mut self.writer) {
                (self.at, self.tile) = (end, TilePages::default());
            } else {
                self.stopped = true;
            }
        }
        !self.stopped
    }

    /// Up to where all was told.
    pub(super) fn told(&self) -> u64 {
        self.at
    }

    /// Bytes of tiles.
    pub(super) fn len(&self) -> usize {
        self.writer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_the_pages_of_its_word() {
        assert_eq!(mask(0, &(0..64)), u64::MAX);
        assert_eq!(mask(1, &(0..64)), 0);
        assert_eq!(mask(1, &(60..66)), 3);
        assert_eq!(mask(0, &(60..66)), 15 << 60);
    }
}
