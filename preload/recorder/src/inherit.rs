//! Recording in a child of fork: it goes on from what its parent had recorded.
//!
//! A child finds its lanes wiped by the kernel at its first event. Then it takes over: it gets a
//! file of its own, which begins as a [copy](crate::file::inherit) of its parent's, and the
//! recorder's memory, which the fork copied as well, is set right for it. What happens first in
//! a child that execs soon is as little as that; one without events does not even begin.
//!
//! **Exact.** How far each lane was written stands in memory that the fork copied
//! ([`Kept`](crate::lane)), at the moment at which it copied the heap; what the parent's threads
//! wrote behind that is cut off. A C library that holds its allocator's locks over fork has the
//! heap at rest at that moment, but for what other threads had for themselves: no block of
//! theirs is ever given out again in the child.
//!
//! The parent's lanes stay as they are, readable and foldable; the child's threads get others.
//! A ring that goes round quickly may have folded what is newer than the fork before the child
//! took over. Then the heap at the fork is lost: the child's trace begins with nothing, and says
//! so.

use crate::config::Config;
use crate::file::{self, Names};
use crate::text::Text;
use crate::{classes, clock, describe, fold, lane, look, pools, process, ring, stack, sys};
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use fragtrace_format::header::{End, MAGIC, limit};

/// The most that a file's name may have.
const NAME_ROOM: usize = 256;

/// How long folds are put off around a fork: on most machines some 30 ms.
const CALM: u64 = 1 << 21;

/// A child that takes more chunks than this before it execs did something worth telling.
const FEW_CHUNKS: u64 = 2;

/// What is remembered of the configuration.
struct Origin {
    children: bool,
    /// The last part of the pattern of paths.
    pattern: Text<NAME_ROOM>,
}

struct Guarded(UnsafeCell<Origin>);

// SAFETY: written when the process starts, before there are other threads, and read after that.
unsafe impl Sync for Guarded {}

static ORIGIN: Guarded = Guarded(UnsafeCell::new(Origin { children: false, pattern: Text::new() }));
/// Lanes up to this number are a parent's.
static LANES: AtomicU32 = AtomicU32::new(0);
/// Chunks that the parent had taken.
static CHUNKS: AtomicU64 = AtomicU64::new(0);
/// The trace was removed.
static REMOVED: AtomicBool = AtomicBool::new(false);

/// Remembers what a child of fork will need. Once, as the process starts.
pub(crate) fn remember(config: &Config) {
    // SAFETY: by the caller.
    let origin = unsafe { &mut *ORIGIN.0.get() };
    origin.children = config.children;
    let pattern = file::pattern(config);
    origin.pattern.push(pattern.rsplit(|byte| *byte == b'/').next().unwrap_or(pattern));
}

/// The process is about to fork: for a moment its ring stays as it is, so that the child finds
/// it so.
pub fn fork_follows() {
    if process::recording() {
        let until = clock::stamp() + CALM;
        file::header().fork.calm_until.store(until, Relaxed);
    }
}

/// Lanes up to this number are a parent's, written no more.
pub(crate) fn lanes() -> u32 {
    LANES.load(Relaxed)
}

/// Whether this is a child of fork that did little so far, on one thread. It is about to exec: what
/// it was forked for. Then its trace is removed.
pub(crate) fn came_to_nothing() -> bool {
    let taken = file::header().chunks_taken.load(Relaxed) - CHUNKS.load(Relaxed);
    let nothing = lanes() > 0 && taken <= FEW_CHUNKS && lane::count() == lanes() + 1;
    nothing && (REMOVED.load(Relaxed) || remove())
}

fn remove() -> bool {
    let removed = file::remove();
    REMOVED.store(removed, Relaxed);
    removed
}

/// There was no exec: a trace that was removed is made again. False: it cannot be.
pub(crate) fn come_back() -> bool {
    !REMOVED.swap(false, Relaxed) || file::make_again(ring::taken_bytes())
}

/// In a child of fork: takes over what the parent recorded. False: it is not recorded.
pub(crate) fn take_over() -> bool {
    if sys::forbidden() {
        return false;
    }
    // A handler that allocates would find all this half done.
    let signals = sys::block_signals();
    let done = take_over_undisturbed();
    if let Some(signals) = signals {
        sys::restore_signals(signals);
    }
    done
}

fn take_over_undisturbed() -> bool {
    // SAFETY: nobody writes it any more.
    let origin = unsafe { &*ORIGIN.0.get() };
    let parent = file::header().pid.load(Relaxed);
    if !origin.children {
        return false;
    }
    let Some(copied) = copy_file(origin) else { return false };
    let header = file::header();
    header.pid.store(sys::process_id(), Relaxed);
    header.end.store(End::Open.to_word(), Relaxed);
    for figure in [
        &header.looks,
        &header.dropped_looks,
        &header.list_cycles,
        &header.scan_cycles,
        &header.slow_path_stamps,
        &header.control,
        &header.fork.calm_until,
        &header.fork.copied_until,
    ] {
        figure.store(0, Relaxed);
    }
    REMOVED.store(false, Relaxed);
    LANES.store(lane::count(), Relaxed);
    CHUNKS.store(header.chunks_taken.load(Relaxed), Relaxed);
    let Some(whole) = ring::inherit(copied) else {
        file::remove();
        return false;
    };
    keep_gaps(whole);
    fold::inherit(whole);
    classes::inherit();
    stack::inherit();
    let now = clock::stamp();
    header.fork.lanes.store(lanes().into(), Relaxed);
    header.fork.threads.store(header.threads.load(Relaxed), Relaxed);
    header.fork.parent.store(parent.into(), Relaxed);
    header.fork.stamp.store(now, Relaxed);
    header.magic.store(u64::from_le_bytes(MAGIC), Release);
    look::inherit();
    pools::inherit();
    true
}

/// What limited the parent's recording is none of the child's business, but for what is missing
/// in the history that it begins with.
fn keep_gaps(whole: bool) {
    let header = file::header();
    if !whole {
        header.dropped_events.store(0, Relaxed);
        header.limits.fetch_or(limit::INHERITANCE, Relaxed);
    }
    if header.dropped_events.load(Relaxed) == 0 {
        header.limits.fetch_and(limit::CGROUP | limit::INHERITANCE, Relaxed);
    }
}

/// Beside the parent's file, by the same pattern. What [`file::inherit`] says.
fn copy_file(origin: &Origin) -> Option<bool> {
    let mut exe = Text::<256>::new();
    describe::executable_name(&mut exe);
    let machine = sys::machine();
    let names = Names {
        pid: sys::process_id(),
        exe: exe.bytes(),
        host: describe::c_bytes(&machine.nodename),
        start_unix_s: sys::clock_ns(libc::CLOCK_REALTIME) / 1_000_000_000,
    };
    file::inherit(origin.pattern.bytes(), &names, ring::taken_bytes())
}
