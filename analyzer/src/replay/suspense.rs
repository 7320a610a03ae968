//! Events that came in the wrong order, and what is done until the rest comes.
//!
//! Stamps are taken without a fence, so an event can be stamped up to a few microseconds
//! too early beside one on another thread. Two orders arise for one address, where the true
//! one is acquire, release, acquire:
//!
//! * *acquire, acquire, release*: the address is acquired while it is live. The old block
//!   is gone by then, and its release is **owed**: it is swallowed when it comes.
//! * *release, acquire*: the release came **early**. The acquisition that it belongs to is
//!   born and dies at once.
//!
//! Certain is the order of each lane. So an early release never belongs to an acquisition
//! behind it on its own lane, and an owed release is never one that stands behind the
//! acquisition on that one's lane. With that, every exchange of two events of one address
//! is undone exactly; of longer ones the reading with the fewest exchanges is taken.
//!
//! What does not come within the window was never there: an early release is one of a block
//! that was never seen, an owed one is an anomaly.

use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// An event that waits for its other half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Owed: the lane of the acquisition. Early: the lane of the release.
    lane: u32,
    /// Owed: the thread that had acquired the block. Early: the one that released it.
    pub thread: u32,
    number: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Owed,
    Early,
}

/// What waited in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Early releases: of blocks never seen.
    pub unknown_frees: u64,
    /// Owed releases that never came.
    pub anomalies: u64,
}

/// Events that wait for their other half, by address.
#[derive(Debug, Default)]
pub struct Suspense {
    /// How long they wait, in stamps.
    window: u64,
    by_address: FxHashMap<u64, Vec<Waiting>>,
    /// In order of time: when the wait is over, of what.
    deadlines: VecDeque<(Stamp, u64, u64)>,
    next_number: u64,
}

impl Suspense {
    /// `window`: how long to wait, in stamps.
    pub fn new(window: u64) -> Suspense {
        Suspense { window, ..Suspense::default() }
    }

    /// Whether nothing waits: the normal case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// When the next wait is over.
    pub fn deadline(&self) -> Stamp {
        self.deadlines.front().map_or(Stamp::MAX, |(deadline, ..)| *deadline)
    }

    /// A release is owed: an acquisition on `lane` found the address live, held by `thread`.
    pub fn owe(&mut self, now: Stamp, address: u64, lane: u32, thread: u32) {
        self.wait(now, address, lane, thread, Kind::Owed);
    }

    /// A release on `lane`, by `thread`, found nothing to release.
    pub fn hold(&mut self, now: Stamp, address: u64, lane: u32, thread: u32) {
        self.wait(now, address, lane, thread, Kind::Early);
    }

    fn wait(&mut self, now: Stamp, address: u64, lane: u32, thread: u32, kind: Kind) {
        let number = self.next_number;
        self.next_number += 1;
        self.by_address.entry(address).or_default().push(Waiting { lane, thread, number, kind });
        self.deadlines.push_back((now.saturating_add(self.window), address, number));
    }

    /// A release on `lane`: the debt that it settles, if it does.
    pub fn settle(&mut self, address: u64, lane: u32) -> Option<Waiting> {
        self.take(address, |waiting| waiting.kind == Kind::Owed && waiting.lane != lane)
    }

    /// An acquisition on `lane`: the early release that belongs to it, if one does.
    pub fn release_of(&mut self, address: u64, lane: u32) -> Option<Waiting> {
        self.take(address, |waiting| waiting.kind == Kind::Early && waiting.lane != lane)
    }

    fn take(&mut self, address: u64, wanted: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let list = self.by_address.get_mut(&address)?;
        let at = list.iter().position(wanted)?;
        let waiting = list.remove(at);
        if list.is_empty() {
            self.by_address.remove(&address);
        }
        Some(waiting)
    }

    /// Gives up on what waited until before `now`.
    pub fn expire(&mut self, now: Stamp) -> Expired {
        let mut expired = Expired::default();
        while let Some((deadline, address, number)) = self.deadlines.front().copied() {
            if deadline >= now {
                break;
            }
            self.deadlines.pop_front();
            match self.take(address, |waiting| waiting.number == number).map(|gone| gone.kind) {
                Some(Kind::Owed) => expired.anomalies += 1,
                Some(Kind::Early) => expired.unknown_frees += 1,
                None => {}
            }
        }
        expired
    }

    /// The trace is over: gives up on all.
    pub fn expire_all(&mut self) -> Expired {
        let mut expired = Expired::default();
        for waiting in self.by_address.drain().flat_map(|(_, list)| list) {
            match waiting.kind {
                Kind::Owed => expired.anomalies += 1,
                Kind::Early => expired.unknown_frees += 1,
            }
        }
        self.deadlines.clear();
        expired
    }
}
