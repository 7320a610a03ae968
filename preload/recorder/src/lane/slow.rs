//! What is rare on a lane: a full chunk, events that take more than a word, handlers.

mod steps;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use steps::{STEP_BYTES, time_with};

use super::hand_out::{deeper, detach, find_out, lane_here, replace};
use super::live_block::plain_block;
use super::{COMPOUND, LINKED, Lane, REASONS, STORING, lane_of_thread};
use crate::arch::stack_pointer;
use crate::clock::stamp;
use crate::ring::{self, Chunk};
use crate::stack::{self, Caller};
use crate::sync::Signals;
use crate::{file, look, process, sys};
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use core::sync::atomic::compiler_fence;
use fragtrace_format::chunk::ChunkInfo;
use fragtrace_format::event::{Acquire, Encoded, Flags, MAX_WORD_BYTES, State, Word};
use fragtrace_format::record::{self, Cold};

/// Handlers that interrupt handlers, each in the middle of an event.
const MAX_DEPTH: usize = 8;
/// A signal frame is larger than this, the frames of two hooks differ by less.
const FRAME_SLACK: usize = 256;
/// The longest cold event that the recorder writes itself.
const COLD_ROOM: usize = 128;

/// What an event is about. Those about blocks are left out inside compound calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Acquire,
    Release,
    Other,
}

/// Counts an event that found no room.
fn dropped() {
    if process::recording() {
        file::header().dropped_events.fetch_add(1, Relaxed);
    }
}

#[cold]
#[inline(never)]
pub(super) fn acquire_apart(address: usize, size: usize, flags: Flags, caller: Caller, sp: usize) {
    let block = Acquire { flags, ..plain_block(address, size) };
    acquire_block_apart(&block, caller, sp);
}

#[cold]
#[inline(never)]
pub(super) fn acquire_block_apart(block: &Acquire, caller: Caller, sp: usize) {
    enter(Kind::Acquire, sp, |lane, now| acquire_block(lane, now, block, caller));
}

#[cold]
#[inline(never)]
pub(super) fn release_apart(address: usize, flags: Flags, sp: usize) {
    enter(Kind::Release, sp, |lane, now| release_block(lane, now, address, flags));
}

#[cold]
#[inline(never)]
pub(super) fn cold_apart(event: &Cold<'_>, sp: usize) {
    enter(Kind::Other, sp, |lane, now| cold_within(lane, now, event));
}

/// The event path found that its word does not do. The time is read again: to hand it over, the path
/// of all events would keep it longer.
#[cold]
#[inline(never)]
pub(super) fn acquire_within(
    lane: &Lane,
    address: usize,
    size: usize,
    flags: Flags,
    caller: Caller,
) {
    if process::is_forked() {
        // The lane was the parent's.
        return acquire_apart(address, size, flags, caller, stack_pointer());
    }
    let now = stamp();
    let block = Acquire { flags, ..plain_block(address, size) };
    acquire_block(lane, now, &block, caller);
    leave(lane, now, Some(lane.stack.load(Relaxed)));
}

fn acquire_block(lane: &Lane, now: u64, block: &Acquire, caller: Caller) {
    // A block that lives on has the stack that it had.
    let stack = if block.flags.has(Flags::AGAIN) {
        lane.stack.load(Relaxed)
    } else {
        // SAFETY: the lane is this thread's and marked as being written; the caller waits for
        // its block.
        unsafe { stack::number(lane.last_stack.load(Relaxed), caller) }
    };
    let block = Acquire { stack, ..*block };
    let said = say(lane, now, |state| {
        Encoded::acquire(state, now, &block, lane.stack.load(Relaxed) == stack)
    });
    if said {
        lane.stack.store(stack, Relaxed);
    }
}

/// The event path found that its word does not do. The time is read again: to hand it over, the path
/// of all events would keep it longer.
#[cold]
#[inline(never)]
pub(super) fn release_within(lane: &Lane, address: usize, flags: Flags) {
    if process::is_forked() {
        return release_apart(address, flags, stack_pointer());
    }
    let now = stamp();
    release_block(lane, now, address, flags);
    leave(lane, now, None);
}

/// The event path's work is done: the lane is free. `stack`: that of the block that came.
fn leave(lane: &Lane, now: u64, stack: Option<u32>) {
    compiler_fence(SeqCst);
    lane.busy.store(0, Relaxed);
    find_out();
    if process::recording() {
        look::if_due(now, stack);
    }
}

fn release_block(lane: &Lane, now: u64, address: usize, flags: Flags) {
    say(lane, now, |state| Encoded::release(state, now, address as u64, flags));
}

