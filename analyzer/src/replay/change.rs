//! What events mean for the heap, one by one: blocks that come and go.
//!
//! Of an event alone that cannot be told: a release says an address and not what lay there, and
//! two events of one address may be on record in the wrong order. [`Matching`](super::Matching)
//! finds that out and says it in changes, which the [`Heap`](super::Heap) takes in. So the two
//! can run on two threads.

use super::block::Block;
use super::entry::Entry;
use crate::order::Rare;
use fragtrace_format::Stamp;

/// One change. All that an event led to stands in a row; it is one mostly, and one at least.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    entry: Entry,
    /// When the event was.
    pub stamp: Stamp,
    /// Where the rest is, of those that have more to tell than fits here.
    index: u32,
    pub(super) what: What,
    flags: u8,
}

const _: () = assert!(size_of::<Change>() == 64);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A block is there now.
    Came,
    /// A block is gone.
    Went,
    /// A block is there and gone at once: its release was on record before.
    Passed,
    /// Something about mappings.
    Mappings,
    /// Nothing that the heap shows.
    Nothing,
}

/// It is the first of its event.
const FIRST: u8 = 1;
/// The event is an acquisition.
pub(super) const ACQUIRES: u8 = 2;
/// It was told by a wrapper of an allocator.
pub(super) const WRAPPED: u8 = 4;
/// The block was freed by another thread than acquired it.
pub(super) const CROSSED: u8 = 8;
/// All that its event led to is that a block came, or went, whose entry says all of it.
const USUAL: u8 = 16;

impl Change {
    /// Whether it is the first one of its event.
    #[inline]
    pub fn begins_event(&self) -> bool {
        self.flags & FIRST != 0
    }

    /// Whether a usual block came or went, and nothing else happened.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.has(USUAL)
    }

    /// Whether the block comes, of a [usual](Change::is_usual) one.
    #[inline]
    pub(super) fn comes(&self) -> bool {
        self.what == What::Came
    }

    /// Whether all that it does is that a block comes to a heap, or goes from one.
    #[inline]
    pub(super) fn is_block_in_heap(&self) -> bool {
        matches!(self.what, What::Came | What::Went)
            && !self.entry.is_apart()
            && self.entry.is_in_heap()
    }

    /// How much more is live by it; `None`: that is not told here.
    #[inline]
    pub(super) fn adds_live(&self) -> Option<i64> {
        let size = i64::from(self.entry.size());
        match self.what {
            What::Came | What::Went if self.entry.is_apart() => None,
            What::Came => Some(size),
            What::Went => Some(-size),
            What::Passed | What::Mappings | What::Nothing => Some(0),
        }
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What its block is packed into.
    #[inline]
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The address of the block.
    #[inline]
    pub(super) fn address(&self) -> u64 {
        self.entry.address
    }
}

/// Changes in a row.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    list: Vec<Change>,
    /// Blocks that do not fit into an entry.
    apart: Vec<Block>,
    /// Lanes and events about mappings.
    rare: Vec<(u32, Rare)>,
    /// Of the event under way.
    stamp: Stamp,
    flags: u8,
}

impl Changes {
    /// None yet, with room for so many.
    pub fn with_capacity(room: usize) -> Changes {
        Changes { list: Vec::with_capacity(room), ..Changes::default() }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.apart.clear();
        self.rare.clear();
    }

    /// All of them, in order.
    #[inline]
    pub fn list(&self) -> &[Change] {
        &self.list
    }

    /// What follows is of an event.
    #[inline]
    pub(super) fn begin(&mut self, stamp: Stamp) {
        (self.stamp, self.flags) = (stamp, FIRST);
    }

    /// The blocks that came (true) and went (false), in order; without those that did both at once.
    pub fn blocks(&self) -> impl Iterator<Item = (bool, Block)> {
        self.list.iter().filter_map(|change| match change.what {
            What::Came => Some((true, self.block_of(change))),
            What::Went => Some((false, self.block_of(change))),
            What::Passed | What::Mappings | What::Nothing => None,
        })
    }

    /// The event under way led to no more.
    #[inline]
    pub(super) fn end(&mut self) {
        if self.flags & FIRST != 0 {
            self.push(Entry::NONE, What::Nothing, 0);
        }
    }

    /// The event under way has this about it.
    #[inline]
    pub(super) fn flag(&mut self, flag: u8) {
        self.flags |= flag;
    }

    /// The same, whatever else it leads to.
    pub(super) fn tell(&mut self, flag: u8) {
        self.flags |= flag;
        self.push(Entry::NONE, What::Nothing, 0);
    }

    #[inline]
    fn push(&mut self, entry: Entry, what: What, index: usize) {
        let (stamp, index, flags) = (self.stamp, index as u32, self.flags);
        self.list.push(Change { entry, stamp, index, what, flags });
        self.flags = 0;
    }

    /// An event that leads to no more than what happens to a usual block.
    #[inline]
    pub(super) fn usual(&mut self, stamp: Stamp, what: What, entry: Entry, flags: u8) {
        self.list.push(Change { entry, stamp, index: 0, what, flags: USUAL | FIRST | flags });
    }

    /// What happens to a block, with the entry that it is packed into.
    #[inline]
    pub(super) fn block(&mut self, what: What, entry: Entry, block: &Block) {
        let index = self.apart.len();
        if entry.is_apart() {
            self.apart.push(block.clone());
        }
        self.push(entry, what, index);
    }

    /// An event about mappings.
    pub(super) fn mappings(&mut self, lane: u32, rare: &Rare) {
        self.rare.push((lane, rare.clone()));
        self.push(Entry::NONE, What::Mappings, self.rare.len() - 1);
    }

    /// The block of a change.
    #[inline]
    pub(super) fn block_of(&self, change: &Change) -> Block {
        match self.apart.get(change.index as usize) {
            Some(block) if change.entry.is_apart() => block.clone(),
            _ => change.entry.unpack(),
        }
    }

    /// The event about mappings, and its lane.
    pub(super) fn rare_of(&self, change: &Change) -> Option<(u32, &Rare)> {
        self.rare.get(change.index as usize).map(|(lane, rare)| (*lane, rare))
    }
}
