//! Replaying events: a simulator of the process's heap.
//!
//! It has two halves. [`Matching`] keeps the live blocks, and finds out of each event what it
//! means: which block came, and which one went. The [`Heap`] takes these [changes](Changes) in: what
//! the blocks add up to, and the address space with its holes and pages, as the kernel and the
//! allocator have it. Between events everything about both can be asked of a [`Replay`]; where
//! that is not needed, the halves run on two threads.

mod address_space;
mod beginning;
mod block;
mod change;
mod counts;
mod entry;
mod fetch;
mod habits;
mod handovers;
mod heap;
mod huge;
mod live;
mod mappings;
mod matching;
mod pools;
mod reallocs;
mod reclaim;
mod sources;
mod stretches;
pub(crate) mod suspense;
mod table;
mod taken;
mod timed;

pub use address_space::{
    AddressSpace, BUCKETS, Drift, Fullness, GRANULE_BYTES, Gaps, Kind, Stretch, TILE_BYTES,
};
pub use block::Block;
pub use change::{Change, Changes};
pub use counts::Counts;
pub use habits::{Crossed, Freed, Habits, Turnover};
pub use handovers::{Handed, Handovers};
pub use heap::Heap;
pub use live::{Blocks, Live};
pub use matching::Matching;
pub use pools::Pools;
pub use reclaim::Reclaim;
pub use sources::Sources;
pub use taken::{Taken, TakenPages};
pub use timed::{TimedCall, TimedCalls};

use crate::order::Event;
use crate::read::{AllocatorView, Look, Trace};
use block::Layout;
use fragtrace_format::Stamp;
use std::sync::Arc;

/// The heap of the traced process with its live blocks, as of the last event applied.
#[derive(Debug, Clone)]
pub struct Replay<'t> {
    /// The live blocks.
    pub matching: Matching<'t>,
    /// What they lie in.
    pub heap: Heap<'t>,
    /// What the event under way means.
    changes: Changes,
}

/// Who acquires or releases, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub stamp: Stamp,
    pub lane: u32,
    pub thread: u32,
}

/// In a child of fork, when its parent's history ends, if that is still to come.
fn forked_later(trace: &Trace) -> Option<Stamp> {
    trace.fork().map(|fork| fork.stamp).filter(|at| *at > trace.kept_from())
}

impl<'t> Replay<'t> {
    /// The heap before the first event.
    pub fn new(trace: &'t Trace) -> Replay<'t> {
        let process = trace.process();
        let layout = Layout::new(process.usable_rule, process.page_bytes, trace.classes().clone());
        let heap = Heap::new(trace, &layout);
        let mut replay = Replay::of(Matching::new(trace, layout), heap);
        if let Some(base) = trace.base() {
            replay.begin_with(base, trace.kept_from());
        }
        replay
    }

    /// Both halves, which have come equally far.
    pub fn of(matching: Matching<'t>, heap: Heap<'t>) -> Replay<'t> {
        Replay { matching, heap, changes: Changes::default() }
    }

    /// Applies the next event.
    #[inline]
    pub fn apply(&mut self, event: &Event) {
        self.changes.clear();
        self.matching.apply_event(event, &mut self.changes);
        for change in self.changes.list() {
            self.heap.apply(change, &self.changes);
        }
    }

    /// Takes in the looks up to a moment, and gives up on what waited until then.
    pub fn catch_up(&mut self, now: Stamp) {
        self.matching.catch_up(now);
        self.heap.catch_up(now);
    }

    /// The trace is over.
    pub fn finish(&mut self) {
        self.matching.finish();
        self.heap.finish();
    }

    /// The live blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.matching.blocks
    }

    /// Sums over them.
    pub fn live(&self) -> &Live {
        self.heap.live()
    }

    /// The address space.
    pub fn space(&self) -> &AddressSpace {
        &self.heap.space
    }

    /// The address space, for figures that are brought up to date when asked for.
    pub fn space_mut(&mut self) -> &mut AddressSpace {
        &mut self.heap.space
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        Counts::of_both(&self.matching.counts, &self.heap.counts)
    }

    /// Which threads freed what others had acquired.
    pub fn handovers(&self) -> &Handovers {
        &self.matching.handovers
    }

    /// What the allocator can have done with freed blocks.
    pub fn reclaim(&self) -> &Reclaim {
        &self.matching.reclaim
    }

    /// Pages that blocks took.
    pub fn taken(&self) -> &TakenPages {
        &self.heap.taken
    }

    /// How the program uses its allocator.
    pub fn habits(&self) -> &Habits {
        &self.matching.habits
    }

    /// Where blocks came from.
    pub fn sources(&self) -> &Sources {
        &self.matching.sources
    }

    /// The calls that were timed.
    pub fn timed_calls(&self) -> &TimedCalls {
        &self.matching.timed
    }

    /// The last look that is not in the future.
    pub fn last_look(&self) -> Option<&'t Look> {
        self.heap.last_look()
    }

    /// The last look, not in the future, that read what smaps sums up over all mappings:
    /// that costs too much for each of them.
    pub fn last_summed_look(&self) -> Option<&'t Look> {
        self.heap.last_summed_look()
    }

    /// What the allocator said of itself last.
    pub fn allocator_view(&self) -> Option<&'t Arc<AllocatorView>> {
        self.heap.allocator_view()
    }

    /// What was usable of the blocks that were live then.
    pub fn usable_when_asked(&self) -> Option<u64> {
        self.heap.usable_when_asked()
    }

    /// Whether it is known where blocks end, and so where holes are.
    pub fn knows_extents(&self) -> bool {
        self.heap.knows_extents()
    }

    /// Whether a hole serves any block that fits into it.
    pub fn any_hole_serves(&self) -> bool {
        self.heap.any_hole_serves()
    }

    /// Pools that the program told of.
    pub fn pools(&self) -> &Pools<'t> {
        &self.matching.pools
    }

    /// Blocks that came by a wrapper of an allocator, while events are kept.
    pub fn wrapped_blocks(&self) -> u64 {
        self.heap.wrapped_blocks()
    }

    /// Whether headers and heaps are those of glibc, for most blocks at least.
    pub fn is_glibc(&self) -> bool {
        self.heap.is_glibc()
    }
}
