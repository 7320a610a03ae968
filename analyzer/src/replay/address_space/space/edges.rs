//! Where blocks begin and end within the tiles of a leaf: a bit for each granule that is covered and
//! the one before it is not, or the other way round.
//!
//! A block is two edges, however long it is, and where two adjoin, their edges cancel. So a block that
//! comes and one that goes flip the same two bits, without a look at what lies between. At the start
//! of a tile there is no edge: there the [leaf](super::leaf) says whether it is covered.

use super::leaf::{LEAF_TILES, bits};
use super::tile::{TILE_GRANULES, TILE_WORDS, Tile};
use crate::replay::fetch::fetch;
use crate::replay::huge;

const WORDS: usize = LEAF_TILES as usize * TILE_WORDS;

/// The edges within the tiles of a leaf: 4 KiB.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Row {
    words: [u64; WORDS],
}

impl Row {
    /// Granules `from..to` are covered where they were not, and the other way round, but for starts of
    /// tiles.
    #[inline(always)]
    pub fn flip(&mut self, from: u32, to: u32) {
        self.flip_edge(from);
        self.flip_edge(to);
    }

    #[inline(always)]
    fn flip_edge(&mut self, at: u32) {
        // The end of the last tile is the start of none.
        let word = &mut self.words[at as usize / 64 % WORDS];
        *word ^= u64::from(!at.is_multiple_of(TILE_GRANULES)) << (at % 64);
    }

    /// A tile, of which the first granule is covered or not.
    #[inline]
    pub fn tile(&self, tile: u32, covered: bool) -> Tile<'_> {
        let edges = &self.words.as_chunks().0[tile as usize];
        Tile { edges, covered, counted: None }
    }

    /// Covers or uncovers granules `from..to` of a tile, of which the first is covered or not. How many
    /// granules that changed.
    pub fn set(&mut self, tile: u32, (from, to): (u32, u32), covered: bool, cover: bool) -> u32 {
        let before = self.tile(tile, covered);
        let changed = before.count(from, to, !cover);
        let begins = from > 0 && before.is_covered(from - 1) != cover;
        let ends = to < TILE_GRANULES && before.is_covered(to) != cover;
        let words = &mut self.words.as_chunks_mut::<TILE_WORDS>().0[tile as usize];
        for (word, first) in words.iter_mut().zip((0..).step_by(64)) {
            // The edges among `from..=to`.
            let (low, high) = (from.clamp(first, first + 64), (to + 1).clamp(first, first + 64));
            if low < high {
                *word &= !bits(low - first, high - first);
            }
        }
        words[from as usize / 64] |= u64::from(begins) << (from % 64);
        words[to as usize / 64 % TILE_WORDS] |= u64::from(ends) << (to % 64);
        changed
    }

    /// Begins to fetch the bits around a granule.
    #[inline]
    pub fn foresee(&self, granule: u32) {
        fetch(&self.words[granule as usize / 64 % WORDS]);
    }
}

/// Rows by number, places reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    all: Vec<Row>,
    free: Vec<u32>,
}

impl Rows {
    /// A row without an edge.
    pub fn insert(&mut self) -> u32 {
        let row = Row { words: [0; WORDS] };
        match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = row;
                number
            }
            None => {
                huge::push(&mut self.all, row);
                self.all.len() as u32 - 1
            }
        }
    }

    pub fn remove(&mut self, number: u32) {
        self.free.push(number);
    }

    /// The row of a number, if there is one.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Row> {
        self.all.get(number as usize)
    }

    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Row> {
        self.all.get_mut(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flags(tile: Tile<'_>) -> Vec<bool> {
        let mut flags = Vec::new();
        tile.for_each_run(|from, to, covered| {
            flags.extend(std::iter::repeat_n(covered, (to - from) as usize));
        });
        flags
    }

    proptest! {
        #[test]
        fn what_is_set_in_a_tile_is_set(
            begin in any::<bool>(),
            edits in prop::collection::vec((0..TILE_GRANULES, 1u32..200, any::<bool>()), 0..60)
        ) {
            let mut row = Row { words: [0; WORDS] };
            let (mut covered, mut naive) = (begin, vec![begin; TILE_GRANULES as usize]);
            for (from, len, cover) in edits {
                let to = (from + len).min(TILE_GRANULES);
                let part = &mut naive[from as usize..to as usize];
                let changed = part.iter().filter(|flag| **flag != cover).count() as u32;
                part.fill(cover);
                prop_assert_eq!(row.set(3, (from, to), covered, cover), changed);
                covered = if from == 0 { cover } else { covered };
                prop_assert_eq!(&flags(row.tile(3, covered)), &naive);
            }
            prop_assert!(flags(row.tile(2, false)).iter().all(|flag| !flag));
            prop_assert!(flags(row.tile(4, true)).iter().all(|flag| *flag));
        }

        #[test]
        fn what_is_flipped_twice_is_as_before(
            edits in prop::collection::vec((1..LEAF_TILES * TILE_GRANULES, 1u32..2000), 0..40)
        ) {
            let mut row = Row { words: [0; WORDS] };
            for (from, len) in &edits {
                row.flip(*from, (from + len).min(LEAF_TILES * TILE_GRANULES));
            }
            for (from, len) in edits.iter().rev() {
                row.flip(*from, (from + len).min(LEAF_TILES * TILE_GRANULES));
            }
            prop_assert_eq!(row.words, [0; WORDS]);
        }
    }
}
