//! Bringing sums up to date, where something changed.

use super::Fullness;
use super::gaps::Gaps;
use super::node::Child;
use super::tree::{LEVELS, ROOT, Space};
use crate::replay::fetch::fetch_all;

impl Space {
    /// Brings sums up to date where something changed.
    pub fn refresh(&mut self) {
        for (leaf, _) in self.refresh_leaves() {
            self.show_over(leaf);
        }
        self.refresh_nodes();
    }

    /// The leaves in which blocks lie over others, and by how many granules they are larger there than what
    /// they cover.
    pub(super) fn refresh_leaves(&mut self) -> Vec<(u32, u64)> {
        let mut crowded = Vec::new();
        // Popped, not taken: a heap that grows is brought up to date at every page, and lists
        // that keep their room need no allocator.
        while let Some(index) = self.stale_leaves.pop() {
            // Freed meanwhile, or freed and used again.
            if self.leaves[index as usize].queued {
                self.foresee_leaves();
                let over = self.refresh_leaf(index);
                if over != 0 {
                    crowded.push((index, over));
                }
            }
        }
        crowded
    }

    /// Begins to fetch the leaf behind the next, and the edges of the next one, which has come by now: where
    /// they are says the leaf.
    fn foresee_leaves(&self) {
        let mut next = self.stale_leaves.iter().rev().map(|index| &self.leaves[*index as usize]);
        if let Some(leaf) = next.next() {
            leaf.foresee_stale(&self.rows);
        }
        if let Some(leaf) = next.next() {
            fetch_all(leaf);
        }
    }

    pub(super) fn refresh_leaf(&mut self, index: u32) -> u64 {
        let leaf = &mut self.leaves[index as usize];
        leaf.queued = false;
        let over = leaf.refresh(&mut self.rows, &mut self.fullness);
        let (parent, number, gaps) = (leaf.parent, leaf.number, leaf.gaps());
        self.nodes[parent as usize].slot_mut((number % 64) as u32).gaps = gaps;
        self.queue_node(parent);
        over as u64
    }

    /// Whether there is a hole of so many bytes. A heap that grows although there is one is asked for
    /// it at each page: mostly it is in the leaf where it was before.
    pub fn has_hole(&mut self, bytes: u64) -> bool {
        if let Some(roomy) = self.roomy
            && self.largest_hole_in(roomy) >= bytes
        {
            return true;
        }
        self.refresh();
        self.roomy = self.roomiest();
        self.root_gaps.largest >= bytes
    }

    /// The largest hole of one leaf, which alone is brought up to date.
    fn largest_hole_in(&mut self, index: u32) -> u64 {
        if self.leaves[index as usize].queued && self.refresh_leaf(index) != 0 {
            self.show_over(index);
        }
        self.leaves[index as usize].gaps().largest
    }

    /// The leaf with the largest hole, if one has all of it.
    fn roomiest(&self) -> Option<u32> {
        let mut node = ROOT;
        loop {
            let mut slots = self.nodes[node as usize].slots.iter();
            match slots.find(|slot| slot.gaps.largest == self.root_gaps.largest)?.child {
                Child::Uniform(_) => return None,
                Child::Node(below) => node = below,
                Child::Leaf(leaf) => return Some(leaf),
            }
        }
    }

    fn refresh_nodes(&mut self) {
        for level in 0..LEVELS {
            while let Some(index) = self.stale_nodes[level].pop() {
                let node = &mut self.nodes[index as usize];
                if !node.queued || node.level != level {
                    continue;
                }
                node.queued = false;
                let gaps = node.sum();
                if index == ROOT {
                    self.root_gaps = gaps;
                } else {
                    let (parent, number) = (node.parent, node.number);
                    self.nodes[parent as usize].slot_mut((number % 64) as u32).gaps = gaps;
                    self.queue_node(parent);
                }
            }
        }
    }

    /// How full pages in memory are, as of the last [`Space::refresh`].
    pub fn fullness(&self) -> Fullness {
        self.fullness
    }

    /// The holes in the whole space, as of the last [`Space::refresh`].
    pub fn gaps(&self) -> Gaps {
        self.root_gaps
    }
}
