//! Events that came in the wrong order, and what is done until the rest comes.
//!
//! Stamps are taken without a fence, so an event can be stamped up to a few microseconds
//! too early beside one on another thread. Two orders arise for one address, where the true
//! one is acquire, release, acquire:
//!
//! * *acquire, acquire, release*: the address is acquired while it is live. The old block
//!   should be gone, and its release is **owed**: it is swallowed when it comes.
//! * *release, acquire*: the release came **early**. The acquisition that it belongs to is
//!   born and dies at once.
//!
//! Certain is the order of each lane. So an owed release is never one that stands behind the
//! acquisition on that one's lane: such a one releases the newer block, and the older one
//! is there again. Nor does an early release belong to an acquisition behind it on its own
//! lane, unless it was the release before it, on another lane, that did. With that, every exchange of two events of one address is undone
//! exactly; of longer ones a reading with few exchanges is taken.
//!
//! What does not come within the window was never there: an early release is one of a block
//! that was never seen, an owed one is an anomaly.

use super::Who;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// An event that waits for its other half.
#[derive(Debug, Clone)]
struct Waiting<B> {
    /// Owed: the lane of the acquisition. Early: the lane of the release.
    lane: u32,
    number: u64,
    what: What<B>,
}

#[derive(Debug, Clone)]
enum What<B> {
    /// The release of this block.
    Owed(Box<B>),
    /// The acquisition of a block that was released. `before`: the lane of the release of
    /// that address before it, if it was a moment ago.
    Early { release: Early, before: Option<u32> },
}

/// A release that came before the acquisition that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Early {
    /// When, on which lane, by which thread.
    pub who: Who,
    /// As one half of a realloc.
    pub realloc: bool,
}

/// What waited in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Early releases: of blocks never seen.
    pub unknown_frees: u64,
    /// Owed releases that never came.
    pub anomalies: u64,
}

impl Expired {
    fn count<B>(&mut self, waiting: &Waiting<B>) {
        match waiting.what {
            What::Owed(_) => self.anomalies += 1,
            What::Early { .. } => self.unknown_frees += 1,
        }
    }
}

/// Events that wait for their other half, by address. `B`: what is known of a block.
#[derive(Debug, Clone)]
pub struct Suspense<B> {
    /// How long they wait, in stamps.
    window: u64,
    by_address: FxHashMap<u64, Vec<Waiting<B>>>,
    /// In order of time: when the wait is over, of what.
    deadlines: VecDeque<(Stamp, u64, u64)>,
    next_number: u64,
}

impl<B> Suspense<B> {
    /// `window`: how long to wait, in stamps.
    pub fn new(window: u64) -> Suspense<B> {
        Suspense {
            window,
            by_address: FxHashMap::default(),
            deadlines: VecDeque::new(),
            next_number: 0,
        }
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

    /// A release is owed: an acquisition on `lane` found the address live, by this block.
    pub fn owe(&mut self, now: Stamp, address: u64, lane: u32, block: B) {
        self.wait(now, address, lane, What::Owed(Box::new(block)));
    }

    /// A release found nothing to release: `before` is the lane of the release before it, if
    /// it was a moment ago.
    pub fn hold(&mut self, address: u64, release: Early, before: Option<u32>) {
        let Who { stamp, lane, .. } = release.who;
        self.wait(stamp, address, lane, What::Early { release, before });
    }

    fn wait(&mut self, now: Stamp, address: u64, lane: u32, what: What<B>) {
        let number = self.next_number;
        self.next_number += 1;
        self.by_address.entry(address).or_default().push(Waiting { lane, number, what });
        self.deadlines.push_back((now.saturating_add(self.window), address, number));
    }

    /// A release on `lane`: the block whose release was owed, if it is that.
    pub fn settle(&mut self, address: u64, lane: u32) -> Option<Box<B>> {
        let owed =
            |waiting: &Waiting<B>| matches!(waiting.what, What::Owed(_)) && waiting.lane != lane;
        self.take_owed(address, |list| list.iter().position(owed))
    }

    /// The newer block at an address is gone, by a release that was not the one owed: the
    /// older one that had to make place for it.
    pub fn revive(&mut self, address: u64) -> Option<Box<B>> {
        let owed = |waiting: &Waiting<B>| matches!(waiting.what, What::Owed(_));
        self.take_owed(address, |list| list.iter().rposition(owed))
    }

    fn take_owed(
        &mut self,
        address: u64,
        find: impl Fn(&[Waiting<B>]) -> Option<usize>,
    ) -> Option<Box<B>> {
        match self.take(address, find)?.what {
            What::Owed(block) => Some(block),
            What::Early { .. } => None,
        }
    }

    /// An acquisition on `lane`: the release of the block, if it came early.
    pub fn release_of(&mut self, address: u64, lane: u32) -> Option<Early> {
        let early = |waiting: &Waiting<B>| match waiting.what {
            What::Early { before, .. } => {
                waiting.lane != lane || before.is_some_and(|before| before != lane)
            }
            What::Owed(_) => false,
        };
        match self.take(address, |list| list.iter().position(early))?.what {
            What::Early { release, .. } => Some(release),
            What::Owed(_) => None,
        }
    }

    fn take(
        &mut self,
        address: u64,
        find: impl Fn(&[Waiting<B>]) -> Option<usize>,
    ) -> Option<Waiting<B>> {
        let list = self.by_address.get_mut(&address)?;
        let at = find(list)?;
        let waiting = list.remove(at);
        if list.is_empty() {
            self.by_address.remove(&address);
        }
        Some(waiting)
    }

    /// Gives up on what waited until before `now`, and hands over the blocks whose release was
    /// owed.
    pub fn expire(&mut self, now: Stamp, mut lost: impl FnMut(B)) -> Expired {
        let mut expired = Expired::default();
        while let Some((deadline, address, number)) = self.deadlines.front().copied() {
            if deadline >= now {
                break;
            }
            self.deadlines.pop_front();
            let numbered = |waiting: &Waiting<B>| waiting.number == number;
            if let Some(gone) = self.take(address, |list| list.iter().position(numbered)) {
                expired.count(&gone);
                if let What::Owed(block) = gone.what {
                    lost(*block);
                }
            }
        }
        expired
    }

    /// The trace is over: gives up on all.
    pub fn expire_all(&mut self) -> Expired {
        let mut expired = Expired::default();
        for waiting in self.by_address.drain().flat_map(|(_, list)| list) {
            expired.count(&waiting);
        }
        self.deadlines.clear();
        expired
    }
}

/// The last releases, for those that come twice in a row.
#[derive(Debug, Clone)]
pub struct Recent {
    releases: [(Stamp, u64, u32); Recent::COUNT],
    next: usize,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent { releases: [(0, u64::MAX, 0); Recent::COUNT], next: 0 }
    }
}

impl Recent {
    /// With several threads at full speed, the releases of some microseconds.
    const COUNT: usize = 256;

    /// A block was released.
    #[inline]
    pub fn note(&mut self, stamp: Stamp, address: u64, lane: u32) {
        self.releases[self.next % Self::COUNT] = (stamp, address, lane);
        self.next = self.next.wrapping_add(1);
    }

    /// The lane of the last release of an address, if it came since a moment.
    pub fn lane_of(&self, address: u64, since: Stamp) -> Option<u32> {
        let of_address =
            |(stamp, released, _): &&(Stamp, u64, u32)| *released == address && *stamp >= since;
        self.releases.iter().filter(of_address).max_by_key(|(stamp, ..)| *stamp).map(|last| last.2)
    }
}
