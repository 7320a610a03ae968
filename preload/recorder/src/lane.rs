//! Lanes: where each thread writes its events, and the event path itself.
//!
//! A thread's word (in TLS) points to its lane; the lane holds the place of the next word
//! in the open chunk and what steps are taken from. The event path is straight: read the
//! clock, pack one word, store it, move on. A flag, another stack, a usable size that is not as
//! predicted is a word more before it. All that is rare (no lane yet, chunk full, any other
//! prefix) goes through `slow`.
//!
//! **Signals.** A handler may run between any two instructions here, allocate, and come
//! back or not. While a lane is being written, its `busy` holds the stack pointer: a
//! handler's event then finds it set and goes to a deeper lane. When code jumped out of
//! the handler, `busy` is left behind, but the frame it names is dead: an event from
//! further up the stack sees that, and the lane starts a fresh chunk.
//!
//! **fork.** Lanes live in memory that is wiped in a child: it finds no room in any lane
//! (`limit` is 0) and takes the slow path, at no extra cost for all others. What the child
//! needs of them, how far each was written, lies apart in memory that it inherits:
//! [`inherit`](crate::inherit).

mod hand_out;
mod live_block;
mod slow;

use crate::arch::{bit_length, stack_pointer, thread_lane};
use crate::classes;
use crate::clock::{self, counter_stamp};
use crate::stack::{self, Caller};
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, compiler_fence};
use fragtrace_format::event::{
    Acquire, Flags, MAX_WORD_BYTES, Prefix, State, Word, half, pack_acquire, pack_flags,
    pack_prefix_of, pack_release, zigzag,
};
use fragtrace_format::record::{Call, Cold};

pub(crate) use hand_out::{
    adopt, begin, count, cursor, disinherit, find_out, first_chunk, forget, inherited,
    thread_exits, watch,
};
pub use live_block::{bare_block, block, glibc_block, usable_bytes};
#[cfg(test)]
pub(crate) use slow::testing;
pub(crate) use slow::{STEP_BYTES, time_with};

/// Lanes that can exist: threads at the same time, and nested handlers.
pub(crate) const MAX_LANES: usize = 1 << 14;
/// Two lines, as processors fetch them in pairs: no two threads write to one.
const LANE_BYTES: usize = 256;
/// Bytes of address space for all lanes.
pub(crate) const LANES_BYTES: usize = MAX_LANES * LANE_BYTES;
/// Where the memory for what is [`Kept`] of lanes begins, behind where the lanes do, and its bytes.
pub(crate) const ALL_KEPT_AT: usize = 2 * LANES_BYTES;
pub(crate) const ALL_KEPT_BYTES: usize = LANES_BYTES + 4096;
/// From a lane to what is kept of it. Not a multiple of 4 KiB: processors take a load for one that
/// depends on a store if both have the same place in a page.
const KEPT_AT: usize = ALL_KEPT_AT + LANE_BYTES / 2;

/// Low bits of `busy`; the rest is the stack pointer of who set it, a multiple of eight at the least.
/// That an event is being stored, the most frequent reason, is none of them: the stack pointer as it is.
const STORING: usize = 0;
const COMPOUND: usize = 1;
const LINKED: usize = 2;
const REASONS: usize = 3;

