//! Which block a release means: from addresses to blocks, and from the halves of a realloc to one
//! step.
//!
//! The order of two threads' events may be wrong by microseconds, and is settled as in the replay:
//! see [`crate::replay::suspense`].

use crate::replay::Who;
use crate::replay::suspense::{Early, Recent, Suspense};
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;

/// What happens to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn<B> {
    /// It is freed, by this thread.
    Free(B, u32),
    /// It is reallocated; until its other half comes nothing is to be done.
    None,
}

/// A realloc whose second half is still to come.
#[derive(Debug)]
struct Realloc<B> {
    address: u64,
    /// `None`: its block was not seen yet, or never.
    block: Option<B>,
    thread: u32,
}

/// Live blocks by address.
#[derive(Debug)]
pub(super) struct Pairing<B> {
    live: FxHashMap<u64, B>,
    suspense: Suspense<B>,
    recent: Recent,
    window: u64,
    /// By lane.
    reallocs: FxHashMap<u32, Realloc<B>>,
    /// Releases of blocks that were never seen.
    unknown_frees: u64,
}

impl<B> Pairing<B> {
    /// `window`: stamps by which events may be in the wrong order.
    pub fn new(window: u64) -> Pairing<B> {
        Pairing {
            live: FxHashMap::default(),
            suspense: Suspense::new(window),
            recent: Recent::default(),
            window,
            reallocs: FxHashMap::default(),
            unknown_frees: 0,
        }
    }

    /// Takes in a block that was there from the beginning.
    pub fn begin_with(&mut self, address: u64, block: B) {
        self.live.insert(address, block);
    }

    /// A new block is there, or one that was reallocated.
    pub fn acquired(&mut self, who: Who, address: u64, block: B) -> Turn<B> {
        if !self.suspense.is_empty()
            && let Some(early) = self.suspense.release_of(address, who.lane)
        {
            return self.released_before(early, address, block);
        }
        if let Some(old) = self.live.insert(address, block) {
            self.suspense.owe(who.stamp, address, who.lane, old);
        }
        Turn::None
    }

    /// Its release is on record already.
    fn released_before(&mut self, early: Early, address: u64, block: B) -> Turn<B> {
        if early.realloc
            && let Some(waits) = self.reallocs.get_mut(&early.who.lane)
            && waits.address == address
            && waits.block.is_none()
        {
            waits.block = Some(block);
            return Turn::None;
        }
        Turn::Free(block, early.who.thread)
    }

    /// A block goes.
    pub fn released(&mut self, who: Who, address: u64, realloc: bool) -> Turn<B> {
        let block = self.find(who, address, realloc);
        if realloc {
            self.reallocs.insert(who.lane, Realloc { address, block, thread: who.thread });
            return Turn::None;
        }
        block.map_or(Turn::None, |block| Turn::Free(block, who.thread))
    }

    fn find(&mut self, who: Who, address: u64, realloc: bool) -> Option<B> {
        if !self.suspense.is_empty()
            && let Some(gone) = self.suspense.settle(address, who.lane)
        {
            return Some(*gone);
        }
        let Some(block) = self.live.remove(&address) else {
            let since = who.stamp.saturating_sub(self.window);
            let before = self.recent.lane_of(address, since);
            self.suspense.hold(address, Early { who, realloc }, before);
            return None;
        };
        self.recent.note(who.stamp, address, who.lane);
        if !self.suspense.is_empty()
            && let Some(older) = self.suspense.revive(address)
        {
            self.live.insert(address, *older);
        }
        Some(block)
    }

    /// The second half of a lane's realloc: the block that it is about.
    pub fn reallocated(&mut self, lane: u32) -> Option<B> {
        self.reallocs.remove(&lane)?.block
    }

    /// The allocator refused the lane's realloc: the block stays where it was.
    pub fn refused(&mut self, lane: u32, address: u64) {
        if let Some(realloc) = self.reallocs.remove(&lane)
            && let Some(block) = realloc.block
        {
            self.live.insert(address, block);
        }
    }

    /// The lane's realloc freed its block.
    pub fn realloc_freed(&mut self, lane: u32) -> Turn<B> {
        let gone = self.reallocs.remove(&lane);
        let gone = gone.and_then(|realloc| Some((realloc.block?, realloc.thread)));
        gone.map_or(Turn::None, |(block, thread)| Turn::Free(block, thread))
    }

    /// Gives up on what waited for too long; `lost` gets the blocks whose release never came.
    pub fn expire(&mut self, now: Stamp, lost: impl FnMut(B)) {
        if self.suspense.deadline() < now {
            self.unknown_frees += self.suspense.expire(now, lost).unknown_frees;
        }
    }

    /// Releases of blocks that were never seen to be acquired.
    pub fn unknown_frees(&self) -> u64 {
        self.unknown_frees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u64 = 0x1000;

    fn who(stamp: Stamp, lane: u32) -> Who {
        Who { stamp, lane, thread: lane }
    }

    #[test]
    fn a_block_is_found_by_its_address() {
        let mut pairing = Pairing::new(100);
        assert_eq!(pairing.acquired(who(1, 0), ADDRESS, 'a'), Turn::None);
        assert_eq!(pairing.released(who(2, 1), ADDRESS, false), Turn::Free('a', 1));
        pairing.released(who(3, 1), ADDRESS, false);
        pairing.expire(1000, |_| {});
        assert_eq!(pairing.unknown_frees(), 1);
    }

    #[test]
    fn inverted_events_are_put_right() {
        let mut pairing = Pairing::new(100);
        pairing.acquired(who(1, 0), ADDRESS, 'a');
        // Freed on lane 0, and at once acquired on lane 1 with an earlier stamp.
        assert_eq!(pairing.acquired(who(2, 1), ADDRESS, 'b'), Turn::None);
        assert_eq!(pairing.released(who(3, 0), ADDRESS, false), Turn::Free('a', 0));
        assert_eq!(pairing.released(who(4, 0), ADDRESS, false), Turn::Free('b', 0));
        // Freed on lane 0 before it is seen to be acquired on lane 1.
        assert_eq!(pairing.released(who(200, 0), ADDRESS, false), Turn::None);
        assert_eq!(pairing.acquired(who(201, 1), ADDRESS, 'c'), Turn::Free('c', 0));
    }

    #[test]
    fn the_halves_of_a_realloc_meet_on_their_lane() {
        let mut pairing = Pairing::new(100);
        pairing.acquired(who(1, 0), ADDRESS, 'a');
        assert_eq!(pairing.released(who(2, 0), ADDRESS, true), Turn::None);
        assert_eq!(pairing.reallocated(1), None);
        assert_eq!(pairing.reallocated(0), Some('a'));
        pairing.acquired(who(3, 0), 0x2000, 'a');
        pairing.released(who(4, 0), 0x2000, true);
        pairing.refused(0, 0x2000);
        pairing.released(who(5, 0), 0x2000, true);
        assert_eq!(pairing.realloc_freed(0), Turn::Free('a', 0));
        assert_eq!(pairing.reallocated(0), None);
    }

    #[test]
    fn a_release_that_never_comes_hands_its_block_over() {
        let mut pairing = Pairing::new(100);
        pairing.acquired(who(1, 0), ADDRESS, 'a');
        pairing.acquired(who(2, 1), ADDRESS, 'b');
        let mut lost = Vec::new();
        pairing.expire(103, |block| lost.push(block));
        assert_eq!(lost, ['a']);
    }
}
