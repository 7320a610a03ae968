//! Merging the lanes by stamp.
//!
//! Each lane's chunks are decoded one behind the other, a few events ahead of what is merged, so
//! that these are still in the nearest caches then. The two lanes whose next events come first are
//! merged up to where a third one's comes: mostly no more threads than that run at a time for long.

use super::Told;
use super::brief::{Batch, Brief};
use super::decode::Chunk;
use super::heads::{First, Head, Heads, Rank};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use std::hint::select_unpredictable;

/// Events in a batch.
const BATCH_EVENTS: usize = 1 << 12;
/// Events that are decoded ahead in all lanes together, about: 512 KB.
const AHEAD_EVENTS: usize = 1 << 14;
/// A lane decodes so many at a time.
const MOST_AT_ONCE: usize = 1 << 9;
const LEAST_AT_ONCE: usize = 1 << 6;

/// All events of a trace in order of time, in batches.
#[derive(Debug)]
pub struct Events<'t> {
    trace: &'t Trace,
    lanes: Vec<Lane<'t>>,
    heads: Heads,
    /// Events that a lane decodes at a time.
    at_once: usize,
    told: Told,
}

/// A lane, as far as it is read.
#[derive(Debug)]
struct Lane<'t> {
    number: u32,
    /// Chunks that are not begun.
    chunks: &'t [ChunkPlace],
    chunk: Option<Chunk<'t>>,
    /// Decoded.
    ahead: Batch,
    /// Of these merged.
    merged: usize,
    /// Stamp of the last event decoded: events on a lane never go back in time, only damage makes
    /// its chunks overlap.
    last: Stamp,
}

impl<'t> Lane<'t> {
    fn new(chunks: &'t [ChunkPlace]) -> Lane<'t> {
        let number = chunks.first().map_or(0, |place| place.info.lane);
        Lane { number, chunks, chunk: None, ahead: Batch::default(), merged: 0, last: 0 }
    }

    /// The rank of its next event; `None`: none is left.
    #[inline]
    fn next(&mut self, trace: &'t Trace, at_once: usize, told: &mut Told) -> Option<Rank> {
        if self.merged == self.ahead.len() {
            self.decode(trace, at_once, told);
        }
        self.ahead.briefs().get(self.merged).map(|brief| brief.rank)
    }

    /// Decodes the next events.
    fn decode(&mut self, trace: &'t Trace, at_once: usize, told: &mut Told) {
        self.ahead.clear();
        self.merged = 0;
        while self.ahead.is_empty() {
            if self.chunk.is_none()
                && let Some((place, behind)) = self.chunks.split_first()
            {
                (self.chunk, self.chunks) = (Some(Chunk::new(trace, place)), behind);
            }
            let Some(chunk) = &mut self.chunk else { return };
            chunk.decode(at_once, &mut self.ahead, &mut self.last);
            if chunk.is_done() {
                chunk.tell(trace, told);
                self.chunk = None;
            }
        }
    }

    /// What is decoded and not merged.
    fn rest(&self) -> &[Brief] {
        &self.ahead.briefs()[self.merged..]
    }

    /// Moves decoded events to the end of a batch for as long as it has room.
    fn move_all(&mut self, batch: &mut Batch) {
        let begin = batch.len();
        let rest = self.rest();
        batch.push_briefs(&rest[..rest.len().min(BATCH_EVENTS - begin)]);
        self.merged += batch.len() - begin;
        if !self.ahead.is_all_brief() {
            batch.adopt(begin, |_| &self.ahead);
        }
    }
}

/// Moves decoded events of two lanes to the end of a batch, in order, for as long as it has room and
/// both have any, and these come before the limit. The indices rise.
fn move_both(
    [one, other]: [&mut Lane<'_>; 2],
    [first, second]: [u32; 2],
    limit: Head,
    batch: &mut Batch,
) {
    let begin = batch.len();
    let (of_one, of_other) = (one.rest(), other.rest());
    let (mut at_one, mut at_other) = (0, 0);
    // Of equal ranks the lower lane's comes first.
    let limit_of = |lane| if lane < limit.1 { limit.0.next() } else { limit.0 };
    let (limit_of_one, limit_of_other) = (limit_of(first), limit_of(second));
    for _ in begin..BATCH_EVENTS {
        if at_one >= of_one.len() || at_other >= of_other.len() {
            break;
        }
        let (next_of_one, next_of_other) = (&of_one[at_one], &of_other[at_other]);
        let is_of_one = next_of_one.rank <= next_of_other.rank;
        let next = select_unpredictable(is_of_one, next_of_one, next_of_other);
        if next.rank >= select_unpredictable(is_of_one, limit_of_one, limit_of_other) {
            break;
        }
        batch.push_brief(*next);
        at_one += usize::from(is_of_one);
        at_other += usize::from(!is_of_one);
    }
    one.merged += at_one;
    other.merged += at_other;
    if !one.ahead.is_all_brief() || !other.ahead.is_all_brief() {
        batch.adopt(begin, |lane| if lane == one.number { &one.ahead } else { &other.ahead });
    }
}

impl<'t> Events<'t> {
    /// All but chunks of which all events lie at or before `behind`.
    pub(super) fn new(trace: &'t Trace, behind: Option<Stamp>) -> Events<'t> {
        let mut lanes: Vec<Lane<'t>> = trace
            .chunks()
            .chunk_by(|one, next| one.info.lane == next.info.lane)
            .map(|chunks| {
                // What comes behind a chunk on its lane begins where it ends.
                let ends_behind = |next: &ChunkPlace| {
                    behind.is_some_and(|behind| next.info.state.stamp <= behind)
                };
                let past = chunks[1..].iter().take_while(|next| ends_behind(next)).count();
                Lane::new(&chunks[past..])
            })
            .collect();
        let at_once = (AHEAD_EVENTS / lanes.len().max(1)).clamp(LEAST_AT_ONCE, MOST_AT_ONCE);
        let mut told = Told::default();
        let heads = Heads::new(
            lanes
                .iter_mut()
                .zip(0..)
                .filter_map(|(lane, index)| Some((lane.next(trace, at_once, &mut told)?, index))),
        );
        Events { trace, lanes, heads, at_once, told }
    }

    /// What was found out so far.
    pub fn told(self) -> Told {
        self.told
    }
}

impl Iterator for Events<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::with_capacity(BATCH_EVENTS);
        while batch.len() < BATCH_EVENTS
            && let Some(First { lane, other, limit }) = self.heads.take_first()
        {
            let pair = other.map(|other| [lane.min(other), lane.max(other)]);
            if let Some([first, second]) = pair
                && let Ok([one, other]) = self.lanes.get_disjoint_mut([first, second])
            {
                move_both([one, other], [first as u32, second as u32], limit, &mut batch);
            } else {
                self.lanes[lane].move_all(&mut batch);
            }
            for lane in [Some(lane), other].into_iter().flatten() {
                let next = self.lanes[lane].next(self.trace, self.at_once, &mut self.told);
                if let Some(rank) = next {
                    self.heads.add((rank, lane as u32));
                }
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}
