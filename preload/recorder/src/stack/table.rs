//! The stack table: each frame once, by its caller and its address, in the file.
//!
//! Frames are found through an index in private memory: levels of growing size, each made of
//! buckets of eight slots, which are tried in an order that the frame gives. A frame is in the
//! first slot that was free, so the search ends where one is found; nothing is ever moved or
//! removed. Any number of threads
//! search and insert at the same time: a slot is taken by one compare-and-swap. Two threads
//! that insert the same frame at the same moment may give it two numbers, which costs 16
//! bytes and confuses nobody.

use crate::file::{self, Private};
use crate::sync::TryLock;
use crate::sys;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};
use fragtrace_format::header::Area;
use fragtrace_format::stack::{FRAME_BYTES, Frame, FrameCell, Root};

/// Stacks have 1/8 of the ring's size, and room for a few in any case.
const RING_SHARE: u64 = 8;
const MIN_AREA: u64 = 256 << 10;
/// More than any program has; keeps the index within its place.
const MAX_AREA: u64 = 1 << 30;
const FIRST_GROWTH: u64 = 32 << 10;
const MAX_GROWTH: u64 = 1 << 20;
/// Frames for which there is room ahead: growing takes system calls, and one thread at a time.
const AHEAD: u32 = 1024;

/// Slots of each level, as powers of two.
const LEVELS: [u32; 6] = [12, 15, 18, 21, 24, 27];
const BUCKET: usize = 8;
const SLOT_BYTES: usize = 16;

/// Numbers given out, those that have room in the file, and those that may ever be.
static COUNT: AtomicU32 = AtomicU32::new(0);
static ROOM: AtomicU32 = AtomicU32::new(0);
static BOUND: AtomicU32 = AtomicU32::new(0);
/// Levels that are mapped.
static MAPPED: AtomicU32 = AtomicU32::new(0);
static MAPPING: TryLock = TryLock::new();

/// What the index knows of a frame. All zero: the slot is free.
struct Slot {
    /// The frame's number in the low half, its caller's above. Written first, by whoever takes
    /// the slot.
    numbers: AtomicU64,
    /// See [`key`].
    key: AtomicU64,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// Address and kind of a frame in one word; addresses of code have 47 bits.
fn key(frame: &Frame) -> u64 {
    frame.address | (frame.root as u64) << 56 | u64::from(frame.interrupted) << 60
}

fn level_start(level: usize) -> usize {
    let slots: usize = LEVELS[..level].iter().map(|bits| 1 << bits).sum();
    file::private_start(Private::Stacks) + slots * SLOT_BYTES
}

/// Maps one more level, if `level` is not mapped yet. False: there is none.
fn map_level(level: usize) -> bool {
    if MAPPED.load(Acquire) as usize > level {
        return true;
    }
    if level == LEVELS.len() {
        return false;
    }
    let Some(_held) = MAPPING.try_take() else { return false };
    let mapped = MAPPED.load(Acquire) as usize;
    if mapped == level {
        let bytes = SLOT_BYTES << LEVELS[level];
        if !file::map_private(level_start(level), bytes) {
            return false;
        }
        MAPPED.store(level as u32 + 1, Release);
    }
    true
}

fn bucket(level: usize, hash: u64) -> &'static [Slot; BUCKET] {
    let buckets = LEVELS[level] - BUCKET.ilog2();
    // Each level goes by other bits than the one before.
    let index = (hash.rotate_left(7 * level as u32) >> (64 - buckets)) as usize;
    let address = level_start(level) + index * BUCKET * SLOT_BYTES;
    // SAFETY: callers made sure that the level is mapped, for good and zeroed; slots are atomics.
    unsafe { &*(address as *const [Slot; BUCKET]) }
}

/// Makes room for the first frames. False: there is none.
pub(super) fn start(ring_bytes: u64) -> bool {
    let bytes = (ring_bytes / RING_SHARE).clamp(MIN_AREA, MAX_AREA);
    BOUND.store((bytes / FRAME_BYTES as u64) as u32, Relaxed);
    map_level(0) && grow(FIRST_GROWTH)
}

/// In a child of fork: an empty index for a table that is not. Frames that come again get new
/// numbers. False: there is no memory.
pub(super) fn inherit() -> bool {
    MAPPING.leave();
    MAPPED.store(0, Relaxed);
    map_level(0)
}

