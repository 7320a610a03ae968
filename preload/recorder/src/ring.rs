//! The ring: which chunks there are, which are taken, and how they come and go.
//!
//! A chunk has one owner, the lane that took it, until it is closed. Taking is one
//! compare-and-swap on a word that holds how many chunks are taken and how many have room
//! in the file. Whoever takes one of the last sees to it that the file grows, and when the
//! ring is as large as it may be, that old chunks are [folded](crate::fold) and come back as
//! spare ones: [`ownership`](crate::ownership).

mod ahead;
mod inherit;

pub(crate) use ahead::{settle, step, unsettle};
pub(crate) use inherit::inherit;

use crate::file::Private;
use crate::fold::Outcome;
use crate::ownership::Chunks;
use crate::{file, lane, sys};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use fragtrace_format::chunk::{self, ChunkHeader};
use fragtrace_format::event::MAX_WORD_BYTES;
use fragtrace_format::header::{Area, limit};

/// Low half: chunks taken. High half: chunks with room in the file.
static POOL: AtomicU64 = AtomicU64::new(0);
static CHUNK_BYTES: AtomicU64 = AtomicU64::new(0);
static RING_CHUNKS: AtomicU64 = AtomicU64::new(0);
/// The stack of chunks that were given back, and how many are on it.
static SPARE: AtomicU64 = AtomicU64::new(0);
static SPARE_COUNT: AtomicU32 = AtomicU32::new(0);
/// Bytes of chunks that are mapped in and touched: part of the tracer's resident memory.
static RESIDENT: AtomicU64 = AtomicU64::new(0);

const PAGE: u64 = 4096;
/// A ring of at most this size stays in our memory.
const SMALL_RING: u64 = 4 << 20;
/// How often a thread that finds no chunk, and another at making one, looks again: a few times at
/// once, for 10 ms after 100 µs each, as the other may not even be running, and then more rarely, to
/// leave it the processor, for 2 s in all. Not for ever, because the other may be stopped, by a
/// debugger say.
const PATIENCE: u32 = 2200;
const PATIENCE_WITHOUT_SLEEP: u32 = 100;
const PATIENCE_WITH_SHORT_SLEEP: u32 = 200;
const SHORT_SLEEP_US: u32 = 100;
const LONG_SLEEP_US: u32 = 1000;
/// Where no call can be made, instead of a sleep: some 20 µs, so 44 ms at most.
const SPINS: u32 = 400;
/// Some 2 ms of that may go to a child of fork that copies the ring.
const PATIENCE_WITH_CHILDREN: u32 = 120;

/// A chunk that its caller owns.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    address: usize,
}

impl Chunk {
    /// The chunk whose header is at `address`.
    pub(crate) fn at(address: usize) -> Chunk {
        Chunk { address }
    }

    /// The chunk with a number, from 1 on by place.
    pub(crate) fn numbered(number: u32) -> Chunk {
        let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed) as usize;
        Chunk { address: file::area_start(Area::Events) + (number as usize - 1) * chunk_bytes }
    }

    /// The chunk that an address lies in.
    pub(crate) fn around(address: usize) -> Option<Chunk> {
        let offset = address.checked_sub(file::area_start(Area::Events))? as u64;
        let index = offset / CHUNK_BYTES.load(Ordering::Relaxed);
        let taken = POOL.load(Ordering::Relaxed) & 0xffff_ffff;
        (index < taken).then(|| Chunk::numbered(index as u32 + 1))
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed) as usize;
        ((self.address - file::area_start(Area::Events)) / chunk_bytes) as u32 + 1
    }

    /// Where its events are.
    pub(crate) fn payload(&self) -> *const [u8] {
        let bytes = CHUNK_BYTES.load(Ordering::Relaxed) as usize - chunk::HEADER_BYTES;
        core::ptr::slice_from_raw_parts(self.first() as *const u8, bytes)
    }

    /// Where its header is.
    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// The header, zero in a chunk just taken.
    pub(crate) fn header(&self) -> &'static ChunkHeader {
        // SAFETY: chunks are mapped for good, aligned to 1 KiB; the header is all atomics.
        unsafe { &*(self.address as *const ChunkHeader) }
    }

    /// Where the first event goes.
    pub(crate) fn first(&self) -> usize {
        self.address + chunk::HEADER_BYTES
    }

    /// The first place at which no word may start any more: a word is stored as 8 bytes, and a
    /// zero byte must follow the last one.
    pub(crate) fn limit(&self) -> usize {
        let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed) as usize;
        self.address + chunk_bytes - 2 * MAX_WORD_BYTES + 1
    }

    /// Makes a fresh chunk ready to be written, by one call instead of a fault a page. False: there
    /// is no room on the disk after all.
    fn make_ready(&self) -> bool {
        let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed);
        if chunk_bytes >= PAGE
            && let Err(libc::EFAULT) =
                sys::advise(self.address, chunk_bytes as usize, libc::MADV_POPULATE_WRITE)
        {
            // Written before, and still no room: file systems that compress or copy on write.
            // Touching these pages would be SIGBUS; they stay zero.
            file::header().limits.fetch_or(limit::DISK_FULL, Ordering::Relaxed);
            return false;
        }
        RESIDENT.fetch_add(chunk_bytes, Ordering::Relaxed);
        true
    }
}

