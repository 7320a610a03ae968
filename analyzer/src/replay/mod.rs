//! Replaying events: a simulator of the process's heap.
//!
//! Events are applied one by one; between them everything about the heap can be asked: the
//! live blocks, the address space with its holes and pages, and what was counted. Events
//! are facts, looks are corrections, taken in where their stamps put them.
//!
//! The order of events may be wrong by a few microseconds: see [`suspense`]. Blocks of
//! different addresses may then overlap for as long (one came too early, the other goes too
//! late); what a release uncovers of a newer block is covered again.

mod address_space;
mod beginning;
mod block;
mod counts;
mod entry;
mod habits;
mod handovers;
mod lane;
mod live;
mod pools;
mod reclaim;
mod sources;
pub(crate) mod suspense;
mod table;
mod timed;

pub use address_space::{
    AddressSpace, BUCKETS, Drift, FORESEEN, Fullness, GRANULE_BYTES, Gaps, Kind, Stretch,
    TILE_BYTES,
};
pub use block::Block;
pub use counts::Counts;
pub use habits::{Crossed, Freed, Habits, Taken, Turnover};
pub use handovers::{Handed, Handovers};
pub use live::Blocks;
pub use reclaim::Reclaim;
pub use sources::Sources;
pub use timed::{TimedCall, TimedCalls};

use crate::allocators::{Allocator, glibc};
use crate::order::{Action, Event, Note};
use crate::read::{AllocatorView, Ending, Look, Trace};
use block::Layout;
use fragtrace_format::Stamp;
use fragtrace_format::event::{Flags, WRAPPED};
use lane::Lanes;
use pools::Pools;
use std::ops::Range;
use std::sync::Arc;
use suspense::{Early, Recent, Suspense};

/// A block that was acquired over the extent of another one that still lived.
#[derive(Debug, Clone, Copy)]
struct Overlap {
    address: u64,
    birth: Stamp,
}

/// The heap of the traced process, as of the last event applied.
#[derive(Debug, Clone)]
pub struct Replay<'t> {
    layout: Layout,
    /// Whether blocks of different sizes never take each other's places.
    sizes_apart: bool,
    blocks: Blocks,
    space: AddressSpace,
    counts: Counts,
    handovers: Handovers,
    reclaim: Reclaim,
    habits: Habits,
    suspense: Suspense<Block>,
    overlaps: Vec<Overlap>,
    recent: Recent,
    lanes: Lanes,
    sources: Sources,
    timed: TimedCalls,
    window: u64,
    looks: &'t [Look],
    /// Looks that are in the past.
    looks_taken: usize,
    /// The last of them that read what smaps sums up.
    summed: Option<&'t Look>,
    /// What the allocator said of itself last.
    allocator_view: Option<&'t Arc<AllocatorView>>,
    /// What was usable of live blocks at that look.
    usable_when_asked: Option<u64>,
    /// Blocks, and those of them that a wrapper told of.
    told: (u64, u64),
    pools: Pools<'t>,
    /// Nothing but events happens before this stamp.
    due: Stamp,
    /// Of a process that goes on, the last stamp on record.
    goes_on: Option<Stamp>,
    /// In a child of fork, as long as its parent's history is replayed: when that ends.
    forked: Option<Stamp>,
}

/// Who acquires or releases, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub stamp: Stamp,
    pub lane: u32,
    pub thread: u32,
}

