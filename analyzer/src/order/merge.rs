//! Merging the lanes by stamp.
//!
//! Pieces of chunks wait in a queue, the earliest stamp that they can hold first. A round
//! decodes the next few in parallel; what then waits in front bounds from below whatever is
//! not decoded yet, so all events below that bound are merged out.

use super::Told;
use super::decode::{Piece, Resume, piece};
use super::event::{Action, Event};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::vec;

/// Events in a batch.
const BATCH_EVENTS: usize = 1 << 13;
/// Events that may wait in all lanes together, about: 50 MB.
const WAITING_EVENTS: usize = 1 << 20;
/// With many lanes, each decodes at least this many events at a time.
const MIN_PIECE_EVENTS: usize = 1 << 8;
/// Pieces decoded at once, for each thread that decodes.
const PIECES_PER_WORKER: usize = 4;

/// Pieces that wait to be decoded: earliest stamp, chunk.
type Waiting = BinaryHeap<Reverse<(Stamp, usize)>>;

/// All events of a trace in order of time, in batches.
#[derive(Debug)]
pub struct Events<'t> {
    trace: &'t Trace,
    waiting: Waiting,
    /// Where to go on in chunks that are begun.
    begun: BTreeMap<usize, Resume>,
    lanes: Vec<Lane>,
    /// The lane that each chunk belongs to.
    lane_of_chunk: Vec<usize>,
    piece_events: usize,
    told: Told,
}

/// A lane's decoded events. Its chunks may be decoded out of their order.
#[derive(Debug)]
struct Lane {
    /// The chunk whose events come next, and those behind it.
    chunks: VecDeque<Decoded>,
    /// The first chunk in `chunks`, counted over all lanes.
    first_chunk: usize,
    number: u32,
    /// Stamp of the last event merged: events on a lane never go back in time.
    last: Stamp,
}

#[derive(Debug, Default)]
struct Decoded {
    pieces: VecDeque<vec::IntoIter<Event>>,
    done: bool,
}

/// By stamp; among equal ones releases first, as an address is released before it is
/// acquired again; then by lane.
type Rank = (Stamp, bool, u32);

impl Lane {
    /// The events that come next: some, or none are decoded or left.
    fn next_piece(&mut self) -> Option<&mut vec::IntoIter<Event>> {
        loop {
            let chunk = self.chunks.front_mut()?;
            match chunk.pieces.front() {
                Some(piece) if piece.as_slice().is_empty() => {
                    chunk.pieces.pop_front();
                }
                Some(_) => break,
                None if chunk.done => {
                    self.chunks.pop_front();
                    self.first_chunk += 1;
                }
                None => return None,
            }
        }
        self.chunks.front_mut()?.pieces.front_mut()
    }

    /// Rank of the lane's next event. `None`: nothing is decoded, or nothing is left.
    fn rank(&mut self) -> Option<Rank> {
        let (last, number) = (self.last, self.number);
        let next = self.next_piece()?.as_slice().first()?;
        Some(rank(next, last, number))
    }

    /// Moves events to the end of a batch for as long as they come before others, and the batch
    /// has room.
    fn move_while(&mut self, comes_first: impl Fn(&Rank) -> bool, batch: &mut Vec<Event>) {
        loop {
            let (mut last, number) = (self.last, self.number);
            let room = BATCH_EVENTS - batch.len();
            let Some(piece) = self.next_piece() else { return };
            let next = piece.as_slice();
            let run = next.iter().take(room).take_while(|event| {
                let rank = rank(event, last, number);
                last = rank.0;
                comes_first(&rank)
            });
            let (run, all) = (run.count(), next.len());
            let from = batch.len();
            batch.extend(piece.by_ref().take(run));
            for event in &mut batch[from..] {
                event.stamp = event.stamp.max(self.last);
                self.last = event.stamp;
            }
            if run < all {
                return;
            }
        }
    }
}

/// Rank of an event behind one of stamp `last`: only damage makes a lane's chunks overlap in
/// time.
#[inline]
fn rank(event: &Event, last: Stamp, lane: u32) -> Rank {
    let acquires = matches!(event.action, Action::Acquire { .. } | Action::PoolAcquire { .. });
    (event.stamp.max(last), acquires, lane)
}

