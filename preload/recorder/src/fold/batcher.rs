//! Takes events, one by one, into the batch of a fold: what they come to, and what they count.

use super::log::{self, Log};
use super::net::{Net, Released};
use super::scan::{Place, Taker};
use fragtrace_format::Stamp;
use fragtrace_format::base::{self, Entry, Words};
use fragtrace_format::event::{Acquire, Event, Flags, IN_POOL, Plain};
use fragtrace_format::header::{Count, Cut};
use fragtrace_format::record::{self, Cold, ColdKind};
use fragtrace_format::threads;

/// Takes events of a lane into the batch.
pub(super) struct Batcher<'a> {
    pub(super) net: &'a mut Net,
    pub(super) log: &'a mut Log,
    pub(super) cut: &'a mut Cut,
    pub(super) lane: u32,
    /// The batch is complete but for an exchange that is to be seen to its end.
    pub(super) extends: bool,
}

impl Taker for Batcher<'_> {
    #[inline(always)]
    fn ready(&self) -> bool {
        self.log.has_room() && if self.extends { self.net.has_room() } else { !self.net.is_full() }
    }

    #[inline(always)]
    fn take_plain(&mut self, place: &mut Place, stack: u32, plain: &Plain) {
        let Plain { stamp, address, size, acquires } = *plain;
        self.came_to(stamp);
        // Blocks in pools are known only while they are in the ring.
        if address & IN_POOL != 0 {
            return;
        }
        if acquires {
            let words = base::plain_words(address, size, (stamp, place.thread, stack));
            self.net.acquire(self.lane, stamp, (address, &words));
            count(self.cut, Count::Allocs);
        } else {
            let released = self.net.release((self.lane, place.thread), stamp, address, false);
            self.freed(place.thread, released);
        }
    }

    #[inline(never)]
    fn take(&mut self, place: &mut Place, stamp: Stamp, event: &Event<'_>) {
        self.came_to(stamp);
        match event {
            Event::Acquire(Acquire { address, .. }) | Event::Release { address, .. }
                if address & IN_POOL != 0 => {}
            Event::Acquire(block) => self.acquire(place, stamp, block),
            Event::Release { address, flags } => self.release(place, stamp, (*address, *flags)),
            Event::Cold(payload) => self.cold(place, stamp, payload),
        }
    }
}

impl Batcher<'_> {
    #[inline(always)]
    fn came_to(&mut self, stamp: Stamp) {
        self.cut.stamp = self.cut.stamp.max(stamp);
        count(self.cut, Count::Events);
    }

    fn acquire(&mut self, place: &mut Place, stamp: Stamp, block: &Acquire) {
        if block.flags.has(Flags::AGAIN) {
            return self.refusal(place, stamp, block.address);
        }
        let entry = Entry { birth: stamp, thread: place.thread, block: *block };
        self.net.acquire(self.lane, stamp, (block.address, &entry.words()));
        if !block.flags.has(Flags::REALLOC) {
            count(self.cut, Count::Allocs);
        }
    }

    fn release(&mut self, place: &mut Place, stamp: Stamp, (address, flags): (u64, Flags)) {
        let realloc = flags.has(Flags::REALLOC);
        if realloc {
            (place.realloc, place.realloc_stamp) = (address, stamp);
            place.realloc_entry = self.net.live(address).unwrap_or_default();
        }
        let released = self.net.release((self.lane, place.thread), stamp, address, realloc);
        if realloc {
            count(self.cut, Count::Reallocs);
        } else {
            self.freed(place.thread, released);
        }
    }

    #[inline(always)]
    fn freed(&mut self, thread: u32, released: Released) {
        count(self.cut, Count::Frees);
        if let Released::Known(by) = released
            && by != thread
        {
            count(self.cut, Count::CrossThreadFrees);
        }
    }

    /// A realloc was refused: its block lives on as it was.
    #[cold]
    fn refusal(&mut self, place: &mut Place, stamp: Stamp, address: u64) {
        if place.realloc != address {
            return;
        }
        let entry: Words = place.realloc_entry;
        let since = |block: Words| base::birth(&block) >= place.realloc_stamp;
        // Where its first half was stamped before its block was acquired, it is that block.
        if entry == [0; 6] || self.net.live(address).is_some_and(since) {
            self.net.unrelease(address);
        } else {
            self.net.acquire(self.lane, stamp, (address, &entry));
        }
        place.realloc = 0;
    }

    /// What a lane released as one half of a realloc was a free.
    #[cold]
    fn realloc_freed(&mut self, place: &mut Place) {
        uncount(self.cut, Count::Reallocs);
        let entry = core::mem::take(&mut place.realloc_entry);
        let released = if entry == [0; 6] {
            self.net.freed_after_all((self.lane, place.thread), place.realloc);
            Released::Before
        } else {
            Released::Known(base::thread(&entry))
        };
        place.realloc = 0;
        self.freed(place.thread, released);
    }

    /// Counts a rare event, and keeps what it says of mappings and threads.
    #[cold]
    #[inline(never)]
    fn cold(&mut self, place: &mut Place, stamp: Stamp, payload: &[u8]) {
        let kind = record::cold_kind(payload);
        if !matches!(kind, ColdKind::Thread(_) | ColdKind::ReallocFreed | ColdKind::Timed) {
            self.log.hold(self.lane, stamp, payload);
        }
        match kind {
            ColdKind::Thread(thread) => {
                place.thread = thread;
                if let Some((Cold::Thread { thread, tid, name }, _)) = record::decode(payload) {
                    log::name_thread(&threads::Entry { thread, tid, name });
                }
            }
            ColdKind::Map => count(self.cut, Count::Mmaps),
            ColdKind::Unmap => {
                count(self.cut, Count::Munmaps);
                place.remapped = false;
            }
            ColdKind::Remap => {
                count(self.cut, Count::Mremaps);
                place.remapped = true;
            }
            ColdKind::Undo => {
                uncount(self.cut, if place.remapped { Count::Mremaps } else { Count::Munmaps });
            }
            ColdKind::Advise => count(self.cut, Count::Madvises),
            ColdKind::Brk => count(self.cut, Count::BrkChanges),
            ColdKind::ReallocFreed => self.realloc_freed(place),
            ColdKind::Timed | ColdKind::Other => {}
        }
    }
}

fn count(cut: &mut Cut, what: Count) {
    cut.counts[what as usize] += 1;
}

fn uncount(cut: &mut Cut, what: Count) {
    let count = &mut cut.counts[what as usize];
    *count = count.saturating_sub(1);
}
