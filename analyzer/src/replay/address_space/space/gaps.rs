//! What is known of the holes in a stretch of address space, without listing them.
//!
//! Two stretches that adjoin can be summed up from their sums: a hole at the end of one and
//! a hole at the start of the next are the same hole.

use super::tile::GRANULE_BYTES;

/// The holes of a stretch. Lengths in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gaps {
    /// Length of the hole at the start, 0 if there is none.
    pub first: u64,
    /// Length of the hole at the end.
    pub last: u64,
    /// Length of the largest.
    pub largest: u64,
    /// How many there are.
    pub count: u64,
}

impl Gaps {
    /// A stretch that is one hole.
    pub const fn whole(bytes: u64) -> Gaps {
        Gaps { first: bytes, last: bytes, largest: bytes, count: (bytes > 0) as u64 }
    }
}

/// The holes of a stretch of less than 64 KiB, in a quarter of the room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SmallGaps {
    pub first: u16,
    pub last: u16,
    pub largest: u16,
    pub count: u16,
}

impl SmallGaps {
    /// Of a tile: lengths in granules.
    #[inline]
    pub fn of_granules(first: u32, last: u32, largest: u32, count: u32) -> SmallGaps {
        let bytes = |granules: u32| (granules as u16) * GRANULE_BYTES as u16;
        SmallGaps {
            first: bytes(first),
            last: bytes(last),
            largest: bytes(largest),
            count: count as u16,
        }
    }
}

#[cfg(test)]
impl From<SmallGaps> for Gaps {
    fn from(gaps: SmallGaps) -> Gaps {
        let SmallGaps { first, last, largest, count } = gaps;
        Gaps {
            first: first.into(),
            last: last.into(),
            largest: largest.into(),
            count: count.into(),
        }
    }
}

/// Sums up adjoining stretches from left to right.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    gaps: Gaps,
    /// Whether all so far is one hole.
    open: bool,
    begun: bool,
}

impl Sum {
    /// Adds a stretch of `bytes`.
    #[inline]
    pub fn push(&mut self, gaps: &Gaps, bytes: u64) {
        let whole = gaps.first == bytes;
        if !self.begun {
            *self = Sum { gaps: *gaps, open: whole, begun: true };
            return;
        }
        let joint = self.gaps.last + gaps.first;
        let joined = self.gaps.last > 0 && gaps.first > 0;
        self.gaps.count += gaps.count - u64::from(joined);
        self.gaps.largest = self.gaps.largest.max(gaps.largest).max(joint);
        if self.open {
            self.gaps.first = joint;
        }
        self.gaps.last = if whole { joint } else { gaps.last };
        self.open &= whole;
    }

    /// Adds a stretch without holes.
    #[inline]
    pub fn push_solid(&mut self) {
        self.gaps.last = 0;
        self.open = false;
        self.begun = true;
    }

    /// The sum.
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Gaps {
        let holes: Vec<&str> = text.split('#').filter(|hole| !hole.is_empty()).collect();
        Gaps {
            first: text.len() as u64 - text.trim_start_matches('.').len() as u64,
            last: text.len() as u64 - text.trim_end_matches('.').len() as u64,
            largest: holes.iter().map(|hole| hole.len() as u64).max().unwrap_or(0),
            count: holes.len() as u64,
        }
    }

    #[test]
    fn the_sum_of_parts_is_that_of_the_whole() {
        for whole in ["....", "####", ".#..", "..#.#...", "#......#", "....#...", ".#.#.#.#"] {
            for cut in 1..whole.len() {
                for next in cut..=whole.len() {
                    let mut sum = Sum::default();
                    for part in [&whole[..cut], &whole[cut..next], &whole[next..]] {
                        if !part.is_empty() {
                            sum.push(&of(part), part.len() as u64);
                        }
                    }
                    assert_eq!(sum.gaps(), of(whole), "{whole} cut at {cut} and {next}");
                }
            }
        }
    }

    #[test]
    fn a_solid_stretch_parts_holes() {
        let mut sum = Sum::default();
        sum.push(&Gaps::whole(3), 3);
        sum.push_solid();
        sum.push(&Gaps::whole(2), 2);
        assert_eq!(sum.gaps(), Gaps { first: 3, last: 2, largest: 3, count: 2 });
    }
}
