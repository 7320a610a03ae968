//! Call stacks: the number of the stack that a block was acquired with.
//!
//! ```text
//! hook ── sp, rbp ──► recent stacks ── none of them? ──► walk ──► table (file)
//!                                                        │  │
//!                          rules (cache), last stack ◄───┘  └──► words (bounds.rs)
//!                              ▲
//!           modules (maps) ── unwind data (cfi.rs)
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
mod last;
mod modules;
mod recent;
mod rules;
mod table;
mod walk;

use crate::{arch, file};
use core::ops::Range;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use file::Private;
use fragtrace_format::stack::Root;
use last::Last;
pub use modules::GENERATION;
use recent::Recents;
pub use recent::layout as recent_layout;

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
        && modules::JOURNAL.grow()
        && modules::start();
    if !ready {
        return 0;
    }
    bounds::start();
    DEPTH.store(depth, Relaxed);
    depth
}

/// In a child of fork: the table goes on behind what the parent put there; what was found out
/// about code is found out again.
pub(crate) fn inherit() {
    let depth = DEPTH.swap(0, Relaxed);
    if depth > 0 && rules::start() && table::inherit() && modules::inherit() {
        DEPTH.store(depth, Relaxed);
    }
}

/// Where the last stack of a lane is kept. 0: no stacks are taken, or there is no memory.
pub(crate) fn memory_of(lane: u32) -> usize {
    let address = file::private_start(Private::Last) + lane as usize * MEMORY_BYTES;
    if DEPTH.load(Relaxed) != 0 && file::map_private(address, MEMORY_BYTES) { address } else { 0 }
}

/// What a lane remembers. All zero: nothing.
#[repr(C)]
struct Memory {
    recents: Recents,
    last: Last,
}

/// Bytes that a lane has for what it remembers.
const MEMORY_BYTES: usize = 16 << 10;

const _: () = assert!(size_of::<Memory>() <= MEMORY_BYTES);
// The event path by hand goes by that.
const _: () = assert!(core::mem::offset_of!(Memory, recents) == 0);

/// A lane's memory, by the address that [`memory_of`] gave.
///
/// # Safety
/// The lane is the caller's, and is being written.
#[inline(always)]
unsafe fn memory<'a>(address: usize) -> &'a mut Memory {
    // SAFETY: mapped for good, zeroed, which is a value; only the lane's writer comes here.
    unsafe { &mut *(address as *mut Memory) }
}

/// Whether the stack of a call is for certain the one with this number: the lane's last,
/// unchanged. [`number`] gives the answer where this says no.
///
/// # Safety
/// `address` is not 0, and its lane is the caller's and being written.
#[inline(always)]
pub(crate) unsafe fn is_still(address: usize, caller: Caller, id: u32) -> bool {
    // SAFETY: by the caller.
    let memory = unsafe { memory(address) };
    memory.recents.is_still(caller.sp as u64, caller.bp as u64, id, modules::generation())
}

/// The number of the stack of a call; 0: there is none.
///
/// # Safety
/// As [`is_still`], but `address` may be 0; `caller` is a call that has not returned.
#[inline(always)]
pub(crate) unsafe fn number(address: usize, caller: Caller) -> u32 {
    if address == 0 || caller.sp == 0 {
        return 0;
    }
    // SAFETY: by the caller.
    let memory = unsafe { memory(address) };
    let (sp, bp) = (caller.sp as u64, caller.bp as u64);
    // SAFETY: a live stack pointer, where the call's return address is.
    let ip = unsafe { (sp as *const u64).read_volatile() };
    let generation = modules::generation();
    let recent = memory.recents.find(ip, sp, bp, generation);
    recent.unwrap_or_else(|| memory.number(ip, sp, bp, generation))
}

impl Memory {
    /// The number of the stack of a call, which is none of the recent ones.
    #[inline(never)]
    fn number(&mut self, ip: u64, sp: u64, bp: u64, generation: u32) -> u32 {
        let Memory { recents, last } = self;
        if last.is_still(sp, bp, generation) {
            recents.leave();
            return last.id;
        }
        let id = walk::number(last, ip, sp, bp, DEPTH.load(Relaxed));
        recents.keep(sp, last);
        id
    }
}

/// Another thread writes to the lane from here on.
///
/// # Safety
/// As [`number`].
pub(crate) unsafe fn forget(address: usize) {
    if address != 0 {
        // SAFETY: by the caller.
        let Memory { recents, last } = unsafe { memory(address) };
        recents.clear();
        last.clear();
        last.own = Default::default();
    }
}

/// Whether a stack is whole, no signal interrupted it, none of its frames is in `code`, and those
/// in `base` are at its root: behind them there is at most `_start`, which is the program's.
pub(crate) fn is_clear(id: u32, code: &Range<u64>, base: &Range<u64>) -> bool {
    let mut number = id;
    let mut in_base = false;
    loop {
        let Some(frame) = table::frame(number) else { return false };
        let here = base.contains(&frame.address);
        if frame.interrupted || code.contains(&frame.address) {
            return false;
        }
        if frame.caller == 0 {
            return frame.root == Root::Begin;
        }
        if in_base && !here {
            return false;
        }
        in_base = here;
        number = frame.caller;
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
    let lanes = u64::from(lanes) * (8 << 10);
    lanes
        + rules::CACHE_BYTES as u64
        + modules::resident_bytes()
        + modules::JOURNAL.resident_bytes()
        + table::resident_bytes()
}
