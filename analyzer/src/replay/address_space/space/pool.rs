//! Where the bitmaps of mixed tiles live: one long array, places reused.

use super::tile::Tile;

/// Bitmaps by number.
#[derive(Debug, Default)]
pub(super) struct Pool {
    tiles: Vec<Tile>,
    free: Vec<u32>,
}

impl Pool {
    pub fn insert(&mut self, tile: Tile) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.tiles[number as usize] = tile;
                number
            }
            None => {
                self.tiles.push(tile);
                self.tiles.len() as u32 - 1
            }
        }
    }

    pub fn remove(&mut self, number: u32) {
        self.free.push(number);
    }

    /// Something of a tile, if there is one of that number.
    #[inline]
    pub fn peek(&self, number: u32) -> u64 {
        self.tiles.get(number as usize).map_or(0, Tile::peek)
    }

    #[inline]
    pub fn tile(&self, number: u32) -> &Tile {
        &self.tiles[number as usize]
    }

    #[inline]
    pub fn tile_mut(&mut self, number: u32) -> &mut Tile {
        &mut self.tiles[number as usize]
    }
}