/// Grows the area by so much, or by what is left to its bound.
fn grow(bytes: u64) -> bool {
    let room = ROOM.load(Acquire);
    let left = u64::from(BOUND.load(Relaxed) - room) * FRAME_BYTES as u64;
    let bytes = bytes.min(left) & !4095;
    if bytes == 0 {
        return false;
    }
    let wanted = || if ROOM.load(Acquire) == room { bytes } else { 0 };
    let publish = |bytes: u64| {
        let at = file::area_start(Area::Stacks) + room as usize * FRAME_BYTES;
        // One call instead of a fault a page; and what has no room in spite of all, on file
        // systems that compress, is found out before it is touched.
        let touched = sys::advise(at, bytes as usize, libc::MADV_POPULATE_WRITE);
        if touched != Err(libc::EFAULT) {
            ROOM.store(room + (bytes / FRAME_BYTES as u64) as u32, Release);
        } else {
            BOUND.store(room, Relaxed);
        }
    };
    let grown = file::grow(Area::Stacks, wanted, publish);
    if grown == Some(false) {
        // A full disk, or a sandbox: without this every new frame would ask the kernel again.
        BOUND.store(room, Relaxed);
    }
    grown.unwrap_or(true)
}

/// Whether only the innermost frames of new stacks are still taken.
pub(super) fn is_scarce() -> bool {
    let bound = BOUND.load(Relaxed);
    COUNT.load(Relaxed) >= bound - bound / 8
}

/// A number that nobody has; 0: there is none.
fn take_number() -> u32 {
    let taken = COUNT.load(Relaxed);
    let room = ROOM.load(Acquire);
    if taken + AHEAD >= room {
        let bytes = u64::from(room) * FRAME_BYTES as u64 / 2;
        grow(bytes.clamp(FIRST_GROWTH, MAX_GROWTH));
    }
    let next = |taken: u32| (taken < ROOM.load(Acquire)).then_some(taken + 1);
    COUNT.fetch_update(AcqRel, Relaxed, next).map_or(0, |before| before + 1)
}

fn fill(number: u32, frame: &Frame) {
    let address = file::area_start(Area::Stacks) + (number as usize - 1) * FRAME_BYTES;
    // SAFETY: numbers up to ROOM lie in the mapped part of the area; cells are atomics.
    unsafe { &*(address as *const FrameCell) }.fill(frame);
}

/// The frame of a number that was given out.
pub(super) fn frame(number: u32) -> Option<Frame> {
    if number == 0 || number > COUNT.load(Acquire) {
        return None;
    }
    let address = file::area_start(Area::Stacks) + (number as usize - 1) * FRAME_BYTES;
    // SAFETY: as in `fill`.
    unsafe { &*(address as *const FrameCell) }.frame()
}

/// The number of a frame: the one that it has, or, if it `may_grow`, a new one. 0: none.
#[inline]
pub(super) fn number(frame: &Frame, may_grow: bool) -> u32 {
    let key = key(frame);
    let hash = (key ^ u64::from(frame.caller).wrapping_mul(0xd6e8_feb8_6659_fd93))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = hash ^ hash >> 32;
    let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut own = 0;
    for level in 0..LEVELS.len() {
        if MAPPED.load(Acquire) as usize <= level && !map_level(level) {
            return 0;
        }
        let bucket = bucket(level, hash);
        for step in 0..BUCKET {
            let slot = &bucket[(hash as usize + step) % BUCKET];
            let mut numbers = slot.numbers.load(Acquire);
            if numbers == 0 {
                if !may_grow {
                    return 0;
                }
                if own == 0 {
                    own = take_number();
                    if own == 0 {
                        return 0;
                    }
                    fill(own, frame);
                }
                let mine = u64::from(frame.caller) << 32 | u64::from(own);
                match slot.numbers.compare_exchange(0, mine, AcqRel, Acquire) {
                    Ok(_) => {
                        slot.key.store(key, Release);
                        return own;
                    }
                    Err(theirs) => numbers = theirs,
                }
            }
            if numbers >> 32 == u64::from(frame.caller) && slot.key.load(Acquire) == key {
                return numbers as u32;
            }
        }
    }
    0
}

/// Bytes of our memory that table and index take: pages of the index are touched at random.
pub(super) fn resident_bytes() -> u64 {
    let frames = u64::from(COUNT.load(Relaxed));
    let levels = LEVELS.iter().take(MAPPED.load(Relaxed) as usize);
    let index: u64 = levels.map(|bits| (SLOT_BYTES as u64) << bits).sum();
    u64::from(ROOM.load(Relaxed)) * FRAME_BYTES as u64 + index.min(frames * 4096)
}

const _: () = assert!(Root::Full as u64 <= 15);
