//! Decoding a chunk, or a piece of it.

use super::event::{Action, Event, Rare};
use crate::read::{ChunkPlace, Trace};
use fragtrace_format::Stamp;
use fragtrace_format::chunk::HEADER_BYTES;
use fragtrace_format::event::{Decoder, Event as Packed, Prefix, State, pack_prefix};
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

/// Decodes at least `wanted` events of a chunk, or all that are left.
///
/// A piece ends behind an acquisition: only there is it known which call stack holds. The
/// next piece is told by a prefix in front of its bytes, as a writer would say it.
pub(super) fn piece(trace: &Trace, place: &ChunkPlace, from: Resume, wanted: usize) -> Piece {
    let chunk = trace.chunk_bytes(place);
    let rest = chunk.get(from.offset..).unwrap_or(&[]);
    let mut joined = Vec::new();
    let mut payload = rest;
    if from.stack != 0 {
        let word = pack_prefix(Prefix::Stack, u64::from(from.stack));
        joined.extend_from_slice(&word.bits.to_le_bytes()[..word.len as usize]);
        joined.extend_from_slice(rest);
        payload = &joined;
    }
    let added = payload.len() - rest.len();
    let mut decoder = Decoder::new(payload, from.state);
    let mut thread = from.thread;
    let mut events = Vec::with_capacity(wanted.min(rest.len() / 4));
    let folded = HEADER_BYTES.saturating_add(place.folded_bytes as usize);
    let mut skipped = 0;
    let mut piece = Piece { events: Vec::new(), rest: None, bytes: 0, damage: None };
    loop {
        let (stamp, packed) = match decoder.next_event() {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(_) => {
                let within = from.offset + decoder.offset().saturating_sub(added);
                piece.damage = Some(trace.chunk_offset(place) + within as u64);
                break;
            }
        };
        if stamp > trace.last_stamp() {
            break;
        }
        // In the base already. What it says of those behind it counts all the same.
        let end = (from.offset + decoder.offset()).saturating_sub(added);
        if end <= folded {
            if let Packed::Cold(bytes) = packed
                && let Some((Cold::Thread { thread: next, .. }, _)) = record::decode(bytes)
            {
                thread = next;
            }
            skipped = end.saturating_sub(from.offset);
            continue;
        }
        let mut stack_now = None;
        let action = match packed {
            Packed::Acquire(block) => {
                stack_now = Some(block.stack);
                Action::acquire(&block)
            }
            Packed::Release { address, flags } => Action::Release { address, flags },
            Packed::Cold(bytes) => {
                if let Some((Cold::Thread { thread: next, .. }, _)) = record::decode(bytes) {
                    thread = next;
                }
                Action::Rare(Rare::new(bytes))
            }
        };
        events.push(Event { stamp, lane: place.info.lane, thread, action });
        if let Some(stack) = stack_now
            && events.len() >= wanted
        {
            let offset = from.offset + decoder.offset() - added;
            piece.rest = Some(Resume { offset, state: decoder.state(), stack, thread });
            break;
        }
    }
    piece.bytes = decoder.offset().saturating_sub(added + skipped) as u64;
    piece.events = events;
    piece
}
