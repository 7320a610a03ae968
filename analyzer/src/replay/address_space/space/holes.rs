//! The holes of a leaf, tile by tile, and summed up.

use super::gaps::{Gaps, SmallGaps};
use super::leaf::{LEAF_BYTES, LEAF_TILES, bits, ones};
use super::tile::TILE_BYTES;

/// The holes of each mixed tile, as if nothing were around it; none of the other tiles. Lengths in
/// bytes.
#[derive(Debug, Clone)]
pub(super) struct Holes {
    /// Tiles that begin with a hole, and tiles that end with one.
    at_start: u64,
    at_end: u64,
    first: [u16; LEAF_TILES as usize],
    last: [u16; LEAF_TILES as usize],
    largest: [u16; LEAF_TILES as usize],
    count: [u16; LEAF_TILES as usize],
}

impl Default for Holes {
    fn default() -> Holes {
        let none = [0; LEAF_TILES as usize];
        Holes { at_start: 0, at_end: 0, first: none, last: none, largest: none, count: none }
    }
}

impl Holes {
    /// A tile has these holes.
    #[inline]
    pub fn set(&mut self, tile: u32, gaps: SmallGaps) {
        let SmallGaps { first, last, largest, count } = gaps;
        let (index, bit) = (tile as usize, 1 << tile);
        self.at_start = self.at_start & !bit | u64::from(first > 0) << tile;
        self.at_end = self.at_end & !bit | u64::from(last > 0) << tile;
        (self.first[index], self.last[index]) = (first, last);
        (self.largest[index], self.count[index]) = (largest, count);
    }

    /// The holes of a leaf with these tiles in the footprint, of which some are `open`: holes throughout.
    pub fn sum(&self, touched: u64, open: u64) -> Gaps {
        let (starts, ends) = (self.at_start & touched | open, self.at_end & touched | open);
        // Tiles whose last hole goes on in the tile behind them.
        let mut joined = ends & starts >> 1;
        let mut count = u64::from(open.count_ones()) - u64::from(joined.count_ones());
        let mut largest = if open == 0 { 0 } else { TILE_BYTES };
        if touched == u64::MAX {
            count += self.count.iter().map(|count| u64::from(*count)).sum::<u64>();
            largest = largest.max(self.largest.iter().copied().fold(0, u16::max).into());
        } else {
            for tile in ones(touched) {
                count += u64::from(self.count[tile as usize]);
                largest = largest.max(self.largest[tile as usize].into());
            }
        }
        let is_open = |tile: u32| open >> tile & 1 != 0;
        while joined != 0 {
            let begin = joined.trailing_zeros();
            let end = begin + (joined >> begin).trailing_ones();
            joined &= !bits(begin, end);
            let mut hole = self.last_of(begin, open);
            for tile in begin + 1..=end {
                hole += if is_open(tile) { TILE_BYTES } else { self.first[tile as usize].into() };
                largest = largest.max(hole);
                hole = if is_open(tile) { hole } else { self.last[tile as usize].into() };
            }
        }
        if open == u64::MAX {
            return Gaps::whole(LEAF_BYTES);
        }
        let (before, behind) = (open.trailing_ones(), 63 - open.leading_ones());
        let part = |tile: u32, lengths: &[u16]| match touched >> tile & 1 {
            0 => 0,
            _ => u64::from(lengths[tile as usize]),
        };
        Gaps {
            first: u64::from(before) * TILE_BYTES + part(before, &self.first),
            last: u64::from(63 - behind) * TILE_BYTES + part(behind, &self.last),
            largest,
            count,
        }
    }

    /// The length of the hole at the end of a tile.
    fn last_of(&self, tile: u32, open: u64) -> u64 {
        if open >> tile & 1 != 0 { TILE_BYTES } else { self.last[tile as usize].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gaps::Sum;
    use super::super::tile::Tile;
    use super::super::tile::tests::edges;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_holes_of_a_leaf_are_those_of_its_tiles(
            tiles in prop::collection::vec((0..6u32, any::<bool>(), edges()), LEAF_TILES as usize)
        ) {
            let (mut holes, mut naive) = (Holes::default(), Sum::default());
            let (mut touched, mut open) = (0, 0);
            for (at, (kind, covered, edges)) in tiles.iter().enumerate() {
                let tile = Tile { edges, covered: *covered };
                // What is not mixed stands in the masks.
                let kind = if *kind > 2 && !tile.is_mixed() { &2 } else { kind };
                touched |= u64::from(*kind > 0) << at;
                open |= u64::from(*kind == 1) << at;
                let gaps = if *kind == 1 {
                    Gaps::whole(TILE_BYTES)
                } else {
                    // Untouched ones may hold something as well.
                    let gaps = if *kind == 2 { SmallGaps::default() } else { tile.summary().0 };
                    holes.set(at as u32, gaps);
                    gaps.into()
                };
                match kind {
                    0 | 2 => naive.push_solid(),
                    _ => naive.push(&gaps, TILE_BYTES),
                }
            }
            prop_assert_eq!(holes.sum(touched, open), naive.gaps());
            prop_assert_eq!(holes.sum(u64::MAX, u64::MAX), Gaps::whole(LEAF_BYTES));
        }
    }
}