/// Writes what `encode` makes of the lane's state, in a new chunk if this one is full. False:
/// there was no room.
fn say(lane: &Lane, now: u64, encode: impl Fn(&mut State) -> Encoded) -> bool {
    for _ in 0..2 {
        let mut state = lane.state();
        let encoded = encode(&mut state);
        let cursor = lane.cursor().load(Relaxed);
        // The last word starts below the limit if all words together do.
        if cursor + encoded.bytes() < lane.room.load(Relaxed) + MAX_WORD_BYTES
            && lane.room.load(Relaxed) != 0
        {
            // SAFETY: as just checked.
            unsafe { put_all(lane, encoded.words()) };
            lane.set_state(&state);
            steps::if_due(lane, now);
            return true;
        }
        if !next_chunk(lane, now) {
            break;
        }
    }
    dropped();
    false
}

/// # Safety
/// There is room for the words in the open chunk.
unsafe fn put_all(lane: &Lane, words: &[Word]) {
    for word in words {
        // SAFETY: by the caller.
        unsafe { super::put(lane, lane.cursor().load(Relaxed), *word) };
    }
}

/// Writes a cold event.
pub(super) fn cold_within(lane: &Lane, now: u64, event: &Cold<'_>) {
    let mut buffer = [0u8; COLD_ROOM + MAX_WORD_BYTES];
    let Some(len) = record::encode(event, &mut buffer[..COLD_ROOM]) else { return dropped() };
    for _ in 0..2 {
        let mut state = lane.state();
        let encoded = Encoded::cold(&mut state, now, len);
        let Some((head, prefixes)) = encoded.words().split_last() else { return };
        let cursor = lane.cursor().load(Relaxed);
        let needed = encoded.bytes() + len;
        if lane.room.load(Relaxed) != 0
            && cursor + needed < lane.room.load(Relaxed) + MAX_WORD_BYTES
        {
            // SAFETY: as just checked.
            unsafe { put_all(lane, prefixes) };
            // SAFETY: likewise.
            unsafe { put_cold(lane, *head, &buffer[..len]) };
            set_apart(lane, cursor);
            lane.set_state(&state);
            return;
        }
        if !next_chunk(lane, now) {
            break;
        }
    }
    dropped();
}

/// What moved the cursor from `before` to where it is was no event on a block.
fn set_apart(lane: &Lane, before: usize) {
    let moved = before.wrapping_sub(lane.cursor().load(Relaxed));
    lane.apart.store(lane.apart.load(Relaxed).wrapping_add(moved), Relaxed);
}

/// Stores payload first and head last, so that the event is there whole or not at all.
///
/// # Safety
/// There is room for both.
unsafe fn put_cold(lane: &Lane, head: Word, payload: &[u8]) {
    let at = lane.cursor().load(Relaxed);
    let head_bytes = head.len as usize;
    // The head is stored as a word of eight bytes: the payload's first bytes ride on it.
    let mut first = head.bits.to_le_bytes();
    let riding = payload.len().min(MAX_WORD_BYTES - head_bytes);
    first[head_bytes..head_bytes + riding].copy_from_slice(&payload[..riding]);
    let rest = &payload[riding..];
    // SAFETY: by the caller, in the lane's own chunk.
    unsafe {
        let behind = (at + MAX_WORD_BYTES) as *mut u8;
        core::ptr::copy_nonoverlapping(rest.as_ptr(), behind, rest.len());
        compiler_fence(SeqCst);
        (at as *mut [u8; MAX_WORD_BYTES]).write_unaligned(first);
    }
    compiler_fence(SeqCst);
    lane.cursor().store(at + head_bytes + payload.len(), Release);
}

/// Closes the lane's chunk, if it has one, and opens another. False: there is none.
fn next_chunk(lane: &Lane, now: u64) -> bool {
    if !process::recording() {
        return false;
    }
    let opened = open_chunk(lane, now);
    file::header().slow_path_stamps.fetch_add(stamp().saturating_sub(now), Relaxed);
    opened
}

fn open_chunk(lane: &Lane, now: u64) -> bool {
    let Some((chunk, sequence)) = ring::take() else { return false };
    let last = lane.chunk.load(Relaxed);
    if last != 0 {
        ring::close(Chunk::at(last));
    }
    for (before, base) in lane.before.iter().zip(&lane.base) {
        if let base @ 1.. = base.load(Relaxed) {
            before.store(base, Relaxed);
        }
    }
    let state = State { stamp: now, base: [0, 0] };
    let lane_seq = lane.lane_seq.load(Relaxed) + 1;
    chunk.header().open(&ChunkInfo {
        sequence,
        lane: lane.index.load(Relaxed),
        thread: lane.thread.load(Relaxed),
        lane_seq,
        state,
        tid: lane.tid.load(Relaxed),
        folded: [0; 2],
    });
    lane.lane_seq.store(lane_seq, Relaxed);
    lane.stack.store(0, Relaxed);
    lane.set_state(&state);
    lane.chunk.store(chunk.address(), Relaxed);
    // From here on the last chunk is the folder's. Linked before the cursor leaves it: who
    // sees the cursor elsewhere sees the link.
    let last_number = if last == 0 { 0 } else { Chunk::at(last).number() };
    ring::chunks().append(&lane.first, last_number, chunk.number());
    lane.kept().sequence.store(sequence, Relaxed);
    let written_to = lane.cursor().load(Relaxed);
    lane.cursor().store(chunk.first(), Release);
    set_apart(lane, written_to);
    steps::go_on(lane, written_to, chunk);
    process::note_clock();
    true
}

