//! What is done ahead, so that there is a chunk for whoever wants one: the file grows, and when it may
//! not, old events are folded.
//!
//! Most of it is done in small steps, one behind every few KiB of a thread's events, so that no single
//! event waits for much. Only where chunks run short in spite of that, or where all of a chunk is no
//! more than a step, it is done with the taking of a chunk.

use super::{CHUNK_BYTES, PAGE, POOL, RING_CHUNKS, SPARE_COUNT};
use crate::file::Stride;
use crate::fold::{self, Outcome};
use crate::lane::STEP_BYTES;
use crate::{clock, file, lane, sys};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

/// Stamps before which growing, and folding, are not tried again.
static NOT_BEFORE: AtomicU64 = AtomicU64::new(0);
static NO_FOLD_BEFORE: AtomicU64 = AtomicU64::new(0);

/// How long growing or folding is not tried after it found no room: on most machines about a
/// second.
const PAUSE_STAMPS: u64 = 1 << 26;
/// The file grows by so much at first, so that short processes stay small, and then by more: what
/// that costs hardly depends on it.
const FIRST_GROWTH: u64 = 128 << 10;
const GROWTH: u64 = 256 << 10;
/// So much of that is written with zeros, and handed out, at a time.
const PIECE: u64 = 64 << 10;
/// So many chunks are added to those that there are when there will be no more.
const CHUNKS_FOR_GOOD: u64 = 64;
/// Among more lanes nobody folds in steps: each fold asks all of them how far they are.
const MOST_LANES: u32 = 64;

/// In a child of fork: its parent may have found no room where it does.
pub(super) fn forget_pauses() {
    NOT_BEFORE.store(0, Relaxed);
    NO_FOLD_BEFORE.store(0, Relaxed);
}

/// Chunks taken, and chunks with room in the file.
fn pool() -> (u64, u64) {
    let pool = POOL.load(Acquire);
    (pool & 0xffff_ffff, pool >> 32)
}

/// Chunks that there can be now: what the bound of the file allows, those of the ring or two for
/// each lane; but no more than there are where a moment ago there was no room for another.
pub(super) fn bound() -> u64 {
    let allowed = RING_CHUNKS.load(Relaxed).max(2 * u64::from(lane::count()));
    if clock::stamp() >= NOT_BEFORE.load(Relaxed) { allowed } else { allowed.min(pool().1) }
}

/// Makes chunks behind `backed` ones, for somebody who waits. True: there is more room, or somebody
/// makes it.
pub(super) fn grow(backed: u64) -> bool {
    let soon = soon();
    grow_by(backed, Stride { mapped: growth(backed).max(soon), handed_out: PIECE.max(soon) }, true)
}

/// Takes a step towards more chunks than `backed` ones.
fn grow_a_step(backed: u64) {
    grow_by(backed, Stride { mapped: growth(backed).max(soon()), handed_out: PIECE }, false);
}

fn growth(backed: u64) -> u64 {
    if backed == 0 { FIRST_GROWTH } else { GROWTH }
}

/// Bytes of chunks that many threads want soon.
fn soon() -> u64 {
    u64::from(lane::count()) / 4 * CHUNK_BYTES.load(Relaxed)
}

/// See [`file::grow_events`].
fn grow_by(backed: u64, stride: Stride, at_once: bool) -> bool {
    if pool().1 != backed {
        return true;
    }
    let chunk_bytes = CHUNK_BYTES.load(Relaxed);
    let left = bound().saturating_sub(backed) * chunk_bytes;
    // Whole pages, whole chunks.
    let unit = chunk_bytes.max(PAGE);
    let whole = |bytes: u64| bytes.min(left) / unit * unit;
    let stride = Stride { mapped: whole(stride.mapped), handed_out: whole(stride.handed_out) };
    if stride.handed_out == 0 {
        return false;
    }
    // Who comes late, after another has grown it, has nothing to do any more.
    let wanted = || pool().1 == backed;
    let publish = |bytes: u64| {
        POOL.fetch_add((bytes / chunk_bytes) << 32, AcqRel);
    };
    let grown = file::grow_events(stride, at_once, wanted, publish).unwrap_or(true);
    if !grown {
        // Where there was no room a moment ago there is none now: without this pause every chunk
        // would ask the kernel again. Meanwhile the ring is as large as it is, and goes round.
        NOT_BEFORE.store(clock::stamp() + PAUSE_STAMPS, Relaxed);
    }
    grown
}

