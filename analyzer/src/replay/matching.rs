//! Matching blocks with their releases: what is live, and what each event means.
//!
//! The order of events may be wrong by a few microseconds: see [`suspense`]. So a block may come
//! to an address that another one still has, which then goes too late.

use super::block::{Block, Layout};
use super::change::{ACQUIRES, CROSSED, Changes, WRAPPED, What};
use super::entry::Entry;
use super::reallocs::Reallocs;
use super::suspense::{self, Early, Recent, Suspense};
use super::{
    Blocks, Counts, Habits, Handovers, Pools, Reclaim, Sources, TimedCall, TimedCalls, Who,
};
use crate::order::{Action, Batch, Brief, Event, Note};
use crate::read::{Ending, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::base;
use fragtrace_format::event::{Flags, WRAPPED as WRAPPED_POOL};
use fragtrace_format::header::Cut;
use fragtrace_format::record::Cold;
use std::ops::Range;

/// The live blocks as of the last event, and what was found out about them by the way.
#[derive(Debug, Clone)]
pub struct Matching<'t> {
    layout: Layout,
    pub(super) blocks: Blocks,
    pub(super) counts: Counts,
    pub(super) handovers: Handovers,
    pub(super) reclaim: Reclaim,
    pub(super) habits: Habits,
    pub(super) sources: Sources,
    pub(super) timed: TimedCalls,
    pub(super) pools: Pools<'t>,
    suspense: Suspense<Block>,
    recent: Recent,
    reallocs: Reallocs,
    window: u64,
    /// Nothing but events happens before this stamp.
    due: Stamp,
    /// Of a process that goes on, the last stamp on record.
    goes_on: Option<Stamp>,
    /// In a child of fork, as long as its parent's history is replayed: when that ends.
    forked: Option<Stamp>,
}

