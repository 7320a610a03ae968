//! One moment of the process in numbers: the `STATE` object of `report --json`.
//!
//! Every figure is defined in docs/metrics.md. `None` means that the figure cannot be
//! known from what the trace holds, and is shown as such: never guessed, never zero.

use crate::allocators::OWN_BYTES;
use crate::read::AllocatorView;
use serde::{Serialize, Serializer};
use std::sync::Arc;

pub use crate::replay::BUCKETS as PAGE_BUCKETS;

/// The state of the process's memory at one moment of the trace.
///
/// Field order and names are those of the JSON contract. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct State {
    /// Nanoseconds since the trace's start.
    pub time_ns: u64,
    /// What the program asked for and has not freed.
    pub live_bytes: u64,
    /// Blocks that are live.
    pub live_blocks: u64,
    /// What the program may use of its live blocks.
    pub usable_bytes: Option<u64>,
    /// Address space held for the heap, inaccessible parts included.
    pub heap_reserved_bytes: Option<u64>,
    /// The accessible part of the reserved heap.
    pub heap_mapped_bytes: Option<u64>,
    /// Heap pages that were touched and not given back.
    pub footprint_bytes: Option<u64>,
    /// What of the mapped heap is in memory.
    pub heap_resident_bytes: Option<u64>,
    /// Age of the residency figure.
    pub residency_age_ns: Option<u64>,
    /// The kernel's resident set, less the tracer's own.
    pub rss_bytes: Option<u64>,
    /// The tracer's own resident pages.
    pub tracer_resident_bytes: Option<u64>,
    /// Memory of the process that is swapped out.
    pub swapped_bytes: Option<u64>,
    /// Memory given back lazily (MADV_FREE) that still counts as resident.
    pub lazyfree_bytes: Option<u64>,
    /// Memory backed by transparent huge pages.
    pub huge_bytes: Option<u64>,
    /// How long ago the two were read: that costs too much for every look.
    pub smaps_age_ns: Option<u64>,
    /// Known overhead of the allocator: block headers and arena structures.
    pub metadata_bytes: Option<u64>,
    /// Resident heap pages that hold no live byte.
    pub releasable_bytes: Option<u64>,
    /// Footprint that no live block and no known overhead uses.
    pub free_bytes: Option<u64>,
    /// Maximal free ranges inside the footprint.
    pub hole_count: Option<u64>,
    /// The largest of them.
    pub largest_hole_bytes: Option<u64>,
    /// 1 − largest hole / free bytes.
    pub external_index_ratio: Option<f64>,
    /// (heap resident − live) / live.
    pub fragmentation_ratio: Option<f64>,
    /// Unused bytes on resident pages that hold live ones.
    pub pinned_waste_bytes: Option<u64>,
    /// Resident heap pages by sixteenths that are live.
    pub page_live_histogram: Option<[u64; PAGE_BUCKETS]>,
    /// Heap address space ever used: pages that have held a block at least once.
    pub high_water_bytes: Option<u64>,
    /// Growth of the high-water mark while a hole would have held the request.
    pub growth_despite_fit_bytes: Option<u64>,
    /// How often that happened.
    pub growth_despite_fit_count: Option<u64>,
    /// Blocks freed on another thread than the one that allocated them, so far.
    pub cross_thread_frees: u64,
    /// Arenas of the allocator that hold or held blocks.
    pub arena_count: Option<u64>,
    /// Mapped regions of the process.
    pub region_count: Option<u64>,
    /// How long ago the part of their list was read of which that is longest ago.
    pub region_count_age_ns: Option<u64>,
    /// How long ago the last look was.
    pub look_age_ns: Option<u64>,
    /// By how much the last look corrected the heap's extent, as events told it.
    pub drift_bytes: Option<u64>,
    /// What the allocator says of itself.
    pub allocator_view: Option<AllocatorSays>,
}

impl State {
    /// What the allocator keeps for itself, as far as its layout or it itself tells.
    pub fn own_bytes(&self) -> Option<u64> {
        self.metadata_bytes.or_else(|| {
            let figures = &self.allocator_view.as_ref()?.figures.figures;
            let (_, bytes) = figures.iter().find(|(name, _)| OWN_BYTES.contains(&&**name))?;
            Some(*bytes)
        })
    }
}

/// What an allocator said of itself, in its own words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AllocatorSays {
    /// How long ago it was asked.
    pub age_ns: u64,
    /// Its figures in bytes, by the names that it has for them.
    #[serde(serialize_with = "as_map")]
    pub figures: Arc<AllocatorView>,
}

fn as_map<S: Serializer>(view: &Arc<AllocatorView>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(view.figures.iter().map(|(name, bytes)| (name, bytes)))
}
