//! Nodes: 64 children side by side, each a leaf, a node, or a stretch that is all alike.

use super::Uniform;
use super::gaps::{Gaps, Sum};
use super::leaf::{LEAF_SHIFT, bits, ones};
use std::ops::Range;

/// Children of a node, as a power of two.
pub(super) const FAN_SHIFT: u32 = 6;

/// What stands for a 64th of a node's stretch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Child {
    Uniform(Uniform),
    Leaf(u32),
    Node(u32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub child: Child,
    /// As of the last refresh.
    pub gaps: Gaps,
}

/// A stretch of 64 children, of which only those exist that ever held something.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Which stretch of that size.
    pub number: u64,
    pub parent: u32,
    /// 0: the children are leaves.
    pub level: usize,
    pub queued: bool,
    /// Which children exist.
    pub mask: u64,
    /// Those that do, in order.
    pub slots: Vec<Slot>,
}

impl Node {
    /// Bytes of a child, as a power of two.
    pub fn child_shift(&self) -> u32 {
        LEAF_SHIFT + FAN_SHIFT * self.level as u32
    }

    pub fn rank(&self, position: u32) -> usize {
        (self.mask & ((1 << position) - 1)).count_ones() as usize
    }

    pub fn has(&self, position: u32) -> bool {
        self.mask >> position & 1 != 0
    }

    pub fn slot_mut(&mut self, position: u32) -> &mut Slot {
        let rank = self.rank(position);
        &mut self.slots[rank]
    }

    /// The children that exist and have a part in a range that lies in this node's stretch.
    pub fn children_in(&self, range: &Range<u64>) -> impl Iterator<Item = (u32, &Slot)> {
        let shift = self.child_shift();
        let first = (range.start >> shift) as u32 % 64;
        let last = ((range.end - 1) >> shift) as u32 % 64;
        let mask = self.mask & bits(first, last + 1);
        ones(mask).zip(&self.slots[self.rank(first)..])
    }

    /// The holes of the node's stretch, from those of its children.
    pub fn sum(&self) -> Gaps {
        let bytes = 1 << self.child_shift();
        let mut sum = Sum::default();
        let mut next = 0;
        for (position, slot) in ones(self.mask).zip(&self.slots) {
            if position > next {
                sum.push_solid();
            }
            sum.push(&slot.gaps, bytes);
            next = position + 1;
        }
        if next < 64 {
            sum.push_solid();
        }
        sum.gaps()
    }
}