impl<'t> Matching<'t> {
    /// Before the first event.
    pub(super) fn new(trace: &'t Trace, layout: Layout) -> Matching<'t> {
        let window = trace.clock().inversion_window();
        let mut matching = Matching {
            blocks: Blocks::default(),
            counts: Counts::default(),
            handovers: Handovers::default(),
            reclaim: Reclaim::default(),
            habits: Habits::new(trace.most_frames(), layout.is_glibc()),
            sources: Sources::new(trace.most_frames()),
            timed: TimedCalls::default(),
            pools: Pools::new(trace.pools()),
            layout,
            suspense: Suspense::new(window),
            recent: Recent::default(),
            reallocs: Reallocs::default(),
            window,
            due: 0,
            goes_on: (trace.ending() == Ending::Running).then(|| trace.last_stamp()),
            forked: super::forked_later(trace),
        };
        for (thread, known) in trace.threads() {
            matching.sources.name(*thread, &known.name);
        }
        matching.set_due();
        matching
    }

    /// A block of the base; the one that was there before, if any; whether a wrapper told of it.
    pub(super) fn begin_block(&mut self, entry: &base::Entry) -> (Block, Option<Block>, bool) {
        let base::Entry { birth, thread, block } = entry;
        let note = Note::of(block);
        let said = (block.size, block.align_log2, block.stack);
        let who = Who { stamp: *birth, lane: 0, thread: *thread };
        let here = self.block(who, block.address, said, note.as_ref());
        let before = self.blocks.insert(Entry::pack(block.address, &here), &here);
        self.sources.count(block.stack);
        (here, before.map(|(_, block)| block), is_wrapped(note.as_ref()))
    }

    /// The kept events begin: what was counted before.
    pub(super) fn begin(&mut self, cut: &Cut) {
        self.counts = Counts::of_matching(cut);
    }

    /// Begins to fetch what an event will need that comes some events later. Changes nothing.
    #[inline]
    pub fn foresee(&self, event: &Brief) {
        self.blocks.foresee(event.address());
    }

    /// Finds out what the next event of a batch means.
    #[inline(always)]
    pub fn apply(&mut self, brief: &Brief, batch: &Batch, changes: &mut Changes) {
        match batch.whole(brief) {
            None => self.apply_brief(brief, changes),
            Some(event) => self.apply_whole(event, changes),
        }
    }

    /// The same of an event by itself.
    pub fn apply_event(&mut self, event: &Event, changes: &mut Changes) {
        match Brief::pack(event) {
            Some(brief) => self.apply_brief(&brief, changes),
            None => self.apply_whole(event, changes),
        }
    }

    #[inline]
    fn begin_event(&mut self, stamp: Stamp) {
        if stamp >= self.due {
            self.catch_up(stamp);
        }
        self.counts.events += 1;
    }

    #[inline(always)]
    fn apply_brief(&mut self, brief: &Brief, changes: &mut Changes) {
        let who = Who { stamp: brief.stamp(), lane: brief.lane, thread: brief.thread };
        self.begin_event(who.stamp);
        let is_usual = brief.is_plain() && self.suspense.is_empty();
        let done = match brief.acquires() {
            true => is_usual && self.usual_came(who, brief, changes),
            false => is_usual && self.usual_went(who, brief.address(), changes),
        };
        if !done {
            self.apply_any(who, brief, changes);
        }
    }

    /// A block comes to an address that is free, with nothing rare about it, as most do. False:
    /// nothing was done.
    #[inline(always)]
    fn usual_came(&mut self, who: Who, brief: &Brief, changes: &mut Changes) -> bool {
        let by = (who.stamp, who.thread, brief.stack);
        match self.layout.entry(brief.address(), brief.size, by) {
            Some(entry) => self.came_in_little(who, entry, changes),
            None => self.usual_came_elsewhere(who, brief, changes),
        }
    }

    /// The same of any allocator's block. By itself: an entry of which nobody knows which way it came
    /// would be put together in memory, and read from there at once.
    #[inline(never)]
    fn usual_came_elsewhere(&mut self, who: Who, brief: &Brief, changes: &mut Changes) -> bool {
        let said = (brief.size.into(), 0, brief.stack);
        let block = self.block(who, brief.address(), said, None);
        self.came_in_little(who, Entry::pack(brief.address(), &block), changes)
    }

    #[inline(always)]
    fn came_in_little(&mut self, who: Who, entry: Entry, changes: &mut Changes) -> bool {
        if !self.blocks.insert_usual(entry) {
            return false;
        }
        let block = entry.unpack();
        self.counts.allocs += 1;
        self.sources.count(block.stack);
        self.habits.acquired(&block, false);
        self.reclaim.acquired(&block);
        changes.usual(who.stamp, What::Came, entry, ACQUIRES);
        true
    }

    /// A block that is there goes, with nothing rare about it, as most do. False: nothing was done.
    #[inline(always)]
    fn usual_went(&mut self, who: Who, address: u64, changes: &mut Changes) -> bool {
        let Some(entry) = self.blocks.remove_usual(address) else { return false };
        let block = entry.unpack();
        self.counts.frees += 1;
        self.recent.note(who.stamp, address, who.lane);
        self.reclaim.released(&block);
        self.habits.gone(who, address, &block, false);
        let crossed = block.thread != who.thread;
        if crossed {
            self.handovers.freed(block.thread, who.thread, block.size);
        }
        changes.usual(who.stamp, What::Went, entry, if crossed { CROSSED } else { 0 });
        true
    }

    #[inline(never)]
    fn apply_any(&mut self, who: Who, brief: &Brief, changes: &mut Changes) {
        changes.begin(who.stamp);
        if brief.acquires() {
            let said = (brief.size.into(), 0, brief.stack);
            self.acquired(who, brief.address(), said, (brief.flags(), None), changes);
        } else {
            self.released(who, brief.address(), brief.flags(), changes);
        }
        changes.end();
    }

    #[inline(never)]
    fn apply_whole(&mut self, event: &Event, changes: &mut Changes) {
        self.begin_event(event.stamp);
        changes.begin(event.stamp);
        let who = Who { stamp: event.stamp, lane: event.lane, thread: event.thread };
        match &event.action {
            Action::Acquire { address, size, flags, align_log2, stack, note } => {
                let said = (*size, *align_log2, *stack);
                self.acquired(who, *address, said, (*flags, note.as_ref()), changes);
            }
            Action::Release { address, flags } => self.released(who, *address, *flags, changes),
            Action::PoolAcquire { address, size, pool } => {
                self.pools.acquire(who.stamp, *address, (*pool, *size));
            }
            Action::PoolRelease { address } => self.pools.release(who.stamp, *address),
            Action::Rare(rare) => {
                if let Some(cold) = rare.decoded()
                    && !self.apply_rare(who, &cold, changes)
                {
                    changes.mappings(who.lane, rare);
                }
            }
        }
        changes.end();
    }

    /// Takes in a rare event. False: it is about mappings.
    pub(super) fn apply_rare(&mut self, who: Who, cold: &Cold<'_>, changes: &mut Changes) -> bool {
        match *cold {
            Cold::ReallocFreed { .. } => self.realloc_freed(who.lane, changes),
            Cold::Thread { thread, name, .. } => self.sources.name(thread, name),
            Cold::Timed { call, ticks } => {
                self.timed.note(TimedCall { stamp: who.stamp, call, ticks });
            }
            Cold::End { .. } => {}
            _ => return false,
        }
        true
    }

    /// The blocks are to be seen as of a moment.
    pub fn show(&mut self, now: Stamp) {
        self.catch_up(now);
        self.blocks.shrink();
    }

    /// Gives up on what waited up to a moment.
    pub fn catch_up(&mut self, now: Stamp) {
        let expired = self.suspense.expire(now, drop);
        self.count_expired(expired);
        if self.forked.is_some_and(|forked| forked <= now) {
            self.begin_in_child();
        }
        self.set_due();
    }

    /// The trace is over.
    pub(super) fn finish(&mut self) {
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
        let forked = self.forked.unwrap_or(Stamp::MAX);
        self.due = self.suspense.deadline().saturating_add(1).min(forked);
    }

    /// A child of fork has its parent's heap from here on; what was counted is its own.
    fn begin_in_child(&mut self) {
        self.forked = None;
        // What still waits for its order was the parent's, and cut off by the fork.
        self.suspense.expire_all();
        self.counts = Counts::default();
        self.handovers = Handovers::default();
        self.habits.begin_anew();
        self.sources.count_anew(self.blocks.iter().map(|(_, block)| block.stack));
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
    fn acquired(
        &mut self,
        who: Who,
        address: u64,
        said: (u64, u8, u32),
        (flags, note): (Flags, Option<&Note>),
        changes: &mut Changes,
    ) {
        if flags.has(Flags::AGAIN) && self.refused(who, address, changes) {
            return;
        }
        let realloc = flags.has(Flags::REALLOC);
        if !realloc {
            self.counts.allocs += 1;
            self.sources.count(said.2);
        }
        changes.flag(if is_wrapped(note) { ACQUIRES | WRAPPED } else { ACQUIRES });
        let block = self.block(who, address, said, note);
        self.habits.acquired(&block, realloc);
        if realloc {
            self.note_move(who, address, &block);
        }
        self.acquire(who, address, block, changes);
    }

    #[inline]
    fn acquire(&mut self, who: Who, address: u64, block: Block, changes: &mut Changes) {
        let entry = Entry::pack(address, &block);
        if !self.suspense.is_empty()
            && let Some(early) = self.suspense.release_of(address, who.lane)
        {
            return self.live_and_die(entry, block, early, changes);
        }
        self.reclaim.acquired(&block);
        self.settle(who, entry, &block, changes);
    }

    /// A block is live from now on. If the address was live, that block is gone, and its release
    /// is owed.
    #[inline]
    fn settle(&mut self, who: Who, entry: Entry, block: &Block, changes: &mut Changes) {
        let before = self.blocks.insert(entry, block);
        if let Some((old_entry, old)) = &before {
            changes.block(What::Went, *old_entry, old);
        }
        changes.block(What::Came, entry, block);
        if let Some((_, old)) = before {
            self.suspense.owe(who.stamp, entry.address, who.lane, old);
            self.set_due();
        }
    }

    /// A block whose release is on record already.
    #[cold]
    fn live_and_die(&mut self, entry: Entry, block: Block, early: Early, changes: &mut Changes) {
        if self.blocks.get(entry.address).is_none() {
            changes.block(What::Passed, entry, &block);
        }
        self.gone(early.who, entry.address, early.realloc, block, changes);
    }

    #[inline]
    fn released(&mut self, who: Who, address: u64, flags: Flags, changes: &mut Changes) {
        let realloc = flags.has(Flags::REALLOC);
        if realloc {
            self.counts.reallocs += 1;
        } else {
            self.counts.frees += 1;
        }
        if !self.suspense.is_empty()
            && let Some(gone) = self.suspense.settle(address, who.lane)
        {
            return self.gone(who, address, realloc, *gone, changes);
        }
        let Some((entry, block)) = self.blocks.remove(address) else {
            let since = who.stamp.saturating_sub(self.window);
            let before = self.recent.lane_of(address, since);
            self.suspense.hold(address, Early { who, realloc }, before);
            return self.set_due();
        };
        self.recent.note(who.stamp, address, who.lane);
        self.reclaim.released(&block);
        if !realloc && block.thread != who.thread {
            changes.flag(CROSSED);
        }
        changes.block(What::Went, entry, &block);
        if !self.suspense.is_empty()
            && let Some(older) = self.suspense.revive(address)
        {
            let entry = Entry::pack(address, &older);
            changes.block(What::Came, entry, &older);
            self.blocks.insert(entry, &older);
        }
        self.note_gone(who, address, realloc, block);
    }

    /// A block is gone that was taken out of the heap already, or was never in it.
    fn gone(&mut self, who: Who, address: u64, realloc: bool, block: Block, changes: &mut Changes) {
        if !realloc && block.thread != who.thread {
            changes.tell(CROSSED);
        }
        self.note_gone(who, address, realloc, block);
    }

    /// What a release means beyond the heap.
    #[inline]
    fn note_gone(&mut self, who: Who, address: u64, realloc: bool, block: Block) {
        self.habits.gone(who, address, &block, realloc);
        if realloc {
            self.reallocs.remember(who, address, block);
        } else {
            self.handovers.freed(block.thread, who.thread, block.size);
        }
    }

    /// The allocator refused a realloc: the block lives on as it was. False: it is not known.
    fn refused(&mut self, who: Who, address: u64, changes: &mut Changes) -> bool {
        let Some(block) = self.reallocs.refused(who.lane, address) else { return false };
        self.settle(who, Entry::pack(address, &block), &block, changes);
        true
    }

    /// realloc returned a block: somewhere else than the one it was called for, maybe.
    fn note_move(&mut self, who: Who, address: u64, block: &Block) {
        match self.reallocs.last(who.lane) {
            Some((before, old)) if before == address => {
                self.habits.stayed(address, old, block.birth);
            }
            Some((before, old)) if old.size < block.size => {
                self.habits.moved_up(before, old, (address, block.birth));
            }
            _ => {}
        }
    }

    /// realloc(p, 0) freed its block: a free, not a realloc.
    fn realloc_freed(&mut self, lane: u32, changes: &mut Changes) {
        self.counts.reallocs = self.counts.reallocs.saturating_sub(1);
        self.counts.frees += 1;
        if let Some((freed_by, block)) = self.reallocs.freed(lane) {
            if block.thread != freed_by {
                changes.tell(CROSSED);
            }
            self.handovers.freed(block.thread, freed_by, block.size);
        }
    }

    /// The live blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
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
}

fn is_wrapped(note: Option<&Note>) -> bool {
    note.is_some_and(|note| note.pool == WRAPPED_POOL)
}
