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
//! only the last case is not told by the mixture, as an entry may have gone and come back.
//! See [`Mixture::Several`].

use super::ChunkPlace;
use fragtrace_format::Stamp;
use fragtrace_format::base::{ENTRY_BYTES, Entry};
use fragtrace_format::chunk;
use fragtrace_format::event::{Event, Flags};
use fragtrace_format::header::Cut;
use fragtrace_format::record::{self, Cold};
use rustc_hash::{FxHashMap, FxHashSet};

/// The blocks that were live when the kept events begin, and what was counted until then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// The stamp, sums and counts.
    pub cut: Cut,
    /// The blocks, by address.
    pub blocks: Vec<Entry>,
}

/// The entries of the table, by address.
pub(super) type Table = FxHashMap<u64, Entry>;

/// Which states of the table a copy of it may hold parts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mixture {
    /// Those before and behind one fold.
    OneFold,
    /// Those before and behind any of several; the first of them began behind this stamp.
    ///
    /// An address that had as many acquisitions as releases was live before, and is again,
    /// if the copy has a block of it that is older than all of them. Otherwise the order of
    /// its events tells: one that begins with a release was live. That could be wrong for
    /// two events that were exchanged (stamps of two lanes inverted by microseconds) and
    /// folded just then; whatever more events there are is weighed against it.
    Several(Stamp),
}

/// What the events of folds come to for one address.
#[derive(Debug, Default)]
struct Net {
    /// Acquisitions less releases.
    net: i64,
    /// The last acquisition, and its lane.
    last: Option<(u32, Entry)>,
    /// Acquired while live: what waits for the release that is still to come.
    older: Vec<(u32, Entry)>,
    /// How often the address would have been live twice, or less than not at all, if it was
    /// not live before, and if it was.
    against_dead: u32,
    against_live: u32,
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

/// The events of a chunk that lie behind one payload offset, up to another or to a stamp.
pub(super) fn events_between(
    place: &ChunkPlace,
    bytes: &[u8],
    (from, to): (u32, u32),
    last: Stamp,
    out: &mut Vec<Folding>,
) {
    let Some((info, mut decoder)) = chunk::read(bytes) else { return };
    let (lane, mut thread) = (place.info.lane, info.thread);
    while let Ok(Some((stamp, event))) = decoder.next_event() {
        let offset = decoder.offset() as u64;
        if offset > u64::from(to) || stamp > last {
            return;
        }
        if let Event::Cold(payload) = event
            && let Some((Cold::Thread { thread: next, .. }, _)) = record::decode(payload)
        {
            thread = next;
        }
        if offset <= u64::from(from) {
            continue;
        }
        let entry = |block| Box::new(Entry { birth: stamp, thread, block });
        let what = match event {
            Event::Acquire(block) if block.flags.has(Flags::AGAIN) => What::Refused(entry(block)),
            Event::Acquire(block) => What::Acquire(entry(block)),
            Event::Release { address, flags } => {
                What::Release { address, realloc: flags.has(Flags::REALLOC) }
            }
            Event::Cold(_) => continue,
        };
        out.push(Folding { stamp, lane, what });
    }
}

/// Moves the table to where the events lead.
pub(super) fn roll_forward(table: &mut Table, mut events: Vec<Folding>, mixture: Mixture) {
    // Stable: events of a lane stay in their order.
    events.sort_by_key(|event| (event.stamp, !matches!(event.what, What::Release { .. })));
    let mut late: FxHashSet<(u64, Stamp)> = FxHashSet::default();
    let mut nets: FxHashMap<u64, Net> = FxHashMap::default();
    let mut reallocs: FxHashMap<u32, (u64, Option<Entry>)> = FxHashMap::default();
    for Folding { stamp, lane, what } in events {
        match what {
            What::Acquire(entry) => {
                if matches!(mixture, Mixture::Several(begun) if stamp <= begun) {
                    late.insert((entry.block.address, stamp));
                }
                nets.entry(entry.block.address).or_default().acquire(lane, Some(*entry));
            }
            What::Release { address, realloc } => {
                let net = nets.entry(address).or_default();
                if realloc {
                    let live = net.last.filter(|_| net.net >= 1).map(|(_, entry)| entry);
                    reallocs.insert(lane, (address, live));
                }
                net.release(lane);
            }
            What::Refused(entry) => {
                let address = entry.block.address;
                let net = nets.entry(address).or_default();
                match reallocs.remove(&lane) {
                    Some((of, released)) if of == address => net.acquire(lane, released),
                    // Its release was folded before: unless the table has the block again,
                    // all that is known is where it is.
                    _ if !table.contains_key(&address) => net.acquire(lane, Some(*entry)),
                    _ => net.acquire(lane, None),
                }
            }
        }
    }
    for (address, net) in nets {
        let was_live = || match (mixture, table.get(&address)) {
            (Mixture::OneFold, known) => known.is_some(),
            (Mixture::Several(begun), Some(known))
                if known.birth <= begun && !late.contains(&(address, known.birth)) =>
            {
                true
            }
            (Mixture::Several(_), known) => match net.against_dead.cmp(&net.against_live) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => known.is_some(),
                std::cmp::Ordering::Greater => true,
            },
        };
        if net.net < 0 || net.net == 0 && !was_live() {
            table.remove(&address);
        } else if let Some((_, entry)) = net.last {
            table.insert(address, entry);
        }
    }
}

impl Net {
    /// `None`: a block that was live before, as it was.
    fn acquire(&mut self, lane: u32, entry: Option<Entry>) {
        if let Some(entry) = entry {
            if self.net >= 1 {
                self.older.extend(self.last);
            }
            self.last = Some((lane, entry));
        }
        self.net += 1;
        self.weigh();
    }

    fn release(&mut self, lane: u32) {
        self.net -= 1;
        // As in the replay's suspense: a release behind the newer acquisition on its lane is
        // that one's, and the older block is there again.
        if let Some(older) = self.older.pop()
            && self.last.is_some_and(|(of, _)| of == lane)
        {
            self.last = Some(older);
        }
        self.weigh();
    }

    fn weigh(&mut self) {
        self.against_dead += u32::from(!(0..=1).contains(&self.net));
        self.against_live += u32::from(!(-1..=0).contains(&self.net));
    }
}
