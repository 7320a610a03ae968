//! Reading the trace of a process that runs.
//!
//! Such a process goes on folding: chunks are used again, and the base table changes, while
//! both are read. So all is copied, in this order:
//!
//! 1. the last stamp on record, S; then the ring;
//! 2. how far each lane is folded, by fold number `f`, the last that was done then;
//! 3. the table;
//! 4. how far each lane is folded, by fold number `g`, the last that was begun then.
//!
//! The copy of the table holds parts of its states from `f` to `g`. The events folded in
//! between, which lead from the one to the other, are in the copy of the ring: what `f` had
//! not folded was there while it was copied, as a chunk is given back only behind the fold
//! that took the last of it, and what is stamped up to S was written before. So it is
//! required that `g` goes not beyond S. What [`base`](super::base) makes of the table is then
//! its state behind `g`, and the events behind `g` up to S are those to be replayed. (An
//! event that was written late, by a thread that was stopped between its stamp and its store,
//! may be in the table and not in the copied ring. It is the latest of its address, so what
//! the table says of that holds.)
//!
//! Where the table passed through several folds, there may be doubt about a few addresses
//! whose events may be in the wrong order just then. Another copy of the table has other
//! doubts, if any, and what is sure in one leads by way of the events to what is sure in the
//! next.
//!
//! A chunk is copied well if its sequence is the same behind the copying as before, for
//! sequences never come again. How far lanes are folded by a number holds if that number is
//! the same behind the reading as before: the words of a fold are written before its number
//! is, and not again before the next but one.

use super::area::{self, AreaBytes};
use super::base::{self, FoldedAway, Mixture, Parts, roll_forward};
use super::chunks::{ChunkPlace, Ring};
use super::folded::Folded;
use super::source::Source;
use fragtrace_format::Stamp;
use fragtrace_format::chunk::FOLDED;
use fragtrace_format::header::{Area, HEADER_BYTES, HeaderInfo};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long copies are tried before the process is found to write too fast. One takes about a
/// millisecond, and fails where the ring goes round meanwhile: on a busy machine, often.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often marks are read anew, as a fold came in between.
const TRIES: usize = 20;
/// So many copies of the table are made, until there is no doubt about any address.
const TABLES: usize = 8;

/// How far each lane is folded: in which of its chunks, and how many bytes of its payload.
type Marks = BTreeMap<u32, (u64, u32)>;

/// The base, and the addresses of which there is doubt.
type Known = (FoldedAway, FxHashSet<u64>);

/// The process folded more than was copied of the ring.
pub(super) struct Overtaken;

/// The ring as it was copied.
pub(super) struct CopiedRing<'a> {
    pub source: &'a Source,
    pub ring: &'a Ring,
    pub chunks: &'a [ChunkPlace],
    /// Of the last event in it.
    pub last_stamp: Stamp,
    /// Stamps of two lanes that are closer may be in the wrong order.
    pub window: Stamp,
}

