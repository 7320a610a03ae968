//! Who owns which chunk: a protocol over numbers, which knows neither memory nor files.
//!
//! ```text
//!            take                 append               follow, folded
//!   spare ──────────► a lane's  ─────────► the lane's ───────────────► spare
//!   (stack)           open chunk            queue
//! ```
//!
//! At any time a chunk has one owner:
//! * nobody, on the stack of spare chunks, from where any thread may take it;
//! * a lane, from when its thread took it until the thread appends another one behind it;
//! * the folder, of which there is one at a time, from then until it gives the chunk back.
//!
//! A lane's queue is a list with one writer, the lane's thread, and one reader, the folder.
//! The last chunk in it is the open one, which the folder may read as far as it is written,
//! but never gives back. Chunks are numbered from 1; 0 is none.

use super::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// The links between chunks: for each the next one in the list that it is in.
pub(crate) struct Chunks<'a> {
    /// By chunk number; the first is not used.
    pub(crate) next: &'a [AtomicU32],
    /// Top of the stack of spare chunks in the low half, a count against ABA above.
    pub(crate) spare: &'a AtomicU64,
    /// How many are on the stack, or about to be.
    pub(crate) spare_count: &'a AtomicU32,
}

/// How much of a chunk in a lane's queue the folder may read.
pub(crate) enum Extent {
    /// All: it is closed, and this chunk is behind it.
    Closed(u32),
    /// So many bytes: it is the open one.
    Open(usize),
}

impl Chunks<'_> {
    fn link(&self, chunk: u32) -> &AtomicU32 {
        &self.next[chunk as usize]
    }

    /// Takes a spare chunk.
    pub(crate) fn take(&self) -> Option<u32> {
        loop {
            let top = self.spare.load(Acquire);
            let chunk = top as u32;
            if chunk == 0 {
                return None;
            }
            // Whoever took it meanwhile changed the count, and what is read here is not used.
            let below = self.link(chunk).load(Relaxed);
            let next = (top >> 32).wrapping_add(1) << 32 | u64::from(below);
            if self.spare.compare_exchange(top, next, AcqRel, Relaxed).is_ok() {
                self.spare_count.fetch_sub(1, Relaxed);
                return Some(chunk);
            }
        }
    }

    /// Makes a chunk spare. Its owner must be done with it.
    pub(crate) fn give(&self, chunk: u32) {
        // Counted first, so that the count is never below what is there.
        self.spare_count.fetch_add(1, Relaxed);
        loop {
            let top = self.spare.load(Relaxed);
            self.link(chunk).store(top as u32, Relaxed);
            let next = (top >> 32).wrapping_add(1) << 32 | u64::from(chunk);
            if self.spare.compare_exchange(top, next, AcqRel, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Puts a chunk, just taken, behind the last one of a lane (0 = it had none), which
    /// passes to the folder by that: its owner has written to it for the last time.
    pub(crate) fn append(&self, first: &AtomicU32, last: u32, chunk: u32) {
        self.link(chunk).store(0, Relaxed);
        let link = if last == 0 { first } else { self.link(last) };
        link.store(chunk, Release);
    }

    /// For the folder: the chunk behind one in a lane's queue; `None`: that one is open.
    pub(crate) fn follow(&self, chunk: u32) -> Option<u32> {
        let next = self.link(chunk).load(Acquire);
        (next != 0).then_some(next)
    }

    /// For the folder: how much of a chunk in a lane's queue is written. `before_cursor` reads
    /// the lane's cursor: bytes of this chunk that lie before it, `None` if it is elsewhere.
    /// A lane moves its cursor to a chunk only when that is appended.
    #[inline]
    pub(crate) fn extent(
        &self,
        chunk: u32,
        before_cursor: impl FnOnce() -> Option<usize>,
    ) -> Extent {
        if let Some(next) = self.follow(chunk) {
            return Extent::Closed(next);
        }
        if let Some(bytes) = before_cursor() {
            return Extent::Open(bytes);
        }
        // The cursor is in another chunk. In a later one: that was linked before, and this one
        // is closed. In the one before: nothing is written here yet.
        self.follow(chunk).map_or(Extent::Open(0), Extent::Closed)
    }
}
