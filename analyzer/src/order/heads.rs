//! The next events of all lanes, kept so that the earliest is known: a tournament, in which each
//! lane plays at a leaf and each node above knows the winner of its two.

use super::event::{Action, Event};
use fragtrace_format::Stamp;

/// Where an event stands among those of all lanes: by stamp; among equal ones releases first, as
/// an address is released before it is acquired again; then by lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u128);

impl Rank {
    /// Behind all events: of a lane that has none left.
    pub const LAST: Rank = Rank(u128::MAX);

    /// The rank of an event of a lane, by index.
    #[inline]
    pub fn of(event: &Event, stamp: Stamp, lane: u32) -> Rank {
        let acquires = matches!(event.action, Action::Acquire { .. } | Action::PoolAcquire { .. });
        Rank(u128::from(stamp) << 64 | u128::from(acquires) << 32 | u128::from(lane))
    }

    fn lane(self) -> usize {
        self.0 as u32 as usize
    }
}

/// The ranks of the lanes' next events.
#[derive(Debug)]
pub(super) struct Heads {
    /// Node `n` has the children `2n` and `2n + 1`; the leaves come last.
    nodes: Vec<Rank>,
}

impl Heads {
    pub fn new(ranks: impl ExactSizeIterator<Item = Rank>) -> Heads {
        let leaves = ranks.len().next_power_of_two();
        let mut nodes = vec![Rank::LAST; leaves];
        nodes.extend(ranks);
        nodes.resize(2 * leaves, Rank::LAST);
        for node in (1..leaves).rev() {
            nodes[node] = nodes[2 * node].min(nodes[2 * node + 1]);
        }
        Heads { nodes }
    }

    /// The lane whose event comes next; `None`: none is left.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        let first = self.nodes[1];
        (first != Rank::LAST).then(|| first.lane())
    }

    /// The rank of what comes next of all other lanes.
    #[inline]
    pub fn first_but(&self, lane: usize) -> Rank {
        let mut node = self.nodes.len() / 2 + lane;
        let mut first = Rank::LAST;
        while node > 1 {
            first = first.min(self.nodes[node ^ 1]);
            node /= 2;
        }
        first
    }

    /// A lane has another event to come next.
    #[inline]
    pub fn set(&mut self, lane: usize, rank: Rank) {
        let mut node = self.nodes.len() / 2 + lane;
        self.nodes[node] = rank;
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node].min(self.nodes[2 * node + 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_is_the_least_of_all(
            lanes in 1usize..20,
            steps in prop::collection::vec((0usize..20, 0u64..50), 0..100)
        ) {
            let none = vec![Rank::LAST; lanes];
            let (mut heads, mut naive) = (Heads::new(none.iter().copied()), none);
            prop_assert_eq!(heads.first(), None);
            for (lane, stamp) in steps {
                let lane = lane % lanes;
                let rank = Rank(u128::from(stamp) << 64 | lane as u128);
                naive[lane] = if stamp == 0 { Rank::LAST } else { rank };
                heads.set(lane, naive[lane]);
                let least = naive.iter().min().filter(|least| **least != Rank::LAST);
                prop_assert_eq!(heads.first(), least.map(|least| least.lane()));
                let others = (0..lanes).filter(|other| *other != lane).map(|other| naive[other]);
                prop_assert_eq!(heads.first_but(lane), others.min().unwrap_or(Rank::LAST));
            }
        }
    }
}
