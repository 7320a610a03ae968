//! The base: the blocks that were live when the kept events begin.
//!
//! When a process died, or was read, in the middle of a fold, the table is a mixture of its
//! states before and behind it (`Header::folding`). The events of that fold are all there,
//! and say for each address what it comes to: acquisitions less releases, and the last
//! acquisition. With that the state behind the fold is exact:
//!
//! * more acquisitions: the block is live, as last acquired;
//! * more releases: it is not;
//! * as many of both: it is live if it was before, and then, if there was an acquisition, as
//!   last acquired. The writer touches no entry of an address that was not live before, and
//!   replaces the others in place, so the mixture tells which it was.
//!
//! The table of a process that runs may pass through several folds while it is copied. Then
//! the last case is not told by the mixture, as an entry may have gone and come back: see
//! [`Mixture::Several`].

use fragtrace_format::Stamp;
use fragtrace_format::base::{ENTRY_BYTES, Entry};
use fragtrace_format::chunk;
use fragtrace_format::event::{Event, Flags};
use fragtrace_format::header::Cut;
use fragtrace_format::record::{self, Cold};
use rustc_hash::{FxHashMap, FxHashSet};
use std::borrow::Cow;
use std::ops::Range;

/// What was when the kept events begin: the blocks that were live, what was counted until
/// then, and what happened to mappings not long before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// The stamp, sums and counts.
    pub cut: Cut,
    /// The blocks, by address.
    pub blocks: Vec<Entry>,
    /// What happened to mappings before, as far as it is kept, in order of time.
    pub events: Vec<FoldedEvent>,
}

/// The entries of the table, by address.
pub(super) type Table = FxHashMap<u64, Entry>;

/// An event on mappings that was folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedEvent {
    /// When it happened.
    pub stamp: Stamp,
    /// On which lane.
    pub lane: u32,
    /// The bytes of a [`Cold`].
    pub event: Box<[u8]>,
}

/// The base table behind the last fold, and what of the chunks is in it.
pub(super) struct FoldedAway {
    pub cut: Cut,
    pub table: Table,
    /// Number of the fold up to which the regions area tells events on mappings, and those
    /// that were folded behind it.
    pub regions_to: u64,
    pub events: Vec<FoldedEvent>,
    /// For each chunk, bytes of its payload.
    pub folded: Vec<u32>,
}

/// Which states of the table a copy of it may hold parts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mixture {
    /// Those before and behind one fold; or one state only.
    OneFold,
    /// Those before and behind any of several folds.
    ///
    /// An address that had as many acquisitions as releases was live before, and is again, if
    /// the copy has a block of it that is older than all of them. Otherwise the order of its
    /// events tells: if it begins with a release, it was live. But events of two lanes may be
    /// in the wrong order if their stamps are close: of such addresses there is doubt.
    Several {
        /// The cut before the first of them.
        begun: Stamp,
        /// Stamps of two lanes that are closer may be in the wrong order.
        window: Stamp,
    },
}

/// What the events of folds come to for one address.
#[derive(Debug, Default)]
struct Net {
    /// Acquisitions less releases.
    net: i64,
    /// The first event was a release: of a block from before.
    released_first: bool,
    /// The last acquisition, and its lane.
    last: Option<(u32, Entry)>,
    /// Acquired while live: what waits for the release that is still to come.
    older: Vec<(u32, Entry)>,
    /// How often the address would have been live twice, or less than not at all, if it was
    /// not live before, and if it was.
    against_dead: u32,
    against_live: u32,
    /// The last event: its lane and stamp.
    latest: Option<(u32, Stamp)>,
    /// Stamps between the closest two events in a row that are of two lanes.
    closest: Option<Stamp>,
}

/// An event of folds under way.
#[derive(Debug)]
pub(super) struct Folding {
    stamp: Stamp,
    lane: u32,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Release { address: u64, realloc: bool },
    Acquire(Box<Entry>),
    Refused(Box<Entry>),
}

/// The entries of the table.
pub(super) fn entries(bytes: &[u8]) -> Table {
    let mut table = Table::default();
    for entry in bytes.chunks_exact(ENTRY_BYTES).filter_map(Entry::read) {
        let known = table.entry(entry.block.address).or_insert(entry);
        // A copy taken while an address moved from one entry to another may have both.
        if entry.birth > known.birth {
            *known = entry;
        }
    }
    table
}

/// The events of parts of chunks: those on blocks, and those on mappings.
#[derive(Default)]
pub(super) struct Parts {
    pub blocks: Vec<Folding>,
    pub mappings: Vec<FoldedEvent>,
}

/// The events of parts of chunks. Of each: its lane, the chunk's bytes, the part of its
/// payload, and the last stamp.
pub(super) fn events<'a>(
    parts: impl Iterator<Item = (u32, Cow<'a, [u8]>, Range<u32>, Stamp)>,
) -> Parts {
    let mut events = Parts::default();
    for (lane, bytes, part, last) in parts.filter(|(_, _, part, _)| !part.is_empty()) {
        events_of(lane, &bytes, &part, last, &mut events);
    }
    events
}