impl<'t> Replay<'t> {
    /// The heap before the first event.
    pub fn new(trace: &'t Trace) -> Replay<'t> {
        let process = trace.process();
        let layout = Layout::new(process.usable_rule, process.page_bytes, trace.classes().clone());
        let window = trace.clock().inversion_window();
        let glibc = layout.is_glibc();
        let mut replay = Replay {
            space: AddressSpace::new(
                glibc,
                glibc::arena_heaps_are_known(&process.allocator_env),
                process.page_bytes,
            ),
            layout,
            sizes_apart: Allocator::of_library(&process.allocator)
                .is_some_and(|known| known.keeps_sizes_apart),
            blocks: Blocks::default(),
            counts: Counts::default(),
            handovers: Handovers::default(),
            reclaim: Reclaim::default(),
            habits: Habits::new(trace.most_frames(), glibc),
            suspense: Suspense::new(window),
            overlaps: Vec::new(),
            recent: Recent::default(),
            lanes: Lanes::default(),
            sources: Sources::new(trace.most_frames()),
            timed: TimedCalls::default(),
            window,
            looks: trace.looks(),
            looks_taken: 0,
            summed: None,
            allocator_view: None,
            usable_when_asked: None,
            told: (0, 0),
            pools: Pools::new(trace.pools()),
            due: 0,
            goes_on: (trace.ending() == Ending::Running).then(|| trace.last_stamp()),
            forked: trace.fork().map(|fork| fork.stamp).filter(|at| *at > trace.kept_from()),
        };
        for (thread, known) in trace.threads() {
            replay.sources.name(*thread, &known.name);
        }
        if let Some(base) = trace.base() {
            replay.begin_with(base, trace.kept_from());
        }
        replay.set_due();
        replay
    }

    /// Reads what the next events will need, all at once: with a large heap nearly every
    /// one of them misses the caches, and reads that do not wait for each other are several
    /// times as fast. Changes nothing. Of at most [`FORESEEN`] events.
    #[inline]
    pub fn foresee(&self, events: &[Event]) {
        let mut addresses = [0; FORESEEN];
        for (address, event) in addresses.iter_mut().zip(events) {
            if let Action::Acquire { address: at, .. } | Action::Release { address: at, .. } =
                event.action
            {
                *address = at;
            }
        }
        let sum = addresses.iter().fold(0, |sum, address| sum ^ self.blocks.peek(*address));
        std::hint::black_box(sum ^ self.space.peek(&addresses));
    }

    /// Applies the next event.
    #[inline]
    pub fn apply(&mut self, event: &Event) {
        if event.stamp >= self.due {
            self.catch_up(event.stamp);
        }
        self.counts.events += 1;
        let who = Who { stamp: event.stamp, lane: event.lane, thread: event.thread };
        match &event.action {
            Action::Acquire { address, size, flags, align_log2, stack, note } => {
                if flags.has(Flags::AGAIN) && self.refused(who, *address) {
                    return;
                }
                if !flags.has(Flags::REALLOC) {
                    self.counts.allocs += 1;
                    self.sources.count(*stack);
                }
                self.note_wrapper(note.as_deref());
                let block =
                    self.block(who, *address, (*size, *align_log2, *stack), note.as_deref());
                let realloc = flags.has(Flags::REALLOC);
                self.habits.acquired(&block, realloc);
                if realloc {
                    self.note_move(who, *address, &block);
                }
                self.acquire(who, *address, block);
            }
            Action::Release { address, flags } => {
                let realloc = flags.has(Flags::REALLOC);
                if realloc {
                    self.counts.reallocs += 1;
                } else {
                    self.counts.frees += 1;
                }
                self.release(who, *address, realloc);
            }
            Action::PoolAcquire { address, size, pool } => {
                self.pools.acquire(who.stamp, *address, (*pool, *size));
            }
            Action::PoolRelease { address } => self.pools.release(who.stamp, *address),
            Action::Rare(rare) => {
                if let Some(cold) = rare.decoded() {
                    self.apply_rare(who.stamp, who.lane, &cold);
                }
            }
        }
    }

    /// Takes in the looks up to a moment, and gives up on what waited until then.
    pub fn catch_up(&mut self, now: Stamp) {
        while let Some(look) = self.looks.get(self.looks_taken)
            && look.stamp <= now
        {
            self.space.look(look);
            self.looks_taken += 1;
            if look.lazyfree.is_some() {
                self.summed = Some(look);
            }
            if let Some(view) = &look.allocator {
                self.allocator_view = Some(view);
                self.usable_when_asked = self.blocks.usable_bytes();
            }
        }
        let expired = self.suspense.expire(now, drop);
        self.count_expired(expired);
        if self.forked.is_some_and(|forked| forked <= now) {
            self.begin_in_child();
        }
        self.overlaps.retain(|overlap| overlap.birth.saturating_add(self.window) >= now);
        self.set_due();
    }

    /// The trace is over.
    pub fn finish(&mut self) {
        if let Some(last) = self.goes_on {
            // What still waits may come a moment later.
            return self.catch_up(last);
        }
        self.catch_up(Stamp::MAX);
        self.pools.end_until(Stamp::MAX);
        let expired = self.suspense.expire_all();
        self.count_expired(expired);
    }

    fn count_expired(&mut self, expired: suspense::Expired) {
        self.counts.unknown_frees += expired.unknown_frees;
        self.counts.order_anomalies += expired.anomalies;
    }

    fn set_due(&mut self) {
        let look = self.looks.get(self.looks_taken).map_or(Stamp::MAX, |look| look.stamp);
        let overlap =
            self.overlaps.first().map_or(Stamp::MAX, |o| o.birth.saturating_add(self.window));
        let forked = self.forked.unwrap_or(Stamp::MAX);
        self.due = look.min(self.suspense.deadline().saturating_add(1)).min(overlap).min(forked);
    }

    #[inline]
    fn block(
        &self,
        who: Who,
        address: u64,
        (size, align_log2, stack): (u64, u8, u32),
        note: Option<&Note>,
    ) -> Block {
        let place = self.layout.place(address, size, align_log2, note);
        Block {
            size,
            usable: place.usable,
            extent: place.extent,
            birth: who.stamp,
            thread: who.thread,
            stack,
            own_mapping: place.own_mapping,
        }
    }

    #[inline]
    fn note_wrapper(&mut self, note: Option<&Note>) {
        self.told.0 += 1;
        self.told.1 += u64::from(note.is_some_and(|note| note.pool == WRAPPED));
    }

    #[inline]
    fn acquire(&mut self, who: Who, address: u64, block: Block) {
        if !self.suspense.is_empty()
            && let Some(early) = self.suspense.release_of(address, who.lane)
        {
            return self.live_and_die(address, block, early);
        }
        self.reclaim.acquired(&block);
        self.settle_in(&block, address);
        if let Some(old) = self.blocks.insert(address, &block) {
            self.evict(who, address, old);
        }
    }

    /// Places a block in the address space.
    #[inline]
    fn settle_in(&mut self, block: &Block, address: u64) {
        let placed = self.space.place(&block.extent, block.own_mapping);
        if placed.refilled_bytes > 0 {
            self.habits.refilled(block, placed.refilled_bytes);
        }
        if placed.despite_fit_bytes > 0 {
            self.habits.grew_despite_fit(block, placed.despite_fit_bytes);
        }
        if placed.fresh_bytes < block.extent.end - block.extent.start {
            self.overlap(block, address);
        }
    }

    /// A block came over the extent of one that is still there.
    #[cold]
    fn overlap(&mut self, block: &Block, address: u64) {
        self.space.shrink_head(&block.extent);
        self.overlaps.push(Overlap { address, birth: block.birth });
        self.set_due();
    }

    /// The address was live: that block is gone, and its release is owed.
    #[cold]
    fn evict(&mut self, who: Who, address: u64, old: Block) {
        self.vacate(&old);
        self.suspense.owe(who.stamp, address, who.lane, old);
        self.set_due();
    }

    /// A block whose release is on record already.
    #[cold]
    fn live_and_die(&mut self, address: u64, block: Block, early: Early) {
        if self.blocks.get(address).is_none() {
            self.space.place(&block.extent, block.own_mapping);
            self.vacate(&block);
        }
        self.gone(early.who, address, early.realloc, block);
    }

    #[inline]
    fn release(&mut self, who: Who, address: u64, realloc: bool) {
        if !self.suspense.is_empty()
            && let Some(gone) = self.suspense.settle(address, who.lane)
        {
            return self.gone(who, address, realloc, *gone);
        }
        let Some(block) = self.blocks.remove(address) else {
            let since = who.stamp.saturating_sub(self.window);
            let before = self.recent.lane_of(address, since);
            self.suspense.hold(address, Early { who, realloc }, before);
            return self.set_due();
        };
        self.recent.note(who.stamp, address, who.lane);
        self.reclaim.released(&block);
        self.vacate(&block);
        if !self.suspense.is_empty()
            && let Some(older) = self.suspense.revive(address)
        {
            self.settle_in(&older, address);
            self.blocks.insert(address, &older);
        }
        self.gone(who, address, realloc, block);
    }

    /// What a release means beyond the heap.
    #[inline]
    fn gone(&mut self, who: Who, address: u64, realloc: bool, block: Block) {
        self.habits.gone(who, address, &block, realloc);
        if realloc {
            self.lanes.remember_realloc(who, address, block);
        } else {
            self.counts.cross_thread_frees += u64::from(block.thread != who.thread);
            self.handovers.freed(block.thread, who.thread, block.size);
        }
    }

    /// Takes a block out of the address space.
    #[inline]
    fn vacate(&mut self, block: &Block) {
        self.space.remove(&block.extent, block.own_mapping);
        if !self.overlaps.is_empty() {
            self.cover_again(block);
        }
    }

    /// Blocks that came before this one went are still there.
    #[cold]
    fn cover_again(&mut self, gone: &Block) {
        for overlap in &self.overlaps {
            if let Some(block) = self.blocks.get(overlap.address)
                && block.extent.start < gone.extent.end
                && gone.extent.start < block.extent.end
            {
                self.space.place(&block.extent, block.own_mapping);
            }
        }
    }

    /// The allocator refused a realloc: the block lives on as it was. False: it is not known.
    fn refused(&mut self, who: Who, address: u64) -> bool {
        let Some(block) = self.lanes.refused_realloc(who.lane, address) else { return false };
        self.settle_in(&block, address);
        if let Some(old) = self.blocks.insert(address, &block) {
            self.evict(who, address, old);
        }
        true
    }

    /// realloc returned a block: somewhere else than the one it was called for, maybe.
    fn note_move(&mut self, who: Who, address: u64, block: &Block) {
        match self.lanes.reallocated(who.lane) {
            Some((before, old)) if before == address => {
                self.habits.stayed(address, old, block.birth);
            }
            Some((before, old)) if old.size < block.size => {
                self.habits.moved_up(before, old, (address, block.birth));
            }
            _ => {}
        }
    }

    /// The addresses that a block takes, if it came now.
    pub fn extent(
        &self,
        address: u64,
        size: u64,
        align_log2: u8,
        note: Option<&Note>,
    ) -> Range<u64> {
        self.layout.place(address, size, align_log2, note).extent
    }

    /// The live blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The address space.
    pub fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// The address space, for figures that are brought up to date when asked for.
    pub fn space_mut(&mut self) -> &mut AddressSpace {
        &mut self.space
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Which threads freed what others had acquired.
    pub fn handovers(&self) -> &Handovers {
        &self.handovers
    }

    /// What the allocator can have done with freed blocks.
    pub fn reclaim(&self) -> &Reclaim {
        &self.reclaim
    }

    /// How the program uses its allocator.
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// Where blocks came from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The calls that were timed.
    pub fn timed_calls(&self) -> &TimedCalls {
        &self.timed
    }

    /// The last look that is not in the future.
    pub fn last_look(&self) -> Option<&'t Look> {
        self.looks_taken.checked_sub(1).map(|last| &self.looks[last])
    }

    /// The last look, not in the future, that read what smaps sums up over all mappings:
    /// that costs too much for each of them.
    pub fn last_summed_look(&self) -> Option<&'t Look> {
        self.summed
    }

    /// What the allocator said of itself last.
    pub fn allocator_view(&self) -> Option<&'t Arc<AllocatorView>> {
        self.allocator_view
    }

    /// What was usable of the blocks that were live then.
    pub fn usable_when_asked(&self) -> Option<u64> {
        self.usable_when_asked
    }

    /// Whether it is known where blocks end, and so where holes are.
    pub fn knows_extents(&self) -> bool {
        self.layout.knows_extents()
    }

    /// Whether a hole serves any block that fits into it.
    pub fn any_hole_serves(&self) -> bool {
        self.knows_extents() && !self.sizes_apart
    }

    /// Pools that the program told of.
    pub fn pools(&self) -> &Pools<'t> {
        &self.pools
    }

    /// Blocks that came by a wrapper of an allocator, while events are kept.
    pub fn wrapped_blocks(&self) -> u64 {
        self.told.1
    }

    /// Whether headers and heaps are those of glibc, for most blocks at least.
    pub fn is_glibc(&self) -> bool {
        let (all, wrapped) = self.told;
        self.layout.is_glibc() && wrapped <= all / 2
    }
}
