//! Areas that are one run of records, appended now and then by whoever holds the lock of their
//! subject.

use crate::file;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use fragtrace_format::header::Area;
use fragtrace_format::record::{self, FRAME_BYTES};

const GROWTH: u64 = 16 << 10;
/// The longest record: a path takes at most 4 KiB.
const MAX_BYTES: usize = 4096 + 256;

/// What is known of such an area.
pub(crate) struct Journal {
    area: Area,
    bound: u64,
    /// Bytes that have room in the file, and those in use.
    room: AtomicU64,
    used: AtomicU64,
}

impl Journal {
    pub(crate) const fn new(area: Area, bound: u64) -> Journal {
        Journal { area, bound, room: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    /// Makes room for some records. False: there is none.
    pub(crate) fn grow(&self) -> bool {
        let room = self.room.load(Relaxed);
        let publish = |bytes| self.room.store(room + bytes, Relaxed);
        room + GROWTH <= self.bound && file::grow(self.area, || GROWTH, publish) == Some(true)
    }

    /// Appends a record: payload first, its frame last. False: there is no room.
    pub(crate) fn append(&self, encode: &dyn Fn(&mut [u8]) -> Option<usize>) -> bool {
        let used = self.used.load(Relaxed);
        let at = file::area_start(self.area) + used as usize;
        // The longest record, and an empty frame behind, so that the records end in one.
        while used + (MAX_BYTES + FRAME_BYTES) as u64 > self.room.load(Relaxed) {
            if !self.grow() {
                return false;
            }
        }
        // SAFETY: the area is mapped up to its room, and the lock makes us its only
        // writer; frames are multiples of 8 bytes, so the frame's word is aligned.
        let (frame, payload) = unsafe {
            let payload = core::slice::from_raw_parts_mut((at + FRAME_BYTES) as *mut u8, MAX_BYTES);
            (&*(at as *const AtomicU64), payload)
        };
        let Some(len) = encode(&mut payload[..MAX_BYTES - FRAME_BYTES]) else { return false };
        // The last word is padded, and the records end behind it: in a child of fork its parent's
        // go on there.
        payload[len..record::framed_bytes(len)].fill(0);
        frame.store(record::frame(&payload[..len]).to_le(), Release);
        self.used.store(used + record::framed_bytes(len) as u64, Relaxed);
        true
    }

    /// In a child of fork: what its parent wrote later is hidden.
    pub(crate) fn inherit(&self) {
        let used = self.used.load(Relaxed);
        if used + FRAME_BYTES as u64 <= self.room.load(Relaxed) {
            let at = file::area_start(self.area) + used as usize;
            // SAFETY: the area is mapped up to its room, frames are aligned, and nobody else is here.
            unsafe { &*(at as *const AtomicU64) }.store(0, Relaxed);
        }
    }

    /// Bytes of our memory that the area takes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.used.load(Relaxed).next_multiple_of(4096)
    }
}