/// The file can grow no more from now on: makes it larger by so much while it can, for many
/// threads in any case, and leaves it at that.
pub(crate) fn settle(bytes: u64) {
    let chunk_bytes = CHUNK_BYTES.load(Relaxed);
    let wanted = pool().1 + (bytes / chunk_bytes).max(CHUNKS_FOR_GOOD);
    // What is mapped already comes first, then the rest.
    for _ in 0..2 {
        let backed = pool().1;
        let mapped = wanted.saturating_sub(backed) * chunk_bytes;
        grow_by(backed, Stride { mapped, handed_out: u64::MAX }, true);
    }
    NOT_BEFORE.store(u64::MAX, Relaxed);
}

/// The file may grow again, after [`settle`].
pub(crate) fn unsettle() {
    NOT_BEFORE.store(0, Relaxed);
}

/// Spare chunks that folding sees to: enough for all that threads take while one of them
/// folds, or is stopped while it does. More where nobody may sleep until it goes on.
fn reserve_of(bound: u64) -> u64 {
    if sys::forbidden() { bound / 2 } else { (bound / 4).min(16 + bound / 64) }
}

/// Chunks that can be taken without a fold.
fn left(bound: u64) -> u64 {
    bound.saturating_sub(pool().0) + u64::from(SPARE_COUNT.load(Relaxed))
}

/// A thread has written [`STEP_BYTES`] of events since it was here last: takes a step towards the
/// chunks that are wanted next. Whether one was due.
pub(crate) fn step() -> bool {
    let bound = bound();
    let (taken, backed) = pool();
    // One chunk is kept ready; of many threads, for a quarter of them.
    if backed < bound && taken + u64::from(lane::count()) / 4 >= backed {
        grow_a_step(backed);
        return true;
    }
    let (left, wanted) = (left(bound), reserve_of(bound));
    if left >= wanted || !folds_in_steps() || !is_calm(left, wanted) {
        return false;
    }
    // A little more than was written, and more where others could not fold.
    let share = if left < wanted * 3 / 4 { 2 } else { 1 };
    fold(share * (STEP_BYTES + STEP_BYTES / 8));
    true
}

fn folds_in_steps() -> bool {
    CHUNK_BYTES.load(Relaxed) as usize > STEP_BYTES && lane::count() <= MOST_LANES
}

/// Whether folds need not wait for a child of fork, which copies the file or is about to: for a moment
/// only what is urgent is folded.
fn is_calm(left: u64, wanted: u64) -> bool {
    let calm_until = file::header().fork.calm_until.load(Relaxed);
    !is_copied() && (left < wanted / 4 || clock::stamp() >= calm_until)
}

/// A chunk was taken: sees to it that there are some for those who come next.
pub(super) fn keep() {
    let bound = bound();
    let (taken, backed) = pool();
    if backed < bound && taken + u64::from(lane::count()) / 8 > backed {
        grow(backed);
    }
    let (left, wanted) = (left(bound), reserve_of(bound));
    let short = left < wanted / 2;
    if (short || left < wanted && !folds_in_steps()) && is_calm(left, wanted) {
        let chunk_bytes = CHUNK_BYTES.load(Relaxed) as usize;
        // As much as a chunk holds, and more where others could not fold.
        fold(if short { 2 * chunk_bytes } else { chunk_bytes });
    }
}

/// Whether a child of fork copies the ring at this moment.
pub(super) fn is_copied() -> bool {
    let until = file::header().fork.copied_until.load(Relaxed);
    until != 0 && clock::stamp() < until
}

/// Folds about so many bytes of events, unless the table found no room a moment ago: else every
/// event would come to that only after all the work of a fold.
pub(super) fn fold(bytes: usize) -> Outcome {
    if clock::stamp() < NO_FOLD_BEFORE.load(Relaxed) {
        return Outcome::NoRoom;
    }
    let outcome = fold::advance(bytes);
    if outcome == Outcome::NoRoom {
        NO_FOLD_BEFORE.store(clock::stamp() + PAUSE_STAMPS, Relaxed);
    }
    outcome
}
