//! The stack table: each frame once, by its caller and its address, in the file.
//!
//! Frames are found through an index in private memory: levels of growing size. Where on a level a
//! frame is looked for depends on all addresses up to the root, and on no number: so the places of
//! all frames of a walk are fetched before the number of the first is known. A frame is in the first
//! slot from there on that was free, so the search ends where one is found; nothing is ever removed.
//! When a level is half full there is a newer, larger one. What is found on an older level is put on
//! the newest as well: so most searches end on the first line that they read.
//!
//! Any number of threads search and insert at the same time: a slot is taken by one
//! compare-and-swap. Two threads that insert the same frame at the same moment may give it two
//! numbers, which costs 16 bytes and confuses nobody.

use crate::file::{self, Private};
use crate::sync::TryLock;
use crate::{arch, sys};
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
const LEVELS: [u32; 9] = [12, 14, 16, 18, 20, 22, 24, 26, 27];
/// Slots in a row that a frame may have. Of a level that is half full hardly any needs as many.
const REACH: usize = 64;
const SLOT_BYTES: usize = 16;

/// Numbers given out, those that have room in the file, and those that may ever be.
static COUNT: AtomicU32 = AtomicU32::new(0);
static ROOM: AtomicU32 = AtomicU32::new(0);
static BOUND: AtomicU32 = AtomicU32::new(0);
/// Levels that are mapped, and slots of the newest that are taken.
static MAPPED: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicU32 = AtomicU32::new(0);
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

/// The way from a root to a frame, which says where the frame is looked for.
#[derive(Clone, Copy)]
pub(super) struct Path(u64);

impl Path {
    /// Before the first frame.
    pub(super) const ROOT: Path = Path(0);

    /// 2⁶⁴ divided by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

    /// One frame further. The order counts: recursions have the same few addresses in another one.
    #[inline(always)]
    pub(super) fn to(self, address: u64) -> Path {
        Path(self.0.wrapping_mul(Path::SPREAD).wrapping_add(address))
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        (self.0 ^ self.0 >> 32).wrapping_mul(Path::SPREAD)
    }

    /// Fetches the place where this frame is looked for first.
    #[inline(always)]
    pub(super) fn fetch(self) {
        let newest = MAPPED.load(Relaxed).saturating_sub(1) as usize;
        arch::prefetch(first_slot(newest, self.hash()));
    }
}

/// Slots before each level.
const BEFORE: [usize; LEVELS.len()] = {
    let mut before = [0; LEVELS.len()];
    let mut level = 1;
    while level < LEVELS.len() {
        before[level] = before[level - 1] + (1 << LEVELS[level - 1]);
        level += 1;
    }
    before
};

#[inline(always)]
fn level_start(level: usize) -> usize {
    file::private_start(Private::Stacks) + BEFORE[level] * SLOT_BYTES
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
        TAKEN.store(0, Relaxed);
        MAPPED.store(level as u32 + 1, Release);
    }
    true
}

/// The address of the slot of a level where the search for a hash begins.
#[inline(always)]
fn first_slot(level: usize, hash: u64) -> usize {
    level_start(level) + (hash >> (64 - LEVELS[level])) as usize * SLOT_BYTES
}

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted {
    hash: u64,
    caller: u64,
    key: u64,
}

