//! The next events of all lanes, kept so that the earliest is known.

use fragtrace_format::Stamp;

/// Where an event stands among those of all lanes: by stamp; among equal ones releases first, as
/// an address is released before it is acquired again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    /// The rank of an event. No machine runs for 2⁶² units of time: what damage makes of later
    /// stamps counts as one.
    #[inline]
    pub fn of(stamp: Stamp, acquires: bool) -> Rank {
        Rank(stamp.min(Stamp::MAX >> 2) << 1 | u64::from(acquires))
    }

    /// The one right behind it.
    pub fn next(self) -> Rank {
        Rank(self.0.saturating_add(1))
    }

    /// The stamp of the event.
    #[inline]
    pub fn stamp(self) -> Stamp {
        self.0 >> 1
    }

    /// Whether a block comes by the event.
    #[inline]
    pub fn acquires(self) -> bool {
        self.0 & 1 != 0
    }
}

/// What comes next of a lane, by its index. Of equal ranks the lower lane's comes first.
pub(super) type Head = (Rank, u32);

/// A head is moved past so many others one by one, before its place is looked up.
const MOST_PASSED: usize = 16;

/// What comes next of each lane that has more to come. Few threads run at a time, so the lanes whose
/// events were taken come first again soon: they move past few others, and the rest stays as it is.
#[derive(Debug)]
pub(super) struct Heads {
    /// The one that comes first is last.
    sorted: Vec<Head>,
}

/// The lanes whose events come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    /// The lane of the very first.
    pub lane: usize,
    /// The lane whose next event comes first but for that; `None`: no other has any.
    pub other: Option<usize>,
    /// What comes next of a third lane: from there on, none of these two comes first.
    pub limit: Head,
}

impl Heads {
    /// `heads`: of all lanes that have an event.
    pub fn new(heads: impl Iterator<Item = Head>) -> Heads {
        let mut sorted: Vec<Head> = heads.collect();
        sorted.sort_unstable_by(|one, next| next.cmp(one));
        Heads { sorted }
    }

    /// Takes out the two lanes that come first. `None`: no event is left.
    #[inline]
    pub fn take_first(&mut self) -> Option<First> {
        /// Behind all that there are.
        const NONE: Head = (Rank(u64::MAX), u32::MAX);
        let (_, lane) = self.sorted.pop()?;
        let other = self.sorted.pop().map(|(_, other)| other as usize);
        let limit = self.sorted.last().copied().unwrap_or(NONE);
        Some(First { lane: lane as usize, other, limit })
    }

    /// A lane has this event to come next.
    #[inline]
    pub fn add(&mut self, head: Head) {
        let mut at = self.sorted.len();
        let least = at.saturating_sub(MOST_PASSED);
        self.sorted.push(head);
        while at > least && self.sorted[at - 1] < head {
            self.sorted[at] = self.sorted[at - 1];
            at -= 1;
        }
        if at == least {
            let place = self.sorted[..at].partition_point(|other| *other > head);
            self.sorted.copy_within(place..at, place + 1);
            at = place;
        }
        self.sorted[at] = head;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_are_the_least_of_all(
            begin in prop::collection::vec(0u64..50, 0..60),
            steps in prop::collection::vec(prop::array::uniform2(0u64..60), 0..200)
        ) {
            let mut naive: Vec<Head> = begin.into_iter().map(Rank).zip(0..).collect();
            let mut heads = Heads::new(naive.iter().copied());
            for next in steps {
                naive.sort_unstable();
                let first = heads.take_first();
                let lane = |at: usize| naive.get(at).map(|(_, lane)| *lane as usize);
                prop_assert_eq!(first.map(|first| first.lane), lane(0));
                let Some(first) = first else { continue };
                prop_assert_eq!(first.other, lane(1));
                let limit = naive.get(2).copied().unwrap_or((Rank(u64::MAX), u32::MAX));
                prop_assert_eq!(first.limit, limit);
                naive.drain(..naive.len().min(2));
                for (lane, rank) in [Some(first.lane), first.other].into_iter().flatten().zip(next) {
                    // Some lanes end.
                    if rank < 50 {
                        heads.add((Rank(rank), lane as u32));
                        naive.push((Rank(rank), lane as u32));
                    }
                }
            }
        }
    }
}
