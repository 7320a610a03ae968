//! Looks: readings of the kernel's view of the process, taken now and then by whichever
//! thread finds that one is due.
//!
//! A look is never waited for: one thread takes it, the others go on. The time to the next
//! grows with the cost of the last, so that looks stay below 1 % of run time.

mod heaps;
pub(crate) mod maps;
mod pages;
mod scratch;
mod status;
mod view;

use crate::config::Config;
use crate::halves::Halves;
use crate::sync::TryLock;
use crate::{classes, clock, file, fold, lane, pools, process, ring, stack, sys};
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use fragtrace_format::header::{Area, HEADER_BYTES, control};
use fragtrace_format::record::{self, AllocatorView, Look, LookCause, LookPart};
use maps::{Listed, Maps};
use pages::{Pages, Room};
use scratch::Scratch;
use status::{read_rollup, read_status};
use view::View;

pub(crate) use view::ask_with as ask_allocator_with;
pub use view::{AskAllocator, MAX_FIGURES};

/// Looks have 1/16 of the ring's size, and room for a few in any case.
const RING_SHARE: u64 = 16;
const MIN_BYTES: u64 = 256 << 10;
const MAX_BYTES: u64 = 1 << 30;
/// Looks take at most this share of run time by themselves. What they leave of the caches costs the
/// program as well, which no clock of theirs tells; all must stay under a hundredth.
const COST_SHARE: u64 = 150;
/// A look takes at most about this much of its thread's time, but for the last one.
const MAX_COST_NS: u64 = 1_000_000;
/// Time for pages in a look. The last one goes over all of them, as far as this suffices.
const PAGES_NS: u64 = 600_000;
const LAST_PAGES_NS: u64 = 200_000_000;
/// Where looks do not reach as far back as events, the time between them grows up to this.
const MAX_INTERVAL_NS: u64 = 10_000_000_000;

/// What a look takes beside its pages and the list of mappings comes before them; so these get what
/// is left of [`MAX_COST_NS`], and this much in any case.
const LEAST_PAGES_NS: u64 = 100_000;

/// The longest `Look` without what follows it.
const LOOK_BYTES: usize = 256;
/// What follows its scans, at most: the allocator's view, and parts.
const REST_BYTES: usize = view::MOST_BYTES + PARTS_BYTES;
const PARTS_BYTES: usize = 4096;

static HALVES: Halves = Halves::new(Area::Looks);
static LOCK: TryLock = TryLock::new();
static LOOKER: Guarded = Guarded(UnsafeCell::new(Looker::NEW));
/// Stamp from which the next look is due; `u64::MAX` = none is.
static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);
static INTERVAL_NS: AtomicU64 = AtomicU64::new(0);
static SCRATCH_TOUCHED: AtomicUsize = AtomicUsize::new(0);
static IMAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
static CURRENT_BRK: AtomicUsize = AtomicUsize::new(0);
static HEAPS_ARE_GLIBCS: AtomicBool = AtomicBool::new(false);

struct Guarded(UnsafeCell<Looker>);

// SAFETY: reached only in `take`, under the lock.
unsafe impl Sync for Guarded {}

/// What is remembered from look to look.
struct Looker {
    /// Least time between two looks, as it is now.
    interval_ns: u64,
    /// Stamp of the first look in the half that is written.
    half_began: u64,
    /// A look was taken.
    begun: bool,
    /// The next look must say all.
    afresh: bool,
    /// Its thread's processor time when the look began.
    begun_cpu_ns: u64,
    /// It came to the end of the list of mappings.
    list_ended: bool,
    maps: Maps,
    pages: Pages,
}

/// Makes room for the first looks. False: there is none.
pub(crate) fn reserve(ring_bytes: u64) -> bool {
    let bytes = (ring_bytes / RING_SHARE).clamp(MIN_BYTES, MAX_BYTES);
    HALVES.bound(bytes, &file::header().looks_half_bytes);
    HALVES.reserve()
}

/// What looks need to know of the process beyond the kernel.
pub(crate) fn know(image_bytes: usize, current_brk: Option<*const usize>, glibc: bool) {
    HEAPS_ARE_GLIBCS.store(glibc, Relaxed);
    IMAGE_BYTES.store(image_bytes, Relaxed);
    CURRENT_BRK.store(current_brk.map_or(0, |at| at as usize), Relaxed);
}

/// Takes the first look and sets when the next is due.
pub(crate) fn start(config: &Config) {
    INTERVAL_NS.store(config.look_ms.saturating_mul(1_000_000), Relaxed);
    take(LookCause::Start, None);
}

/// In a child of fork: forgets what the parent's looks remembered.
pub(crate) fn inherit() {
    NEXT.store(u64::MAX, Relaxed);
    // SAFETY: the child begins with one thread, and no looks are taken yet.
    unsafe { *LOOKER.0.get() = Looker::NEW };
    LOCK.leave();
}

/// In a child of fork: takes its first look.
pub(crate) fn begin_again() {
    take(LookCause::Start, None);
}

/// Has a look taken as soon as can be, unless none but the first and last are wanted.
pub(crate) fn soon() {
    if INTERVAL_NS.load(Relaxed) > 0 {
        NEXT.store(0, Relaxed);
    }
}

