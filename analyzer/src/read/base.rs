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

use super::ChunkPlace;
use fragtrace_format::Stamp;
use fragtrace_format::base::{ENTRY_BYTES, Entry};
use fragtrace_format::chunk;
use fragtrace_format::event::{Event, Flags};
use fragtrace_format::header::Cut;
use fragtrace_format::record::{self, Cold};
use rustc_hash::FxHashMap;

/// The blocks that were live when the kept events begin, and what was counted until then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// The stamp, sums and counts.
    pub cut: Cut,
    /// The blocks, by address.
    pub blocks: Vec<Entry>,
}

/// What the events of a fold come to for one address.
#[derive(Debug, Default)]
struct Net {
    /// Acquisitions less releases.
    net: i64,
    /// The last acquisition, and its lane.
    last: Option<(u32, Entry)>,
    /// Acquired while live: what waits for the release that is still to come.
    older: Vec<(u32, Entry)>,
}

/// An event of the fold under way.
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
    Refused(u64),
}

/// The entries of the table.
pub(super) fn entries(bytes: &[u8]) -> FxHashMap<u64, Entry> {
    let mut table: FxHashMap<u64, Entry> = FxHashMap::default();
    for entry in bytes.chunks_exact(ENTRY_BYTES).filter_map(Entry::read) {
        let known = table.entry(entry.block.address).or_insert(entry);
        // No writer makes two of one address: the younger one is as good a guess as any.
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
        let what = match event {
            Event::Acquire(block) if block.flags.has(Flags::AGAIN) => What::Refused(block.address),
            Event::Acquire(block) => What::Acquire(Box::new(Entry { birth: stamp, thread, block })),
            Event::Release { address, flags } => {
                What::Release { address, realloc: flags.has(Flags::REALLOC) }
            }
            Event::Cold(_) => continue,
        };
        out.push(Folding { stamp, lane, what });
    }
}

/// Moves the table to where the fold goes.
pub(super) fn roll_forward(table: &mut FxHashMap<u64, Entry>, mut events: Vec<Folding>) {
    // Stable: events of a lane stay in their order.
    events.sort_by_key(|event| (event.stamp, !matches!(event.what, What::Release { .. })));
    let mut nets: FxHashMap<u64, Net> = FxHashMap::default();
    let mut reallocs: FxHashMap<u32, (u64, Option<Entry>)> = FxHashMap::default();
    for event in events {
        let lane = event.lane;
        match event.what {
            What::Acquire(entry) => {
                nets.entry(entry.block.address).or_default().acquire(lane, *entry)
            }
            What::Release { address, realloc } => {
                let net = nets.entry(address).or_default();
                let live = net.last.filter(|_| net.net >= 1).map(|(_, entry)| entry);
                if realloc {
                    reallocs.insert(lane, (address, live));
                }
                net.release(lane);
            }
            What::Refused(address) => {
                if let Some((of, entry)) = reallocs.remove(&lane)
                    && of == address
                {
                    let net = nets.entry(address).or_default();
                    match entry {
                        Some(entry) => net.acquire(lane, entry),
                        None => net.net += 1,
                    }
                }
            }
        }
    }
    for (address, net) in nets {
        let lives = net.net > 0 || net.net == 0 && table.contains_key(&address);
        match net.last {
            _ if !lives => {
                table.remove(&address);
            }
            Some((_, entry)) => {
                table.insert(address, entry);
            }
            None => {}
        }
    }
}

impl Net {
    fn acquire(&mut self, lane: u32, entry: Entry) {
        if self.net >= 1 {
            self.older.extend(self.last);
        }
        self.net += 1;
        self.last = Some((lane, entry));
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
    }
}
