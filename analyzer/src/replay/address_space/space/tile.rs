//! A tile: 4 KiB of address space, a bit for each 8 bytes of it that blocks cover.

use super::gaps::SmallGaps;

/// Bytes of a tile.
pub const TILE_BYTES: u64 = 4096;
/// Bytes of a granule, the unit of cover.
pub const GRANULE_BYTES: u64 = 8;
/// Granules of a tile.
pub const TILE_GRANULES: u32 = (TILE_BYTES / GRANULE_BYTES) as u32;
/// Words that hold the bits of a tile.
pub(super) const TILE_WORDS: usize = TILE_GRANULES as usize / 64;

/// Which granules of a tile blocks cover: one cache line.
pub type TileBits = [u64; TILE_WORDS];

/// Calls `each` with every stretch of granules that is covered, or is not.
pub fn for_each_run(bits: &TileBits, mut each: impl FnMut(u32, u32, bool)) {
    let mut start = 0;
    let mut covered = bits[0] & 1 != 0;
    let mut at = 0;
    while at < TILE_GRANULES {
        let word = bits[at as usize / 64] >> (at % 64);
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

/// Covered granules.
pub fn live(bits: &TileBits) -> u32 {
    bits.iter().map(|word| word.count_ones()).sum()
}

/// The holes, as if nothing were around the tile, and how many granules are covered.
pub(super) fn summary(bits: &TileBits) -> (SmallGaps, u32) {
    // Most tiles of a heap of larger blocks.
    if bits.iter().fold(u64::MAX, |all, word| all & word) == u64::MAX {
        return (SmallGaps::default(), TILE_GRANULES);
    }
    let (mut first, mut largest, mut count, mut live) = (None, 0, 0, 0);
    // The hole that reaches up to where we are.
    let mut run = 0;
    for word in bits {
        if *word == 0 {
            run += 64;
            continue;
        }
        if *word == u64::MAX {
            largest = largest.max(run);
            count += u32::from(run > 0);
            first.get_or_insert(run);
            live += 64;
            run = 0;
            continue;
        }
        let mut rest = *word;
        let mut left = 64;
        while rest != 0 {
            let zeros = rest.trailing_zeros();
            run += zeros;
            largest = largest.max(run);
            count += u32::from(run > 0);
            first.get_or_insert(run);
            rest >>= zeros;
            let ones = rest.trailing_ones();
            rest = rest.checked_shr(ones).unwrap_or(0);
            live += ones;
            left -= zeros + ones;
            run = 0;
        }
        run = left;
    }
    largest = largest.max(run);
    count += u32::from(run > 0);
    (SmallGaps::of_granules(first.unwrap_or(run), run, largest, count), live)
}

#[cfg(test)]
mod tests {
    use super::super::gaps::Gaps;
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

    fn flags(bits: &TileBits) -> Vec<bool> {
        (0..TILE_GRANULES as usize).map(|at| bits[at / 64] >> (at % 64) & 1 != 0).collect()
    }

    proptest! {
        #[test]
        fn the_sum_of_a_tile_is_that_of_its_granules(
            bits in prop::array::uniform8(prop_oneof![
                Just(0), Just(u64::MAX), any::<u64>(), (0u32..64).prop_map(|at| u64::MAX << at),
            ])
        ) {
            let flags = flags(&bits);
            let covered = flags.iter().filter(|flag| **flag).count() as u32;
            let (gaps, said) = summary(&bits);
            prop_assert_eq!(Gaps::from(gaps), naive_gaps(&flags));
            prop_assert_eq!((said, live(&bits)), (covered, covered));
            let mut seen = Vec::new();
            for_each_run(&bits, |from, to, covered| {
                seen.extend(std::iter::repeat_n(covered, (to - from) as usize));
            });
            prop_assert_eq!(seen, flags);
        }
    }

    #[test]
    fn a_full_tile_has_no_hole_and_an_empty_one_is_one() {
        let (full, empty) = (summary(&[u64::MAX; 8]), summary(&[0; 8]));
        assert_eq!((Gaps::from(full.0), full.1), (Gaps::default(), TILE_GRANULES));
        assert_eq!((Gaps::from(empty.0), empty.1), (Gaps::whole(4096), 0));
    }
}