/// A thread's writing place. All zero: no room, nothing known.
#[repr(C, align(256))]
struct Lane {
    /// The event path may start a word below this address, where the chunk ends or it is time for a
    /// step; 0 = it must go the slow way.
    limit: AtomicUsize,
    /// Stack pointer and reason while the lane is in use, else 0.
    busy: AtomicUsize,
    /// Stamp of the last event.
    stamp: AtomicU64,
    /// Last address in each half of the address space, in units of 16 bytes.
    base: [AtomicU64; 2],
    /// Call stack that readers assume for the next acquisition.
    stack: AtomicU32,
    /// This lane's number, from 1 on; 0 = wiped by fork.
    index: AtomicU32,
    /// Where the lane's last stack is kept; 0 = no stacks are taken.
    last_stack: AtomicUsize,
    /// Thread that writes here now, by its index.
    thread: AtomicU32,
    tid: AtomicU32,
    /// A word may start below this address; 0 = no chunk.
    room: AtomicUsize,
    /// Chunks opened so far.
    lane_seq: AtomicU64,
    /// First byte of the open chunk's header; 0 = none.
    chunk: AtomicUsize,
    /// Lane for events of handlers that interrupt this one; 0 = none yet.
    deeper: AtomicUsize,
    /// Not 0: the thread gives the lane back after each event.
    borrowed: AtomicU32,
    /// The next lane in the list of free ones, by number.
    next_free: AtomicU32,
    /// Number of the first chunk that the lane ever had; 0 = none yet.
    first: AtomicU32,
    /// Questions to the allocator that were left out, as one was under way.
    unasked: AtomicU32,
    /// Stack pointer of where the thread asks its allocator about a block; 0 = it does not.
    asking: AtomicUsize,
    /// Added to the cursor, a number that only events on blocks change.
    apart: AtomicUsize,
    /// `base` at the end of the chunk before.
    before: [AtomicU64; 2],
    /// From this address on, in the open chunk or as far behind it, it is time for a step.
    step_from: AtomicUsize,
}

const _: () = assert!(size_of::<Lane>() == LANE_BYTES);

/// Bytes from the start of a lane to what the event path needs of it, where that is written by hand.
pub mod layout {
    use super::{KEPT_AT, Kept, Lane};
    use core::mem::offset_of;

    /// A word may start below this address.
    pub const LIMIT: usize = offset_of!(Lane, limit);
    /// The stack pointer of who writes, while that is so.
    pub const BUSY: usize = offset_of!(Lane, busy);
    /// Stamp of the last event.
    pub const STAMP: usize = offset_of!(Lane, stamp);
    /// Last address in each half, in units of 16 bytes.
    pub const BASE: usize = offset_of!(Lane, base);
    /// Number of the last stack, 32 bits.
    pub const STACK: usize = offset_of!(Lane, stack);
    /// Address of what is known of stacks: see [`recent`](crate::layout::recent). 0 = none are taken.
    pub const LAST_STACK: usize = offset_of!(Lane, last_stack);
    /// Where the next word goes.
    pub const CURSOR: usize = KEPT_AT + offset_of!(Kept, cursor);
}

/// How far a lane is written: the part of it that a child of fork inherits.
#[repr(C)]
struct Kept {
    /// Where the next word goes; 0 = the lane never had a chunk.
    cursor: AtomicUsize,
    /// The number that the open chunk has among all that were ever taken.
    sequence: AtomicU64,
}

impl Lane {
    #[inline(always)]
    fn kept(&self) -> &'static Kept {
        // SAFETY: `process` mapped as much behind the lanes, at this distance, for good.
        unsafe { &*((&raw const *self as usize + KEPT_AT) as *const Kept) }
    }

    /// Where the next word goes.
    #[inline(always)]
    fn cursor(&self) -> &'static AtomicUsize {
        &self.kept().cursor
    }

    fn state(&self) -> State {
        State {
            stamp: self.stamp.load(Relaxed),
            base: [self.base[0].load(Relaxed), self.base[1].load(Relaxed)],
        }
    }

    fn set_state(&self, state: &State) {
        self.stamp.store(state.stamp, Relaxed);
        self.base[0].store(state.base[0], Relaxed);
        self.base[1].store(state.base[1], Relaxed);
    }
}

/// This thread's lane, if it has one.
#[inline(always)]
fn lane_of_thread() -> Option<&'static Lane> {
    // SAFETY: null, or set by `slow::attach` to a lane, which stays mapped for good.
    unsafe { (thread_lane() as *const Lane).as_ref() }
}

