//! How far each lane is folded, and what comes next on it.

use super::net::Net;
use super::table::Table;
use crate::ownership::Extent;
use crate::ring::{self, Chunk};
use crate::{file, inherit, lane};
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::Stamp;
use fragtrace_format::base::{Words, birth};
use fragtrace_format::event::{Decoder, Event, Plain, State, Upcoming};
use fragtrace_format::record::{self, ColdKind};

/// A place on a lane, and all that going on from there needs. All zero: no event yet.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The chunk; 0 = the lane has none.
    pub(super) chunk: u32,
    /// Bytes of its payload that lie before.
    pub(super) offset: u32,
    /// The last release that was one half of a realloc: its address, and what was known of
    /// the block. For when the allocator refused, and the block lives on.
    pub(super) realloc: u64,
    pub(super) realloc_stamp: Stamp,
    pub(super) realloc_entry: Words,
    /// The last call that took mappings away was mremap, not munmap.
    pub(super) remapped: bool,
    /// Whose events these are.
    pub(super) thread: u32,
    state: State,
    stack: u32,
}

impl Place {
    /// The first event of a chunk.
    fn at_start(self, chunk: u32) -> Place {
        let header = Chunk::numbered(chunk).header();
        let (state, thread) = (header.state(), header.thread());
        Place { chunk, offset: 0, state, stack: 0, thread, ..self }
    }

    /// Behind what is folded of a chunk already: of one that a child of fork inherited.
    fn behind_folded(mut self, folds: u64) -> Place {
        let folded = Chunk::numbered(self.chunk).header().folded(folds as usize) as usize;
        let payload = Chunk::numbered(self.chunk).payload();
        // SAFETY: what is folded was written, and is not written again.
        let bytes = unsafe { core::slice::from_raw_parts(payload as *const u8, payload.len()) };
        let mut decoder = Decoder::new(bytes, self.state);
        while decoder.offset() < folded
            && let Ok(Some((_, event))) = decoder.next_event()
        {
            if let Event::Cold(payload) = event {
                match record::cold_kind(payload) {
                    ColdKind::Thread(thread) => self.thread = thread,
                    ColdKind::Unmap => self.remapped = false,
                    ColdKind::Remap => self.remapped = true,
                    _ => {}
                }
            }
        }
        self.offset = decoder.offset() as u32;
        (self.state, self.stack) = (decoder.state(), decoder.stack());
        self
    }

    /// Remembers what the lane's last realloc released, where the end of the batch cuts it in
    /// half: the block acquired last, also by a stamp behind that of the release, or the one
    /// from before the batch.
    pub(super) fn remember_released(&mut self, net: &Net, table: &Table) {
        let Some(effect) = net.gone(self.realloc) else { return };
        let unknown = self.realloc_entry == [0; 6];
        if effect.lane != 0 {
            if unknown || birth(&effect.entry) >= self.realloc_stamp {
                self.realloc_entry = effect.entry;
            }
        } else if unknown && let Some(number) = effect.found() {
            self.realloc_entry = table.words(number);
        }
    }

    /// No event that comes has an earlier stamp.
    pub(super) fn stamp(&self) -> Stamp {
        self.state.stamp
    }
}

/// Who takes the events.
pub(super) trait Taker {
    /// Whether it can take one more.
    fn ready(&self) -> bool;
    /// Takes an event of the lane at `place` that holds nothing rare; a block that came was
    /// acquired with this call stack.
    fn take_plain(&mut self, place: &mut Place, stack: u32, plain: &Plain);
    /// Takes an event of the lane at `place`.
    fn take(&mut self, place: &mut Place, stamp: Stamp, event: &Event<'_>);
}

/// Why a run over a lane's events ended.
pub(super) enum Next {
    /// The next event has this stamp, or a later one.
    At(Stamp),
    /// All that is written is taken.
    Nothing,
    /// There was enough, or the taker can take no more.
    Stopped,
}

/// How far a lane is folded.
#[repr(C)]
pub(super) struct LaneScan {
    /// As of the last fold.
    pub(super) folded: Place,
    /// In the fold under way.
    pub(super) now: Place,
    /// Whether `now` is ahead.
    pub(super) touched: bool,
}

/// The written part of a chunk's payload, and the chunk behind it.
fn visible(lane: u32, chunk: u32) -> (&'static [u8], Option<u32>) {
    let payload = Chunk::numbered(chunk).payload();
    let before_cursor = || {
        let written = lane::cursor(lane).checked_sub(payload as *const u8 as usize);
        written.filter(|written| *written <= payload.len())
    };
    let (written, next) = match ring::chunks().extent(chunk, before_cursor) {
        Extent::Closed(next) => (payload.len(), Some(next)),
        Extent::Open(written) => (written, None),
    };
    // SAFETY: within the payload, as `before_cursor` looks; what is below the cursor, and all
    // of a closed chunk, is written, and not written again until it is given back.
    (unsafe { core::slice::from_raw_parts(payload as *const u8, written) }, next)
}

impl LaneScan {
    /// Whether there may be events that are not folded.
    pub(super) fn has_more(&mut self, lane: u32) -> bool {
        if self.now.chunk == 0 {
            let first = lane::first_chunk(lane);
            if first == 0 {
                return false;
            }
            self.folded = self.folded.at_start(first);
            let folds = file::header().folds.load(Relaxed);
            if folds > 0 && lane <= inherit::lanes() {
                self.folded = self.folded.behind_folded(folds);
            }
            self.now = self.folded;
        }
        let (bytes, next) = visible(lane, self.now.chunk);
        next.is_some() || bytes.len() > self.now.offset as usize
    }

    /// Hands out the lane's events up to a stamp, in order, until `left` bytes are taken.
    #[inline(always)]
    pub(super) fn run(
        &mut self,
        lane: u32,
        limit: Stamp,
        left: &mut usize,
        taker: &mut impl Taker,
    ) -> Next {
        loop {
            let (bytes, next) = visible(lane, self.now.chunk);
            let place = &mut self.now;
            let begun = place.offset as usize;
            let enough = begun.saturating_add(*left);
            let mut decoder = Decoder::resume(bytes, begun, place.state, place.stack);
            let why = loop {
                if !taker.ready() || decoder.offset() >= enough {
                    break Some(Next::Stopped);
                }
                if let Some(plain) = decoder.next_plain(limit) {
                    taker.take_plain(place, decoder.stack(), &plain);
                    continue;
                }
                match decoder.next_until(limit) {
                    Ok(Upcoming::Event(stamp, event)) => taker.take(place, stamp, &event),
                    Ok(Upcoming::Later(stamp)) => break Some(Next::At(stamp)),
                    // Nothing but a stray write of the program's can make an event malformed:
                    // the rest of the chunk is lost then.
                    Ok(Upcoming::End) | Err(_) => break None,
                }
            };
            (place.offset, place.state, place.stack) =
                (decoder.offset() as u32, decoder.state(), decoder.stack());
            *left = left.saturating_sub(decoder.offset() - begun);
            self.touched |= decoder.offset() > begun;
            if let Some(why) = why {
                return why;
            }
            let Some(next) = next else { return Next::Nothing };
            ring::wake(next);
            self.now = self.now.at_start(next);
            self.touched = true;
        }
    }
}
