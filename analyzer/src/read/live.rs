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
//! A chunk is copied well if its sequence is the same behind the copying as before, for
//! sequences never come again. How far lanes are folded by a number holds if that number is
//! the same behind the reading as before: the words of a fold are written before its number
//! is, and not again before the next but one.

use super::area::{self, AreaBytes};
use super::base::{self, Mixture, Table};
use super::chunks::{ChunkPlace, Ring};
use super::source::Source;
use fragtrace_format::Stamp;
use fragtrace_format::chunk::FOLDED;
use fragtrace_format::header::{Area, Cut, HEADER_BYTES, HeaderInfo};
use std::collections::BTreeMap;

/// How often a copy is tried before the process is found to write too fast.
pub(super) const TRIES: usize = 20;
/// A table that passed through one fold only while it was copied is worth so many tries.
const TABLE_TRIES: usize = 3;

/// How far each lane is folded: in which of its chunks, and how many bytes of its payload.
type Marks = BTreeMap<u32, (u64, u32)>;

/// The base table as copied, and what led through its states.
pub(super) struct Copied {
    pub table: Table,
    pub mixture: Mixture,
    /// As of the last state.
    pub cut: Cut,
    /// For each chunk, how many bytes of its payload are in the first state, and the last.
    pub folded: Vec<(u32, u32)>,
}

/// The process folded more than was copied of the ring.
pub(super) struct Overtaken;

/// Copies the base table behind the ring. `None`: nothing was folded.
pub(super) fn copy_base(
    source: &Source,
    ring: &Ring,
    chunks: &[ChunkPlace],
    last_stamp: Stamp,
) -> Result<Option<Copied>, Overtaken> {
    for tries_left in (0..TABLE_TRIES).rev() {
        let (before, from) = marks(source, ring, chunks, |header| header.folds)?;
        let bytes = table_bytes(&before, source);
        let (behind, to) = marks(source, ring, chunks, |header| header.folding)?;
        let (first, last) = (&before.header, &behind.header);
        if last.folding == 0 {
            return Ok(None);
        }
        let cut = *last.cut_ahead();
        if cut.stamp > last_stamp {
            return Err(Overtaken);
        }
        let mixture = match last.folding - first.folds.min(last.folding) {
            0 | 1 => Mixture::OneFold,
            _ if tries_left > 0 => continue,
            _ => Mixture::Several(first.cut().stamp),
        };
        let folded = chunks.iter().map(|place| (of(&from, place), of(&to, place))).collect();
        return Ok(Some(Copied { table: base::entries(&bytes), mixture, cut, folded }));
    }
    Err(Overtaken)
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

/// The base table's bytes, of as many segments as it had by a header.
fn table_bytes(head: &Head, source: &Source) -> Vec<u8> {
    let Ok(source) = source.as_long_as_now() else { return Vec::new() };
    let areas = area::find(&head.header, &head.bytes, source.bytes(), &mut Vec::new());
    let table: AreaBytes = areas.get(&Area::Base).cloned().unwrap_or_default();
    table.read(&source, 0, usize::try_from(table.bytes()).unwrap_or(0)).into_owned()
}

/// How far each lane is folded by the fold whose number `which` reads in the header.
fn marks(
    source: &Source,
    ring: &Ring,
    chunks: &[ChunkPlace],
    which: fn(&HeaderInfo) -> u64,
) -> Result<(Head, Marks), Overtaken> {
    for _ in 0..TRIES {
        let Some(before) = head(source) else { break };
        let number = which(&before.header);
        let lanes = chunks.chunk_by(|one, next| one.info.lane == next.info.lane);
        let marks = lanes
            .filter(|_| number != 0)
            .filter_map(|lane| Some((lane.first()?.info.lane, mark(source, ring, lane, number))))
            .collect();
        if head(source).is_some_and(|behind| which(&behind.header) == number) {
            return Ok((before, marks));
        }
    }
    Err(Overtaken)
}

/// How far one lane is folded.
fn mark(source: &Source, ring: &Ring, lane: &[ChunkPlace], number: u64) -> (u64, u32) {
    for place in lane {
        // A chunk that is not there any more was folded as a whole.
        let info = ring.info_now(source, place);
        let same = info.filter(|info| info.sequence == place.info.sequence);
        let folded = same.map_or(FOLDED, |info| info.folded[(number & 1) as usize]);
        if folded != FOLDED {
            return (place.info.lane_seq, folded);
        }
    }
    (u64::MAX, 0)
}

/// How many bytes of a chunk's payload are folded.
fn of(marks: &Marks, place: &ChunkPlace) -> u32 {
    match marks.get(&place.info.lane) {
        Some((lane_seq, _)) if place.info.lane_seq < *lane_seq => FOLDED,
        Some((lane_seq, bytes)) if place.info.lane_seq == *lane_seq => *bytes,
        _ => 0,
    }
}