/// Takes a look when one is due. Called between events, outside the allocator. `stack`: the call
/// stack of a block that has just come, on a thread that is amid no other call that is known.
pub(crate) fn if_due(now: u64, stack: Option<u32>) {
    if now >= NEXT.load(Relaxed) {
        take(LookCause::Due, stack);
    } else if file::header().control.load(Relaxed) & control::LOOK_NOW != 0 {
        file::header().control.fetch_and(!control::LOOK_NOW, Relaxed);
        take(LookCause::Asked, stack);
    }
}

/// Takes the last look.
pub(crate) fn take_last() {
    take(LookCause::Exit, None);
}

fn take(cause: LookCause, stack: Option<u32>) {
    if !process::recording() || sys::forbidden() {
        return;
    }
    // A handler that jumps out of the middle would leave it taken for good, and there would be no
    // further look.
    let Some(_held) = LOCK.try_take_uninterrupted() else { return };
    // SAFETY: the lock is held.
    let looker = unsafe { &mut *LOOKER.0.get() };
    let begun = clock::stamp();
    let begun_ns = sys::clock_ns(libc::CLOCK_MONOTONIC);
    looker.begun_cpu_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    let header = file::header();
    if looker.look(cause, begun, begun_ns, stack) {
        header.looks.fetch_add(1, Relaxed);
    } else {
        header.dropped_looks.fetch_add(1, Relaxed);
    }
    process::note_clock();
    let cost = clock::stamp().saturating_sub(begun);
    let length_ns = sys::clock_ns(libc::CLOCK_MONOTONIC).saturating_sub(begun_ns);
    // What others did on a busy machine in the middle of it was no cost.
    let cpu_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(looker.begun_cpu_ns);
    header.slow_path_stamps.fetch_add(cost, Relaxed);
    if looker.interval_ns == 0 {
        return;
    }
    // Stamps and nanoseconds of this very look give the unit.
    let wait_ns = looker.interval_ns.max(cpu_ns.min(length_ns) * COST_SHARE);
    let wait = (wait_ns as u128 * cost.max(1) as u128 / length_ns.max(1) as u128) as u64;
    NEXT.store(begun.saturating_add(wait), Relaxed);
}

/// Stamp from which on events are kept.
fn window_start() -> u64 {
    let header = file::header();
    match header.folds.load(Relaxed) {
        0 => header.clock_start.stamp.load(Relaxed),
        folds => header.cuts[(folds & 1) as usize].stamp(),
    }
}

impl Looker {
    const NEW: Looker = Looker {
        interval_ns: 0,
        half_began: 0,
        begun: false,
        afresh: true,
        begun_cpu_ns: 0,
        list_ended: false,
        maps: Maps::NEW,
        pages: Pages::NEW,
    };

    /// Takes a look and puts it on record. False: there is no room.
    fn look(&mut self, cause: LookCause, now: u64, now_ns: u64, stack: Option<u32>) -> bool {
        if !core::mem::replace(&mut self.begun, true) {
            self.interval_ns = INTERVAL_NS.load(Relaxed);
            self.half_began = now;
        }
        let scratch = &mut Scratch::new();
        // Before the list of mappings is read: what the allocator maps to answer is in it then.
        let view = View::ask(stack, now_ns);
        let mut look = Look { stamp: now, monotonic_ns: now_ns, cause, ..Look::default() };
        read_status(scratch.text, &mut look);
        look.brk_end = current_brk();
        let cursor = if cause == LookCause::Exit { 0 } else { self.pages.cursor() };
        for first in [true, false] {
            self.pages.go_back(cursor);
            let payload = self.compose(&mut look, &view, first, scratch);
            let len = payload.len();
            SCRATCH_TOUCHED.fetch_max(len.next_multiple_of(4096) + (96 << 10), Relaxed);
            match HALVES.has_room(len) {
                Some(true) => {
                    let written = HALVES.append(&scratch.out[payload]);
                    // What is not on record was not told.
                    self.afresh = !written;
                    if written {
                        self.count_cycles(&look);
                    }
                    return written;
                }
                Some(false) if HALVES.begin_other_half() => {
                    self.spread(now);
                    self.afresh = true;
                }
                _ => break,
            }
        }
        self.afresh = true;
        false
    }

    /// Whoever waits until all was looked at reads it off the header.
    fn count_cycles(&self, look: &Look) {
        let header = file::header();
        header.list_cycles.fetch_add(self.list_ended.into(), Relaxed);
        header.scan_cycles.fetch_add(look.scans_end.into(), Relaxed);
    }

    /// A half is full: where looks reach less far back than events, or much further, the next
    /// half is filled more slowly, or more quickly.
    fn spread(&mut self, now: u64) {
        let reach = now.saturating_sub(self.half_began);
        let events_reach = now.saturating_sub(window_start());
        let least = INTERVAL_NS.load(Relaxed);
        if reach < events_reach {
            self.interval_ns = (self.interval_ns * 2).min(MAX_INTERVAL_NS.max(least));
        } else if reach / 4 > events_reach {
            self.interval_ns = (self.interval_ns / 2).max(least);
        }
        self.half_began = now;
    }