/// The links between chunks, and the stack of spare ones.
pub(crate) fn chunks() -> Chunks<'static> {
    let start = file::private_start(Private::Links) as *const AtomicU32;
    // SAFETY: `start` mapped the links of all chunks that there can be, for good; zeroed.
    let next = unsafe { core::slice::from_raw_parts(start, most_chunks() as usize + 1) };
    Chunks { next, spare: &SPARE, spare_count: &SPARE_COUNT }
}

/// Chunks that there can ever be.
fn most_chunks() -> u64 {
    RING_CHUNKS.load(Ordering::Relaxed).max(2 * lane::MAX_LANES as u64)
}

/// Sets the ring up, with room for its first chunks. False: no room.
pub(crate) fn start(ring_bytes: u64) -> bool {
    let chunk_bytes = chunk::bytes_for_ring(ring_bytes);
    CHUNK_BYTES.store(chunk_bytes, Ordering::Relaxed);
    RING_CHUNKS.store(ring_bytes / chunk_bytes, Ordering::Relaxed);
    let header = file::header();
    header.ring_bytes.store(ring_bytes, Ordering::Relaxed);
    header.chunk_bytes.store(chunk_bytes, Ordering::Relaxed);
    map_links() && ahead::grow(0)
}

fn map_links() -> bool {
    let bytes = (4 * (most_chunks() as usize + 1)).next_multiple_of(PAGE as usize);
    file::map_private(file::private_start(Private::Links), bytes)
}

/// Takes a chunk: which, and the number it has among all that were ever taken, from 1 on.
pub(crate) fn take() -> Option<(Chunk, u64)> {
    let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed) as usize;
    let mut tries = 0;
    let (chunk, is_fresh) = loop {
        if let Some(chunk) = take_fresh() {
            break (chunk, true);
        }
        if let Some(chunk) = take_spare() {
            break (chunk, false);
        }
        let backed = POOL.load(Ordering::Acquire) >> 32;
        let outcome = if backed < ahead::bound() && ahead::grow(backed)
            || tries < PATIENCE_WITH_CHILDREN && ahead::is_copied()
        {
            Outcome::Busy
        } else if backed > u64::from(lane::count()) {
            ahead::fold(2 * chunk_bytes)
        } else {
            // Each lane may hold one, so where there are no more than that none will come.
            Outcome::NoRoom
        };
        if outcome == Outcome::NoRoom || tries == PATIENCE {
            file::header().limits.fetch_or(limit::RING_FULL, Ordering::Relaxed);
            return None;
        }
        tries += 1;
        // Busy or too young: a moment later there will be a chunk. This is the one place where a
        // thread waits, when all that were spare are gone.
        if outcome != Outcome::Progress {
            wait(tries);
        }
    };
    ahead::keep();
    // One that comes back was written and is in memory.
    if is_fresh && !chunk.make_ready() {
        return None;
    }
    let before = file::header().chunks_taken.fetch_add(1, Ordering::Relaxed);
    Some((chunk, before + 1))
}

