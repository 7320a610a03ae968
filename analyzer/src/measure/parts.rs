//! What the heap is made of at one moment, the end or the peak: by heap (brk, each heap of another
//! arena, what has its own mapping, segments of other allocators), by thread, by pool, where its free
//! bytes are, and how full its pages are.

use super::blame::{By, PinnedHeap};
use super::playback::heap_after;
use super::{Analysis, ArenaFacts, FreePlaces, PoolFacts, SlopClass, slop};
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use crate::read::Trace;
use crate::replay::{Kind, Replay, TILE_BYTES};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;

/// A page of 2 MiB, at multiples of that.
const HUGE_BYTES: u64 = 2 << 20;

/// One heap, or all that is of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct HeapFacts {
    /// What it is.
    pub kind: &'static str,
    /// First address; of arena heaps and the brk heap alone.
    pub start: Option<u64>,
    /// Of an arena's heap, where the arena's first heap begins. `None`: no look has read it.
    pub first_heap: Option<u64>,
    /// What blocks and the allocator's own data at its start cover.
    pub live_bytes: u64,
    /// Pages touched and not given back.
    pub footprint_bytes: u64,
    /// The part of the footprint that nothing covers.
    pub free_bytes: u64,
    /// Pages in memory. `None`: not all was scanned yet.
    pub resident_bytes: Option<u64>,
    /// Of these, pages on which nothing is live.
    pub releasable_bytes: Option<u64>,
    /// Bytes freed in it by another thread than acquired them; of arena heaps, since events are kept.
    pub crossed_bytes: Option<u64>,
}

/// One thread's blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct ThreadFacts {
    /// The thread, as elsewhere in the report.
    pub thread: u32,
    /// Its name, if it is known.
    pub name: Option<String>,
    /// What it acquired and nobody freed.
    pub live_bytes: u64,
    /// How many blocks.
    pub live_blocks: u64,
    /// Its part of the unused bytes on the pages that its blocks lie on.
    pub free_bytes: u64,
    /// That, and the extents of its blocks.
    pub footprint_bytes: u64,
    /// What it acquired and others freed, since events are kept.
    pub freed_by_others_bytes: u64,
    /// What others acquired and it freed.
    pub freed_of_others_bytes: u64,
}

/// How full pages are that are in memory and hold something live.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct Utilisation {
    /// Live share of pages of 4 KiB. `None`: no page is known to be in memory, or they are larger.
    pub at_4k_ratio: Option<f64>,
    /// Live share of pages of 2 MiB, if all that is live were on such.
    pub at_2m_ratio: Option<f64>,
}

/// What the heap is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Parts {
    /// In order of kind and address.
    pub heaps: Vec<HeapFacts>,
    /// By arena of glibc, the main one first. `None`: they are not known.
    pub arenas: Option<Vec<ArenaFacts>>,
    /// In order of number.
    pub threads: Vec<ThreadFacts>,
    /// Over all heaps.
    pub page_utilisation: Utilisation,
    /// What the program cuts up by itself, in order of time.
    pub pools: Vec<PoolFacts>,
    /// Where the free bytes are.
    pub free_places: FreePlaces,
    /// Slop by usable size, smallest first. `None`: usable sizes are not known.
    pub slop_by_class: Option<Vec<SlopClass>>,
}

#[derive(Debug, Default)]
struct Full {
    live_bytes: u64,
    page_bytes: u64,
    huge_pages: u64,
    /// Huge pages below this address are counted.
    counted_to: u64,
}

impl Full {
    fn add(&mut self, start: u64, bytes: u64, live_bytes: u64) {
        self.live_bytes += live_bytes;
        self.page_bytes += bytes;
        let from = (start / HUGE_BYTES * HUGE_BYTES).max(self.counted_to);
        let to = (start + bytes).next_multiple_of(HUGE_BYTES);
        self.huge_pages += to.saturating_sub(from) / HUGE_BYTES;
        self.counted_to = self.counted_to.max(to);
    }

    fn ratio(&self, of_bytes: u64) -> Option<f64> {
        (of_bytes > 0).then(|| self.live_bytes as f64 / of_bytes as f64)
    }
}

impl Parts {
    /// The heap as it was when most was live, which `analysis` found out. A replay of its own, up
    /// to there: taken at each new maximum on the way, the parts would cost more than all else.
    pub fn at_peak(trace: &Trace, analysis: &Analysis) -> Parts {
        let replay = heap_after(trace, analysis.peak_events);
        Parts::of(trace, &replay, analysis.peak.time_ns)
    }

    /// The heap as the replay, which stands at `at_ns`, has it.
    pub fn of(trace: &Trace, replay: &Replay<'_>, at_ns: u64) -> Parts {
        let mut parts = Parts {
            threads: threads(trace, replay, at_ns),
            slop_by_class: slop::by_class(replay),
            ..Parts::brief(trace, replay, at_ns)
        };
        if let Some(arenas) = &mut parts.arenas {
            ArenaFacts::add_threads(arenas, replay);
        }
        parts
    }