impl CopiedRing<'_> {
    /// Copies the base table. `None`: nothing was folded.
    pub fn base(&self) -> Result<Option<FoldedAway>, Overtaken> {
        let mut known = None;
        for _ in 0..TABLES {
            let Some((base, doubts)) = self.copy_base(known.take())? else { return Ok(None) };
            if doubts.is_empty() {
                return Ok(Some(base));
            }
            known = Some((base, doubts));
        }
        Ok(known.map(|(base, _)| base))
    }

    /// Copies the table once, and settles doubts by what is known from the copy before. With
    /// the addresses of which doubt is left.
    fn copy_base(&self, known: Option<Known>) -> Result<Option<Known>, Overtaken> {
        let (before, from) = self.marks(|header| header.folds)?;
        let bytes = table_bytes(&before, self.source);
        let (behind, to) = self.marks(|header| header.folding)?;
        let (first, last) = (&before.header, &behind.header);
        if last.folding == 0 {
            return Ok(None);
        }
        let cut = *last.cut_ahead();
        if cut.stamp > self.last_stamp {
            return Err(Overtaken);
        }
        let mixture = if last.folding <= first.folds.saturating_add(1) {
            Mixture::OneFold
        } else {
            Mixture::Several { begun: first.cut().stamp, window: self.window }
        };
        let folded = self.folded(&to);
        let mut table = base::entries(&bytes);
        let events = self.events(&self.folded(&from), &folded);
        let Parts { blocks, mappings } = events;
        let mut doubts = roll_forward(&mut table, blocks, mixture);
        if let Some((FoldedAway { table: mut other, folded: by, .. }, others)) = known
            && !doubts.is_empty()
        {
            roll_forward(&mut other, self.events(&by, &folded).blocks, Mixture::OneFold);
            for address in doubts.difference(&others) {
                match other.remove(address) {
                    Some(entry) => table.insert(*address, entry),
                    None => table.remove(address),
                };
            }
            doubts.retain(|address| others.contains(address));
        }
        let regions_to = first.folds;
        Ok(Some((FoldedAway { cut, table, regions_to, events: mappings, folded }, doubts)))
    }

    /// The events between two states.
    fn events(&self, from: &[u32], to: &[u32]) -> Parts {
        let parts = self.chunks.iter().zip(from.iter().zip(to));
        base::events(parts.map(|(place, (from, to))| {
            let bytes = self.ring.chunk(self.source, place);
            (place.info.lane, bytes, *from..*to, self.last_stamp)
        }))
    }

    /// How many bytes of each chunk's payload are folded.
    fn folded(&self, marks: &Marks) -> Vec<u32> {
        let of = |place: &ChunkPlace| match marks.get(&place.info.lane) {
            Some((lane_seq, _)) if place.info.lane_seq < *lane_seq => FOLDED,
            Some((lane_seq, bytes)) if place.info.lane_seq == *lane_seq => *bytes,
            _ => 0,
        };
        self.chunks.iter().map(of).collect()
    }

    /// How far each lane is folded by the fold whose number `which` reads in the header.
    fn marks(&self, which: fn(&HeaderInfo) -> u64) -> Result<(Head, Marks), Overtaken> {
        for _ in 0..TRIES {
            let Some(before) = head(self.source) else { break };
            let number = which(&before.header);
            let lanes = self.chunks.chunk_by(|one, next| one.info.lane == next.info.lane);
            let marks = lanes
                .filter(|_| number != 0)
                .filter_map(|lane| Some((lane.first()?.info.lane, self.mark(lane, number))))
                .collect();
            if head(self.source).is_some_and(|behind| which(&behind.header) == number) {
                return Ok((before, marks));
            }
        }
        Err(Overtaken)
    }

    /// How far one lane is folded.
    fn mark(&self, lane: &[ChunkPlace], number: u64) -> (u64, u32) {
        for place in lane {
            // A chunk that is not there any more was folded as a whole.
            let info = self.ring.info_now(self.source, place);
            let same = info.filter(|info| info.sequence == place.info.sequence);
            let folded = same.map_or(FOLDED, |info| info.folded[(number & 1) as usize]);
            if folded != FOLDED {
                return (place.info.lane_seq, folded);
            }
        }
        (u64::MAX, 0)
    }
}

/// The header as it is now.
struct Head {
    header: HeaderInfo,
    bytes: Vec<u8>,
}

fn head(source: &Source) -> Option<Head> {
    let bytes = source.read(0, HEADER_BYTES).into_owned();
    let header = HeaderInfo::read(&bytes).ok()?;
    Some(Head { header, bytes })
}

/// The file and its areas, of as many segments as it had by a header.
fn areas(head: &Head, source: &Source) -> Option<(Source, BTreeMap<Area, AreaBytes>)> {
    let source = source.as_long_as_now().ok()?;
    let areas = area::find(&head.header, &head.bytes, source.bytes(), &mut Vec::new());
    Some((source, areas))
}

/// The base table's bytes.
fn table_bytes(head: &Head, source: &Source) -> Vec<u8> {
    let Some((source, areas)) = areas(head, source) else { return Vec::new() };
    let table: AreaBytes = areas.get(&Area::Base).cloned().unwrap_or_default();
    table.read(&source, 0, usize::try_from(table.bytes()).unwrap_or(0)).into_owned()
}

/// What is kept of rare events that were folded.
pub(super) fn folded(source: &Source, base: &FoldedAway) -> Option<Folded> {
    let head = head(source)?;
    let (source, areas) = areas(&head, source)?;
    Some(Folded::read(&areas, &source, head.header.regions_half_bytes, base))
}
