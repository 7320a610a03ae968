//! The modules area: records of objects as they come and go. Written only by who holds the
//! lock of the list of objects.

use crate::file;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use fragtrace_format::header::Area;
use fragtrace_format::record::{self, FRAME_BYTES, ModuleEvent};

const BOUND: u64 = 1 << 20;
const GROWTH: u64 = 16 << 10;
/// The longest record: a path takes at most 4 KiB.
const MAX_BYTES: usize = 4096 + 256;

/// Bytes that have room in the file, and those in use.
static ROOM: AtomicU64 = AtomicU64::new(0);
static USED: AtomicU64 = AtomicU64::new(0);

/// Makes room for the first records. False: there is none.
pub(super) fn start() -> bool {
    grow()
}

fn grow() -> bool {
    let room = ROOM.load(Relaxed);
    room + GROWTH <= BOUND
        && file::grow(Area::Modules, || GROWTH, |bytes| ROOM.store(room + bytes, Relaxed))
            == Some(true)
}

/// Appends a record: payload first, its frame last. Where there is no room the object is not
/// known to readers.
pub(super) fn append(event: &ModuleEvent<'_>) {
    let used = USED.load(Relaxed);
    let at = file::area_start(Area::Modules) + used as usize;
    // The longest record, and an empty frame behind, so that the records end in one.
    while used + (MAX_BYTES + FRAME_BYTES) as u64 > ROOM.load(Relaxed) {
        if !grow() {
            return;
        }
    }
    // SAFETY: the area is mapped up to ROOM, zeroed behind USED, and the lock makes us its only
    // writer; frames are multiples of 8 bytes, so the frame's word is aligned.
    let (frame, payload) = unsafe {
        let payload =
            core::slice::from_raw_parts_mut((at + FRAME_BYTES) as *mut u8, MAX_BYTES - FRAME_BYTES);
        (&*(at as *const AtomicU64), payload)
    };
    if let Some(len) = record::encode(event, payload) {
        frame.store(record::frame(&payload[..len]).to_le(), Release);
        USED.store(used + record::framed_bytes(len) as u64, Relaxed);
    }
}

/// Bytes of our memory that the area takes.
pub(super) fn resident_bytes() -> u64 {
    USED.load(Relaxed).next_multiple_of(4096)
}
