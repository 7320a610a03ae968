//! Decoding a chunk, or a piece of it.

use super::event::{Action, Event, Rare};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::chunk::HEADER_BYTES;
use fragtrace_format::event::{Decoder, Event as Packed, Flags, Plain, State};
use fragtrace_format::record::{self, Cold};

/// Where decoding of a chunk is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resume {
    /// Offset of the next event in the chunk.
    offset: usize,
    state: State,
    stack: u32,
    thread: u32,
}

impl Resume {
    /// The first event of a chunk.
    pub fn at_start(place: &ChunkPlace) -> Resume {
        Resume {
            offset: HEADER_BYTES,
            state: place.info.state,
            stack: 0,
            thread: place.info.thread,
        }
    }

    /// No event that is still to come has an earlier stamp.
    pub fn stamp(&self) -> Stamp {
        self.state.stamp
    }
}

/// A piece of a chunk, decoded.
#[derive(Debug)]
pub(super) struct Piece {
    pub events: Vec<Event>,
    /// Where the next piece begins; `None`: the chunk is done.
    pub rest: Option<Resume>,
    /// Bytes that these events took.
    pub bytes: u64,
    /// Where in the file the chunk is damaged, if it is.
    pub damage: Option<u64>,
}

/// Decodes `wanted` events of a chunk, or all that are left.
pub(super) fn piece(trace: &Trace, place: &ChunkPlace, from: Resume, wanted: usize) -> Piece {
    let chunk = trace.chunk_bytes(place);
    let (lane, last) = (place.info.lane, trace.last_stamp());
    let mut decoder = Decoder::resume(&chunk, from.offset, from.state, from.stack);
    let mut thread = from.thread;
    let left = chunk.len().saturating_sub(from.offset);
    let mut events = Vec::with_capacity(wanted.min(left / 4));
    // What lies before this is in the base already; what it says of those behind it counts.
    let folded = HEADER_BYTES.saturating_add(place.folded_bytes as usize);
    let mut kept_from = from.offset;
    let mut damage = None;
    while events.len() < wanted {
        if decoder.offset() >= folded
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
                damage = Some(trace.chunk_offset(place) + decoder.offset() as u64);
                break;
            }
        };
        if let Packed::Cold(bytes) = packed
            && let Some((Cold::Thread { thread: next, .. }, _)) = record::decode(bytes)
        {
            thread = next;
        }
        if decoder.offset() <= folded {
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
    let (offset, state, stack) = (decoder.offset(), decoder.state(), decoder.stack());
    let rest = (events.len() >= wanted).then_some(Resume { offset, state, stack, thread });
    Piece { events, rest, bytes: (offset - kept_from) as u64, damage }
}
