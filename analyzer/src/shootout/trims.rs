//! Calls by which a program has its allocator give back what is free: malloc_trim of glibc,
//! `arena.N.purge` by jemalloc's mallctl. No hook sees them, but what they do: between two looks
//! free pages are gone, and next to none are left.
//!
//! In glibc nothing else takes pages from the middle of a heap: by itself it gives back tops only,
//! and of these it keeps a rest.
//! jemalloc purges by time too, but seldom most of what is free in one go; and where it does, to be told
//! to do so makes no difference. Its calls of madvise are on record, so no look is waited for: those that a
//! thread makes without a block coming or going between them are one go. jemalloc's own threads, which do
//! nothing else, are left out, and so is what comes with the end of a thread, whose arena it purges.

use crate::replay::{AddressSpace, Kind, TILE_BYTES};
use fragtrace_shootout_driver::script::Trim;

/// Less than this says nothing.
const LEAST_BYTES: u64 = 64 << 10;
/// For jemalloc, which purges a little all the time.
const LEAST_PURGED_BYTES: u64 = 1 << 20;
/// So much of what was free may be left: pages that are free by now, and those that thread
/// caches hold.
const LEFT_SHARE: u64 = 8;
/// jemalloc's caches hold whole slabs: a third as much as redis has given back after FLUSHALL.
const LEFT_SHARE_OF_PURGED: u64 = 2;

/// Finds these calls.
#[derive(Debug)]
pub(super) struct Trims {
    /// Which allocator's calls are looked for.
    way: Option<Trim>,
    /// What calls of madvise in a row took from the heap, and the lane that made them.
    advised_bytes: u64,
    lane: u32,
    /// Whether it may have been for another reason.
    is_excused: bool,
    /// Where the brk segment ended at the last look.
    brk_end: Option<u64>,
}

impl Trims {
    pub fn new(way: Option<Trim>) -> Trims {
        Trims { way, advised_bytes: 0, lane: 0, is_excused: false, brk_end: None }
    }

    /// So much of the footprint went with an event of a thread that is not the allocator's own.
    pub fn gave_back(&mut self, lane: u32, bytes: u64) {
        if self.lane != lane {
            (self.lane, self.advised_bytes) = (lane, 0);
        }
        self.advised_bytes += bytes;
    }

    /// The call that there was before a block comes or goes on this lane.
    #[inline]
    pub fn goes_on(&mut self, lane: u32, space: &AddressSpace) -> Option<Trim> {
        if self.advised_bytes == 0 || self.lane != lane {
            return None;
        }
        let advised_bytes = std::mem::take(&mut self.advised_bytes);
        let may_be = self.way == Some(Trim::Jemalloc) && !self.is_excused;
        if !may_be || advised_bytes < LEAST_PURGED_BYTES {
            return None;
        }
        let (_, left_bytes) = free_pages(space, &[Kind::Segment]);
        (left_bytes <= advised_bytes / LEFT_SHARE_OF_PURGED).then_some(Trim::Jemalloc)
    }

    /// A thread ends: jemalloc purges an arena that nobody uses any more by itself.
    pub fn thread_ends(&mut self) {
        self.is_excused = true;
    }

    /// The call that there was since the look before, of glibc. `held_bytes`: the footprint before
    /// this look was taken in.
    pub fn look(
        &mut self,
        held_bytes: u64,
        brk_end: Option<u64>,
        space: &AddressSpace,
    ) -> Option<Trim> {
        self.is_excused = false;
        let lost_bytes = held_bytes.saturating_sub(space.footprint_bytes());
        let brk_moved = brk_end != std::mem::replace(&mut self.brk_end, brk_end);
        let is_found = match self.way {
            Some(Trim::Glibc) if lost_bytes >= LEAST_BYTES => {
                let (gone_bytes, left_bytes) = free_pages(space, &[Kind::Brk, Kind::Arena]);
                gone_bytes >= lost_bytes / 2 && left_bytes <= lost_bytes / LEFT_SHARE
            }
            Some(Trim::Glibc) if brk_moved && brk_end.is_some_and(|end| is_cut_off(end, space)) => {
                let (_, left_bytes) = free_pages(space, &[Kind::Brk, Kind::Arena]);
                left_bytes <= LEAST_BYTES
            }
            _ => false,
        };
        self.way.filter(|_| is_found)
    }
}

/// Whether the brk segment ends on the page on which its last block does. By itself glibc leaves
/// 128 KiB above it when it gives back memory (M_TOP_PAD); blocks that came since may have used
/// them up by chance, but then there is nothing to be given back, here as there.
fn is_cut_off(brk_end: u64, space: &AddressSpace) -> bool {
    let mut last_live = 0;
    let tail = brk_end.saturating_sub(LEAST_BYTES)..brk_end;
    space.for_each_stretch(tail, |stretch| {
        if stretch.live_bytes > 0 {
            last_live = stretch.start + stretch.bytes;
        }
    });
    last_live + 2 * TILE_BYTES > brk_end
}

/// Pages without a live byte below the last live block of each heap: those that are gone, and
/// those that are there.
fn free_pages(space: &AddressSpace, kinds: &[Kind]) -> (u64, u64) {
    let (mut gone, mut left) = (0, 0);
    for (heap, kind) in space.heap_regions() {
        if !kinds.contains(&kind) {
            continue;
        }
        // What is seen since the last live block is not below one yet.
        let (mut gone_since, mut left_since) = (0, 0);
        space.for_each_stretch(heap, |stretch| {
            if stretch.live_bytes > 0 {
                gone += std::mem::take(&mut gone_since);
                left += std::mem::take(&mut left_since);
            } else if stretch.touched && stretch.ever {
                left_since += stretch.bytes;
            } else if stretch.ever {
                gone_since += stretch.bytes;
            }
        });
    }
    (gone, left)
}
