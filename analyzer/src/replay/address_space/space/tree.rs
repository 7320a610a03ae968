//! The tree above the leaves: finding them, and editing ranges.

use super::edges::Rows;
use super::gaps::Gaps;
use super::leaf::{LEAF_BYTES, LEAF_SHIFT, Leaf};
use super::node::{Child, FAN_SHIFT, Node, Slot};
use super::over::{Over, REACH};
use super::tile::{GRANULE_BYTES, TILE_BYTES};
use super::{Edit, Fullness, Totals, Uniform};
use crate::replay::fetch::fetch;
use crate::replay::huge;
use std::ops::Range;

/// Behind the last address that a process can have (57 bits with five-level page tables).
pub const MAX_ADDRESS: u64 = 1 << 57;

/// Levels of nodes: 18 + 7 × 6 = 60 bits.
pub(super) const LEVELS: usize = 7;
pub(super) const ROOT: u32 = 0;
/// Entries of the cache of leaves: 8,192 leaves are 2 GiB.
const CACHED_LEAVES: usize = 1 << 13;

/// Bytes covered and touched, over the whole address space.
#[derive(Debug, Clone)]
pub struct Space {
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
    free_leaves: Vec<u32>,
    pub(super) rows: Rows,
    pub(super) totals: Totals,
    pub(super) stale_leaves: Vec<u32>,
    pub(super) stale_nodes: [Vec<u32>; LEVELS],
    pub(super) root_gaps: Gaps,
    /// A leaf with a large hole, if one was found.
    pub(super) roomy: Option<u32>,
    /// Of uniform stretches, and of leaves as of their last refresh.
    pub(super) fullness: Fullness,
    /// Leaves found last.
    cache: Box<[Cached; CACHED_LEAVES]>,
    pub(super) page_tiles: u32,
    pub(super) over: Over,
}

/// Where a leaf is, by its number.
#[derive(Debug, Clone, Copy)]
struct Cached {
    number: u64,
    leaf: u32,
    /// Its row, when an edit went the long way there last.
    row: u32,
}

impl Space {
    /// `page_bytes`: a power of two from 4 to 256 KiB.
    pub fn new(page_bytes: u64) -> Space {
        let level = LEVELS - 1;
        let root =
            Node { number: 0, parent: ROOT, level, queued: false, mask: 0, slots: Vec::new() };
        Space {
            nodes: vec![root],
            leaves: Vec::new(),
            free_leaves: Vec::new(),
            rows: Rows::default(),
            totals: Totals::default(),
            stale_leaves: Vec::new(),
            stale_nodes: Default::default(),
            root_gaps: Gaps::default(),
            roomy: None,
            fullness: Fullness::default(),
            cache: Box::new([Cached { number: u64::MAX, leaf: 0, row: 0 }; CACHED_LEAVES]),
            page_tiles: (page_bytes / TILE_BYTES) as u32,
            over: Over::default(),
        }
    }

    /// Pages that were touched and not given back, in bytes.
    pub fn footprint_bytes(&self) -> u64 {
        self.totals.touched_tiles * TILE_BYTES
    }