fn events_of(lane: u32, bytes: &[u8], part: &Range<u32>, last: Stamp, out: &mut Parts) {
    let Some((info, mut decoder)) = chunk::read(bytes) else { return };
    let mut thread = info.thread;
    while let Ok(Some((stamp, event))) = decoder.next_event() {
        let offset = decoder.offset() as u64;
        if offset > u64::from(part.end) || stamp > last {
            return;
        }
        if let Event::Cold(payload) = event
            && let Some((Cold::Thread { thread: next, .. }, _)) = record::decode(payload)
        {
            thread = next;
        }
        if offset <= u64::from(part.start) {
            continue;
        }
        let entry = |block| Box::new(as_kept(Entry { birth: stamp, thread, block }));
        let what = match event {
            Event::Cold(payload) => {
                out.mappings.push(FoldedEvent { stamp, lane, event: payload.into() });
                continue;
            }
            Event::Acquire(block) if block.flags.has(Flags::AGAIN) => What::Refused(entry(block)),
            Event::Acquire(block) => What::Acquire(entry(block)),
            Event::Release { address, flags } => {
                What::Release { address, realloc: flags.has(Flags::REALLOC) }
            }
        };
        out.blocks.push(Folding { stamp, lane, what });
    }
}

/// A block as the table would keep it, which leaves out how it came.
fn as_kept(entry: Entry) -> Entry {
    Entry::from_words(entry.words()).unwrap_or(entry)
}

/// By stamp; among equal ones releases first, but none before what its own lane has before
/// it: a block may come and go within one stamp. `events` has the lanes one after the other.
fn in_order(events: Vec<Folding>) -> Vec<Folding> {
    let (mut last, mut acquired) = (None, false);
    let ranked = events.into_iter().map(|event| {
        let here = Some((event.lane, event.stamp));
        acquired &= last == here;
        acquired |= !matches!(event.what, What::Release { .. });
        last = here;
        ((event.stamp, acquired), event)
    });
    let mut ranked: Vec<_> = ranked.collect();
    // Stable: events of a lane stay in their order.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, event)| event).collect()
}

/// Moves the table to where the events lead. The addresses of which there is doubt.
pub(super) fn roll_forward(
    table: &mut Table,
    events: Vec<Folding>,
    mixture: Mixture,
) -> FxHashSet<u64> {
    let (nets, late) = net(in_order(events), table, mixture);
    let mut doubts = FxHashSet::default();
    for (address, net) in nets {
        let lives = match net.net {
            0 => {
                let known = table.get(&address);
                match mixture {
                    Mixture::OneFold => known.is_some(),
                    Mixture::Several { begun, .. }
                        if known.is_some_and(|known| {
                            known.birth <= begun && !late.contains(&(address, known.birth))
                        }) =>
                    {
                        true
                    }
                    Mixture::Several { window, .. } => {
                        if net.closest.is_some_and(|gap| gap <= window) {
                            doubts.insert(address);
                        }
                        net.against_live < net.against_dead
                    }
                }
            }
            net => net > 0,
        };
        if !lives {
            table.remove(&address);
        } else if let Some((_, entry)) = net.last {
            table.insert(address, entry);
        }
    }
    doubts
}

/// What events come to for each address; and blocks acquired by stamps before all folds,
/// which were written late.
fn net(
    events: Vec<Folding>,
    table: &Table,
    mixture: Mixture,
) -> (FxHashMap<u64, Net>, FxHashSet<(u64, Stamp)>) {
    let mut late: FxHashSet<(u64, Stamp)> = FxHashSet::default();
    let mut nets: FxHashMap<u64, Net> = FxHashMap::default();
    let mut reallocs: FxHashMap<u32, (u64, Stamp, Option<Entry>)> = FxHashMap::default();
    for Folding { stamp, lane, what } in events {
        match what {
            What::Acquire(entry) => {
                if matches!(mixture, Mixture::Several { begun, .. } if stamp <= begun) {
                    late.insert((entry.block.address, stamp));
                }
                let net = nets.entry(entry.block.address).or_default();
                net.acquire((lane, stamp), Some(*entry));
            }
            What::Release { address, realloc } => {
                let net = nets.entry(address).or_default();
                if realloc {
                    let live = net.last.filter(|_| net.lives_anew()).map(|(_, entry)| entry);
                    reallocs.insert(lane, (address, stamp, live));
                }
                net.release((lane, stamp));
            }
            What::Refused(entry) => {
                let address = entry.block.address;
                let net = nets.entry(address).or_default();
                let entry = match reallocs.remove(&lane) {
                    // Its first half was stamped before its block was acquired.
                    Some((of, since, _)) if of == address && net.came_since(since) => None,
                    Some((of, _, released)) if of == address => released,
                    // Its release was folded before: unless the table has the block again,
                    // all that is known is where it is.
                    _ => Some(*entry).filter(|_| !table.contains_key(&address)),
                };
                net.acquire((lane, stamp), entry);
            }
        }
    }
    (nets, late)
}

