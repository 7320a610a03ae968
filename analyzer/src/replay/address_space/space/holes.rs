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
        if open == u64::MAX {
            return Gaps::whole(LEAF_BYTES);
        }
        let (starts, ends) = (self.at_start & touched | open, self.at_end & touched | open);
        // Tiles whose last hole goes on in the tile behind them.
        let joined = ends & starts >> 1;
        let (count, largest) = match touched {
            u64::MAX => self.sum_all(),
            _ => self.sum_some(touched),
        };
        let mut largest = u64::from(largest);
        let mut rest = open;
        while rest != 0 {
            let begin = rest.trailing_zeros();
            let end = begin + (rest >> begin).trailing_ones();
            rest &= !bits(begin, end);
            let before = begin.checked_sub(1).map_or(0, |before| part(before, touched, &self.last));
            let behind = if end < LEAF_TILES { part(end, touched, &self.first) } else { 0 };
            largest = largest.max(before + u64::from(end - begin) * TILE_BYTES + behind);
        }
        let (before, behind) = (open.trailing_ones(), 63 - open.leading_ones());
        Gaps {
            first: u64::from(before) * TILE_BYTES + part(before, touched, &self.first),
            last: u64::from(63 - behind) * TILE_BYTES + part(behind, touched, &self.last),
            largest,
            count: u64::from(count + open.count_ones() - joined.count_ones()),
        }
    }

    /// How many holes tiles have, and the length of the largest in one or in two that adjoin; without open
    /// ones.
    fn sum_all(&self) -> (u32, u16) {
        let count = self.count.iter().map(|count| u32::from(*count)).sum();
        let largest = self.largest.iter().copied().fold(0, u16::max);
        // Where one of the two has none, this is no more than the other one's.
        let joined = self.last.iter().zip(&self.first[1..]).map(|(last, first)| last + first);
        (count, joined.fold(largest, u16::max))
    }

    /// The same of some tiles.
    fn sum_some(&self, touched: u64) -> (u32, u16) {
        let (mut count, mut largest) = (0, 0);
        for tile in ones(touched) {
            let index = tile as usize;
            count += u32::from(self.count[index]);
            let next = touched >> tile >> 1 & 1 != 0;
            let joined = self.last[index] + if next { self.first[index + 1] } else { 0 };
            largest = largest.max(self.largest[index]).max(joined);
        }
        (count, largest)
    }
}

/// The length of the hole at one end of a tile, if it is in the footprint.
fn part(tile: u32, touched: u64, lengths: &[u16]) -> u64 {
    if touched >> tile & 1 != 0 { lengths[tile as usize].into() } else { 0 }
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
                let tile = Tile { edges, covered: *covered, counted: None };
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
