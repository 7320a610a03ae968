//! What blocks cover of a leaf in which they end within tiles: a bit for each granule.
//!
//! The bits of all tiles lie in a row, so a block is one run of bits however many tiles it
//! lies on.

use super::leaf::{LEAF_TILES, ones};
use super::tile::{TILE_GRANULES, TILE_WORDS, TileBits};
use crate::replay::fetch::fetch;

const WORDS: usize = LEAF_TILES as usize * TILE_WORDS;

/// Which granules of a leaf blocks cover: 4 KiB.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Bitmap {
    words: [u64; WORDS],
}

/// The words that have a part in bits `from..to`, `from < to`, and which bits of the first and
/// the last of them.
#[inline]
fn span(from: u32, to: u32) -> (usize, usize, u64, u64) {
    let last = to - 1;
    (from as usize / 64, last as usize / 64, u64::MAX << (from % 64), u64::MAX >> (63 - last % 64))
}

impl Bitmap {
    /// The tiles in a mask are covered throughout, and nothing else.
    fn of_tiles(mask: u64) -> Bitmap {
        let mut bitmap = Bitmap { words: [0; WORDS] };
        for tile in ones(mask) {
            bitmap.cover(tile * TILE_GRANULES, (tile + 1) * TILE_GRANULES);
        }
        bitmap
    }

    /// Covers granules `from..to`; how many were not covered before.
    #[inline]
    pub fn cover(&mut self, from: u32, to: u32) -> u32 {
        let (first, last, head, tail) = span(from, to);
        let mut covered = 0;
        let mut cover = |word: &mut u64, mask: u64| {
            if *word & mask != 0 {
                covered += (*word & mask).count_ones();
            }
            *word |= mask;
        };
        let words = &mut self.words[first..=last];
        match words {
            [word] => cover(word, head & tail),
            [first, between @ .., last] => {
                cover(first, head);
                between.iter_mut().for_each(|word| cover(word, u64::MAX));
                cover(last, tail);
            }
            [] => {}
        }
        to - from - covered
    }

    /// Uncovers granules `from..to`; how many were covered before.
    #[inline]
    pub fn uncover(&mut self, from: u32, to: u32) -> u32 {
        let (first, last, head, tail) = span(from, to);
        let mut free = 0;
        let mut uncover = |word: &mut u64, mask: u64| {
            if !*word & mask != 0 {
                free += (!*word & mask).count_ones();
            }
            *word &= !mask;
        };
        let words = &mut self.words[first..=last];
        match words {
            [word] => uncover(word, head & tail),
            [first, between @ .., last] => {
                uncover(first, head);
                between.iter_mut().for_each(|word| uncover(word, u64::MAX));
                uncover(last, tail);
            }
            [] => {}
        }
        to - from - free
    }

    /// Covers granules `from..to`, if none of them is covered; else does nothing. Most blocks come
    /// like this.
    #[inline]
    pub fn cover_free(&mut self, from: u32, to: u32) -> bool {
        let (first, last, head, tail) = span(from, to);
        match &mut self.words[first..last + 1] {
            [word] => {
                let free = *word & (head & tail) == 0;
                *word |= if free { head & tail } else { 0 };
                free
            }
            [first, between @ .., last] => {
                let ends = (*first & head) | (*last & tail);
                let free = between.iter().fold(ends, |any, word| any | word) == 0;
                if free {
                    *first |= head;
                    between.fill(u64::MAX);
                    *last |= tail;
                }
                free
            }
            [] => false,
        }
    }

    /// Uncovers granules `from..to`, if all of them are covered; else does nothing. Most blocks go
    /// like this.
    #[inline]
    pub fn uncover_covered(&mut self, from: u32, to: u32) -> bool {
        let (first, last, head, tail) = span(from, to);
        match &mut self.words[first..last + 1] {
            [word] => {
                let covered = !*word & (head & tail) == 0;
                *word &= if covered { !(head & tail) } else { u64::MAX };
                covered
            }
            [first, between @ .., last] => {
                let ends = (*first | !head) & (*last | !tail);
                let covered = between.iter().fold(ends, |all, word| all & word) == u64::MAX;
                if covered {
                    *first &= !head;
                    between.fill(0);
                    *last &= !tail;
                }
                covered
            }
            [] => false,
        }
    }

    /// The bits of one tile.
    #[inline]
    pub fn tile(&self, tile: u32) -> &TileBits {
        &self.words.as_chunks().0[tile as usize]
    }

    /// Begins to fetch the bits around a granule.
    #[inline]
    pub fn foresee(&self, granule: u32) {
        fetch(&self.words[granule as usize / 64]);
    }
}

/// Bitmaps by number, places reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Bitmaps {
    all: Vec<Bitmap>,
    free: Vec<u32>,
}

impl Bitmaps {
    /// A bitmap of tiles that are covered throughout.
    pub fn insert(&mut self, tiles: u64) -> u32 {
        let bitmap = Bitmap::of_tiles(tiles);
        match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = bitmap;
                number
            }
            None => {
                self.all.push(bitmap);
                self.all.len() as u32 - 1
            }
        }
    }

    pub fn remove(&mut self, number: u32) {
        self.free.push(number);
    }

    /// The bitmap of a number, if there is one.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Bitmap> {
        self.all.get(number as usize)
    }

    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Bitmap> {
        self.all.get_mut(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRANULES: u32 = LEAF_TILES * TILE_GRANULES;

    proptest! {
        #[test]
        fn a_bitmap_is_a_row_of_flags(
            tiles in any::<u64>(),
            edits in prop::collection::vec((0..GRANULES, 1u32..2000, any::<bool>()), 0..60)
        ) {
            let mut bitmap = Bitmap::of_tiles(tiles);
            let mut flags: Vec<bool> =
                (0..GRANULES).map(|at| tiles >> (at / TILE_GRANULES) & 1 != 0).collect();
            for (from, len, cover) in edits {
                let to = (from + len).min(GRANULES);
                let range = &mut flags[from as usize..to as usize];
                let changed = range.iter().filter(|flag| **flag != cover).count() as u32;
                range.fill(cover);
                let whole = changed == to - from;
                let mut copy = bitmap.clone();
                let said = if cover { bitmap.cover(from, to) } else { bitmap.uncover(from, to) };
                prop_assert_eq!(said, changed);
                let before = copy.words;
                let done = match cover {
                    true => copy.cover_free(from, to),
                    false => copy.uncover_covered(from, to),
                };
                prop_assert_eq!(done, whole);
                prop_assert_eq!(copy.words, if whole { bitmap.words } else { before });
            }
            for (tile, flags) in flags.chunks(TILE_GRANULES as usize).enumerate() {
                let mut seen = Vec::new();
                super::super::tile::for_each_run(bitmap.tile(tile as u32), |from, to, covered| {
                    seen.extend(std::iter::repeat_n(covered, (to - from) as usize));
                });
                prop_assert_eq!(&seen[..], flags);
            }
        }
    }
}
