//! Which thread has which lane: how lanes come to threads, and go back when these end.

use super::slow::cold_within;
use super::{Lane, MAX_LANES, STORING, lane_of_thread};
use crate::arch::{set_thread_lane, set_thread_number, stack_pointer, thread_number};
use crate::clock::stamp;
use crate::sync::Signals;
use crate::{file, process, stack, sys, text};
use core::sync::atomic::Ordering::{AcqRel, Acquire as Acquiring, Relaxed, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, compiler_fence};
use fragtrace_format::header::limit;
use fragtrace_format::record::Cold;

/// Lanes that were ever handed out.
static LANES: AtomicU32 = AtomicU32::new(0);
/// Head of the list of free lanes: number in the low half, a count against ABA above.
static FREE: AtomicU64 = AtomicU64::new(0);

/// Lanes handed out so far: the most threads (and handlers) that wrote at the same time.
pub(crate) fn count() -> u32 {
    LANES.load(Relaxed)
}

/// This thread's lane, if it has one or can get one: in a child of fork only after that has
/// taken over what its parent recorded.
pub(super) fn lane_here() -> Option<&'static Lane> {
    if process::is_forked() {
        set_thread_lane(0);
        set_thread_number(0);
        FREE.store(0, Relaxed);
        process::take_over();
    }
    lane_of_thread().or_else(attach)
}

/// Gives this thread its lane before its first event, and in a child of fork takes over what its
/// parent recorded.
pub(crate) fn begin() {
    if process::ready() {
        lane_here();
    }
}

/// This thread writes no more.
pub(crate) fn forget() {
    set_thread_lane(0);
}

/// The lane of a thread that was about to become another program; 0 = of none.
static WATCHED: AtomicUsize = AtomicUsize::new(0);

/// This thread is about to become another program: should it write on, [`find_out`] is called.
pub(crate) fn watch() {
    if let Some(lane) = lane_of_thread() {
        WATCHED.store(lane as *const Lane as usize, Relaxed);
        lane.limit.store(0, Relaxed);
    }
}

/// An event took the slow way, or the process ends.
#[inline]
pub(crate) fn find_out() {
    let watched = WATCHED.load(Relaxed);
    if watched != 0 && lane_of_thread().is_some_and(|lane| lane as *const Lane as usize == watched)
    {
        WATCHED.store(0, Relaxed);
        process::no_exec_came();
    }
}

/// Another lane for the thread of this one, which is left to itself.
pub(super) fn replace(lane: &Lane) -> Option<&'static Lane> {
    let next = obtain()?;
    hand_over(next, lane.thread.load(Relaxed), lane.tid.load(Relaxed));
    set_thread_lane(next as *const Lane as usize);
    Some(next)
}

/// Makes a lane that nobody else knows a thread's, and says so on it.
fn hand_over(lane: &Lane, thread: u32, tid: u32) {
    if lane.thread.swap(thread, Relaxed) != thread {
        // SAFETY: nobody else knows the lane, and nobody writes to it yet.
        unsafe { stack::forget(lane.last_stack.load(Relaxed)) };
        lane.tid.store(tid, Relaxed);
        announce(lane);
    }
}

/// The lane for events that interrupt this one's.
pub(super) fn deeper(lane: &Lane) -> Option<&'static Lane> {
    let known = lane.deeper.load(Relaxed);
    if known != 0 {
        // SAFETY: set below, to a lane.
        return Some(unsafe { &*(known as *const Lane) });
    }
    let next = obtain()?;
    hand_over(next, lane.thread.load(Relaxed), lane.tid.load(Relaxed));
    lane.deeper.store(next as *const Lane as usize, Relaxed);
    Some(next)
}

/// For the folder: where a lane's next event goes.
pub(crate) fn cursor(number: u32) -> usize {
    lane_at(number).cursor().load(Acquiring)
}

/// For the folder: the first chunk of a lane; 0 = none yet.
pub(crate) fn first_chunk(number: u32) -> u32 {
    lane_at(number).first.load(Acquiring)
}

/// In a child of fork: how far a lane of the parent's was written, 0 = it never was, and the
/// number of its open chunk among all that were ever taken.
pub(crate) fn inherited(number: u32) -> (usize, u64) {
    let kept = lane_at(number).kept();
    (kept.cursor.load(Relaxed), kept.sequence.load(Relaxed))
}

