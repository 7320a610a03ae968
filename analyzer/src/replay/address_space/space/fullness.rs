//! How full the pages are that are in memory.

use super::Uniform;
use super::tile::{TILE_BYTES, TILE_GRANULES};

/// Sixteenths of a page that are live.
pub const BUCKETS: usize = 16;

/// Resident tiles, by how much of them blocks cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fullness {
    /// Tiles with something live: bucket i has those of which more than i and at most i + 1
    /// sixteenths are.
    pub tiles: [u64; BUCKETS],
    /// Tiles on which nothing is live.
    pub empty_tiles: u64,
    /// Bytes that are not live on tiles on which something is.
    pub waste_bytes: u64,
}

impl Fullness {
    /// Of a stretch that is all alike.
    pub(super) fn of(like: Uniform, bytes: u64) -> Fullness {
        let mut sum = Fullness::default();
        let tiles = if like.resident { bytes / TILE_BYTES } else { 0 };
        if like.live {
            sum.tiles[BUCKETS - 1] = tiles;
        } else {
            sum.empty_tiles = tiles;
        }
        sum
    }

    /// Counts a tile of which so many granules are covered: some, but not all.
    #[inline]
    pub(super) fn count_mixed(&mut self, live_granules: u32) {
        let bucket = (live_granules as usize * BUCKETS - 1) / TILE_GRANULES as usize;
        self.tiles[bucket] += 1;
        self.waste_bytes += TILE_BYTES - u64::from(live_granules) * super::GRANULE_BYTES;
    }

    pub(super) fn add(&mut self, other: &Fullness) {
        for (sum, other) in self.tiles.iter_mut().zip(other.tiles) {
            *sum += other;
        }
        self.empty_tiles += other.empty_tiles;
        self.waste_bytes += other.waste_bytes;
    }

    pub(super) fn subtract(&mut self, other: &Fullness) {
        for (sum, other) in self.tiles.iter_mut().zip(other.tiles) {
            *sum -= other;
        }
        self.empty_tiles -= other.empty_tiles;
        self.waste_bytes -= other.waste_bytes;
    }
}