impl Wanted {
    /// Its number on a level that is mapped, or the first slot that is free for it.
    #[inline(always)]
    fn search(self, level: usize) -> Result<u32, Option<&'static Slot>> {
        let end = level_start(level) + (SLOT_BYTES << LEVELS[level]);
        let mut at = first_slot(level, self.hash);
        for _ in 0..REACH {
            // SAFETY: the level is mapped, for good and zeroed; slots are atomics.
            let slot = unsafe { &*(at as *const Slot) };
            let numbers = slot.numbers.load(Acquire);
            if numbers == 0 {
                return Err(Some(slot));
            }
            if numbers >> 32 == self.caller && slot.key.load(Acquire) == self.key {
                return Ok(numbers as u32);
            }
            at += SLOT_BYTES;
            if at == end {
                at = level_start(level);
            }
        }
        Err(None)
    }

    /// Its number on one of the levels below `newest`.
    fn search_older(self, newest: usize) -> Option<u32> {
        (0..newest).rev().find_map(|level| self.search(level).ok())
    }

    /// Puts it on the newest level with this number, unless another thread just did with another
    /// one: the number that it has there. 0: there is no room.
    fn keep(self, number: u32) -> u32 {
        loop {
            let newest = MAPPED.load(Acquire) as usize - 1;
            match self.search(newest) {
                Ok(theirs) => return theirs,
                Err(Some(slot)) => {
                    let mine = self.caller << 32 | u64::from(number);
                    if slot.numbers.compare_exchange(0, mine, AcqRel, Relaxed).is_ok() {
                        slot.key.store(self.key, Release);
                        if TAKEN.fetch_add(1, Relaxed) >> (LEVELS[newest] - 1) != 0 {
                            map_level(newest + 1);
                        }
                        return number;
                    }
                }
                Err(None) if !map_level(newest + 1) => return 0,
                Err(None) => {}
            }
        }
    }
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

/// A frame's number, 0 = none; and whether it was given out just now.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) number: u32,
    pub(super) is_new: bool,
}

/// The number of a frame at the end of a path: the one that it has, or, if it `may_grow`, a new one.
/// Nothing is called by a frame whose caller is new: it is not looked for.
#[inline]
pub(super) fn number(frame: &Frame, path: Path, caller_is_new: bool, may_grow: bool) -> Given {
    let wanted = Wanted { hash: path.hash(), caller: frame.caller.into(), key: key(frame) };
    let Some(newest) = (MAPPED.load(Acquire) as usize).checked_sub(1) else {
        return Given { number: 0, is_new: false };
    };
    if !caller_is_new && let Ok(number) = wanted.search(newest) {
        return Given { number, is_new: false };
    }
    number_elsewhere(wanted, newest, frame, caller_is_new, may_grow)
}

/// The same, of one that is not on the newest level.
#[inline(never)]
fn number_elsewhere(
    wanted: Wanted,
    newest: usize,
    frame: &Frame,
    caller_is_new: bool,
    may_grow: bool,
) -> Given {
    if !caller_is_new && let Some(number) = wanted.search_older(newest) {
        wanted.keep(number);
        return Given { number, is_new: false };
    }
    let own = if may_grow { take_number() } else { 0 };
    if own == 0 {
        return Given { number: 0, is_new: false };
    }
    fill(own, frame);
    Given { number: wanted.keep(own), is_new: true }
}

/// Bytes of our memory that table and index take: pages of the index are touched at random.
pub(super) fn resident_bytes() -> u64 {
    let frames = u64::from(COUNT.load(Relaxed));
    let levels = LEVELS.iter().take(MAPPED.load(Relaxed) as usize);
    let index: u64 = levels.map(|bits| (SLOT_BYTES as u64) << bits).sum();
    u64::from(ROOM.load(Relaxed)) * FRAME_BYTES as u64 + index.min(frames * 4096)
}

const _: () = assert!(Root::Full as u64 <= 15);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn recursions_are_spread_over_the_index() {
        const LEVELS: u32 = 14;
        const SLOT_BITS: u32 = LEVELS + 2;
        let calls = [0x5555_5555_4a30, 0x5555_5555_4a3c];
        let first_slot = |path: u64| {
            let step = |to: Path, level: u32| to.to(calls[(path >> level & 1) as usize]);
            (0..LEVELS).fold(Path::ROOT, step).hash() >> (64 - SLOT_BITS)
        };
        let slots: HashSet<u64> = (0..1 << LEVELS).map(first_slot).collect();
        // Of n drawn at random from 4n, n/8 are expected to have been drawn before.
        assert!(slots.len() > (1 << LEVELS) * 5 / 6, "{} of {}", slots.len(), 1 << LEVELS);
    }
}
