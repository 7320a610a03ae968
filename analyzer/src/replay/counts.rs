//! How often what happened.

use fragtrace_format::header::{Count, Cut};

/// Calls and anomalies over the events replayed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events of any kind.
    pub events: u64,
    /// Calls that returned a new block.
    pub allocs: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Calls of realloc for a block.
    pub reallocs: u64,
    /// Mappings made.
    pub mmaps: u64,
    /// Ranges unmapped.
    pub munmaps: u64,
    /// Mappings moved or resized.
    pub mremaps: u64,
    /// Ranges advised on.
    pub madvises: u64,
    /// Times the end of the brk segment was seen to have moved.
    pub brk_changes: u64,
    /// Blocks freed on another thread than the one that allocated them.
    pub cross_thread_frees: u64,
    /// Acquisitions of live addresses that no release explains.
    pub order_anomalies: u64,
    /// Releases of addresses never seen to be acquired.
    pub unknown_frees: u64,
}

impl Counts {
    /// What was counted up to a cut: that which matching counts.
    pub(super) fn of_matching(cut: &Cut) -> Counts {
        Counts {
            events: count(cut, Count::Events),
            allocs: count(cut, Count::Allocs),
            frees: count(cut, Count::Frees),
            reallocs: count(cut, Count::Reallocs),
            order_anomalies: count(cut, Count::OrderAnomalies),
            unknown_frees: count(cut, Count::UnknownFrees),
            ..Counts::default()
        }
    }

    /// The same, that which the heap counts.
    pub(super) fn of_heap(cut: &Cut) -> Counts {
        Counts {
            mmaps: count(cut, Count::Mmaps),
            munmaps: count(cut, Count::Munmaps),
            mremaps: count(cut, Count::Mremaps),
            madvises: count(cut, Count::Madvises),
            brk_changes: count(cut, Count::BrkChanges),
            cross_thread_frees: count(cut, Count::CrossThreadFrees),
            ..Counts::default()
        }
    }

    /// What the two counted.
    pub(super) fn of_both(matching: &Counts, heap: &Counts) -> Counts {
        Counts {
            mmaps: heap.mmaps,
            munmaps: heap.munmaps,
            mremaps: heap.mremaps,
            madvises: heap.madvises,
            brk_changes: heap.brk_changes,
            cross_thread_frees: heap.cross_thread_frees,
            ..*matching
        }
    }
}

/// No process counts that far; a damaged trace might.
fn count(cut: &Cut, what: Count) -> u64 {
    cut.count(what).min(u64::MAX / 2)
}