/// Runs `work` on a lane that is this thread's and not in the middle of an event, and
/// takes a look afterwards when one is due.
fn enter(kind: Kind, sp: usize, work: impl FnOnce(&Lane, u64)) {
    if !process::ready() {
        return;
    }
    // A handler that came between taking a borrowed lane and giving it back would give it back, too.
    let unborrowed = |lane: &&Lane| lane.borrowed.load(Relaxed) == 0;
    let signals = lane_of_thread().filter(unborrowed).is_none().then(Signals::block);
    let Some(lane) = lane_here() else { return dropped() };
    // A thread that has said goodbye leaves nothing behind, unless this is inside a call that
    // goes on.
    let borrowed = lane.borrowed.load(Relaxed) != 0 && lane.busy.load(Relaxed) == 0;
    let signals = signals.filter(|_| borrowed);
    let mut now = 0;
    let timed_work = |lane: &Lane| {
        now = stamp();
        work(lane, now);
    };
    let stack = on_free_lane(lane, kind, sp, timed_work).filter(|_| kind == Kind::Acquire);
    if borrowed {
        detach(lane);
    }
    drop(signals);
    find_out();
    // Calls on mappings may come from inside the allocator: no time for a look.
    if kind != Kind::Other {
        look::if_due(now, stack);
    }
}

/// Finds, from `lane` on, the first lane that is not being written, and runs `work` on it. The
/// lane's stack, if the thread was amid no other event or call.
fn on_free_lane(outermost: &Lane, kind: Kind, sp: usize, work: impl FnOnce(&Lane)) -> Option<u32> {
    let mut lane = outermost;
    for _ in 0..MAX_DEPTH {
        let busy = lane.busy.load(Relaxed);
        let owner = busy & !REASONS;
        let restored = match busy & REASONS {
            _ if busy == 0 => 0,
            COMPOUND | LINKED if sp >= owner => 0,
            COMPOUND if kind != Kind::Other => return None,
            COMPOUND | LINKED => busy,
            // Storing. A frame further down is dead: somebody jumped out of a handler.
            _ if sp + FRAME_SLACK >= owner && !sys::on_signal_stack() => {
                // The event may be half done. Should the judgement be wrong, because the handler
                // runs on a stack that the kernel does not know, the writer still has its lane
                // and chunk for itself: this thread goes on with others.
                match replace(lane) {
                    Some(next) => {
                        lane = next;
                        continue;
                    }
                    None => {
                        dropped();
                        return None;
                    }
                }
            }
            _ => match deeper(lane) {
                Some(next) => {
                    lane = next;
                    continue;
                }
                None => {
                    dropped();
                    return None;
                }
            },
        };
        lane.busy.store(sp | STORING, Relaxed);
        compiler_fence(SeqCst);
        work(lane);
        let free = restored == 0 && core::ptr::eq(lane, outermost);
        let stack = free.then(|| lane.stack.load(Relaxed));
        compiler_fence(SeqCst);
        lane.busy.store(restored, Relaxed);
        return stack;
    }
    dropped();
    None
}

pub(super) fn begin_compound(sp: usize) -> bool {
    if !process::may_nest() || !process::ready() {
        return false;
    }
    let Some(lane) = lane_here() else { return false };
    let busy = lane.busy.load(Relaxed);
    let taken = busy != 0 && (busy & COMPOUND == 0 || sp < busy & !REASONS);
    if lane.index.load(Relaxed) == 0 || taken {
        return false;
    }
    lane.busy.store(sp | COMPOUND, Relaxed);
    true
}

/// A thread's first call, or one where somebody left a frame that is dead.
#[cold]
#[inline(never)]
pub(super) fn begin_linked_apart(sp: usize) -> bool {
    if !process::ready() {
        return false;
    }
    let Some(lane) = lane_here() else { return false };
    let busy = lane.busy.load(Relaxed);
    let taken = busy != 0 && (busy & LINKED == 0 || sp < busy & !REASONS);
    if lane.index.load(Relaxed) == 0 || taken {
        return false;
    }
    lane.busy.store(sp | LINKED, Relaxed);
    true
}
