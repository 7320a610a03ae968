//! Events as plain values, with all that is said of them.

use fragtrace_format::Stamp;
use fragtrace_format::event::{Acquire, Flags, IN_POOL};
use fragtrace_format::record::{self, Cold};

/// One event, in its place among those of all threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in units of the trace.
    pub stamp: Stamp,
    /// The lane that it stands on: certain is the order of events on one lane.
    pub lane: u32,
    /// The thread, by index.
    pub thread: u32,
    /// What happened.
    pub action: Action,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A block came.
    Acquire {
        /// What the program got.
        address: u64,
        /// What it asked for, in bytes.
        size: u64,
        /// How.
        flags: Flags,
        /// Alignment asked for as a power of two; 0 = the allocator's own.
        align_log2: u8,
        /// Call stack, 0 = not known.
        stack: u32,
        /// What the writer had to add.
        note: Option<Note>,
    },
    /// A block goes.
    Release {
        /// Its address.
        address: u64,
        /// How.
        flags: Flags,
    },
    /// A block in a pool of the program's came.
    PoolAcquire {
        /// What the program has.
        address: u64,
        /// In bytes.
        size: u64,
        /// The pool.
        pool: u32,
    },
    /// A block in a pool goes.
    PoolRelease {
        /// Its address.
        address: u64,
    },
    /// Something else.
    Rare(Rare),
}

/// What is rarely said about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Usable bytes, where the allocator's rule does not give them.
    pub usable: Option<u64>,
    /// For a block with a mapping of its own: bytes from its start to the block.
    pub mapped_offset: Option<u64>,
    /// Pool, 0 = the allocator itself.
    pub pool: u32,
}

impl Note {
    /// What is said about a block; `None` when it is nothing rare.
    pub fn of(block: &Acquire) -> Option<Note> {
        let Acquire { usable, mapped_offset, pool, .. } = *block;
        let plain = usable.is_none() && mapped_offset.is_none() && pool == 0;
        (!plain).then_some(Note { usable, mapped_offset, pool })
    }
}

impl Action {
    pub(super) fn acquire(block: &Acquire) -> Action {
        if block.address & IN_POOL != 0 {
            let address = block.address & !IN_POOL;
            return Action::PoolAcquire { address, size: block.size, pool: block.pool };
        }
        let note = Note::of(block);
        Action::Acquire {
            address: block.address,
            size: block.size,
            flags: block.flags,
            align_log2: block.align_log2,
            stack: block.stack,
            note,
        }
    }

    pub(super) fn release(address: u64, flags: Flags) -> Action {
        match address & IN_POOL {
            0 => Action::Release { address, flags },
            _ => Action::PoolRelease { address: address & !IN_POOL },
        }
    }

    /// Whether a block comes by this.
    #[inline]
    pub(super) fn acquires(&self) -> bool {
        matches!(self, Action::Acquire { .. } | Action::PoolAcquire { .. })
    }

    /// Whether a live block could go by this, or change.
    pub fn may_release(&self) -> bool {
        !matches!(self, Action::Acquire { .. })
    }
}

/// A rare event, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rare(Box<[u8]>);

impl Rare {
    pub(super) fn new(payload: &[u8]) -> Rare {
        Rare(payload.into())
    }

    /// What it says; `None` when this version does not know it.
    pub fn decoded(&self) -> Option<Cold<'_>> {
        record::decode(&self.0).map(|(cold, _)| cold)
    }
}