    /// Writes a look's record to `scratch.out`; where its payload lies there. `first`: it is tried
    /// for the first time.
    fn compose(
        &mut self,
        look: &mut Look,
        view: &View,
        first: bool,
        scratch: &mut Scratch,
    ) -> Range<usize> {
        look.afresh = self.afresh;
        if self.afresh {
            self.maps.forget();
            self.pages.forget();
        }
        let mut end = LOOK_BYTES;
        // Mappings take most of a half, and pages what is left: all fits into one.
        let most = (HALVES.half_bytes() as usize).min(scratch.out.len()) - LOOK_BYTES - REST_BYTES;
        let last = look.cause == LookCause::Exit;
        let listed = self.maps.read(scratch.text, last, |change| {
            let len = record::encode(change, &mut scratch.out[end..most / 4 * 3]);
            end += len.unwrap_or(0);
            len.is_some()
        });
        if self.maps.code_changed() {
            stack::code_changed();
        }
        look.changes = listed.map_or(0, |listed| listed.changes);
        self.list_ended = listed.is_some_and(|listed| listed.to == u64::MAX);
        if listed.is_none() {
            // What was written of the list is left out again.
            end = LOOK_BYTES;
        }
        // It walks over all mappings, which are too many for one look here.
        if first && (last || !self.maps.takes_several_looks()) {
            read_rollup(scratch.text, look);
        }
        let now_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        let left_ns = (self.begun_cpu_ns + MAX_COST_NS).saturating_sub(now_ns);
        let time_ns = left_ns.clamp(LEAST_PAGES_NS, PAGES_NS);
        let deadline_ns = now_ns + if last { LAST_PAGES_NS } else { time_ns };
        let Scratch { regions, tiles, out, .. } = scratch;
        let mut room = Room { regions, tiles, out: &mut out[end..most] };
        let (scans, bytes) = self.pages.scan(self.maps.known(), &mut room, deadline_ns);
        (look.scans, look.page_source) = (scans, self.pages.source());
        let end = end + bytes;
        let bytes = self.encode_rest(view, listed, &mut scratch.out[end..end + REST_BYTES]);
        look.scans_end = scans > 0 && self.pages.cursor() == 0;
        look.tracer_resident = self.resident_bytes();
        look.cost_stamps = clock::stamp().saturating_sub(look.stamp);
        // The look itself comes last, as it says what follows it, and goes in front.
        let mut head = [0; LOOK_BYTES];
        let len = record::encode(look, &mut head).unwrap_or(0);
        scratch.out[LOOK_BYTES - len..LOOK_BYTES].copy_from_slice(&head[..len]);
        LOOK_BYTES - len..end + bytes
    }

    /// Writes what follows the scans of a look: the allocator's view, which part of the list of
    /// mappings was read, if that was not all of it, and what is new of arenas' heaps in there.
    fn encode_rest(&mut self, view: &View, listed: Option<Listed>, out: &mut [u8]) -> usize {
        let (start, mut end) = (view::MOST_BYTES, view::MOST_BYTES);
        let (from, to) = listed.map_or((0, 0), |listed| (listed.from, listed.to));
        if (from, to) != (0, u64::MAX) {
            let mappings = listed.map_or(0, |listed| listed.mappings);
            let part = LookPart::Listed { from, to, mappings };
            end += record::encode(&part, &mut out[end..]).unwrap_or(0);
        }
        if HEAPS_ARE_GLIBCS.load(Relaxed) {
            end += heaps::tell(self.maps.last_read(), &mut self.pages, &mut out[end..]);
        }
        let mut len = view.encode(&mut out[..start]);
        if len == 0 && start < end {
            // Parts come behind a view, so there is one without figures.
            len = record::encode(&AllocatorView::default(), out).unwrap_or(0);
        }
        out.copy_within(start..end, len);
        len + end - start
    }

    /// Our own pages in the process's resident set: files and lanes as accounted for, the
    /// library's image taken as wholly touched.
    fn resident_bytes(&self) -> u64 {
        let header_bytes = (HEADER_BYTES + file::DESCRIPTION_BYTES) as u64;
        // What is kept of lanes lies apart.
        let lanes = 2 * (lane::count() as u64 * 256).next_multiple_of(4096) + 4096;
        header_bytes
            + lanes
            + HALVES.resident_bytes()
            + self.maps.resident_bytes()
            + self.pages.resident_bytes()
            + SCRATCH_TOUCHED.load(Relaxed) as u64
            + ring::resident_bytes()
            + fold::resident_bytes()
            + classes::resident_bytes()
            + pools::resident_bytes()
            + stack::resident_bytes(lane::count())
            + IMAGE_BYTES.load(Relaxed) as u64
    }
}

fn current_brk() -> Option<u64> {
    let at = CURRENT_BRK.load(Relaxed);
    if at == 0 {
        return None;
    }
    // SAFETY: the address of glibc's `__curbrk`, a word that lives as long as libc.
    let end = unsafe { (at as *const usize).read_volatile() };
    (end != 0).then_some(end as u64)
}
