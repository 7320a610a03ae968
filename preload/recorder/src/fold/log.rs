//! What is kept of rare events that are folded: what happened to mappings, and who threads are.
//!
//! Regions at the cut follow from the last look before it and the events on mappings since:
//! these are copied to the regions area, marked with the number of their fold. A fold that is
//! not done does not count yet, for its events are still in the ring. Of two halves the area
//! loses the older one when it is full; for each half there is a look.
//!
//! Names of threads do not depend on a cut: each thread has an entry of its own.

use crate::halves::Halves;
use crate::{file, look};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use fragtrace_format::Stamp;
use fragtrace_format::header::{Area, limit};
use fragtrace_format::record::{self, FoldedEvent};
use fragtrace_format::threads::{ENTRY_BYTES, Entry, EntryCell};

/// Both areas have 1/64 of the ring's size, with room for a few in any case, and no more than
/// any process needs.
const RING_SHARE: u64 = 64;
const MIN_REGIONS: u64 = 64 << 10;
const MIN_THREADS: u64 = 4 << 10;
const MAX_REGIONS: u64 = 512 << 20;
const MAX_THREADS: u64 = 256 << 20;
const PAGE: u64 = 4096;

/// Bytes of events that one fold can hold back.
const HELD_BYTES: usize = 32 << 10;
/// The longest event that is held.
const MAX_EVENT: usize = 256;

static REGIONS: Halves = Halves::new(Area::Regions);
/// Bytes of the threads area that are in the file.
static THREADS_ROOM: AtomicU64 = AtomicU64::new(0);

/// Events on mappings that the fold under way took. All zero: none.
#[repr(C)]
pub(super) struct Log {
    len: usize,
    /// Each: length (2 bytes), lane (4), stamp (8), and the event.
    held: [u8; HELD_BYTES],
}

const HEAD: usize = 14;

impl Log {
    /// Whether any event can be held.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.len + HEAD + MAX_EVENT <= HELD_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Holds an event until its fold is done.
    pub(super) fn hold(&mut self, lane: u32, stamp: Stamp, event: &[u8]) {
        let end = self.len + HEAD + event.len();
        let Some(room) = self.held.get_mut(self.len..end).filter(|_| event.len() <= MAX_EVENT)
        else {
            return;
        };
        room[..2].copy_from_slice(&(event.len() as u16).to_le_bytes());
        room[2..6].copy_from_slice(&lane.to_le_bytes());
        room[6..HEAD].copy_from_slice(&stamp.to_le_bytes());
        room[HEAD..].copy_from_slice(event);
        self.len = end;
    }

    /// Writes what is held to the regions area.
    pub(super) fn write(&self, fold: u64) {
        let mut rest = &self.held[..self.len];
        while let Some((head, behind)) = rest.split_at_checked(HEAD) {
            let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
            let lane = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
            let stamp = Stamp::from_le_bytes(head[6..HEAD].try_into().unwrap_or([0; 8]));
            let (event, next) = behind.split_at(len.min(behind.len()));
            write(&FoldedEvent { fold, stamp, lane, event });
            rest = next;
        }
    }
}

/// Makes all the room that the regions area may take.
pub(super) fn reserve() {
    set_bound();
    REGIONS.reserve_all();
}

fn set_bound() {
    let header = file::header();
    if REGIONS.half_bytes() == 0 {
        let bound = (header.ring_bytes.load(Relaxed) / RING_SHARE).clamp(MIN_REGIONS, MAX_REGIONS);
        REGIONS.bound(bound, &header.regions_half_bytes);
    }
}

fn write(event: &FoldedEvent<'_>) {
    let mut payload = [0; MAX_EVENT + 32];
    let Some(len) = record::encode(event, &mut payload) else { return };
    set_bound();
    if REGIONS.has_room(len) == Some(false) && REGIONS.begin_other_half() {
        // What will be forgotten next comes before that look.
        look::soon();
    }
    if !REGIONS.append(&payload[..len]) {
        file::header().limits.fetch_or(limit::REGIONS, Relaxed);
    }
}

/// Bytes in our memory.
pub(super) fn resident_bytes() -> u64 {
    REGIONS.resident_bytes() + THREADS_ROOM.load(Relaxed)
}

/// Keeps a thread's name. Of threads that share an entry the last one named keeps it.
pub(super) fn name_thread(entry: &Entry<'_>) {
    let header = file::header();
    let share = header.ring_bytes.load(Relaxed) / RING_SHARE;
    let bound = share.clamp(MIN_THREADS, MAX_THREADS) / PAGE * PAGE;
    let Some(number) = u64::from(entry.thread).checked_sub(1) else { return };
    let offset = number % (bound / ENTRY_BYTES as u64) * ENTRY_BYTES as u64;
    let room = THREADS_ROOM.load(Relaxed);
    if offset + ENTRY_BYTES as u64 > room {
        // As much again as there is, so that few segments are needed.
        let wanted = (offset + 1).next_multiple_of(PAGE).max(2 * room).min(bound) - room;
        let publish = |bytes| THREADS_ROOM.store(room + bytes, Release);
        if file::grow(Area::Threads, || wanted, publish) != Some(true) {
            return;
        }
    }
    let address = file::area_start(Area::Threads) + offset as usize;
    // SAFETY: the area is mapped up to its room, for good; entries are atomics, at multiples of
    // their size, and only the folder writes to them.
    unsafe { &*(address as *const EntryCell) }.fill(entry);
}