/// This thread's lane, from here on marked as being written. `None`: it has none yet, or an event is
/// under way on it.
#[inline(always)]
fn mark() -> Option<&'static Lane> {
    let lane = lane_of_thread()?;
    if lane.busy.load(Relaxed) != 0 {
        return None;
    }
    lane.busy.store(stack_pointer() | STORING, Relaxed);
    compiler_fence(SeqCst);
    Some(lane)
}

/// What a word of a lane is that is marked as being written. A plain load, which the compiler can make a
/// part of the instruction that needs it.
#[inline(always)]
fn known(word: &AtomicU64) -> u64 {
    // SAFETY: other threads do not write to it, and handlers on this one find the mark.
    unsafe { word.as_ptr().read() }
}

/// Whether so many bytes of prefixes, and a word behind them, may be stored from `cursor` on.
#[inline(always)]
fn has_room(lane: &Lane, cursor: usize, prefixes: usize) -> bool {
    // SAFETY: as in `known`.
    cursor + prefixes < unsafe { lane.limit.as_ptr().read() }
}

/// Stores a word at the lane's cursor, which goes on behind it: there.
///
/// # Safety
/// The cursor is below the limit, so 8 bytes of the open chunk are behind it.
#[inline(always)]
unsafe fn put(lane: &Lane, cursor: usize, word: Word) -> usize {
    // One store: a process that dies leaves the whole word, or none of it.
    // SAFETY: by the caller, inside the lane's own chunk, which nobody else writes.
    unsafe { (cursor as *mut u64).write_unaligned(word.bits.to_le()) };
    compiler_fence(SeqCst);
    let next = cursor + word.len as usize;
    // Who folds reads up to the cursor: a plain store on x86-64.
    lane.cursor().store(next, Release);
    next
}

#[inline(always)]
fn pack_prefix(prefix: Prefix, value: u64) -> Word {
    pack_prefix_of(prefix, value, bit_length(value))
}

/// What an acquisition on the event path says beyond address, size and stack: a prefix each.
#[derive(Clone, Copy)]
struct Notes {
    flags: Flags,
    /// Where it is not what the size predicts.
    usable: Option<u64>,
}

impl Notes {
    /// Nothing.
    const NONE: Notes = Notes { flags: Flags::NONE, usable: None };
    /// Bytes of all prefixes of the event path: flags, stack, usable size.
    const MOST_BYTES: usize = 1 + 5 + MAX_WORD_BYTES;
}

/// A block was acquired from malloc, under whatever allocator.
#[inline(always)]
pub fn acquire(address: usize, size: usize, caller: Caller) {
    if (address & 15 == 0) & classes::is_known(size) {
        acquire_plain(address, size, caller);
    } else {
        slow::acquire_apart(address, size, Flags::NONE, caller, stack_pointer());
    }
}

/// A block was acquired from glibc's allocator, by malloc, calloc or realloc: what its size word says
/// goes on record too, unless its size predicts it.
///
/// # Safety
/// `address` is a live block of glibc's allocator.
#[inline(always)]
pub unsafe fn acquire_glibc(address: usize, size: usize, flags: Flags, caller: Caller) {
    // SAFETY: by the caller.
    let chunk = unsafe { live_block::glibc_word(address) };
    // One with a mapping of its own has more to say.
    let lane = if live_block::is_glibc_chunk(chunk) { mark() } else { None };
    let Some(lane) = lane else {
        return slow::acquire_apart(address, size, flags, caller, stack_pointer());
    };
    let usable = (chunk != live_block::glibc_chunk(size)).then_some(chunk as u64 - 8);
    // SAFETY: the lane is this thread's and marked as being written; the caller waits for its block.
    let stack = unsafe { stack::number(lane.last_stack.load(Relaxed), caller) };
    acquire_within(lane, address, size, Notes { flags, usable }, caller, Some(stack));
}

