//! Decoding a chunk, some events at a time.

use super::Told;
use super::event::{Action, Event, Rare};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::chunk::HEADER_BYTES;
use fragtrace_format::event::{Decoder, Event as Packed, Flags, Plain, State};
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
    /// No event is later.
    last: Stamp,
    /// Offset of the next event.
    offset: usize,
    state: State,
    stack: u32,
    thread: u32,
    /// Bytes of the events so far that are not in the base.
    event_bytes: usize,
    /// Nothing comes any more.
    done: bool,
    /// The offset at which no event can be told from the bytes.
    damage: Option<usize>,
}

impl<'t> Chunk<'t> {
    pub fn new(trace: &'t Trace, place: &ChunkPlace) -> Chunk<'t> {
        let info = &place.info;
        Chunk {
            bytes: trace.chunk_bytes(place),
            place: trace.chunk_offset(place),
            lane: info.lane,
            folded: HEADER_BYTES.saturating_add(place.folded_bytes as usize),
            last: trace.last_stamp(),
            offset: HEADER_BYTES,
            state: info.state,
            stack: 0,
            thread: info.thread,
            event_bytes: 0,
            done: false,
            damage: None,
        }
    }

    /// The next events, so many or all that are left.
    pub fn decode(&mut self, wanted: usize) -> Vec<Event> {
        if self.done {
            return Vec::new();
        }
        let Chunk { lane, last, mut thread, .. } = *self;
        let mut decoder = Decoder::resume(&self.bytes, self.offset, self.state, self.stack);
        let left = self.bytes.len().saturating_sub(self.offset);
        let mut events = Vec::with_capacity(wanted.min(left / 4));
        let mut kept_from = self.offset;
        while events.len() < wanted {
            if decoder.offset() >= self.folded
                && let Some(plain) = decoder.next_usual(last)
            {
                let Plain { stamp, address, size, acquires } = plain;
                let action = if acquires {
                    Action::plain_acquire(address, size, decoder.stack())
                } else {
                    Action::release(address, Flags::NONE)
                };
                events.push(Event { stamp, lane, thread, action });
                continue;
            }
            let (stamp, packed) = match decoder.next_event() {
                Ok(Some((stamp, packed))) if stamp <= last => (stamp, packed),
                Ok(_) => break,
                Err(_) => {
                    self.damage = Some(decoder.offset());
                    break;
                }
            };
            if let Packed::Cold(bytes) = packed
                && let Some((Cold::Thread { thread: next, .. }, _)) = record::decode(bytes)
            {
                thread = next;
            }
            if decoder.offset() <= self.folded {
                kept_from = decoder.offset();
                continue;
            }
            let action = match packed {
                Packed::Acquire(block) => Action::acquire(&block),
                Packed::Release { address, flags } => Action::release(address, flags),
                Packed::Cold(bytes) => Action::Rare(Rare::new(bytes)),
            };
            events.push(Event { stamp, lane, thread, action });
        }
        self.done = events.len() < wanted;
        self.event_bytes += decoder.offset() - kept_from;
        (self.offset, self.state, self.stack) =
            (decoder.offset(), decoder.state(), decoder.stack());
        self.thread = thread;
        events
    }

    /// Adds what was found out about it.
    pub fn tell(&self, trace: &Trace, told: &mut Told) {
        if self.lane > trace.fork().map_or(0, |fork| fork.lanes) {
            told.event_bytes += self.event_bytes as u64;
        }
        if let Some(offset) = self.damage {
            let at = self.place + offset as u64;
            told.damage
                .push(format!("damaged event at {at:#x}: the rest of its chunk is left out"));
        }
    }
}
