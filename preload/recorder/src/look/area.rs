//! The looks area: two halves, used in turn, each a run of records that begins afresh.
//!
//! A half is begun by emptying its first frame, which hides what stood there. So the looks of
//! half the area, at least, are always kept, and the area never grows beyond its bound.

use crate::file;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use fragtrace_format::header::Area;
use fragtrace_format::record::{self, FRAME_BYTES};

/// Looks have 1/16 of the ring's size, and room for a few in any case.
const RING_SHARE: u64 = 16;
const MIN_BYTES: u64 = 256 << 10;
const FIRST_GROWTH: u64 = 32 << 10;
const GROWTH: u64 = 256 << 10;
const PAGE: u64 = 4096;

/// Bytes of a half, bytes of the area that are in the file, and where the next record goes.
static HALF: AtomicU64 = AtomicU64::new(0);
static ROOM: AtomicU64 = AtomicU64::new(0);
static USED: AtomicU64 = AtomicU64::new(0);

/// Makes room for the first looks. False: there is none.
pub(super) fn reserve(ring_bytes: u64) -> bool {
    let half = ((ring_bytes / RING_SHARE).max(MIN_BYTES) / 2).next_multiple_of(PAGE);
    HALF.store(half, Relaxed);
    file::header().looks_half_bytes.store(half, Relaxed);
    grow(FIRST_GROWTH)
}

fn grow(bytes: u64) -> bool {
    let room = ROOM.load(Relaxed);
    file::grow(Area::Looks, || bytes, |bytes| ROOM.store(room + bytes, Relaxed)) == Some(true)
}

/// Bytes of a half: no record is longer.
pub(super) fn half_bytes() -> u64 {
    HALF.load(Relaxed)
}

/// Bytes in our memory.
pub(super) fn resident_bytes() -> u64 {
    ROOM.load(Relaxed).min(USED.load(Relaxed).max(HALF.load(Relaxed)).next_multiple_of(PAGE))
}

/// Makes the area larger until `end` lies in it. False: there is no room.
fn grow_to(end: u64) -> bool {
    while end > ROOM.load(Relaxed) {
        let missing = end - ROOM.load(Relaxed);
        let bound = 2 * HALF.load(Relaxed) - ROOM.load(Relaxed);
        let step = missing.next_multiple_of(GROWTH).min(bound);
        if !grow(step) && !grow(missing.next_multiple_of(PAGE)) {
            return false;
        }
    }
    true
}

/// Whether a record fits behind the last one. `None`: it never does.
pub(super) fn has_room(payload_len: usize) -> Option<bool> {
    let half = HALF.load(Relaxed);
    let needed = needed(payload_len);
    (needed <= half).then(|| USED.load(Relaxed) % half + needed <= half)
}

/// One frame more than the record, so that the run always ends in an empty one.
fn needed(payload_len: usize) -> u64 {
    (record::framed_bytes(payload_len) + FRAME_BYTES) as u64
}

/// Goes over to the other half, and forgets what stood in it. False: there is no room.
pub(super) fn begin_other_half() -> bool {
    let half = HALF.load(Relaxed);
    let start = if USED.load(Relaxed) < half { half } else { 0 };
    if !grow_to(start + FRAME_BYTES as u64) {
        return false;
    }
    frame_at(start).store(0, Release);
    USED.store(start, Relaxed);
    true
}

fn frame_at(offset: u64) -> &'static AtomicU64 {
    let address = file::area_start(Area::Looks) + offset as usize;
    // SAFETY: callers stay below ROOM, up to where the area is mapped for good; records are
    // multiples of 8 bytes, so the word is aligned.
    unsafe { &*(address as *const AtomicU64) }
}

/// Appends a record: what ends the run behind it, then the payload, then the frame that
/// makes it count. False: no room.
pub(super) fn append(payload: &[u8]) -> bool {
    let used = USED.load(Relaxed);
    if has_room(payload.len()) != Some(true) || !grow_to(used + needed(payload.len())) {
        return false;
    }
    let end = used + record::framed_bytes(payload.len()) as u64;
    frame_at(end).store(0, Relaxed);
    // The payload's last word may be padded.
    frame_at(end - 8).store(0, Relaxed);
    let at = file::area_start(Area::Looks) + used as usize + FRAME_BYTES;
    // SAFETY: the area is mapped up to ROOM, and the look's lock makes us its only writer.
    unsafe { core::ptr::copy_nonoverlapping(payload.as_ptr(), at as *mut u8, payload.len()) };
    frame_at(used).store(record::frame(payload).to_le(), Release);
    USED.store(end, Relaxed);
    true
}
