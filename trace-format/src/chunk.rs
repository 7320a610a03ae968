//! Chunks: the pieces of the ring. Each is decodable alone.
//!
//! ```text
//!   0  sequence  u64   from 1 on, over all chunks ever taken; 0 = never used; written last
//!   8  lane      u32   whose events these are
//!  12  thread    u32   index of the thread that opened it
//!  16  lane_seq  u64   position among the chunks of its lane, from 1 on
//!  24  stamp     u64   what the first event's time step counts from
//!  32  base      2×u64 what the first address steps count from, in units of 16 bytes
//!  48  tid       u32   the kernel's number of that thread
//!  52  reserved  u32
//!  56  folded    2×u32 payload bytes that are in the base table, by the cut in force
//!  64  events …        then zeros, at least 8 of them
//! ```

use crate::event::{Decoder, MAX_WORD_BYTES, State};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes before the first event.
pub const HEADER_BYTES: usize = 64;
/// The smallest chunk.
pub const MIN_BYTES: u64 = 1 << 10;
/// The largest chunk.
pub const MAX_BYTES: u64 = 64 << 10;

/// Chunk size that goes with a ring: 1/64 of it, a power of two from 1 to 64 KiB.
pub const fn bytes_for_ring(ring_bytes: u64) -> u64 {
    let share = ring_bytes / 64;
    if share <= MIN_BYTES {
        MIN_BYTES
    } else if share >= MAX_BYTES {
        MAX_BYTES
    } else {
        1 << share.ilog2()
    }
}

/// The header as the writer sees it in mapped memory.
#[derive(Debug)]
#[repr(C)]
pub struct ChunkHeader {
    sequence: AtomicU64,
    lane: AtomicU32,
    thread: AtomicU32,
    lane_seq: AtomicU64,
    stamp: AtomicU64,
    base: [AtomicU64; 2],
    tid: AtomicU32,
    reserved: AtomicU32,
    folded: [AtomicU32; 2],
}

const _: () = assert!(size_of::<ChunkHeader>() == HEADER_BYTES);

/// What a chunk's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkInfo {
    /// Order over all chunks, from 1 on.
    pub sequence: u64,
    /// Lane whose events the chunk holds.
    pub lane: u32,
    /// Thread that opened it, by index.
    pub thread: u32,
    /// Position in its lane, from 1 on.
    pub lane_seq: u64,
    /// Encoder state before the first event.
    pub state: State,
    /// The thread's kernel number.
    pub tid: u32,
    /// Payload bytes that are in the base table, by each of the two cuts; for a chunk that
    /// is folded as a whole, [`FOLDED`].
    pub folded: [u32; 2],
}

/// The chunk is folded as a whole.
pub const FOLDED: u32 = u32::MAX;

impl ChunkHeader {
    /// Opens the chunk for its new owner: the payload must be zero by now.
    pub fn open(&self, info: &ChunkInfo) {
        self.lane.store(info.lane, Ordering::Relaxed);
        self.thread.store(info.thread, Ordering::Relaxed);
        self.lane_seq.store(info.lane_seq, Ordering::Relaxed);
        self.stamp.store(info.state.stamp, Ordering::Relaxed);
        self.base[0].store(info.state.base[0], Ordering::Relaxed);
        self.base[1].store(info.state.base[1], Ordering::Relaxed);
        self.tid.store(info.tid, Ordering::Relaxed);
        self.folded[0].store(0, Ordering::Relaxed);
        self.folded[1].store(0, Ordering::Relaxed);
        self.sequence.store(info.sequence, Ordering::Release);
    }

    /// Says how many payload bytes are in the base table by one of the two cuts.
    pub fn set_folded(&self, cut: usize, bytes: u32) {
        self.folded[cut & 1].store(bytes, Ordering::Relaxed);
    }

    /// How many payload bytes are in the base table by one of the two cuts.
    pub fn folded(&self, cut: usize) -> u32 {
        self.folded[cut & 1].load(Ordering::Relaxed)
    }

    /// The chunk's place among all that were ever taken, 0 = it holds nothing; its lane; its
    /// place on that.
    pub fn place(&self) -> (u64, u32, u64) {
        let sequence = self.sequence.load(Ordering::Acquire);
        (sequence, self.lane.load(Ordering::Relaxed), self.lane_seq.load(Ordering::Relaxed))
    }

    /// Index of the thread that opened the chunk.
    pub fn thread(&self) -> u32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// What the first event's steps count from.
    pub fn state(&self) -> State {
        State {
            stamp: self.stamp.load(Ordering::Relaxed),
            base: [self.base[0].load(Ordering::Relaxed), self.base[1].load(Ordering::Relaxed)],
        }
    }

    /// Marks the chunk as holding nothing, before it is cleared for reuse.
    pub fn retire(&self) {
        self.sequence.store(0, Ordering::Release);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

/// Reads a chunk: its header and a decoder for its events; `None` if it was never used or
/// is too short to be one.
pub fn read(chunk: &[u8]) -> Option<(ChunkInfo, Decoder<'_>)> {
    if chunk.len() < HEADER_BYTES + MAX_WORD_BYTES {
        return None;
    }
    let info = ChunkInfo {
        sequence: u64_at(chunk, 0),
        lane: u32_at(chunk, 8),
        thread: u32_at(chunk, 12),
        lane_seq: u64_at(chunk, 16),
        state: State { stamp: u64_at(chunk, 24), base: [u64_at(chunk, 32), u64_at(chunk, 40)] },
        tid: u32_at(chunk, 48),
        folded: [u32_at(chunk, 56), u32_at(chunk, 60)],
    };
    (info.sequence != 0).then(|| (info, Decoder::new(&chunk[HEADER_BYTES..], info.state)))
}
