//! Merging the lanes by stamp.
//!
//! Each lane's chunks are decoded one behind the other, a few events ahead of what is merged, so
//! that these are still in the caches then. The lane whose next event comes first gives as many as
//! come before those of all others.

use super::Told;
use super::decode::Chunk;
use super::event::Event;
use super::heads::{Heads, Rank};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use std::vec;

/// Events in a batch.
const BATCH_EVENTS: usize = 1 << 13;
/// Events that are decoded ahead in all lanes together, about: 800 KB.
const AHEAD_EVENTS: usize = 1 << 14;
/// A lane decodes so many at a time.
const MOST_AT_ONCE: usize = 1 << 10;
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
    /// Chunks that are not begun.
    chunks: &'t [ChunkPlace],
    chunk: Option<Chunk<'t>>,
    /// Decoded, and not merged.
    ahead: vec::IntoIter<Event>,
    /// Stamp of the last event merged: events on a lane never go back in time, only damage makes
    /// its chunks overlap.
    last: Stamp,
}

impl<'t> Lane<'t> {
    /// Decodes the next events. False: none is left.
    fn decode(&mut self, trace: &'t Trace, at_once: usize, told: &mut Told) -> bool {
        loop {
            if self.chunk.is_none()
                && let Some((place, behind)) = self.chunks.split_first()
            {
                (self.chunk, self.chunks) = (Some(Chunk::new(trace, place)), behind);
            }
            let Some(chunk) = &mut self.chunk else { return false };
            let events = chunk.decode(at_once);
            if events.is_empty() {
                chunk.tell(trace, told);
                self.chunk = None;
                continue;
            }
            self.ahead = events.into_iter();
            return true;
        }
    }

    /// Rank of the next event that is decoded, by the lane's index.
    #[inline]
    fn rank(&self, index: u32) -> Option<Rank> {
        let next = self.ahead.as_slice().first()?;
        Some(Rank::of(next, next.stamp.max(self.last), index))
    }

    /// Moves decoded events to the end of a batch for as long as they come before `limit`, and the
    /// batch has room.
    #[inline]
    fn move_until(&mut self, limit: Rank, index: u32, batch: &mut Vec<Event>) {
        let room = BATCH_EVENTS - batch.len();
        let mut last = self.last;
        let run = self.ahead.as_slice().iter().take(room).take_while(|event| {
            let stamp = event.stamp.max(last);
            let comes_first = Rank::of(event, stamp, index) < limit;
            last = if comes_first { stamp } else { last };
            comes_first
        });
        let run = run.count();
        let from = batch.len();
        batch.extend(self.ahead.by_ref().take(run));
        for event in &mut batch[from..] {
            self.last = event.stamp.max(self.last);
            event.stamp = self.last;
        }
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
                let (chunks, ahead) = (&chunks[past..], Vec::new().into_iter());
                Lane { chunks, chunk: None, ahead, last: 0 }
            })
            .collect();
        let at_once = (AHEAD_EVENTS / lanes.len().max(1)).clamp(LEAST_AT_ONCE, MOST_AT_ONCE);
        let mut told = Told::default();
        let ranks: Vec<Rank> = lanes
            .iter_mut()
            .enumerate()
            .map(|(index, lane)| {
                lane.decode(trace, at_once, &mut told);
                lane.rank(index as u32).unwrap_or(Rank::LAST)
            })
            .collect();
        Events { trace, lanes, heads: Heads::new(ranks.into_iter()), at_once, told }
    }

    /// What was found out so far.
    pub fn told(self) -> Told {
        self.told
    }
}

impl Iterator for Events<'_> {
    type Item = Vec<Event>;

    fn next(&mut self) -> Option<Vec<Event>> {
        let mut index = self.heads.first()?;
        let mut batch = Vec::with_capacity(BATCH_EVENTS);
        while batch.len() < BATCH_EVENTS {
            let (lane, limit) = (&mut self.lanes[index], self.heads.first_but(index));
            lane.move_until(limit, index as u32, &mut batch);
            if lane.ahead.as_slice().is_empty() {
                lane.decode(self.trace, self.at_once, &mut self.told);
            }
            self.heads.set(index, lane.rank(index as u32).unwrap_or(Rank::LAST));
            match self.heads.first() {
                Some(first) => index = first,
                None => break,
            }
        }
        Some(batch)
    }
}