impl<'t> Events<'t> {
    /// All but chunks of which all events lie at or before `behind`.
    pub(super) fn new(trace: &'t Trace, behind: Option<Stamp>) -> Events<'t> {
        let chunks = trace.chunks();
        let lane_of = |index: usize| chunks.get(index).map(|place: &ChunkPlace| place.info.lane);
        // What comes behind a chunk on its lane begins where it ends.
        let is_past = |index: usize| {
            let next = chunks.get(index + 1).filter(|_| lane_of(index) == lane_of(index + 1));
            next.zip(behind).is_some_and(|(next, behind)| next.info.state.stamp <= behind)
        };
        let mut waiting = Waiting::new();
        let mut lanes: Vec<Lane> = Vec::new();
        let mut lane_of_chunk = Vec::with_capacity(chunks.len());
        let mut earliest = 0;
        for (index, place) in chunks.iter().enumerate() {
            if lanes.last().is_none_or(|lane| lane.number != place.info.lane) {
                if is_past(index) {
                    lane_of_chunk.push(lanes.len());
                    continue;
                }
                let number = place.info.lane;
                let chunks = VecDeque::new();
                lanes.push(Lane { chunks, first_chunk: index, number, last: 0 });
                earliest = 0;
            }
            lane_of_chunk.push(lanes.len() - 1);
            earliest = earliest.max(place.info.state.stamp);
            waiting.push(Reverse((earliest, index)));
        }
        let piece_events = (WAITING_EVENTS / lanes.len().max(1)).max(MIN_PIECE_EVENTS);
        let begun = BTreeMap::new();
        let told = Told::default();
        Events { trace, waiting, begun, lanes, lane_of_chunk, piece_events, told }
    }

    /// What was found out so far.
    pub fn told(self) -> Told {
        self.told
    }

    /// Decodes the pieces that come first.
    fn decode(&mut self) {
        let count = rayon::current_num_threads() * PIECES_PER_WORKER;
        let tasks: Vec<(usize, Resume)> = std::iter::from_fn(|| self.waiting.pop())
            .take(count)
            .map(|Reverse((_, chunk))| {
                let start = Resume::at_start(&self.trace.chunks()[chunk]);
                (chunk, self.begun.remove(&chunk).unwrap_or(start))
            })
            .collect();
        let (trace, wanted) = (self.trace, self.piece_events);
        let pieces: Vec<Piece> = tasks
            .par_iter()
            .map(|(chunk, from)| piece(trace, &trace.chunks()[*chunk], *from, wanted))
            .collect();
        for ((chunk, _), piece) in tasks.into_iter().zip(pieces) {
            self.keep(chunk, piece);
        }
    }

    fn keep(&mut self, chunk: usize, piece: Piece) {
        let parents = self.trace.fork().map_or(0, |fork| fork.lanes);
        if self.trace.chunks()[chunk].info.lane > parents {
            self.told.event_bytes += piece.bytes;
        }
        if let Some(offset) = piece.damage {
            self.told
                .damage
                .push(format!("damaged event at {offset:#x}: the rest of its chunk is left out"));
        }
        let lane = &mut self.lanes[self.lane_of_chunk[chunk]];
        let within = chunk - lane.first_chunk;
        if lane.chunks.len() <= within {
            lane.chunks.resize_with(within + 1, Decoded::default);
        }
        let decoded = &mut lane.chunks[within];
        decoded.done = piece.rest.is_none();
        decoded.pieces.push_back(piece.events.into_iter());
        if let Some(rest) = piece.rest {
            self.waiting.push(Reverse((rest.stamp(), chunk)));
            self.begun.insert(chunk, rest);
        }
    }

    /// Merges out what lies before all that is not decoded yet.
    fn merge(&mut self) -> Vec<Event> {
        let horizon = self.waiting.peek().map_or(Stamp::MAX, |Reverse((stamp, _))| *stamp);
        let all = self.waiting.is_empty();
        let below = |rank: &Rank| all || rank.0 < horizon;
        let mut heads: BinaryHeap<Reverse<(Rank, usize)>> = self
            .lanes
            .iter_mut()
            .enumerate()
            .filter_map(|(index, lane)| Some(Reverse((lane.rank().filter(below)?, index))))
            .collect();
        let mut batch = Vec::with_capacity(if heads.is_empty() { 0 } else { BATCH_EVENTS });
        while batch.len() < BATCH_EVENTS
            && let Some(Reverse((_, index))) = heads.pop()
        {
            let limit = heads.peek().map(|Reverse((rank, _))| *rank);
            let lane = &mut self.lanes[index];
            let comes_first = |rank: &Rank| below(rank) && limit.is_none_or(|limit| *rank <= limit);
            lane.move_while(comes_first, &mut batch);
            heads.extend(lane.rank().filter(below).map(|rank| Reverse((rank, index))));
        }
        batch
    }
}

impl Iterator for Events<'_> {
    type Item = Vec<Event>;

    fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            let batch = self.merge();
            if !batch.is_empty() {
                return Some(batch);
            }
            if self.waiting.is_empty() {
                return None;
            }
            self.decode();
        }
    }
}
