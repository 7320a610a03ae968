//! A tile: 4 KiB of address space, and which 8 bytes of it blocks cover.

use super::gaps::SmallGaps;

/// Bytes of a tile.
pub const TILE_BYTES: u64 = 4096;
/// Bytes of a granule, the unit of cover.
pub const GRANULE_BYTES: u64 = 8;
/// Granules of a tile.
pub const TILE_GRANULES: u32 = (TILE_BYTES / GRANULE_BYTES) as u32;
/// Words that have a bit for each granule of a tile: a cache line.
pub(super) const TILE_WORDS: usize = TILE_GRANULES as usize / 64;

/// Which granules of a tile blocks cover.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// The granules where that changes, but for the first one.
    pub(super) edges: &'a [u64; TILE_WORDS],
    /// Whether the first one is covered.
    pub(super) covered: bool,
    /// How many are, where that was counted before.
    pub(super) counted: Option<u16>,
}

impl Tile<'_> {
    /// Whether some granules are covered and some are not.
    #[inline]
    pub fn is_mixed(self) -> bool {
        self.edges.iter().fold(0, |any, word| any | word) != 0
    }

    /// Calls `each` with every stretch of granules that is covered, or is not.
    #[inline]
    pub fn for_each_run(self, mut each: impl FnMut(u32, u32, bool)) {
        let (mut start, mut covered) = (0, self.covered);
        for (word, first) in self.edges.iter().zip((0..).step_by(64)) {
            let mut rest = *word;
            while rest != 0 {
                let at = first + rest.trailing_zeros();
                each(start, at, covered);
                (start, covered) = (at, !covered);
                rest &= rest - 1;
            }
        }
        each(start, TILE_GRANULES, covered);
    }

    /// Covered granules.
    pub fn live(self) -> u32 {
        self.counted.map_or_else(|| self.count(0, TILE_GRANULES, true), u32::from)
    }

    /// The granules among `from..to` that are covered, or are not.
    pub fn count(self, from: u32, to: u32, covered: bool) -> u32 {
        let mut count = 0;
        self.for_each_run(|start, end, is_covered| {
            let part = end.min(to).saturating_sub(start.max(from));
            count += if is_covered == covered { part } else { 0 };
        });
        count
    }

    /// Whether a granule is covered.
    pub fn is_covered(self, granule: u32) -> bool {
        self.count(granule, granule + 1, true) != 0
    }

    /// The holes, as if nothing were around the tile, and how many granules are covered.
    #[inline]
    pub(super) fn summary(self) -> (SmallGaps, u32) {
        let (mut first, mut last, mut largest, mut count, mut live) = (0, 0, 0, 0, 0);
        self.for_each_run(|from, to, covered| {
            last = if covered { 0 } else { to - from };
            live += to - from - last;
            largest = last.max(largest);
            count += u32::from(!covered);
            first = if from == 0 { last } else { first };
        });
        (SmallGaps::of_granules(first, last, largest, count), live)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::gaps::Gaps;
    use super::*;
    use proptest::prelude::*;

    /// What a tile is made of: some edges, none of them at its start.
    pub fn edges() -> impl Strategy<Value = [u64; TILE_WORDS]> {
        let word = prop_oneof![
            3 => Just(0),
            2 => (0u32..64).prop_map(|at| 1 << at),
            1 => any::<u64>(),
            1 => Just(u64::MAX),
        ];
        prop::array::uniform8(word).prop_map(|mut words| {
            words[0] &= !1;
            words
        })
    }

    fn naive_gaps(granules: &[bool]) -> Gaps {
        let holes: Vec<u64> = granules
            .chunk_by(|one, next| one == next)
            .filter(|run| !run[0])
            .map(|run| run.len() as u64 * GRANULE_BYTES)
            .collect();
        Gaps {
            first: if granules[0] { 0 } else { holes[0] },
            last: if granules[511] { 0 } else { holes[holes.len() - 1] },
            largest: holes.iter().copied().max().unwrap_or(0),
            count: holes.len() as u64,
        }
    }

    proptest! {
        #[test]
        fn the_sum_of_a_tile_is_that_of_its_granules(edges in edges(), begin in any::<bool>()) {
            let mut covered = begin;
            let is_edge = |at: u32| edges[at as usize / 64] >> (at % 64) & 1 != 0;
            let flags: Vec<bool> = (0..TILE_GRANULES)
                .map(|at| {
                    covered ^= is_edge(at);
                    covered
                })
                .collect();
            let live = flags.iter().filter(|flag| **flag).count() as u32;
            let tile = Tile { edges: &edges, covered: begin, counted: None };
            let (gaps, said) = tile.summary();
            prop_assert_eq!(Gaps::from(gaps), naive_gaps(&flags));
            prop_assert_eq!((said, tile.live()), (live, live));
            prop_assert_eq!(tile.is_mixed(), !live.is_multiple_of(TILE_GRANULES));
            let mut seen = Vec::new();
            tile.for_each_run(|from, to, covered| {
                seen.extend(std::iter::repeat_n(covered, (to - from) as usize));
            });
            prop_assert_eq!(seen, flags);
        }
    }

    #[test]
    fn a_full_tile_has_no_hole_and_an_empty_one_is_one() {
        let sum = |covered| Tile { edges: &[0; TILE_WORDS], covered, counted: None }.summary();
        assert_eq!((Gaps::from(sum(true).0), sum(true).1), (Gaps::default(), TILE_GRANULES));
        assert_eq!((Gaps::from(sum(false).0), sum(false).1), (Gaps::whole(4096), 0));
    }
}
