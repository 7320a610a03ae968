//! A tile: 4 KiB of address space, a bit for each 8 bytes of it that blocks cover.

use super::gaps::Gaps;

/// Bytes of a tile.
pub const TILE_BYTES: u64 = 4096;
/// Bytes of a granule, the unit of cover.
pub const GRANULE_BYTES: u64 = 8;
/// Granules of a tile.
pub const TILE_GRANULES: u32 = (TILE_BYTES / GRANULE_BYTES) as u32;

const WORDS: usize = TILE_GRANULES as usize / 64;

/// Which granules of a tile blocks cover: one cache line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(align(64))]
pub struct Tile {
    bits: [u64; WORDS],
}

/// The bits of word `word` that lie in `from..to`, counted over the tile.
#[inline]
fn mask(word: u32, from: u32, to: u32) -> u64 {
    let low = from.saturating_sub(word * 64);
    let high = (to - word * 64).min(64);
    (u64::MAX << low) & (u64::MAX >> (64 - high))
}

impl Tile {
    /// A tile that is covered throughout.
    pub const FULL: Tile = Tile { bits: [u64::MAX; WORDS] };

    /// Something of the tile.
    #[inline]
    pub fn peek(&self) -> u64 {
        self.bits[0]
    }

    /// Covers granules `from..to`; how many were not covered before.
    #[inline]
    pub fn cover(&mut self, from: u32, to: u32) -> u32 {
        let mut fresh = to - from;
        for word in from / 64..to.div_ceil(64) {
            let mask = mask(word, from, to);
            let bits = &mut self.bits[word as usize];
            if *bits & mask != 0 {
                fresh -= (*bits & mask).count_ones();
            }
            *bits |= mask;
        }
        fresh
    }

    /// Uncovers granules `from..to`; how many were covered before.
    #[inline]
    pub fn uncover(&mut self, from: u32, to: u32) -> u32 {
        let mut gone = to - from;
        for word in from / 64..to.div_ceil(64) {
            let mask = mask(word, from, to);
            let bits = &mut self.bits[word as usize];
            if *bits & mask != mask {
                gone -= (!*bits & mask).count_ones();
            }
            *bits &= !mask;
        }
        gone
    }

    /// Calls `each` with every stretch of granules that is covered, or is not.
    pub fn for_each_run(&self, mut each: impl FnMut(u32, u32, bool)) {
        let mut start = 0;
        let mut covered = self.bits[0] & 1 != 0;
        let mut at = 0;
        while at < TILE_GRANULES {
            let word = self.bits[at as usize / 64] >> (at % 64);
            let same = if covered { word.trailing_ones() } else { word.trailing_zeros() };
            let left = 64 - at % 64;
            at += same.min(left);
            if same < left {
                each(start, at, covered);
                start = at;
                covered = !covered;
            }
        }
        each(start, TILE_GRANULES, covered);
    }

    /// The holes, as if nothing were around the tile.
    pub fn gaps(&self) -> Gaps {
        let mut gaps = Gaps::default();
        // The hole that reaches up to where we are.
        let mut run = 0;
        let mut at_start = true;
        for bits in self.bits {
            if bits == 0 {
                run += 64;
                continue;
            }
            let mut rest = bits;
            let mut left = 64;
            while rest != 0 {
                let zeros = rest.trailing_zeros();
                run += zeros;
                if run > 0 {
                    gaps.count += 1;
                    gaps.largest = gaps.largest.max(u64::from(run));
                }
                if at_start {
                    gaps.first = u64::from(run);
                    at_start = false;
                }
                rest >>= zeros;
                let ones = rest.trailing_ones();
                rest = if ones == 64 { 0 } else { rest >> ones };
                left -= zeros + ones;
                run = 0;
            }
            run = left;
        }
        if at_start {
            return Gaps::whole(TILE_BYTES);
        }
        gaps.count += u64::from(run > 0);
        gaps.largest = gaps.largest.max(u64::from(run)) * GRANULE_BYTES;
        gaps.first *= GRANULE_BYTES;
        gaps.last = u64::from(run) * GRANULE_BYTES;
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        fn a_tile_is_512_flags(
            edits in prop::collection::vec((0u32..512, 1u32..200, any::<bool>()), 0..60)
        ) {
            let mut tile = Tile::default();
            let mut granules = [false; 512];
            for (from, len, cover) in edits {
                let to = (from + len).min(512);
                let range = &mut granules[from as usize..to as usize];
                let changed = range.iter().filter(|granule| **granule != cover).count() as u32;
                range.fill(cover);
                let said = if cover { tile.cover(from, to) } else { tile.uncover(from, to) };
                prop_assert_eq!(said, changed);
                prop_assert_eq!(tile.gaps(), naive_gaps(&granules));
                let mut seen = Vec::new();
                tile.for_each_run(|from, to, covered| {
                    seen.extend(std::iter::repeat_n(covered, (to - from) as usize));
                });
                prop_assert_eq!(&seen[..], &granules[..]);
            }
        }
    }

    #[test]
    fn a_full_tile_has_no_hole() {
        assert_eq!(Tile::FULL.gaps(), Gaps::default());
        assert_eq!(Tile::default().gaps(), Gaps::whole(4096));
    }
}
