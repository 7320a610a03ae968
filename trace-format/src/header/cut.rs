//! What the header says of the base table: the cut, and the counts of what is folded.

use core::sync::atomic::{AtomicU64, Ordering};

/// Counts of folded events that a cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Events of any kind.
    Events = 0,
    /// Calls that returned a new block.
    Allocs = 1,
    /// Blocks freed.
    Frees = 2,
    /// Calls of realloc for a block.
    Reallocs = 3,
    /// Mappings made.
    Mmaps = 4,
    /// Ranges unmapped.
    Munmaps = 5,
    /// Mappings moved or resized.
    Mremaps = 6,
    /// Ranges advised on.
    Madvises = 7,
    /// Moves of the end of the brk segment.
    BrkChanges = 8,
    /// Blocks freed on another thread than the one that acquired them.
    CrossThreadFrees = 9,
    /// Acquisitions of live addresses that no release explains.
    OrderAnomalies = 10,
    /// Releases of addresses never seen to be acquired.
    UnknownFrees = 11,
    /// Bytes that the events took.
    Bytes = 12,
}

/// Counts in a cut; those without a name are reserved.
pub const COUNTS: usize = 24;

/// The state of the base table as of one stamp. All zero: nothing is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Events up to here are folded.
    pub stamp: u64,
    /// Bytes of the blocks in the table.
    pub live_bytes: u64,
    /// Blocks in the table.
    pub live_blocks: u64,
    /// The greatest live bytes of any cut so far.
    pub peak_live_bytes: u64,
    /// The stamp of that cut.
    pub peak_live_stamp: u64,
    /// What the folded events were, by [`Count`].
    pub counts: [u64; COUNTS],
}

impl Cut {
    /// One of the counts.
    pub fn count(&self, what: Count) -> u64 {
        self.counts[what as usize]
    }
}

/// A [`Cut`] as the writer sees it in mapped memory.
#[derive(Debug)]
#[repr(C)]
pub struct CutCell {
    stamp: AtomicU64,
    live_bytes: AtomicU64,
    live_blocks: AtomicU64,
    peak_live_bytes: AtomicU64,
    peak_live_stamp: AtomicU64,
    reserved: [AtomicU64; 3],
    counts: [AtomicU64; COUNTS],
}

const _: () = assert!(size_of::<CutCell>() == 256);

impl CutCell {
    /// See [`Cut::stamp`].
    pub fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// The cut. Its writer must not be at it.
    pub fn get(&self) -> Cut {
        Cut {
            stamp: self.stamp(),
            live_bytes: self.live_bytes.load(Ordering::Relaxed),
            live_blocks: self.live_blocks.load(Ordering::Relaxed),
            peak_live_bytes: self.peak_live_bytes.load(Ordering::Relaxed),
            peak_live_stamp: self.peak_live_stamp.load(Ordering::Relaxed),
            counts: core::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
        }
    }

    /// Replaces the cut, which must not be the one in force.
    pub fn set(&self, cut: &Cut) {
        self.stamp.store(cut.stamp, Ordering::Relaxed);
        self.live_bytes.store(cut.live_bytes, Ordering::Relaxed);
        self.live_blocks.store(cut.live_blocks, Ordering::Relaxed);
        self.peak_live_bytes.store(cut.peak_live_bytes, Ordering::Relaxed);
        self.peak_live_stamp.store(cut.peak_live_stamp, Ordering::Relaxed);
        for (cell, count) in self.counts.iter().zip(cut.counts) {
            cell.store(count, Ordering::Relaxed);
        }
    }
}

pub(super) fn cut_at(bytes: &[u8], at: usize) -> Cut {
    let word = |number: usize| super::u64_at(bytes, at + number * 8);
    Cut {
        stamp: word(0),
        live_bytes: word(1),
        live_blocks: word(2),
        peak_live_bytes: word(3),
        peak_live_stamp: word(4),
        counts: core::array::from_fn(|number| word(8 + number)),
    }
}
