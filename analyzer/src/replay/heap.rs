//! The heap: what blocks lie in, what they add up to, and what looks found of it.
//!
//! Changes are applied one by one; between them everything about the heap can be asked. They are
//! facts, looks are corrections, taken in where their stamps put them.
//!
//! Blocks of different addresses may lie over each other for some microseconds, as the order of events
//! may be wrong for as long: one came too early, the other goes too late. Most such moments pass
//! unseen, as a block takes away what it brought. Whenever the heap is looked at it is found out whether
//! it is such a moment (`address_space/space/over.rs`).

use super::address_space::AddressSpace;
use super::block::{Block, Layout};
use super::change::{ACQUIRES, CROSSED, Change, Changes, WRAPPED, What};
use super::mappings::Removals;
use super::taken::TakenPages;
use super::{Counts, Live};
use crate::allocators::{Allocator, glibc};
use crate::read::{AllocatorView, Ending, Look, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::header::Cut;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

/// What blocks lie in is fetched so many changes ahead.
const FORESEEN: usize = 64;

/// The heap of the traced process, as of the last change applied.
#[derive(Debug, Clone)]
pub struct Heap<'t> {
    pub(super) space: AddressSpace,
    pub(super) counts: Counts,
    pub(super) taken: TakenPages,
    pub(super) removals: Removals,
    live: Live,
    /// Events applied, from the first kept one on.
    events: u64,
    knows_extents: bool,
    /// Whether blocks lie as those of glibc, but for those that wrappers told of.
    glibc_layout: bool,
    /// Whether blocks of different sizes never take each other's places.
    sizes_apart: bool,
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
    /// Nothing but changes happens before this stamp.
    due: Stamp,
    /// Of a process that goes on, the last stamp on record.
    goes_on: Option<Stamp>,
    /// In a child of fork, as long as its parent's history is replayed: when that ends.
    forked: Option<Stamp>,
}

impl<'t> Heap<'t> {
    /// Before the first event.
    pub(super) fn new(trace: &'t Trace, layout: &Layout) -> Heap<'t> {
        let process = trace.process();
        let glibc = layout.is_glibc();
        let mut heap = Heap {
            space: AddressSpace::new(
                glibc,
                glibc::arena_heaps_are_known(&process.allocator_env),
                process.page_bytes,
            ),
            counts: Counts::default(),
            taken: TakenPages::default(),
            removals: Removals::default(),
            live: Live::default(),
            events: 0,
            knows_extents: layout.knows_extents(),
            glibc_layout: glibc,
            sizes_apart: Allocator::of_library(&process.allocator)
                .is_some_and(|known| known.keeps_sizes_apart),
            looks: trace.looks(),
            looks_taken: 0,
            summed: None,
            allocator_view: None,
            usable_when_asked: None,
            told: (0, 0),
            due: 0,
            goes_on: (trace.ending() == Ending::Running).then(|| trace.last_stamp()),
            forked: super::forked_later(trace),
        };
        heap.set_due();
        heap
    }

    /// The looks from before the kept events: they are no longer to come.
    pub(super) fn skip_looks(&mut self, start: Stamp) -> &'t [Look] {
        self.looks_taken = self.looks.partition_point(|look| look.stamp <= start);
        &self.looks[..self.looks_taken]
    }

    /// A block of the base, and the one that was there before, if any.
    pub(super) fn begin_block(&mut self, block: &Block, before: Option<&Block>, wrapped: bool) {
        self.note_told(wrapped);
        self.space.place(&block.extent, block.own_mapping);
        self.live.add(block);
        if let Some(before) = before {
            self.live.subtract(before);
        }
    }

    /// The kept events begin: what was counted before.
    pub(super) fn begin(&mut self, cut: &Cut) {
        self.space.begin();
        self.counts = Counts::of_heap(cut);
        self.set_due();
    }

    /// Applies the first of some changes that are usual, happen before anything else does, and leave
    /// live bytes in a range where they are already; how many. `ahead`: these, and what comes behind.
    pub fn apply_calm(&mut self, row: &[Change], ahead: &[Change], live: Range<u64>) -> usize {
        let usual = self.count_calm(row, &live);
        let flips = self.flip_each(&row[..usual], ahead);
        for change in &row[..flips] {
            self.live.count_entry(change.entry(), change.comes());
            self.told.0 += u64::from(change.comes());
            self.counts.cross_thread_frees += u64::from(change.has(CROSSED));
        }
        self.events += flips as u64;
        flips
    }

    /// Flips what blocks cover that come and go, as long as nothing else changes by that; how many.
    fn flip_each(&mut self, row: &[Change], ahead: &[Change]) -> usize {
        for later in ahead.iter().skip(FORESEEN).take(row.len()) {
            self.space.foresee(later.address(), later.entry().size());
        }
        let flips = row.iter().position(|change| {
            let (start, end) = change.entry().extent();
            !self.space.flip(start, end, change.comes())
        });
        flips.unwrap_or(row.len())
    }

    /// How many lead to nothing but that a block comes or goes.
    fn count_calm(&self, row: &[Change], live: &Range<u64>) -> usize {
        let mut bytes = self.live.bytes;
        let is_calm = |bytes: u64| bytes.wrapping_sub(live.start) < live.end - live.start;
        if !is_calm(bytes) {
            return 0;
        }
        let ends = row.iter().position(|change| {
            let size = u64::from(change.entry().size());
            bytes = bytes.wrapping_add(if change.comes() { size } else { size.wrapping_neg() });
            let is_usual = change.is_usual() & change.entry().is_in_heap();
            !(is_usual & is_calm(bytes) & (change.stamp < self.due))
        });
        ends.unwrap_or(row.len())
    }

