//! What is done every few KiB of a thread's events, so that no single event waits for much: the ring
//! gets its next chunks step by step, and one call of the allocator's in about 1,024 is timed.
//!
//! Events are not counted one by one: that would be an instruction on the path of each. The place
//! up to which the event path may write is set short of the chunk's end instead, so that it comes
//! by here.

use super::super::Lane;
use crate::lane::count;
use crate::ring::{self, Chunk};
use crate::{clock, file};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU64, AtomicUsize};

/// From step to step: the bytes of so many events, of programs of different habits
/// (docs/benchmarks.md).
pub(crate) const STEP_BYTES: usize = 1024 * 5;
/// Where several threads record, at least this time lies between two calls that are timed, 16 to
/// 64 µs: the next call is led astray by a word that all threads read, and each of them misses it
/// in its cache after.
const LEAST_STAMPS: u64 = 1 << 11;

/// Has the next call timed; 0 = nobody does.
static TIMER: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);

/// Sets who has the next call timed when one is due.
pub(crate) fn time_with(timer: fn()) {
    TIMER.store(timer as usize, Relaxed);
}

/// An event was written: takes a step if it is time for one.
pub(super) fn if_due(lane: &Lane, now: u64) {
    let cursor = lane.cursor().load(Relaxed);
    if cursor < lane.step_from.load(Relaxed) {
        return;
    }
    lane.step_from.store(cursor + STEP_BYTES, Relaxed);
    set_limit(lane);
    if ring::step() {
        file::header().slow_path_stamps.fetch_add(clock::stamp().saturating_sub(now), Relaxed);
    }
    time_next_call(now);
}

fn time_next_call(now: u64) {
    let timer = TIMER.load(Relaxed);
    let rested = count() == 1 || now.saturating_sub(LAST.load(Relaxed)) >= LEAST_STAMPS;
    if timer != 0 && rested {
        LAST.store(now, Relaxed);
        // SAFETY: set by `time_with` alone, to a function of this type.
        unsafe { core::mem::transmute::<usize, fn()>(timer)() };
    }
}

/// The lane goes on at the cursor in a new chunk; in the last one it was written up to
/// `written_to`.
pub(super) fn go_on(lane: &Lane, written_to: usize, chunk: Chunk) {
    let left = lane.step_from.load(Relaxed).saturating_sub(written_to).min(STEP_BYTES);
    lane.step_from.store(lane.cursor().load(Relaxed) + left, Relaxed);
    lane.room.store(chunk.limit(), Relaxed);
    set_limit(lane);
}

fn set_limit(lane: &Lane) {
    let limit = lane.room.load(Relaxed).min(lane.step_from.load(Relaxed));
    // Where the counter is no clock, every event goes the slow way.
    lane.limit.store(if clock::by_counter() { limit } else { 0 }, Relaxed);
}