/// Size and address, and maybe another stack, are all that there is to say.
#[inline(always)]
fn acquire_plain(address: usize, size: usize, caller: Caller) {
    let Some(lane) = mark() else {
        return slow::acquire_apart(address, size, Flags::NONE, caller, stack_pointer());
    };
    let last_stack = lane.last_stack.load(Relaxed);
    if last_stack != 0 {
        // SAFETY: the lane is this thread's, and marked as being written.
        let same = unsafe { stack::is_still(last_stack, caller, lane.stack.load(Relaxed)) };
        if !same {
            let Caller { sp, bp } = caller;
            let lane = &raw const *lane as usize;
            // SAFETY: likewise, and the caller waits for its block.
            return unsafe { acquire_on_another_stack(lane, address, size, sp, bp) };
        }
    }
    acquire_within(lane, address, size, Notes::NONE, caller, None);
}

/// A block was acquired of which size and address are all that there is to say, but for the stack, which
/// is another than that before.
///
/// Apart, so that an unchanged stack costs no registers; but not rare: compiled with the hooks, for
/// speed, which is what `inline` is for.
///
/// # Safety
/// `lane` is this thread's lane, [marked](layout::BUSY) as being written, and `sp` and `bp` are the
/// registers of a call that has not returned.
#[inline]
pub unsafe extern "C" fn acquire_on_another_stack(
    lane: usize,
    address: usize,
    size: usize,
    sp: usize,
    bp: usize,
) {
    // SAFETY: by the caller; lanes stay mapped for good.
    let lane = unsafe { &*(lane as *const Lane) };
    let caller = Caller { sp, bp };
    // SAFETY: by the caller.
    let stack = unsafe { stack::number(lane.last_stack.load(Relaxed), caller) };
    acquire_within(lane, address, size, Notes::NONE, caller, Some(stack));
}

/// The event path on a lane that is marked as being written, up to where the mark is taken away.
/// `stack`: the call stack, unless it is that of the acquisition before.
#[inline(always)]
fn acquire_within(
    lane: &Lane,
    address: usize,
    size: usize,
    notes: Notes,
    caller: Caller,
    stack: Option<u32>,
) {
    let now = counter_stamp();
    let units = address as u64 >> 4;
    let side = half(address as u64);
    let step = zigzag(units.wrapping_sub(known(&lane.base[side])) as i64);
    let time_step = now.wrapping_sub(known(&lane.stamp));
    let word = pack_acquire(side, time_step, size as u64, step, bit_length(step));
    let mut cursor = lane.cursor().load(Relaxed);
    let prefixes = if stack.is_some() { Notes::MOST_BYTES } else { 0 };
    if !word.fits | !has_room(lane, cursor, prefixes) {
        return slow::acquire_within(lane, address, size, notes.flags, caller);
    }
    // The order is that of the general encoder.
    if !notes.flags.is_empty() {
        // SAFETY: the cursor is below the limit, also behind all prefixes.
        cursor = unsafe { put(lane, cursor, pack_flags(notes.flags)) };
    }
    if let Some(stack) = stack.filter(|stack| *stack != lane.stack.load(Relaxed)) {
        // SAFETY: likewise.
        cursor = unsafe { put(lane, cursor, pack_prefix(Prefix::Stack, stack.into())) };
        lane.stack.store(stack, Relaxed);
    }
    if let Some(usable) = notes.usable {
        // SAFETY: likewise.
        cursor = unsafe { put(lane, cursor, pack_prefix(Prefix::Usable, usable)) };
    }
    // SAFETY: likewise.
    unsafe { put(lane, cursor, word) };
    lane.stamp.store(now, Relaxed);
    lane.base[side].store(units, Relaxed);
    compiler_fence(SeqCst);
    lane.busy.store(0, Relaxed);
}

/// A block is about to be released.
#[inline(always)]
pub fn release(address: usize) {
    release_with(address, Flags::NONE);
}

