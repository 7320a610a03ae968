//! Decoding a chunk, some events at a time.

use super::Told;
use super::brief::{Batch, Brief};
use super::event::{Action, Event, Rare};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::chunk::HEADER_BYTES;
use fragtrace_format::event::{Decoder, Event as Packed, State};
use fragtrace_format::record::{self, Cold};
use std::borrow::Cow;

/// A chunk, as far as it is decoded.
#[derive(Debug)]
pub(super) struct Chunk<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where in the file it begins.
    place: u64,
    lane: u32,
    /// What lies before this is in the base already; what it says of those behind it counts.
    folded: usize,
    /// Where the events begin that are not in the base, as far as is known.
    kept_from: usize,
    /// No event is later.
    last: Stamp,
    /// Offset of the next event.
    offset: usize,
    state: State,
    stack: u32,
    thread: u32,
    /// The offset at which no event can be told from the bytes.
    damage: Option<usize>,
    /// Nothing comes any more.
    done: bool,
}

impl<'t> Chunk<'t> {
    pub fn new(trace: &'t Trace, place: &ChunkPlace) -> Chunk<'t> {
        let info = &place.info;
        Chunk {
            bytes: trace.chunk_bytes(place),
            place: trace.chunk_offset(place),
            lane: info.lane,
            folded: HEADER_BYTES.saturating_add(place.folded_bytes as usize),
            kept_from: HEADER_BYTES,
            last: trace.last_stamp(),
            offset: HEADER_BYTES,
            state: info.state,
            stack: 0,
            thread: info.thread,
            damage: None,
            done: false,
        }
    }

    /// Adds the next events to a batch, until it has so many or none are left. None is earlier than
    /// `last`, which is the last one's stamp then.
    pub fn decode(&mut self, wanted: usize, batch: &mut Batch, last: &mut Stamp) {
        let Chunk { lane, mut thread, .. } = *self;
        let mut decoder = Decoder::resume(&self.bytes, self.offset, self.state, self.stack);
        while batch.len() < wanted {
            if decoder.offset() >= self.folded {
                let mut latest = *last;
                while batch.len() < wanted
                    && let Some(mut plain) = decoder.next_usual(self.last)
                {
                    latest = plain.stamp.max(latest);
                    plain.stamp = latest;
                    match Brief::of_plain(&plain, decoder.stack(), lane, thread) {
                        Some(brief) => batch.push_brief(brief),
                        None => {
                            let (action, _) = action_of(plain.event(decoder.stack()));
                            batch.push(Event { stamp: latest, lane, thread, action });
                        }
                    }
                }
                *last = latest;
                if batch.len() >= wanted {
                    break;
                }
            }
            let (stamp, packed) = match decoder.next_event() {
                Ok(Some((stamp, packed))) if stamp <= self.last => (stamp, packed),
                ended => {
                    self.damage = ended.is_err().then_some(decoder.offset());
                    self.done = true;
                    break;
                }
            };
            let (action, by) = action_of(packed);
            thread = by.unwrap_or(thread);
            if decoder.offset() > self.folded {
                *last = stamp.max(*last);
                batch.push(Event { stamp: *last, lane, thread, action });
            } else {
                self.kept_from = decoder.offset();
            }
        }
        (self.offset, self.state, self.stack) =
            (decoder.offset(), decoder.state(), decoder.stack());
        self.thread = thread;
    }

    /// Whether all of it is decoded.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Adds what was found out about it.
    pub fn tell(&self, trace: &Trace, told: &mut Told) {
        if self.lane > trace.fork().map_or(0, |fork| fork.lanes) {
            told.event_bytes += (self.offset - self.kept_from) as u64;
        }
        if let Some(offset) = self.damage {
            let at = self.place + offset as u64;
            told.damage
                .push(format!("damaged event at {at:#x}: the rest of its chunk is left out"));
        }
    }
}

/// What an event says, and the thread from there on, if it says that.
fn action_of(packed: Packed<'_>) -> (Action, Option<u32>) {
    match packed {
        Packed::Acquire(block) => (Action::acquire(&block), None),
        Packed::Release { address, flags } => (Action::release(address, flags), None),
        Packed::Cold(bytes) => {
            let thread = match record::decode(bytes) {
                Some((Cold::Thread { thread, .. }, _)) => Some(thread),
                _ => None,
            };
            (Action::Rare(Rare::new(bytes)), thread)
        }
    }
}
