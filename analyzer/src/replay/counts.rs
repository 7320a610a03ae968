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
    /// What was counted up to a cut.
    pub fn of(cut: &Cut) -> Counts {
        // No process counts that far; a damaged trace might.
        let count = |what| cut.count(what).min(u64::MAX / 2);
        Counts {
            events: count(Count::Events),
            allocs: count(Count::Allocs),
            frees: count(Count::Frees),
            reallocs: count(Count::Reallocs),
            mmaps: count(Count::Mmaps),
            munmaps: count(Count::Munmaps),
            mremaps: count(Count::Mremaps),
            madvises: count(Count::Madvises),
            brk_changes: count(Count::BrkChanges),
            cross_thread_frees: count(Count::CrossThreadFrees),
            order_anomalies: count(Count::OrderAnomalies),
            unknown_frees: count(Count::UnknownFrees),
        }
    }
}