    /// Which of the changes to come certainly makes the footprint larger than it is, the first of them if
    /// there are some. What is not told by changes alone is not foreseen.
    pub fn footprint_rises_at(&self, ahead: &[Change]) -> Option<usize> {
        let in_heaps = ahead.iter().take_while(|change| {
            // Neither a look nor a mapping that goes gives anything back before.
            change.is_block_in_heap() && change.stamp < self.due
        });
        let rises = |change: &Change| {
            let (start, end) = change.entry().extent();
            change.comes() && !self.space.is_touched(start..end)
        };
        let first = in_heaps.map(rises).position(|rises| rises);
        // Else its event may lead to something that gives pages back.
        first.filter(|at| ahead.get(at + 1).is_none_or(Change::begins_event))
    }

    /// How many of the changes to come it takes until most is live, if that is more than `bytes`. What is
    /// not told by changes alone is not foreseen.
    pub fn live_is_most_behind(&self, ahead: &[Change], bytes: u64) -> Option<usize> {
        let (mut live, mut most, mut behind) = (self.live.bytes, bytes, None);
        for (index, change) in ahead.iter().enumerate() {
            if live > most && change.begins_event() {
                (most, behind) = (live, Some(index));
            }
            let Some(added) = change.adds_live() else { return behind };
            live = live.wrapping_add_signed(added);
        }
        if live > most { Some(ahead.len()) } else { behind }
    }

    /// Applies the next of some changes.
    pub fn apply(&mut self, change: &Change, all: &Changes) {
        if change.stamp >= self.due {
            self.catch_up(change.stamp);
        }
        if self.apply_calm(slice::from_ref(change), &[], 0..u64::MAX) == 0 {
            self.apply_any(change, all);
        }
    }

    #[inline(never)]
    fn apply_any(&mut self, change: &Change, all: &Changes) {
        self.events += u64::from(change.begins_event());
        self.told.0 += u64::from(change.has(ACQUIRES));
        self.told.1 += u64::from(change.has(WRAPPED));
        self.counts.cross_thread_frees += u64::from(change.has(CROSSED));
        match change.what {
            What::Came => self.came(&all.block_of(change)),
            What::Went => self.went(&all.block_of(change)),
            What::Passed => {
                let block = all.block_of(change);
                self.space.place(&block.extent, block.own_mapping);
                self.space.remove(&block.extent, block.own_mapping);
            }
            What::Mappings => {
                if let Some((lane, rare)) = all.rare_of(change)
                    && let Some(cold) = rare.decoded()
                {
                    self.apply_rare(lane, &cold);
                }
            }
            What::Nothing => {}
        }
    }

    /// Takes in the looks up to a moment.
    pub fn catch_up(&mut self, now: Stamp) {
        self.space.refresh();
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
                self.usable_when_asked = self.live.usable_bytes();
            }
        }
        if self.forked.is_some_and(|forked| forked <= now) {
            // A child of fork: what was counted is its own from here on.
            self.forked = None;
            self.counts = Counts::default();
            self.taken = TakenPages::default();
        }
        self.set_due();
    }

    /// The trace is over.
    pub(super) fn finish(&mut self) {
        self.catch_up(self.goes_on.unwrap_or(Stamp::MAX));
    }

    fn set_due(&mut self) {
        let look = self.looks.get(self.looks_taken).map_or(Stamp::MAX, |look| look.stamp);
        self.due = look.min(self.forked.unwrap_or(Stamp::MAX));
    }

    fn note_told(&mut self, wrapped: bool) {
        self.told.0 += 1;
        self.told.1 += u64::from(wrapped);
    }

    /// A block is there now, maybe on fresh pages, or over another one.
    fn came(&mut self, block: &Block) {
        self.live.add(block);
        let placed = self.space.place(&block.extent, block.own_mapping);
        if placed.refilled_bytes > 0 {
            self.taken.refilled(block, placed.refilled_bytes);
        }
        if placed.despite_fit_bytes > 0 {
            self.taken.grew_despite_fit(block, placed.despite_fit_bytes);
        }
    }

    /// A block is gone, which may not be all that lay there.
    fn went(&mut self, block: &Block) {
        self.live.subtract(block);
        self.space.remove(&block.extent, block.own_mapping);
    }

    /// How many events were applied, from the first kept one on.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Sums over the live blocks.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The address space.
    pub fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// The address space, for figures that are brought up to date when asked for.
    pub fn space_mut(&mut self) -> &mut AddressSpace {
        &mut self.space
    }

    /// Frees of blocks on another thread than the one that acquired them.
    pub fn cross_thread_frees(&self) -> u64 {
        self.counts.cross_thread_frees
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
        self.knows_extents
    }

    /// Whether a hole serves any block that fits into it.
    pub fn any_hole_serves(&self) -> bool {
        self.knows_extents && !self.sizes_apart
    }

    /// Blocks that came by a wrapper of an allocator, while events are kept.
    pub fn wrapped_blocks(&self) -> u64 {
        self.told.1
    }

    /// Whether headers and heaps are those of glibc, for most blocks at least.
    pub fn is_glibc(&self) -> bool {
        let (all, wrapped) = self.told;
        self.glibc_layout && wrapped <= all / 2
    }
}