    /// The same without threads and size classes, for which all blocks have to be gone through.
    pub fn brief(trace: &Trace, replay: &Replay<'_>, at_ns: u64) -> Parts {
        let space = replay.space();
        let known = space.residency().is_some();
        let mut heaps: BTreeMap<(Kind, Option<u64>), HeapFacts> = BTreeMap::new();
        let mut full = Full::default();
        for (range, kind) in space.heap_regions() {
            let arena = range.start & !(ARENA_HEAP_BYTES - 1);
            let start = (kind == Kind::Arena).then_some(arena);
            let heap = heaps.entry((kind, start)).or_insert_with(|| HeapFacts {
                kind: kind.label(),
                start: start.or((kind == Kind::Brk).then_some(range.start)),
                first_heap: start.and_then(|start| space.first_heap_of(start)),
                resident_bytes: known.then_some(0),
                releasable_bytes: known.then_some(0),
                crossed_bytes: start.map(|start| replay.habits().freed_in(start).crossed_bytes),
                ..HeapFacts::default()
            });
            space.for_each_stretch(range, |stretch| {
                heap.live_bytes += stretch.live_bytes;
                if stretch.touched {
                    heap.footprint_bytes += stretch.bytes;
                    heap.free_bytes += stretch.bytes - stretch.live_bytes;
                }
                if !stretch.resident {
                    return;
                }
                let empty_bytes = if stretch.live_bytes > 0 { 0 } else { stretch.bytes };
                heap.resident_bytes = heap.resident_bytes.map(|bytes| bytes + stretch.bytes);
                heap.releasable_bytes = heap.releasable_bytes.map(|bytes| bytes + empty_bytes);
                if known && stretch.live_bytes > 0 {
                    full.add(stretch.start, stretch.bytes, stretch.live_bytes);
                }
            });
        }
        let small_pages = trace.process().page_bytes == TILE_BYTES;
        let by_kind = heaps.iter().map(|((kind, _), heap)| (*kind, heap));
        Parts {
            arenas: ArenaFacts::all(replay, by_kind),
            heaps: heaps.into_values().collect(),
            threads: Vec::new(),
            page_utilisation: Utilisation {
                at_4k_ratio: full.ratio(full.page_bytes).filter(|_| small_pages),
                at_2m_ratio: full.ratio(full.huge_pages * HUGE_BYTES),
            },
            pools: PoolFacts::all(trace, replay),
            free_places: FreePlaces::of(trace, replay, at_ns),
            slop_by_class: None,
        }
    }
}

fn threads(trace: &Trace, replay: &Replay<'_>, at_ns: u64) -> Vec<ThreadFacts> {
    let mut threads: FxHashMap<u32, ThreadFacts> = FxHashMap::default();
    for (_, block) in replay.blocks().iter() {
        let thread = threads.entry(block.thread).or_default();
        thread.live_bytes = thread.live_bytes.saturating_add(block.size);
        thread.live_blocks += 1;
        let extent_bytes = block.extent.end - block.extent.start;
        thread.footprint_bytes = thread.footprint_bytes.saturating_add(extent_bytes);
    }
    for (thread, pinned_bytes) in PinnedHeap::new(trace, replay, at_ns, By::Thread).pinned_by_key()
    {
        let thread = threads.entry(thread).or_default();
        thread.free_bytes = pinned_bytes;
        thread.footprint_bytes = thread.footprint_bytes.saturating_add(pinned_bytes);
    }
    for ((acquired_by, freed_by), handed) in replay.handovers().pairs() {
        let owner = threads.entry(acquired_by).or_default();
        owner.freed_by_others_bytes = owner.freed_by_others_bytes.saturating_add(handed.bytes);
        let other = threads.entry(freed_by).or_default();
        other.freed_of_others_bytes = other.freed_of_others_bytes.saturating_add(handed.bytes);
    }
    let mut list: Vec<ThreadFacts> = threads
        .into_iter()
        .map(|(thread, facts)| {
            let name = replay.sources().thread_name(thread).map(str::to_owned);
            ThreadFacts { thread, name, ..facts }
        })
        .collect();
    list.sort_unstable_by_key(|facts| facts.thread);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_page_counts_once_however_many_stretches_lie_on_it() {
        let mut full = Full::default();
        full.add(HUGE_BYTES, 4096, 1024);
        full.add(HUGE_BYTES + 8192, 4096, 1024);
        assert_eq!((full.huge_pages, full.page_bytes), (1, 8192));
        full.add(2 * HUGE_BYTES - 4096, 8192, 4096);
        assert_eq!(full.huge_pages, 2);
        assert_eq!(full.ratio(full.page_bytes), Some(6144.0 / 16384.0));
        assert_eq!(Full::default().ratio(0), None);
    }
}
