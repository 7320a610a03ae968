//! Where the free bytes of the heap are, seen twice: as the program sees holes, by pages and by
//! what lies beside them; and as the allocator could use them, which it can tell, or its layout,
//! or nobody. What is made of the first and of the second is a file each; which it is, allocators'
//! own files say (`crate::allocators`). Pages are the same for all.

mod asked;
mod glibc;

use crate::allocators::{self, Allocator};
use crate::read::Trace;
use crate::replay::{AddressSpace, Replay, Stretch};
use serde::Serialize;
use std::ops::Range;

/// The free bytes of the heap by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct FreePlaces {
    /// Those of the footprint, as holes: the parts are `free_bytes`.
    pub as_holes: HolePlaces,
    /// Those of the accessible heap, touched or not, as the allocator keeps them.
    pub as_allocator: AllocatorPlaces,
}

/// Free bytes of the footprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct HolePlaces {
    /// On pages with live blocks: no page of it can go back.
    pub beside_blocks_bytes: Option<u64>,
    /// On whole pages in memory: these could go back.
    pub empty_pages_bytes: Option<u64>,
    /// On whole pages that the last scan did not find in memory: touched since, or swapped out.
    pub absent_pages_bytes: Option<u64>,
}

/// Free bytes as the allocator could use them. `None`: it does not let that be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct AllocatorPlaces {
    /// Kept for one thread.
    pub thread_caches_bytes: Option<u64>,
    /// In bins, or free places of slabs: for any thread that uses the arena.
    pub bins_bytes: Option<u64>,
    /// The two together, where they cannot be told apart.
    pub caches_and_bins_bytes: Option<u64>,
    /// Whole pages in memory without a live byte, the top's left out.
    pub dirty_bytes: Option<u64>,
    /// Whole accessible pages without a live byte that are not in memory: given back, or never
    /// touched; the top's left out.
    pub purged_bytes: Option<u64>,
    /// Behind the last block of each heap that grows at its end.
    pub top_bytes: Option<u64>,
    /// What of that is in memory.
    pub top_resident_bytes: Option<u64>,
    /// How long ago the allocator was asked, where the figures of caches and bins are its own.
    pub asked_age_ns: Option<u64>,
}

/// What an allocator lets be told of what is free in its caches and bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Caches {
    thread_caches_bytes: Option<u64>,
    bins_bytes: Option<u64>,
    caches_and_bins_bytes: Option<u64>,
    asked_age_ns: Option<u64>,
}

/// The free end of a heap that grows there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Top {
    range: Range<u64>,
}

/// Whole pages of the accessible heap without a live byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Empty {
    resident_bytes: u64,
    absent_bytes: u64,
}

impl FreePlaces {
    /// The heap as the replay has it at `at_ns`.
    pub fn of(trace: &Trace, replay: &Replay<'_>, at_ns: u64) -> FreePlaces {
        let space = replay.space();
        let known = space.residency().is_some();
        let tops = if replay.is_glibc() { glibc::tops(replay) } else { Vec::new() };
        let caches = caches(trace, replay, &tops, at_ns);
        let mut empty = Empty::default();
        for (range, _) in space.accessible_heap_of_kind() {
            empty.add(space, &range, &tops);
        }
        let resident = tops.iter().map(|top| resident_bytes(space, &top.range)).sum();
        let of_top = |bytes: u64| (!tops.is_empty()).then_some(bytes);
        FreePlaces {
            as_holes: HolePlaces::of(replay, known),
            as_allocator: AllocatorPlaces {
                thread_caches_bytes: caches.thread_caches_bytes,
                bins_bytes: caches.bins_bytes,
                caches_and_bins_bytes: caches.caches_and_bins_bytes,
                dirty_bytes: known.then_some(empty.resident_bytes),
                purged_bytes: known.then_some(empty.absent_bytes),
                top_bytes: of_top(tops.iter().map(Top::bytes).sum()),
                top_resident_bytes: of_top(resident).filter(|_| known),
                asked_age_ns: caches.asked_age_ns,
            },
        }
    }
}

fn caches(trace: &Trace, replay: &Replay<'_>, tops: &[Top], at_ns: u64) -> Caches {
    if replay.is_glibc() {
        return glibc::caches(replay, tops, &trace.process().allocator_env);
    }
    let known = Allocator::of_library(&trace.process().allocator);
    match known.map(|known| &known.caches) {
        Some(allocators::Caches::AsItSays { allocated, active }) => {
            let asked_ns = replay.allocator_view().map(|view| trace.clock().time_ns(view.stamp));
            let age_ns = asked_ns.map(|asked_ns| at_ns.saturating_sub(asked_ns));
            asked::caches(replay, (*allocated, *active), age_ns).unwrap_or_default()
        }
        Some(allocators::Caches::NoneOfThreads) => {
            Caches { thread_caches_bytes: Some(0), ..Caches::default() }
        }
        Some(allocators::Caches::Untold) | None => Caches::default(),
    }
}

impl Top {
    fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl HolePlaces {
    fn of(replay: &Replay<'_>, known: bool) -> HolePlaces {
        if !replay.knows_extents() {
            return HolePlaces::default();
        }
        let (mut beside, mut empty, mut absent) = (0, 0, 0);
        for (range, _) in replay.space().heap_regions() {
            replay.space().for_each_stretch(range, |stretch| {
                let free_bytes =
                    if stretch.touched { stretch.bytes - stretch.live_bytes } else { 0 };
                match stretch {
                    Stretch { live_bytes: 1.., .. } => beside += free_bytes,
                    Stretch { resident: true, .. } => empty += free_bytes,
                    _ => absent += free_bytes,
                }
            });
        }
        HolePlaces {
            beside_blocks_bytes: Some(beside),
            empty_pages_bytes: known.then_some(empty),
            absent_pages_bytes: known.then_some(absent),
        }
    }
}

impl Empty {
    /// Adds a stretch of accessible heap, but for tops.
    fn add(&mut self, space: &AddressSpace, range: &Range<u64>, tops: &[Top]) {
        let top = tops.iter().find(|top| range.contains(&top.range.start));
        // The page on which the top begins is none of either, if a block ends on it.
        let end = top.map_or(range.end, |top| top.range.start.min(range.end));
        let part = range.start..end / crate::replay::TILE_BYTES * crate::replay::TILE_BYTES;
        if part.start >= part.end {
            return;
        }
        let mut absent_bytes = part.end - part.start;
        space.for_each_stretch(part, |stretch| {
            if stretch.resident || stretch.live_bytes > 0 {
                absent_bytes -= stretch.bytes;
            }
            if stretch.resident && stretch.live_bytes == 0 {
                self.resident_bytes += stretch.bytes;
            }
        });
        self.absent_bytes += absent_bytes;
    }
}

/// Bytes of a range on pages in memory.
fn resident_bytes(space: &AddressSpace, range: &Range<u64>) -> u64 {
    let mut bytes = 0;
    space.for_each_stretch(range.clone(), |stretch| {
        let (start, end) = (stretch.start.max(range.start), stretch.start + stretch.bytes);
        let inside = end.min(range.end).saturating_sub(start);
        bytes += if stretch.resident { inside } else { 0 };
    });
    bytes
}
