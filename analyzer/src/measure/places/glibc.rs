//! glibc (malloc/malloc.c, arena.c; 2.10 to 2.42): what is free below the last block of a heap is
//! in a thread's cache, a fast bin or a bin, and which of them it is in, no one can see from
//! outside; what is behind the last block is the top, and chunks in caches that border on it.
//!
//! Of an arena with several heaps only the last has a top. Which one that is, looks do not read: each
//! of them counts its end as top.

use super::{Caches, Top};
use crate::allocators::glibc::{ARENA_HEAP_BYTES, has_no_thread_caches};
use crate::replay::{Kind, Replay};
use std::collections::BTreeMap;
use std::ops::Range;

/// A heap that grows at its end, and where its last block ends.
struct Heap {
    accessible: Range<u64>,
    last_end: u64,
}

/// The heaps, by where they begin.
fn heaps(replay: &Replay<'_>) -> BTreeMap<u64, Heap> {
    let mut heaps: BTreeMap<u64, Heap> = BTreeMap::new();
    for (range, kind) in replay.space().accessible_heap_of_kind() {
        let start = match kind {
            Kind::Brk => range.start,
            Kind::Arena => range.start & !(ARENA_HEAP_BYTES - 1),
            Kind::MappedBlock | Kind::Segment | Kind::Mapping => continue,
        };
        // The brk heap is one, also where it is in pieces.
        let before = match kind {
            Kind::Brk => heaps.values_mut().find(|heap| heap.accessible.end == range.start),
            _ => heaps.get_mut(&start),
        };
        match before {
            Some(heap) => heap.accessible.end = range.end,
            None => {
                heaps.insert(start, Heap { last_end: range.start, accessible: range });
            }
        }
    }
    let used = replay.blocks().iter().filter(|(_, block)| !block.own_mapping);
    let used = used.map(|(_, block)| block.extent).chain(replay.space().heads());
    for extent in used {
        if let Some((_, heap)) = heaps.range_mut(..=extent.start).next_back()
            && extent.end <= heap.accessible.end
        {
            heap.last_end = heap.last_end.max(extent.end);
        }
    }
    heaps
}

/// The tops of all heaps.
pub(super) fn tops(replay: &Replay<'_>) -> Vec<Top> {
    let tops = heaps(replay).into_values();
    tops.map(|heap| Top { range: heap.last_end..heap.accessible.end }).collect()
}

/// What is free below the tops.
pub(super) fn caches(replay: &Replay<'_>, tops: &[Top], environment: &[String]) -> Caches {
    let space = replay.space();
    let mut bytes = 0;
    for (range, kind) in space.accessible_heap_of_kind() {
        if kind == Kind::MappedBlock {
            continue;
        }
        let top = tops.iter().find(|top| range.contains(&top.range.start));
        let end = top.map_or(range.end, |top| top.range.start);
        let mut live_bytes = 0;
        space.for_each_stretch(range.clone(), |stretch| live_bytes += stretch.live_bytes);
        bytes += (end - range.start).saturating_sub(live_bytes);
    }
    let without_caches = has_no_thread_caches(environment);
    Caches {
        thread_caches_bytes: without_caches.then_some(0),
        bins_bytes: without_caches.then_some(bytes),
        caches_and_bins_bytes: Some(bytes),
        asked_age_ns: None,
    }
}