    /// Pages in memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.totals.resident_tiles * TILE_BYTES
    }

    /// Bytes of the footprint that no block covers, as of the last [`Space::refresh`].
    pub fn free_bytes(&self) -> u64 {
        let live = self.totals.live_granules.wrapping_sub(self.over.granules());
        self.footprint_bytes().saturating_sub(live.wrapping_mul(GRANULE_BYTES))
    }

    /// The same as of now, but where blocks lie over others their bytes count twice.
    pub fn free_bytes_about(&self) -> u64 {
        let live = self.totals.live_granules;
        self.footprint_bytes().saturating_sub(live.wrapping_mul(GRANULE_BYTES))
    }

    /// Bytes that blocks cover, in the footprint or not; where they lie over others, counted twice.
    pub fn covered_bytes(&self) -> u64 {
        self.totals.covered_granules.wrapping_mul(GRANULE_BYTES)
    }

    /// Pages that ever held a block, in bytes.
    pub fn high_water_bytes(&self) -> u64 {
        self.totals.ever_tiles * TILE_BYTES
    }

    /// A block lies there now. Addresses are multiples of 8 below [`MAX_ADDRESS`].
    pub fn cover(&mut self, range: Range<u64>) {
        self.edit(range, Edit::Cover);
    }

    /// A block that takes this range comes, or goes, if that can be told in short: all pages are in the
    /// footprint and held blocks before, and the range is not large, nor beyond [`REACH`]. So it is of most
    /// blocks. False: nothing was done. Whether another block lies there is found out later: see [`super::over`].
    /// `over`: some blocks are known to lie over others.
    #[inline(always)]
    pub fn flip(&mut self, start: u64, end: u64, comes: bool, over: bool) -> bool {
        let cached = &self.cache[(start >> LEAF_SHIFT) as usize % CACHED_LEAVES];
        if end > REACH {
            return false;
        }
        let done = match cached.number == start >> LEAF_SHIFT && is_in_one_leaf(start, end) {
            true => self.flip_in_leaf(cached.leaf, (start, end), comes, over),
            false => self.flip_elsewhere(start, end, comes, over),
        };
        if done {
            self.over.note_flip(start, end, comes);
        }
        done
    }

    /// The same of a range in one leaf, of which nobody is told.
    #[inline(always)]
    fn flip_in_leaf(
        &mut self,
        index: u32,
        (start, end): (u64, u64),
        comes: bool,
        over: bool,
    ) -> bool {
        if !self.leaves[index as usize].queued {
            self.wake(index);
        }
        let done =
            self.leaves[index as usize].flip(granules(start, end), comes, over, &mut self.rows);
        if done {
            let granules = (end - start).div_ceil(GRANULE_BYTES);
            self.totals.count_blocks(granules, granules, comes);
        }
        done
    }

    #[inline(never)]
    fn flip_elsewhere(&mut self, start: u64, end: u64, comes: bool, over: bool) -> bool {
        match (self.leaf_of(start, end), edge_in(start, end)) {
            (Some(leaf), _) => self.flip_in_leaf(leaf, (start, end), comes, over),
            (None, Some(edge)) => self.flip_in_two([start, edge, end], comes, over),
            (None, None) => false,
        }
    }

    /// The same of a range that lies in two leaves.
    fn flip_in_two(&mut self, [start, edge, end]: [u64; 3], comes: bool, over: bool) -> bool {
        let (Some(one), Some(other)) = (self.leaf_of(start, edge), self.leaf_of(edge, end)) else {
            return false;
        };
        if !self.flip_in_leaf(one, (start, edge), comes, over) {
            return false;
        }
        let done = self.flip_in_leaf(other, (edge, end), comes, over);
        if !done {
            self.flip_in_leaf(one, (start, edge), !comes, false);
        }
        done
    }

    /// Blocks may lie over each other in this range, or over something else.
    pub fn guard(&mut self, range: Range<u64>) {
        self.edit(range, Edit::Guard);
    }

    /// No block lies there any more.
    pub fn uncover(&mut self, range: Range<u64>) {
        self.edit(range, Edit::Uncover);
    }

    /// The pages that lie wholly in the range went back to the kernel.
    pub fn give_back(&mut self, range: Range<u64>) {
        self.edit(range, Edit::GiveBack);
    }

    /// The pages of the range are in the footprint.
    pub fn touch(&mut self, range: Range<u64>) {
        self.edit(range, Edit::Touch);
    }

    /// The pages of the range are taken to have held blocks.
    pub fn mark_used(&mut self, range: Range<u64>) {
        self.edit(range, Edit::MarkUsed);
    }

    /// The pages of the range are in memory, or are not.
    pub fn set_resident(&mut self, range: Range<u64>, resident: bool) {
        self.edit(range, if resident { Edit::Enter } else { Edit::Leave });
    }

    fn edit(&mut self, range: Range<u64>, edit: Edit) {
        if range.start >= range.end || range.end > MAX_ADDRESS {
            return;
        }
        match self.leaf_of(range.start, range.end) {
            Some(index) => self.edit_leaf(index, &range, edit),
            None => self.edit_node(ROOT, &range, edit),
        }
    }

    /// The leaf that all of a range lies in, if it does and there is one.
    #[inline]
    fn leaf_of(&mut self, start: u64, end: u64) -> Option<u32> {
        is_in_one_leaf(start, end).then(|| self.find_leaf(start >> LEAF_SHIFT)).flatten()
    }

    pub(super) fn edit_leaf(&mut self, index: u32, range: &Range<u64>, edit: Edit) {
        self.wake(index);
        let leaf = &mut self.leaves[index as usize];
        let part = granules(range.start, range.end);
        leaf.edit(edit, part, &mut self.rows, &mut self.totals, self.page_tiles);
        self.cache[leaf.number as usize % CACHED_LEAVES] =
            Cached { number: leaf.number, leaf: index, row: leaf.row() };
    }

    fn edit_node(&mut self, index: u32, range: &Range<u64>, edit: Edit) {
        let shift = self.nodes[index as usize].child_shift();
        let first = range.start >> shift;
        let last = (range.end - 1) >> shift;
        for number in first..=last {
            let whole = number << shift..(number + 1) << shift;
            let part = range.start.max(whole.start)..range.end.min(whole.end);
            self.edit_child(index, number, &part, part == whole, edit);
        }
        self.queue_node(index);
    }

    /// Edits one child: `part` of it, which is the `whole` of it or not.
    fn edit_child(&mut self, index: u32, number: u64, part: &Range<u64>, whole: bool, edit: Edit) {
        let position = (number % 64) as u32;
        let node = &self.nodes[index as usize];
        let child = match node.has(position) {
            true => node.slots[node.rank(position)].child,
            false => Child::Uniform(Uniform::default()),
        };
        match child {
            Child::Uniform(before) => {
                let after = before.after(edit);
                if before == after {
                } else if whole {
                    self.set_uniform(index, position, before, after);
                } else {
                    let child = self.split(index, number, before);
                    self.edit_below(child, part, edit);
                }
            }
            Child::Leaf(leaf) if whole && edit == Edit::Cover => {
                let Some(resident) = self.leaves[leaf as usize].all_resident() else {
                    return self.edit_leaf(leaf, part, edit);
                };
                self.wake(leaf);
                self.drop_leaf(leaf);
                let nothing = Uniform::default();
                let after = Uniform { resident, ..nothing }.after(edit);
                self.set_uniform(index, position, nothing, after);
            }
            below => self.edit_below(below, part, edit),
        }
    }

    fn edit_below(&mut self, child: Child, part: &Range<u64>, edit: Edit) {
        match child {
            Child::Leaf(leaf) => self.edit_leaf(leaf, part, edit),
            Child::Node(node) => self.edit_node(node, part, edit),
            Child::Uniform(_) => {}
        }
    }

    fn set_uniform(&mut self, index: u32, position: u32, before: Uniform, after: Uniform) {
        let node = &mut self.nodes[index as usize];
        let bytes = 1 << node.child_shift();
        let slot = Slot { child: Child::Uniform(after), gaps: after.gaps(bytes) };
        let rank = node.rank(position);
        if node.has(position) {
            node.slots[rank] = slot;
        } else {
            node.slots.insert(rank, slot);
            node.mask |= 1 << position;
        }
        self.totals.subtract(&Totals::of(before, bytes));
        self.totals.add(&Totals::of(after, bytes));
        self.fullness.count_uniform(before, bytes, -1);
        self.fullness.count_uniform(after, bytes, 1);
        self.queue_node(index);
    }

    /// Replaces a uniform child, or one that does not exist, by a leaf or node like it.
    fn split(&mut self, index: u32, number: u64, like: Uniform) -> Child {
        let position = (number % 64) as u32;
        let level = self.nodes[index as usize].level;
        let child = if level == 0 {
            let leaf = Leaf::new(number, index, like);
            Child::Leaf(self.place_leaf(leaf))
        } else {
            let bytes = 1u64 << (self.nodes[index as usize].child_shift() - FAN_SHIFT);
            let slot = Slot { child: Child::Uniform(like), gaps: like.gaps(bytes) };
            let exists = like != Uniform::default();
            let node = Node {
                number,
                parent: index,
                level: level - 1,
                queued: false,
                mask: if exists { u64::MAX } else { 0 },
                slots: if exists { vec![slot; 64] } else { Vec::new() },
            };
            self.nodes.push(node);
            Child::Node(self.nodes.len() as u32 - 1)
        };
        let node = &mut self.nodes[index as usize];
        let rank = node.rank(position);
        if node.has(position) {
            node.slots[rank].child = child;
        } else {
            node.slots.insert(rank, Slot { child, gaps: Gaps::default() });
            node.mask |= 1 << position;
        }
        child
    }

    /// Puts a leaf where one was freed, or at the end.
    fn place_leaf(&mut self, leaf: Leaf) -> u32 {
        match self.free_leaves.pop() {
            Some(index) => {
                self.leaves[index as usize] = leaf;
                index
            }
            None => {
                huge::push(&mut self.leaves, leaf);
                self.leaves.len() as u32 - 1
            }
        }
    }

    /// Takes a leaf out of the totals and frees it.
    fn drop_leaf(&mut self, index: u32) {
        let leaf = &mut self.leaves[index as usize];
        leaf.uncount(&mut self.fullness);
        leaf.clear(&mut self.rows, &mut self.totals);
        let number = std::mem::replace(&mut leaf.number, u64::MAX);
        leaf.queued = false;
        self.free_leaves.push(index);
        self.roomy = self.roomy.filter(|roomy| *roomy != index);
        let cached = &mut self.cache[number as usize % CACHED_LEAVES];
        if cached.number == number {
            cached.number = u64::MAX;
        }
    }

    /// The leaf that all of a range lies in, if it was found lately.
    pub(super) fn found_leaf(&self, range: &Range<u64>) -> Option<&Leaf> {
        let number = range.start >> LEAF_SHIFT;
        let cached = &self.cache[number as usize % CACHED_LEAVES];
        let is_here = cached.number == number && is_in_one_leaf(range.start, range.end);
        is_here.then(|| &self.leaves[cached.leaf as usize])
    }

    /// The leaf with a number, if there is one.
    #[inline]
    fn find_leaf(&mut self, number: u64) -> Option<u32> {
        let cached = &self.cache[number as usize % CACHED_LEAVES];
        if cached.number == number { Some(cached.leaf) } else { self.search_leaf(number) }
    }

    /// Begins to fetch the edges of a block at an address.
    #[inline]
    pub fn foresee(&self, address: u64, bytes: u32) {
        let number = address >> LEAF_SHIFT;
        let cached = &self.cache[number as usize % CACHED_LEAVES];
        if cached.number == number
            && let Some(row) = self.rows.get(cached.row)
        {
            let granule = (address % LEAF_BYTES / GRANULE_BYTES) as u32;
            fetch(&self.leaves[cached.leaf as usize]);
            row.foresee(granule);
            row.foresee(granule + bytes / GRANULE_BYTES as u32);
        }
    }

    #[inline(never)]
    fn search_leaf(&mut self, number: u64) -> Option<u32> {
        let mut index = ROOT;
        loop {
            let node = &self.nodes[index as usize];
            let position = (number >> (FAN_SHIFT * node.level as u32)) as u32 % 64;
            if !node.has(position) {
                return None;
            }
            match node.slots[node.rank(position)].child {
                Child::Uniform(_) => return None,
                Child::Node(next) => index = next,
                Child::Leaf(leaf) => {
                    let row = self.leaves[leaf as usize].row();
                    self.cache[number as usize % CACHED_LEAVES] = Cached { number, leaf, row };
                    return Some(leaf);
                }
            }
        }
    }

    pub(super) fn queue_node(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        if !node.queued {
            node.queued = true;
            self.stale_nodes[node.level].push(index);
        }
    }

    /// A leaf will change.
    #[inline(never)]
    pub(super) fn wake(&mut self, index: u32) {
        let leaf = &mut self.leaves[index as usize];
        if !leaf.queued {
            leaf.queued = true;
            self.stale_leaves.push(index);
            if leaf.shows_over {
                self.hide_over(index);
            }
        }
    }
}

#[inline(always)]
fn is_in_one_leaf(start: u64, end: u64) -> bool {
    start < end && ((end - 1) ^ start) >> LEAF_SHIFT == 0
}

/// Where a leaf ends within a range, if there is one such place in it.
fn edge_in(start: u64, end: u64) -> Option<u64> {
    let edge = end.checked_sub(1)? >> LEAF_SHIFT << LEAF_SHIFT;
    (start < edge && edge - start <= 1 << LEAF_SHIFT).then_some(edge)
}

/// The granules of a leaf that a range within it takes.
#[inline]
pub(super) fn granules(start: u64, end: u64) -> (u32, u32) {
    let from = start % LEAF_BYTES / GRANULE_BYTES;
    (from as u32, (from + (end - start).div_ceil(GRANULE_BYTES)) as u32)
}
