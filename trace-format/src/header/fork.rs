//! What the header of a child of fork says of its parent.

use core::sync::atomic::AtomicU64;

/// What a child of fork, whose trace begins as a copy of its parent's, has from it. All zero:
/// the process is no such child.
#[derive(Debug)]
#[repr(C)]
pub struct Fork {
    /// The stamp at which recording began in the child: what is on record from before is the
    /// parent's history.
    pub stamp: AtomicU64,
    /// Lanes up to this number are the parent's, and written no more.
    pub lanes: AtomicU64,
    /// The parent.
    pub parent: AtomicU64,
    /// Threads up to this index are the parent's.
    pub threads: AtomicU64,
    /// Set by a process that forks: so that its child finds the heap as it was, folds that are
    /// not urgent are put off until this stamp.
    pub calm_until: AtomicU64,
    /// Set by a child in its parent's file, while it copies that: all folds wait, at most until
    /// this stamp.
    pub copied_until: AtomicU64,
}

/// What a child of fork has from its parent: see [`Fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkInfo {
    /// The stamp at which recording began in the child.
    pub stamp: u64,
    /// Lanes up to this number are the parent's.
    pub lanes: u32,
    /// The parent's number.
    pub parent: u32,
    /// Threads up to this index are the parent's.
    pub threads: u64,
}

impl ForkInfo {
    pub(super) fn at(bytes: &[u8], at: usize) -> Option<ForkInfo> {
        let stamp = super::u64_at(bytes, at);
        let word = |number: usize| super::u64_at(bytes, at + number * 8);
        let (lanes, parent, threads) = (word(1) as u32, word(2) as u32, word(3));
        (stamp != 0).then_some(ForkInfo { stamp, lanes, parent, threads })
    }
}
