//! Call stacks: the number of the stack that a block was acquired with.
//!
//! ```text
//! hook ── sp, rbp ──► last stack ── not the same? ──► walk ──► table (file)
//!                     (last.rs)      rules (cache) ◄──┘  │
//!                                      ▲                 └── words (bounds.rs)
//!                 modules (maps) ── unwind data (cfi.rs)
//! ```
//!
//! A stack is walked by the unwind data that compilers write for exceptions (.eh_frame), so
//! frame pointers are not needed. Only what has no frame, or one of a form that rules.rs
//! does not know, ends a walk early, and the record says so.
//!
//! All state is a lane's own, and of a lane that is being written: a handler that interrupts
//! a walk finds the lane busy and takes a deeper one. What lanes share is read and written
//! without a lock, but for growing it, where who does not get the lock goes on without.
//! Nothing here calls the C library.

mod bounds;
mod bytes;
mod cfi;
mod expression;
mod image;
mod journal;
mod last;
mod modules;
mod rules;
mod table;
mod walk;

use crate::{arch, file};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use file::Private;
use last::{LAST_BYTES, Last};

/// Greatest depth of stacks; 0 = none are taken.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Where a hook was called from: the stack pointer on its entry, where its return address is,
/// and the frame pointer, which is the caller's business to use or not.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Stack pointer.
    pub sp: usize,
    /// Frame pointer.
    pub bp: usize,
}

impl Caller {
    /// Not known: there will be no stack.
    pub const UNKNOWN: Caller = Caller { sp: 0, bp: 0 };
}

/// Makes ready for stacks of at most `depth` frames; the depth that there will be, 0 = none.
pub(crate) fn start(depth: u32, ring_bytes: u64) -> u32 {
    let ready = depth > 0
        && arch::HAS_STACKS
        && rules::start()
        && table::start(ring_bytes)
        && journal::start()
        && modules::start();
    if !ready {
        return 0;
    }
    bounds::start();
    DEPTH.store(depth, Relaxed);
    depth
}

/// Where the last stack of a lane is kept. 0: no stacks are taken, or there is no memory.
pub(crate) fn memory_of(lane: u32) -> usize {
    let address = file::private_start(Private::Last) + lane as usize * LAST_BYTES;
    if DEPTH.load(Relaxed) != 0 && file::map_private(address, LAST_BYTES) { address } else { 0 }
}

/// A lane's last stack, by the address that [`memory_of`] gave.
///
/// # Safety
/// The lane is the caller's, and is being written.
#[inline(always)]
unsafe fn last<'a>(memory: usize) -> &'a mut Last {
    // SAFETY: mapped for good, zeroed, which is no stack; only the lane's writer comes here.
    unsafe { &mut *(memory as *mut Last) }
}

/// Whether the stack of a call is for certain the one with this number: the lane's last,
/// unchanged. [`number`] gives the answer where this says no.
///
/// # Safety
/// `memory` is not 0, and its lane is the caller's and being written.
#[inline(always)]
pub(crate) unsafe fn is_still(memory: usize, caller: Caller, id: u32) -> bool {
    // SAFETY: by the caller.
    unsafe { last(memory) }.is_usual_and_still(caller.sp, id, modules::generation())
}

/// The number of the stack of a call; 0: there is none.
///
/// # Safety
/// As [`is_still`], but `memory` may be 0; `caller` is a call that has not returned.
#[inline]
pub(crate) unsafe fn number(memory: usize, caller: Caller) -> u32 {
    if memory == 0 || caller.sp == 0 {
        return 0;
    }
    // SAFETY: by the caller.
    let last = unsafe { last(memory) };
    let (sp, bp) = (caller.sp as u64, caller.bp as u64);
    if last.id != 0 && last.is_still(sp, bp, modules::generation()) {
        return last.id;
    }
    walk::number(last, sp, bp, DEPTH.load(Relaxed))
}

/// Another thread writes to the lane from here on.
///
/// # Safety
/// As [`number`].
pub(crate) unsafe fn forget(memory: usize) {
    if memory != 0 {
        // SAFETY: by the caller.
        let last = unsafe { last(memory) };
        last.clear();
        last.own = Default::default();
    }
}

/// Executable mappings are not what they were.
pub(crate) fn code_changed() {
    if DEPTH.load(Relaxed) != 0 {
        modules::forget_foreign();
        modules::refresh();
    }
}

/// Bytes of our memory that stacks take, with those of so many lanes.
pub(crate) fn resident_bytes(lanes: u32) -> u64 {
    if DEPTH.load(Relaxed) == 0 {
        return 0;
    }
    // Of a lane's memory, what stacks of usual depth touch.
    let lanes = u64::from(lanes) * 4096;
    lanes
        + rules::CACHE_BYTES as u64
        + modules::resident_bytes()
        + journal::resident_bytes()
        + table::resident_bytes()
}