/// In a child of fork: nothing of a lane of the parent's is kept.
pub(crate) fn disinherit(number: u32) {
    lane_at(number).cursor().store(0, Relaxed);
}

/// In a child of fork: a lane of the parent's stays as it is, for the folder. Where the number of
/// its first chunk goes.
pub(crate) fn adopt(number: u32) -> &'static AtomicU32 {
    let lane = lane_at(number);
    lane.index.store(number, Relaxed);
    &lane.first
}

pub(super) fn lane_at(number: u32) -> &'static Lane {
    let address = file::lanes_start() + (number as usize - 1) * size_of::<Lane>();
    // SAFETY: numbers from 1 to MAX_LANES lie in the mapping that `process` made for lanes,
    // zeroed and never unmapped; lanes are atomics throughout.
    unsafe { &*(address as *const Lane) }
}

/// A lane that nobody has: one given back, or a new one.
pub(super) fn obtain() -> Option<&'static Lane> {
    loop {
        let head = FREE.load(Acquiring);
        let number = head as u32;
        if number == 0 {
            break;
        }
        let lane = lane_at(number);
        let next = (head >> 32).wrapping_add(1) << 32 | lane.next_free.load(Relaxed) as u64;
        if FREE.compare_exchange(head, next, AcqRel, Relaxed).is_ok() {
            return Some(lane);
        }
    }
    let number = LANES.fetch_add(1, Relaxed) + 1;
    if number as usize > MAX_LANES {
        LANES.fetch_sub(1, Relaxed);
        file::header().limits.fetch_or(limit::LANES, Relaxed);
        return None;
    }
    let lane = lane_at(number);
    lane.index.store(number, Relaxed);
    lane.last_stack.store(stack::memory_of(number), Relaxed);
    Some(lane)
}

/// Gives a lane back, with its open chunk: the next thread goes on writing there.
fn give_back(lane: &Lane) {
    lane.busy.store(0, Relaxed);
    let number = lane.index.load(Relaxed);
    loop {
        let head = FREE.load(Acquiring);
        lane.next_free.store(head as u32, Relaxed);
        let next = (head >> 32).wrapping_add(1) << 32 | number as u64;
        if FREE.compare_exchange(head, next, AcqRel, Relaxed).is_ok() {
            return;
        }
    }
}

/// Gives this thread a lane: for good, or for one event if the thread is about to end.
fn attach() -> Option<&'static Lane> {
    if !process::recording() {
        return None;
    }
    // A handler's first event in the middle of this would take the thread's number.
    let _signals = Signals::block();
    let lane = obtain()?;
    let known = thread_number();
    let thread = match known {
        0 => file::header().threads.fetch_add(1, Relaxed) as usize + 1,
        known => known,
    };
    set_thread_number(thread);
    lane.borrowed.store((known != 0) as u32, Relaxed);
    hand_over(lane, thread as u32, sys::thread_id());
    set_thread_lane(lane as *const Lane as usize);
    if known == 0 {
        process::call_at_thread_exit(lane as *const Lane as usize);
    }
    Some(lane)
}

/// Says whose events follow on the lane.
fn announce(lane: &Lane) {
    let name = sys::thread_name();
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let event = Cold::Thread {
        thread: lane.thread.load(Relaxed),
        tid: lane.tid.load(Relaxed),
        name: text::valid_utf8(&name[..len]),
    };
    lane.busy.store(stack_pointer() | STORING, Relaxed);
    compiler_fence(SeqCst);
    cold_within(lane, stamp(), &event);
    compiler_fence(SeqCst);
    lane.busy.store(0, Relaxed);
}

/// Takes a thread's lane away again.
pub(super) fn detach(lane: &Lane) {
    set_thread_lane(0);
    let mut next = lane.deeper.swap(0, Relaxed);
    while next != 0 {
        // SAFETY: set by `deeper`, to a lane.
        let deeper = unsafe { &*(next as *const Lane) };
        next = deeper.deeper.swap(0, Relaxed);
        give_back(deeper);
    }
    give_back(lane);
}

/// The thread ends: its lane goes to whoever needs one next. Events may still come, from
/// destructors that run later; each borrows a lane.
pub(crate) fn thread_exits() {
    let Some(lane) = lane_of_thread() else { return };
    if lane.index.load(Relaxed) == 0 || lane.busy.load(Relaxed) != 0 {
        return;
    }
    // By now the thread has the name that it goes by.
    announce(lane);
    detach(lane);
}
