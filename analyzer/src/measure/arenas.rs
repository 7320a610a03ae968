//! The heap by arena of glibc: what each holds, and whose blocks lie in it.

use super::HeapFacts;
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use crate::replay::{Kind, Replay};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// One arena.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct ArenaFacts {
    /// Where its first heap begins; `None`: the main arena.
    pub start: Option<u64>,
    /// Whether a look has read that it is one. Else this is a heap of which no look has read yet whose
    /// it is.
    pub told: bool,
    /// How many heaps it has.
    pub heaps: u64,
    /// The accessible part of them.
    pub mapped_bytes: u64,
    /// What blocks and the allocator's own data at the start of heaps cover.
    pub live_bytes: u64,
    /// Pages touched and not given back.
    pub footprint_bytes: u64,
    /// The part of the footprint that nothing covers.
    pub free_bytes: u64,
    /// Pages in memory. `None`: not all was scanned yet.
    pub resident_bytes: Option<u64>,
    /// Of these, pages on which nothing is live.
    pub releasable_bytes: Option<u64>,
    /// Bytes freed in it by another thread than acquired them, since events are kept; of the main
    /// arena `None`.
    pub crossed_bytes: Option<u64>,
    /// Whose blocks lie in it, in order of number.
    pub threads: Vec<ArenaThread>,
}

/// What one thread acquired in an arena and nobody freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct ArenaThread {
    /// Its number.
    pub thread: u32,
    /// What it asked for.
    pub live_bytes: u64,
    /// How many blocks.
    pub live_blocks: u64,
}

/// The arena that a region is of: the first heap's begin, `None` for the main one; and whether that
/// is known. Of what is no arena's, nothing.
fn arena_of(replay: &Replay<'_>, start: u64, kind: Kind) -> Option<(Option<u64>, bool)> {
    match kind {
        // Where brk fails, the main arena goes on in mappings.
        Kind::Brk | Kind::Segment => Some((None, true)),
        Kind::Arena => {
            let heap = start & !(ARENA_HEAP_BYTES - 1);
            let first = replay.space().first_heap_of(heap);
            Some((Some(first.unwrap_or(heap)), first.is_some()))
        }
        Kind::MappedBlock | Kind::Mapping => None,
    }
}

impl ArenaFacts {
    /// All arenas, the main one first; `heaps`: by kind and start. `None`: they are not known.
    pub(super) fn all<'h>(
        replay: &Replay<'_>,
        heaps: impl Iterator<Item = (Kind, &'h HeapFacts)>,
    ) -> Option<Vec<ArenaFacts>> {
        replay.space().arena_count().filter(|_| replay.is_glibc())?;
        let mut arenas: BTreeMap<Option<u64>, ArenaFacts> = BTreeMap::new();
        for (kind, heap) in heaps {
            let Some((start, told)) = arena_of(replay, heap.start.unwrap_or(0), kind) else {
                continue;
            };
            arenas.entry(start).or_insert_with(|| ArenaFacts::new(start, told)).add(heap);
        }
        for (range, kind) in replay.space().accessible_heap_of_kind() {
            let arena = arena_of(replay, range.start, kind);
            if let Some(arena) = arena.and_then(|(start, _)| arenas.get_mut(&start)) {
                arena.mapped_bytes += range.end - range.start;
            }
        }
        Some(arenas.into_values().collect())
    }

    fn new(start: Option<u64>, told: bool) -> ArenaFacts {
        let crossed_bytes = start.map(|_| 0);
        let (resident_bytes, releasable_bytes) = (Some(0), Some(0));
        ArenaFacts {
            start,
            told,
            resident_bytes,
            releasable_bytes,
            crossed_bytes,
            ..ArenaFacts::default()
        }
    }

    fn add(&mut self, heap: &HeapFacts) {
        let sum = |one: Option<u64>, more: Option<u64>| Some(one? + more?);
        self.heaps += 1;
        self.live_bytes += heap.live_bytes;
        self.footprint_bytes += heap.footprint_bytes;
        self.free_bytes += heap.free_bytes;
        self.resident_bytes = sum(self.resident_bytes, heap.resident_bytes);
        self.releasable_bytes = sum(self.releasable_bytes, heap.releasable_bytes);
        self.crossed_bytes = sum(self.crossed_bytes, heap.crossed_bytes);
    }

    /// Adds whose blocks lie in which of them.
    pub(super) fn add_threads(arenas: &mut [ArenaFacts], replay: &Replay<'_>) {
        let regions = replay.space().heap_regions();
        let regions: Vec<(Range<u64>, Option<u64>)> = regions
            .filter_map(|(range, kind)| {
                let (start, _) = arena_of(replay, range.start, kind)?;
                Some((range, start))
            })
            .collect();
        let mut found: FxHashMap<(Option<u64>, u32), ArenaThread> = FxHashMap::default();
        let mut last = 0;
        for (_, block) in replay.blocks().iter().filter(|(_, block)| !block.own_mapping) {
            let at = block.extent.start;
            // Blocks come in no order, but neighbours mostly together.
            if regions.get(last).is_none_or(|(range, _)| !range.contains(&at)) {
                last = regions.partition_point(|(range, _)| range.end <= at);
            }
            let Some((_, arena)) = regions.get(last).filter(|(range, _)| range.contains(&at))
            else {
                continue;
            };
            let facts = found.entry((*arena, block.thread)).or_default();
            facts.live_bytes = facts.live_bytes.saturating_add(block.size);
            facts.live_blocks += 1;
        }
        for arena in arenas {
            let of_arena = found.iter().filter(|((start, _), _)| *start == arena.start);
            arena.threads = of_arena
                .map(|((_, thread), facts)| ArenaThread { thread: *thread, ..*facts })
                .collect();
            arena.threads.sort_unstable_by_key(|facts| facts.thread);
        }
    }
}