impl Net {
    /// `None`: the block that is there, or was before, as it was.
    fn acquire(&mut self, (lane, stamp): (u32, Stamp), entry: Option<Entry>) {
        if let Some(entry) = entry {
            if self.lives_anew() {
                self.older.extend(self.last);
            }
            self.last = Some((lane, entry));
        }
        self.net += 1;
        self.weigh(lane, stamp);
    }

    /// Whether the last block acquired is live.
    fn lives_anew(&self) -> bool {
        self.net + i64::from(self.released_first) >= 1
    }

    /// Whether the last block acquired is live, and came then or later.
    fn came_since(&self, since: Stamp) -> bool {
        self.lives_anew() && self.last.is_some_and(|(_, entry)| entry.birth >= since)
    }

    fn release(&mut self, (lane, stamp): (u32, Stamp)) {
        self.released_first |= self.latest.is_none();
        self.net -= 1;
        // As in the replay's suspense: a release behind the newer acquisition on its lane is
        // that one's, and the older block is there again.
        let older = self.older.pop();
        if self.last.is_some_and(|(of, _)| of == lane) {
            // If there was one before all these, the writer leaves it alone.
            let came_and_went = self.net == 0 && !self.released_first;
            self.last = if came_and_went { None } else { older.or(self.last) };
        }
        self.weigh(lane, stamp);
    }

    fn weigh(&mut self, lane: u32, stamp: Stamp) {
        self.against_dead += u32::from(!(0..=1).contains(&self.net));
        self.against_live += u32::from(!(-1..=0).contains(&self.net));
        if let Some((of, at)) = self.latest.replace((lane, stamp))
            && of != lane
        {
            let gap = stamp.saturating_sub(at);
            self.closest = Some(self.closest.map_or(gap, |closest| closest.min(gap)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u64 = 0x1000;

    fn acquire(lane: u32, stamp: Stamp) -> Folding {
        let block = fragtrace_format::event::Acquire {
            address: ADDRESS,
            size: 24,
            ..fragtrace_format::event::Acquire::default()
        };
        let entry = Entry { birth: stamp, thread: lane, block };
        Folding { stamp, lane, what: What::Acquire(Box::new(entry)) }
    }

    fn release(lane: u32, stamp: Stamp) -> Folding {
        Folding { stamp, lane, what: What::Release { address: ADDRESS, realloc: false } }
    }

    /// Whether the address lives behind several folds with these events, and is not in doubt.
    fn lives(events: Vec<Folding>) -> Option<bool> {
        let mut table = Table::default();
        let doubts = roll_forward(&mut table, events, Mixture::Several { begun: 1, window: 5 });
        doubts.is_empty().then(|| table.contains_key(&ADDRESS))
    }

    #[test]
    fn a_block_may_come_and_go_within_one_stamp() {
        assert_eq!(lives(vec![acquire(1, 10), release(1, 10)]), Some(false));
        assert_eq!(lives(vec![release(1, 10), acquire(1, 10)]), Some(true));
        assert_eq!(lives(vec![acquire(1, 10), release(1, 10), acquire(1, 10)]), Some(true));
    }

    #[test]
    fn a_block_that_comes_and_goes_before_the_older_one_is_said_to_go_is_not_there() {
        let older = acquire(1, 5);
        let What::Acquire(entry) = older.what else { panic!("an acquisition") };
        let mut table = Table::from_iter([(ADDRESS, *entry)]);
        let events = vec![acquire(2, 10), release(2, 11)];
        roll_forward(&mut table, events, Mixture::OneFold);
        assert_eq!(table.get(&ADDRESS), Some(&*entry));
    }

    #[test]
    fn a_refused_realloc_stamped_before_its_block_came_leaves_that_block() {
        let half = What::Release { address: ADDRESS, realloc: true };
        let What::Acquire(again) = acquire(3, 30).what else { panic!("an acquisition") };
        let events = vec![
            release(3, 9),
            acquire(1, 10),
            Folding { stamp: 19, lane: 3, what: half },
            acquire(2, 20),
            Folding { stamp: 30, lane: 3, what: What::Refused(again) },
        ];
        let mut table = Table::default();
        roll_forward(&mut table, events, Mixture::OneFold);
        assert_eq!(table.get(&ADDRESS).map(|entry| entry.birth), Some(20));
    }

    #[test]
    fn of_close_events_on_two_lanes_there_is_doubt() {
        assert_eq!(lives(vec![acquire(1, 10), release(2, 10)]), None);
        assert_eq!(lives(vec![acquire(1, 10), release(2, 14)]), None);
        assert_eq!(lives(vec![acquire(1, 10), release(2, 20)]), Some(false));
        assert_eq!(lives(vec![acquire(2, 20), release(1, 10)]), Some(true));
    }
}
