//! An area of two halves, used in turn, each a run of records that begins afresh.
//!
//! A half is begun by emptying its first frame, which hides what stood there. So what half
//! the area holds, at least, is always kept, and the area never grows beyond its bound.

use crate::file;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use fragtrace_format::header::Area;
use fragtrace_format::record::{self, FRAME_BYTES};

const FIRST_GROWTH: u64 = 32 << 10;
const MOST_GROWTH: u64 = 256 << 10;
const PAGE: u64 = 4096;

/// What is known of an area. One writer at a time: whoever holds the lock of its subject.
pub(crate) struct Halves {
    area: Area,
    /// Bytes of a half; 0 = not begun.
    half: AtomicU64,
    /// Bytes of the area that are in the file.
    room: AtomicU64,
    /// Where the next record goes.
    used: AtomicU64,
}

impl Halves {
    pub(crate) const fn new(area: Area) -> Halves {
        Halves { area, half: AtomicU64::new(0), room: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    /// Bounds the area, and says so in a word of the header.
    pub(crate) fn bound(&self, bytes: u64, said: &AtomicU64) {
        let half = (bytes / 2).next_multiple_of(PAGE);
        self.half.store(half, Relaxed);
        said.store(half, Relaxed);
    }

    /// Makes room for the first records. False: there is none.
    pub(crate) fn reserve(&self) -> bool {
        self.grow(FIRST_GROWTH.min(self.half.load(Relaxed)))
    }

    /// Makes all the room that the bound allows. False: there is none.
    pub(crate) fn reserve_all(&self) -> bool {
        self.grow_to(2 * self.half.load(Relaxed))
    }

    fn grow(&self, bytes: u64) -> bool {
        let room = self.room.load(Relaxed);
        let publish = |bytes| self.room.store(room + bytes, Relaxed);
        file::grow(self.area, || bytes, publish) == Some(true)
    }

    /// Bytes of a half: no record is longer.
    pub(crate) fn half_bytes(&self) -> u64 {
        self.half.load(Relaxed)
    }

    /// Bytes in our memory, at most.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let touched = self.used.load(Relaxed).max(self.half.load(Relaxed));
        self.room.load(Relaxed).min(touched.next_multiple_of(PAGE))
    }

    /// Makes the area larger until `end` lies in it. False: there is no room.
    fn grow_to(&self, end: u64) -> bool {
        while end > self.room.load(Relaxed) {
            let missing = end - self.room.load(Relaxed);
            let bound = 2 * self.half.load(Relaxed) - self.room.load(Relaxed);
            // As much again as there is, so that few segments are needed.
            let again = self.room.load(Relaxed).clamp(FIRST_GROWTH, MOST_GROWTH);
            let step = missing.max(again).next_multiple_of(PAGE).min(bound);
            if !self.grow(step) && !self.grow(missing.next_multiple_of(PAGE)) {
                return false;
            }
        }
        true
    }

    /// Whether a record fits behind the last one. `None`: it never does.
    pub(crate) fn has_room(&self, payload_len: usize) -> Option<bool> {
        let half = self.half.load(Relaxed);
        let needed = needed(payload_len);
        (needed <= half).then(|| self.used.load(Relaxed) % half + needed <= half)
    }

    /// Goes over to the other half, and forgets what stood in it. False: there is no room.
    pub(crate) fn begin_other_half(&self) -> bool {
        let half = self.half.load(Relaxed);
        let start = if self.used.load(Relaxed) < half { half } else { 0 };
        if !self.grow_to(start + FRAME_BYTES as u64) {
            return false;
        }
        self.frame_at(start).store(0, Release);
        self.used.store(start, Relaxed);
        true
    }

    fn frame_at(&self, offset: u64) -> &'static AtomicU64 {
        let address = file::area_start(self.area) + offset as usize;
        // SAFETY: callers stay below `room`, up to where the area is mapped for good; records
        // are multiples of 8 bytes, so the word is aligned.
        unsafe { &*(address as *const AtomicU64) }
    }

    /// Appends a record: what ends the run behind it, then the payload, then the frame that
    /// makes it count. False: no room.
    pub(crate) fn append(&self, payload: &[u8]) -> bool {
        let used = self.used.load(Relaxed);
        if self.has_room(payload.len()) != Some(true) || !self.grow_to(used + needed(payload.len()))
        {
            return false;
        }
        let end = used + record::framed_bytes(payload.len()) as u64;
        self.frame_at(end).store(0, Relaxed);
        // The payload's last word may be padded.
        self.frame_at(end - 8).store(0, Relaxed);
        let at = file::area_start(self.area) + used as usize + FRAME_BYTES;
        // SAFETY: the area is mapped up to `room`, and there is one writer.
        unsafe { core::ptr::copy_nonoverlapping(payload.as_ptr(), at as *mut u8, payload.len()) };
        self.frame_at(used).store(record::frame(payload).to_le(), Release);
        self.used.store(end, Relaxed);
        true
    }
}

/// One frame more than the record, so that the run always ends in an empty one.
fn needed(payload_len: usize) -> u64 {
    (record::framed_bytes(payload_len) + FRAME_BYTES) as u64
}
