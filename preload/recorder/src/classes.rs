//! Size classes of allocators whose blocks do not say their size: asked for once each.
//!
//! A bit a step of eight bytes says whether what may be used of such a size is on record.
//! While it is not, an event says it of its block.

use crate::file;
use crate::sync::TryLock;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, AtomicUsize};
use fragtrace_format::classes::{ENTRY_BYTES, EntryCell, Learnt, MAX_SIZE, STEPS, step};
use fragtrace_format::header::Area;

/// What malloc_usable_size is.
pub type UsableSize = unsafe extern "C" fn(*mut core::ffi::c_void) -> usize;

/// More entries than any allocator has classes.
const MAX_BYTES: u64 = 64 << 10;
const GROWTH: u64 = 4096;

/// A bit a step of eight bytes.
pub static KNOWN: [AtomicU64; STEPS.div_ceil(64)] =
    [const { AtomicU64::new(0) }; STEPS.div_ceil(64)];
static LOCK: TryLock = TryLock::new();
static ASK: AtomicUsize = AtomicUsize::new(0);
/// Bytes of the area: in the file, and in use.
static ROOM: AtomicU64 = AtomicU64::new(0);
static USED: AtomicU64 = AtomicU64::new(0);

/// From now on this is asked.
pub(crate) fn ask_with(function: UsableSize) {
    ASK.store(function as usize, Relaxed);
}

/// Whether it is on record what may be used of a block of this size.
#[inline(always)]
pub(crate) fn is_known(size: usize) -> bool {
    let step = step(size.min(MAX_SIZE as usize + 1) as u64);
    KNOWN.get(step / 64).is_some_and(|word| word.load(Acquire) >> (step % 64) & 1 != 0)
}

/// Who tells what may be used of a live block.
pub(crate) fn whom_to_ask() -> Option<UsableSize> {
    // SAFETY: 0, or `ask_with` stored a function of this type.
    unsafe { core::mem::transmute::<usize, Option<UsableSize>>(ASK.load(Relaxed)) }
}

/// A block from plain malloc has so many usable bytes.
pub(crate) fn learn(size: usize, usable: u64) {
    let Some(learnt) = Learnt::from(size as u64, usable) else { return };
    let Some(_held) = LOCK.try_take() else { return };
    if is_known(size) || !write(learnt) {
        return;
    }
    let steps = match learnt {
        Learnt::Class { size, usable } => step(size)..step(usable.min(MAX_SIZE)) + 1,
        Learnt::Exact => 0..STEPS,
    };
    for step in steps {
        KNOWN[step / 64].fetch_or(1 << (step % 64), Release);
    }
}

fn write(learnt: Learnt) -> bool {
    let (used, room) = (USED.load(Relaxed), ROOM.load(Relaxed));
    if used + ENTRY_BYTES as u64 > room {
        let publish = |bytes| ROOM.store(room + bytes, Relaxed);
        if room >= MAX_BYTES || file::grow(Area::Classes, || GROWTH, publish) != Some(true) {
            return false;
        }
    }
    let address = file::area_start(Area::Classes) + used as usize;
    // SAFETY: the area is mapped up to its room, for good; entries are atomics, at multiples of
    // their size, and the lock makes us the only writer.
    unsafe { &*(address as *const EntryCell) }.fill(learnt);
    USED.store(used + ENTRY_BYTES as u64, Relaxed);
    true
}

/// In a child of fork.
pub(crate) fn inherit() {
    LOCK.leave();
}

/// Bytes in our memory.
pub(crate) fn resident_bytes() -> u64 {
    USED.load(Relaxed).next_multiple_of(GROWTH)
}
