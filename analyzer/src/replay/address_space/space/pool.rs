//! Where the bitmaps of mixed tiles live: one long array, places reused.

use super::gaps::Gaps;
use super::tile::Tile;

/// A tile, and its holes as of when they were last asked for. Lengths fit 16 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    tile: Tile,
    first: u16,
    last: u16,
    largest: u16,
    count: u16,
}

/// Bitmaps by number.
#[derive(Debug, Default)]
pub(super) struct Pool {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Pool {
    pub fn insert(&mut self, tile: Tile) -> u32 {
        let slot = Slot { tile, ..Slot::default() };
        match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        }
    }

    /// Frees a place; how many granules of its tile were covered.
    pub fn remove(&mut self, number: u32) -> u32 {
        self.free.push(number);
        self.slots[number as usize].tile.live()
    }

    #[inline]
    pub fn tile(&self, number: u32) -> &Tile {
        &self.slots[number as usize].tile
    }

    #[inline]
    pub fn tile_mut(&mut self, number: u32) -> &mut Tile {
        &mut self.slots[number as usize].tile
    }

    /// Finds out about the tile's holes again.
    pub fn refresh(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let gaps = slot.tile.gaps();
        // A tile has 4096 bytes.
        (slot.first, slot.last) = (gaps.first as u16, gaps.last as u16);
        (slot.largest, slot.count) = (gaps.largest as u16, gaps.count as u16);
    }

    /// The tile's holes, as of the last [`Pool::refresh`].
    pub fn gaps(&self, number: u32) -> Gaps {
        let slot = &self.slots[number as usize];
        Gaps {
            first: slot.first.into(),
            last: slot.last.into(),
            largest: slot.largest.into(),
            count: slot.count.into(),
        }
    }
}
