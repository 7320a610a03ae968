//! What the allocator says of itself, asked at looks.
//!
//! Its functions take its locks, and a thread that holds one of them already would wait for
//! itself. So it is asked only where the call stack proves that none is held: the stack of a
//! block that has just come is whole down to where its thread began, no signal interrupted it,
//! none of its frames is in the allocator, and none in the C library but at its root (which has
//! an allocator's locks taken around fork, by handlers that are no frames of the stack). A child
//! of fork is not asked: locks of threads that it does not have may never be given back.

use super::MAX_COST_NS;
use crate::sync::Signals;
use crate::{clock, stack, sys};
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use fragtrace_format::record::{self, AllocatorView, Figure};

/// Figures that an allocator gives at most.
pub const MAX_FIGURES: usize = 6;
/// Asking costs at most this share of run time.
const COST_SHARE: u64 = 400;
/// So many times in a row it took too long, and it is asked no more.
const PATIENCE: u32 = 3;
/// The longest record.
pub(super) const MOST_BYTES: usize = 512;

/// How an allocator is asked what it says of itself.
#[derive(Debug, Clone)]
pub struct AskAllocator {
    /// Writes its figures, and returns how many they are. May take the allocator's locks; must
    /// not change errno.
    pub ask: unsafe fn(&mut [Figure<'static>; MAX_FIGURES]) -> usize,
    /// Where its code lies.
    pub code: Range<usize>,
    /// Where the C library lies.
    pub libc: Range<usize>,
}

static ASK: AtomicUsize = AtomicUsize::new(0);
static CODE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static LIBC: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// The process in which it may be asked.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// CLOCK_MONOTONIC from which on it is asked again.
static NEXT_NS: AtomicU64 = AtomicU64::new(0);
static TOO_LONG: AtomicU32 = AtomicU32::new(0);

/// From now on this allocator is asked.
pub(crate) fn ask_with(allocator: &AskAllocator) {
    let store = |place: &[AtomicUsize; 2], range: &Range<usize>| {
        place[0].store(range.start, Relaxed);
        place[1].store(range.end, Relaxed);
    };
    store(&CODE, &allocator.code);
    store(&LIBC, &allocator.libc);
    PROCESS.store(sys::process_id(), Relaxed);
    ASK.store(allocator.ask as usize, Relaxed);
}

/// What was said at one look.
#[derive(Default)]
pub(super) struct View {
    figures: [Figure<'static>; MAX_FIGURES],
    count: usize,
    stamp: u64,
}

impl View {
    /// Asks, if it is time and safe. `stack`: the call stack of a block that has just come.
    pub(super) fn ask(stack: Option<u32>, now_ns: u64) -> View {
        let mut view = View::default();
        let ask = ASK.load(Relaxed);
        let Some(stack) = stack.filter(|_| ask != 0) else { return view };
        if now_ns < NEXT_NS.load(Relaxed) || TOO_LONG.load(Relaxed) >= PATIENCE || !is_safe(stack) {
            return view;
        }
        // SAFETY: `ask_with` stored a function of this type.
        let ask: unsafe fn(&mut [Figure<'static>; MAX_FIGURES]) -> usize =
            unsafe { core::mem::transmute(ask) };
        let begun_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        // A handler would find the allocator's locks taken, where none was without us.
        let signals = Signals::block();
        view.stamp = clock::stamp();
        // SAFETY: this thread holds no lock of the allocator's: `is_safe` argues why.
        view.count = unsafe { ask(&mut view.figures) }.min(MAX_FIGURES);
        drop(signals);
        let cost_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(begun_ns);
        NEXT_NS.store(now_ns.saturating_add(cost_ns * COST_SHARE), Relaxed);
        match cost_ns > MAX_COST_NS / 2 {
            true => TOO_LONG.fetch_add(1, Relaxed),
            false => TOO_LONG.swap(0, Relaxed),
        };
        view
    }

    /// Writes the record, if there is one; the bytes that it takes.
    pub(super) fn encode(&self, out: &mut [u8]) -> usize {
        let Some(figures) = self.figures.get(..self.count).filter(|all| !all.is_empty()) else {
            return 0;
        };
        let head = AllocatorView { stamp: self.stamp, figures: figures.len() as u32 };
        let mut end = record::encode(&head, out).unwrap_or(0);
        for figure in figures {
            let Some(len) = record::encode(figure, &mut out[end..]) else { return 0 };
            end += len;
        }
        end
    }
}

fn is_safe(stack: u32) -> bool {
    let range =
        |place: &[AtomicUsize; 2]| place[0].load(Relaxed) as u64..place[1].load(Relaxed) as u64;
    PROCESS.load(Relaxed) == sys::process_id()
        && stack::is_clear(stack, &range(&CODE), &range(&LIBC))
}
