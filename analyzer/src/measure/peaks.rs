//! The greatest live bytes and the greatest footprint, exact to the event, with the heap as it was then.
//!
//! A maximum may last for one event only, and each could be the last, so the heap is to be looked at
//! there and then. A heap that grows has one at nearly every event: so of those that changes already at hand
//! will surpass no state is taken.

use super::State;
use super::moment;
use super::stairs::{Stairs, Step};
use crate::read::Trace;
use crate::replay::{Change, Heap};
use fragtrace_format::Stamp;
use std::ops::Range;

/// A maximum, and the state of the heap when it was reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Peak {
    greatest: u64,
    pub reached: Stamp,
    /// By so many events.
    pub events: u64,
    /// The state is still to be taken.
    pending: bool,
    pub state: Option<State>,
    /// Of the changes at hand, how many are left when it will have been surpassed at the latest.
    surpassed: Option<usize>,
}

impl Peak {
    /// None yet: that of a recording that begins at a stamp.
    pub fn new(start: Stamp) -> Peak {
        Peak { reached: start, ..Peak::default() }
    }

    #[inline]
    pub fn note(&mut self, value: u64, stamp: Stamp, events: u64) {
        if value > self.greatest {
            (self.greatest, self.reached) = (value, stamp);
            (self.events, self.pending) = (events, true);
        }
    }

    /// Live bytes up to which nothing is to be noted.
    pub fn unnoted(&self) -> Range<u64> {
        0..self.greatest.saturating_add(1)
    }

    /// Takes the state, unless the changes at hand surpass the maximum: `find` says how many of them are
    /// left then.
    fn settle_if_last(
        &mut self,
        trace: &Trace,
        ahead: &[Change],
        heap: &mut Heap<'_>,
        find: impl Fn(u64, &Heap<'_>) -> Option<usize>,
    ) {
        if !self.pending {
            return;
        }
        if self.surpassed.is_none_or(|left| left >= ahead.len()) {
            self.surpassed = find(self.greatest, heap);
        }
        match self.surpassed {
            Some(_) => self.pending = false,
            None => self.settle(trace, heap),
        }
    }

    fn settle(&mut self, trace: &Trace, heap: &mut Heap<'_>) {
        if std::mem::take(&mut self.pending) {
            let time_ns = trace.clock().time_ns(self.reached);
            self.state = Some(moment::state(heap, trace.clock(), time_ns));
        }
    }
}

/// The peaks so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Peaks {
    pub live: Peak,
    pub footprint: Peak,
    /// From the first event on.
    stairs: Option<Stairs>,
    /// Stamp of the last event.
    last: Stamp,
    /// The heap as it may be without that anything is to be noted.
    calm: Calm,
}

/// A footprint, and live bytes: most events change nothing but live bytes, and these by little.
#[derive(Debug, Clone, Default)]
struct Calm {
    live: Range<u64>,
    footprint_bytes: u64,
}

impl Peaks {
    /// Of a recording that begins at a stamp.
    pub fn new(start: Stamp) -> Peaks {
        Peaks { last: start, ..Peaks::default() }
    }

    /// To be called before each event that is not [passed](Peaks::pass), with the changes at hand from that on,
    /// and behind the last.
    pub fn watch(&mut self, trace: &Trace, ahead: &[Change], heap: &mut Heap<'_>) {
        match ahead.first() {
            Some(next) if self.calm_with(heap).contains(&heap.live().bytes) => {
                self.pass(next.stamp, heap);
            }
            _ => {
                self.watch_closely(trace, ahead, heap);
                self.calm = self.calm(heap.space().footprint_bytes());
            }
        }
    }

    /// The live bytes with which nothing is to be noted.
    pub fn calm_with(&self, heap: &Heap<'_>) -> Range<u64> {
        match heap.space().footprint_bytes() == self.calm.footprint_bytes {
            true => self.calm.live.clone(),
            false => 0..0,
        }
    }

    /// Behind some events of which nothing was to be noted.
    pub fn pass(&mut self, last: Stamp, heap: &Heap<'_>) {
        self.last = self.last.max(last);
        if let Some(stairs) = &mut self.stairs {
            stairs.pass(heap.live().bytes);
        }
    }

    /// All changes at hand were applied.
    pub fn applied(&mut self) {
        (self.live.surpassed, self.footprint.surpassed) = (None, None);
    }

    /// What of the heap changes no peak, and no wave.
    fn calm(&self, footprint_bytes: u64) -> Calm {
        match &self.stairs {
            Some(stairs) => {
                let Range { start, end } = stairs.calm();
                let end = end.min(self.live.unnoted().end);
                Calm { live: start..end.max(start), footprint_bytes }
            }
            None => Calm::default(),
        }
    }

    #[inline(never)]
    fn watch_closely(&mut self, trace: &Trace, ahead: &[Change], heap: &mut Heap<'_>) {
        let (live, footprint) = (heap.live().bytes, heap.space().footprint_bytes());
        self.live.note(live, self.last, heap.events());
        let stairs = self.stairs.get_or_insert_with(|| Stairs::new(self.last, live, footprint));
        stairs.note(self.last, live, footprint);
        self.footprint.note(footprint, self.last, heap.events());
        self.footprint.settle_if_last(trace, ahead, heap, |_, heap| {
            heap.footprint_rises_at(ahead).map(|at| ahead.len() - at - 1)
        });
        self.live.settle_if_last(trace, ahead, heap, |greatest, heap| {
            heap.live_is_most_behind(ahead, greatest).map(|at| ahead.len() - at)
        });
        if let Some(next) = ahead.first() {
            // Of a thread that was stopped in the middle of an event it may be earlier.
            self.last = self.last.max(next.stamp);
        }
    }

    /// Looks raise the footprint between events and behind the last one: pages came into memory that
    /// no block is on.
    pub fn watch_footprint(&mut self, trace: &Trace, now: Stamp, heap: &mut Heap<'_>) {
        self.footprint.note(heap.space().footprint_bytes(), now, heap.events());
        self.footprint.settle(trace, heap);
    }

    /// The steps in which the footprint grew for good, as of a heap that ends like this.
    pub fn take_steps(&mut self, trace: &Trace, heap: &Heap<'_>) -> Vec<Step> {
        let (live, footprint) = (heap.live().bytes, heap.space().footprint_bytes());
        let time_ns = |stamp| trace.clock().time_ns(stamp);
        self.stairs.take().map_or_else(Vec::new, |stairs| stairs.finish(live, footprint, time_ns))
    }
}
