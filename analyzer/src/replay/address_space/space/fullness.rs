//! How full the pages are that are in memory.

use super::Uniform;
use super::tile::{GRANULE_BYTES, TILE_BYTES, TILE_GRANULES};

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
    /// A tile of which so many granules are covered.
    #[inline]
    pub(super) fn add(&mut self, live_granules: u32) {
        self.count(live_granules, 1, 1);
    }

    /// One that was added.
    #[inline]
    pub(super) fn remove(&mut self, live_granules: u32) {
        self.count(live_granules, 1, u64::MAX);
    }

    /// A stretch that is all alike. `sign`: 1, or that of one that was added: -1.
    pub(super) fn count_uniform(&mut self, like: Uniform, bytes: u64, sign: i64) {
        let live_granules = if like.live { TILE_GRANULES } else { 0 };
        let tiles = if like.resident { bytes / TILE_BYTES } else { 0 };
        self.count(live_granules, tiles, sign as u64);
    }

    #[inline]
    fn count(&mut self, live_granules: u32, tiles: u64, sign: u64) {
        let add = |sum: &mut u64, number: u64| *sum = sum.wrapping_add(number.wrapping_mul(sign));
        match (live_granules as usize * BUCKETS).checked_sub(1) {
            Some(last) => {
                add(&mut self.tiles[last / TILE_GRANULES as usize], tiles);
                let dead = TILE_BYTES - u64::from(live_granules) * GRANULE_BYTES;
                add(&mut self.waste_bytes, tiles * dead);
            }
            None => add(&mut self.empty_tiles, tiles),
        }
    }
}