/// Leaves the processor to whoever makes chunks, before another try.
fn wait(tries: u32) {
    match tries {
        _ if sys::forbidden() => (0..SPINS).for_each(|_| core::hint::spin_loop()),
        ..PATIENCE_WITHOUT_SLEEP => sys::yield_now(),
        PATIENCE_WITHOUT_SLEEP..PATIENCE_WITH_SHORT_SLEEP => sys::sleep_us(SHORT_SLEEP_US),
        _ => sys::sleep_us(LONG_SLEEP_US),
    }
}

/// Takes a chunk that was never used.
fn take_fresh() -> Option<Chunk> {
    loop {
        let pool = POOL.load(Ordering::Acquire);
        let (taken, backed) = (pool & 0xffff_ffff, pool >> 32);
        if taken == backed {
            return None;
        }
        let next = POOL.compare_exchange_weak(pool, pool + 1, Ordering::AcqRel, Ordering::Relaxed);
        if next.is_ok() {
            return Some(Chunk::numbered(taken as u32 + 1));
        }
    }
}

/// Takes a chunk that was given back, and clears it.
fn take_spare() -> Option<Chunk> {
    let chunk = Chunk::numbered(chunks().take()?);
    let bytes = CHUNK_BYTES.load(Ordering::Relaxed) as usize - chunk::HEADER_BYTES;
    // SAFETY: the chunk is ours alone, and as long as that.
    unsafe { core::ptr::write_bytes(chunk.first() as *mut u8, 0, bytes) };
    Some(chunk)
}

/// For the folder: maps a closed chunk in, by one call instead of a fault a page.
pub(crate) fn wake(number: u32) {
    let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed);
    if leave_memory() && chunks().follow(number).is_some() {
        let address = Chunk::numbered(number).address;
        let _ = sys::advise(address, chunk_bytes as usize, libc::MADV_POPULATE_READ);
    }
}

/// For the folder: a chunk is folded as a whole, and can be used again.
pub(crate) fn give_back(number: u32) {
    Chunk::numbered(number).header().retire();
    if leave_memory() {
        // It was mapped in to be folded.
        RESIDENT.fetch_add(CHUNK_BYTES.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    chunks().give(number);
}

/// Whether closed chunks leave our memory. Those of a small ring are back at once.
fn leave_memory() -> bool {
    let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed);
    chunk_bytes >= PAGE && RING_CHUNKS.load(Ordering::Relaxed) * chunk_bytes > SMALL_RING
}

/// Closes a chunk: what stands in it stays in the file, its pages leave our memory.
pub(crate) fn close(chunk: Chunk) {
    if leave_memory() {
        let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed);
        // On a shared file mapping this unmaps pages; their bytes stay in the page cache.
        let _ = sys::advise(chunk.address, chunk_bytes as usize, libc::MADV_DONTNEED);
        // In a child of fork chunks come back that it did not count.
        let less = |bytes: u64| Some(bytes.saturating_sub(chunk_bytes));
        let _ = RESIDENT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Bytes of chunks in our resident memory.
pub(crate) fn resident_bytes() -> u64 {
    RESIDENT.load(Ordering::Relaxed)
}

/// Gives back the room of chunks that were never taken. More can be made again.
pub(crate) fn cut() {
    file::cut_events(|| {
        let pool = POOL.load(Ordering::Acquire);
        let taken = pool & 0xffff_ffff;
        let chunk_bytes = CHUNK_BYTES.load(Ordering::Relaxed);
        // Pages are whole: a chunk that shares one with the last taken keeps its room.
        let kept = (taken * chunk_bytes).next_multiple_of(PAGE) / chunk_bytes;
        let withdrawn = taken | kept << 32;
        POOL.compare_exchange(pool, withdrawn, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then_some(kept * chunk_bytes)
    });
}

/// Bytes from the start of the ring that were ever in use.
pub(crate) fn taken_bytes() -> u64 {
    (POOL.load(Ordering::Relaxed) & 0xffff_ffff) * CHUNK_BYTES.load(Ordering::Relaxed)
}