/// A block is about to be released, with more to say.
#[inline(always)]
pub fn release_with(address: usize, flags: Flags) {
    let Some(lane) = mark() else { return slow::release_apart(address, flags, stack_pointer()) };
    let now = counter_stamp();
    let units = address as u64 >> 4;
    let side = half(address as u64);
    let step = zigzag(units.wrapping_sub(known(&lane.base[side])) as i64);
    let time_step = now.wrapping_sub(known(&lane.stamp));
    let word = pack_release(side, time_step, step, bit_length(step));
    let mut cursor = lane.cursor().load(Relaxed);
    let prefix = usize::from(!flags.is_empty());
    if !word.fits | (address & 15 != 0) | !has_room(lane, cursor, prefix) {
        return slow::release_within(lane, address, flags);
    }
    if !flags.is_empty() {
        // SAFETY: the cursor is below the limit, also behind this word.
        cursor = unsafe { put(lane, cursor, pack_flags(flags)) };
    }
    // SAFETY: likewise.
    unsafe { put(lane, cursor, word) };
    lane.stamp.store(now, Relaxed);
    lane.base[side].store(units, Relaxed);
    compiler_fence(SeqCst);
    lane.busy.store(0, Relaxed);
}

/// A block was acquired, with more to say than its size.
#[inline(always)]
pub fn acquire_with(block: &Acquire, caller: Caller) {
    slow::acquire_block_apart(block, caller, stack_pointer());
}

/// A cold event happened.
#[inline(always)]
pub fn cold(event: &Cold<'_>) {
    slow::cold_apart(event, stack_pointer());
}

/// Now, in the unit of [`timed`].
pub fn clock_reading() -> u64 {
    clock::reading()
}

/// A call of the allocator's took from `begun` until now.
pub fn timed(call: Call, begun: u64) {
    let ticks = clock::reading().saturating_sub(begun);
    slow::cold_apart(&Cold::Timed { call, ticks }, stack_pointer());
}

/// A call begins inside which the allocator may call itself by name: until the matching
/// [`end_compound`], which takes what this returns, block events are its own business.
#[inline(always)]
pub fn begin_compound() -> bool {
    slow::begin_compound(stack_pointer())
}

/// A call of an allocator's begins that is linked in, from a frame at `sp`: until the matching
/// [`end_compound`], which takes what this returns, [`in_call`] is true for deeper frames.
/// Blocks of others are still on record.
#[inline(always)]
pub fn begin_linked(sp: usize) -> bool {
    let Some(lane) = lane_of_thread() else { return slow::begin_linked_apart(sp) };
    let busy = lane.busy.load(Relaxed);
    if busy != 0 {
        return slow::begin_linked_apart(sp);
    }
    lane.busy.store(sp | LINKED, Relaxed);
    true
}

/// Whether a frame at `sp` is inside a call of an allocator's: what that does with its own blocks
/// is its own business.
#[inline(always)]
pub fn in_call(sp: usize) -> bool {
    lane_of_thread().is_some_and(|lane| {
        let busy = lane.busy.load(Relaxed);
        busy & (LINKED | COMPOUND) != 0 && sp < busy & !REASONS
    })
}

/// Whether the last event of this thread was about the block at this address.
pub fn is_last(address: usize) -> bool {
    let side = half(address as u64);
    lane_of_thread().is_some_and(|lane| {
        let last = match lane.base[side].load(Relaxed) {
            // A chunk begins afresh, but what was told is told.
            0 => lane.before[side].load(Relaxed),
            base => base,
        };
        last == address as u64 >> 4
    })
}

/// How far this thread's events on blocks reach: another number after each, and after nothing else.
/// A handler may map in the middle of a call.
pub fn reach() -> usize {
    lane_of_thread()
        .map_or(0, |lane| lane.cursor().load(Relaxed).wrapping_add(lane.apart.load(Relaxed)))
}

/// As [`begin_compound`], from a frame at `sp`.
#[inline(always)]
pub fn begin_compound_at(sp: usize) -> bool {
    slow::begin_compound(sp)
}

/// The call that [`begin_compound`] announced is over.
#[inline(always)]
pub fn end_compound(begun: bool) {
    if begun && let Some(lane) = lane_of_thread() {
        lane.busy.store(0, Relaxed);
    }
}
