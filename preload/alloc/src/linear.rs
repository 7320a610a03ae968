//! The recorder on wasm32: there is no system to call, so the trace grows in linear memory, and
//! whoever runs the module saves its bytes.
//!
//! ```text
//! header │ description │ look │ events: chunk behind chunk, each begun when the one before is full
//! ```
//!
//! All of it lies in the module's own data. No page is grown for it, so blocks lie as far from the
//! heap's begin as they do without it. A page that the allocator asks for is noticed when it has given
//! the next block. When no room is left for a chunk, events are counted and no more.
//!
//! When it is saved, the look is taken anew. Nobody tells a module which of its pages are in memory, but
//! a page that holds anything but zeros was written, and linear memory gives nothing back.
//!
//! A module has no clock: stamps count events, and are nanoseconds where the host tells the time.

use core::arch::wasm32::memory_size;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::chunk::{self, ChunkHeader, ChunkInfo};
use fragtrace_format::event::{Acquire, Encoded, Flags, MAX_WORD_BYTES, State, WRAPPED};
use fragtrace_format::header::{Area, ClockKind, HEADER_BYTES, Header, MAGIC, VERSION, limit};
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};
use fragtrace_format::record::{
    self, Cold, Description, Look, LookCause, Mapping, MappingChange, PageSource, Scan, UsableRule,
};

const DESCRIPTION_BYTES: usize = 4 << 10;
/// All of 4 GiB in tiles takes less.
const LOOK_BYTES: usize = 144 << 10;
const LOOK_AT: usize = HEADER_BYTES + DESCRIPTION_BYTES;
const EVENTS_AT: usize = LOOK_AT + LOOK_BYTES;
/// Room for 1.5 to 3 million events.
const EVENTS_BYTES: usize = 16 << 20;
const CHUNK_BYTES: usize = chunk::MAX_BYTES as usize;
const TRACE_BYTES: usize = EVENTS_AT + EVENTS_BYTES;
/// What memory grows by.
const PAGE_BYTES: usize = 64 << 10;
/// The pages that the host has them in.
const HOST_PAGE_BYTES: usize = 4 << 10;
/// No event takes more, the zeros behind it included.
const MOST_EVENT_BYTES: usize = (Encoded::MAX + 1) * MAX_WORD_BYTES;

/// What only the module's one thread touches.
struct Alone<T>(UnsafeCell<T>);

// SAFETY: a module without the target feature `atomics`, for which this is not built, has one thread.
unsafe impl<T> Sync for Alone<T> {}

#[repr(C, align(4096))]
struct Bytes([u8; TRACE_BYTES]);

static TRACE: Alone<Bytes> = Alone(UnsafeCell::new(Bytes([0; TRACE_BYTES])));
static RECORDER: Alone<Recorder> = Alone(UnsafeCell::new(Recorder {
    state: State { stamp: 0, base: [0; 2] },
    now: 0,
    chunks: 0,
    at: 0,
    pages: 0,
}));

static TILES: Alone<[u8; LOOK_BYTES]> = Alone(UnsafeCell::new([0; LOOK_BYTES]));

struct Recorder {
    /// Of the encoder: its stamp is the last event's.
    state: State,
    /// The time as last told, in nanoseconds.
    now: u64,
    /// Begun so far.
    chunks: usize,
    /// Where in the trace the next event comes.
    at: usize,
    /// Those of linear memory that are on record.
    pages: usize,
}

unsafe extern "C" {
    /// The linker's: where the module's data end.
    static __heap_base: u8;
}

fn recorder() -> &'static mut Recorder {
    // SAFETY: the one thread is here, and nothing that is called from here comes back.
    unsafe { &mut *RECORDER.0.get() }
}

fn trace() -> *mut u8 {
    TRACE.0.get().cast()
}

fn header() -> &'static Header {
    // SAFETY: the trace begins with it, aligned; it is made of atomics, of which any value is one.
    unsafe { &*trace().cast() }
}

/// Begins to record, as it always does.
pub(crate) fn start() -> bool {
    recorder().begin();
    true
}

impl Recorder {
    fn begin(&mut self) {
        let header = header();
        header.version.store(VERSION, Relaxed);
        header.header_bytes.store(HEADER_BYTES as u32, Relaxed);
        header.clock_kind.store(ClockKind::Monotonic as u32, Relaxed);
        header.ring_bytes.store(EVENTS_BYTES as u64, Relaxed);
        header.chunk_bytes.store(CHUNK_BYTES as u64, Relaxed);
        header.threads.store(1, Relaxed);
        describe();
        header.add_segment(Area::Description, HEADER_BYTES as u64, DESCRIPTION_BYTES as u64);
        header.add_segment(Area::Looks, LOOK_AT as u64, LOOK_BYTES as u64);
        header.magic.store(u64::from_le_bytes(MAGIC), Relaxed);
        self.pages = memory_size::<0>();
        self.map(heap_start(), self.pages * PAGE_BYTES - heap_start(), false);
    }

    /// Memory that is there from here on.
    fn map(&mut self, address: usize, bytes: usize, heap: bool) {
        const READ_AND_WRITE: u32 = 3;
        const PRIVATE_ANONYMOUS: u32 = 0x22;
        let map = Cold::Map {
            address: address as u64,
            bytes: bytes as u64,
            protection: READ_AND_WRITE,
            flags: PRIVATE_ANONYMOUS,
            file: false,
            heap,
        };
        let mut payload = [0; MOST_EVENT_BYTES - 3 * MAX_WORD_BYTES];
        let Some(length) = record::encode(&map, &mut payload) else { return };
        if self.has_room() {
            let stamp = self.next_stamp();
            let head = Encoded::cold(&mut self.state, stamp, length);
            self.put(&head, &payload[..length]);
        }
    }

    /// memory.grow has no hook: its pages are on record before the block for which it was called.
    fn note_growth(&mut self) {
        let pages = memory_size::<0>();
        if pages > self.pages {
            let grown = (pages - self.pages) * PAGE_BYTES;
            self.map(self.pages * PAGE_BYTES, grown, true);
            self.pages = pages;
        }
    }

    fn acquired(&mut self, block: &Acquire) {
        self.note_growth();
        if self.has_room() {
            let stamp = self.next_stamp();
            let event = Encoded::acquire(&mut self.state, stamp, block, true);
            self.put(&event, &[]);
        }
    }

    fn released(&mut self, address: u64, flags: Flags) {
        if self.has_room() {
            let stamp = self.next_stamp();
            let event = Encoded::release(&mut self.state, stamp, address, flags);
            self.put(&event, &[]);
        }
    }

    fn next_stamp(&self) -> u64 {
        self.now.max(self.state.stamp + 1)
    }

    /// Whether there is room for an event, in a new chunk if need be; else it counts as dropped.
    fn has_room(&mut self) -> bool {
        let end = EVENTS_AT + self.chunks * CHUNK_BYTES;
        let has = self.at + MOST_EVENT_BYTES <= end && self.chunks > 0 || self.open_chunk(end);
        if !has {
            header().dropped_events.fetch_add(1, Relaxed);
            header().limits.fetch_or(limit::RING_FULL, Relaxed);
        }
        has
    }

    fn open_chunk(&mut self, start: usize) -> bool {
        if start + CHUNK_BYTES > TRACE_BYTES {
            return false;
        }
        self.chunks += 1;
        let number = self.chunks as u64;
        let info = ChunkInfo {
            sequence: number,
            lane: 1,
            thread: 1,
            lane_seq: number,
            state: self.state,
            tid: 1,
            folded: [0; 2],
        };
        // SAFETY: inside the trace and aligned; it is made of atomics.
        let chunk = unsafe { &*trace().add(start).cast::<ChunkHeader>() };
        chunk.open(&info);
        let (place, bytes) = (start as u64, CHUNK_BYTES as u64);
        if !header().extend_last_segment(Area::Events, place, bytes) {
            header().add_segment(Area::Events, place, bytes);
        }
        header().chunks_taken.store(number, Relaxed);
        self.at = start + chunk::HEADER_BYTES;
        true
    }

    /// Writes an event for which there is room.
    fn put(&mut self, event: &Encoded, payload: &[u8]) {
        for word in event.words() {
            // SAFETY: `has_room` made sure that it ends before the chunk does.
            unsafe { trace().add(self.at).cast::<u64>().write_unaligned(word.bits.to_le()) };
            self.at += word.len as usize;
        }
        // SAFETY: as above; the two do not overlap.
        unsafe { payload.as_ptr().copy_to_nonoverlapping(trace().add(self.at), payload.len()) };
        self.at += payload.len();
    }

    /// The host's clock, in nanoseconds since it began, and when that was.
    fn tell_time(&mut self, elapsed_ns: u64, begun_unix_ns: u64) {
        self.now = self.now.max(elapsed_ns);
        header().clock_start.set(0, 0, begun_unix_ns);
    }

    /// Looks at all pages, as of now.
    fn look(&mut self) {
        self.note_growth();
        let elapsed_ns = self.now.max(self.state.stamp);
        let begun_unix_ns = header().clock_start.realtime_ns.load(Relaxed);
        header().clock_last.set(elapsed_ns, elapsed_ns, begun_unix_ns + elapsed_ns);
        let (start, bytes) = (heap_start() as u64, (self.pages * PAGE_BYTES - heap_start()) as u64);
        let look = Look {
            stamp: elapsed_ns,
            monotonic_ns: elapsed_ns,
            cause: LookCause::Asked,
            afresh: true,
            changes: 1,
            scans: 1,
            page_source: PageSource::Contents,
            scans_end: true,
            ..Look::default()
        };
        let memory = Mapping { start, bytes, permissions: 3, ..Mapping::default() };
        let scan = Scan { start, bytes, tiles: written_tiles(start, start + bytes) };
        let parts = (look, MappingChange::There(memory), scan);
        header().looks.store(1, Relaxed);
        write_record(LOOK_AT..EVENTS_AT, |out| record::encode(&parts, out));
    }
}

/// The first page behind the module's data.
fn heap_start() -> usize {
    (&raw const __heap_base as usize).next_multiple_of(HOST_PAGE_BYTES)
}

/// The pages that hold anything but zeros.
fn written_tiles(start: u64, end: u64) -> &'static [u8] {
    const TILE_BYTES: u64 = TILE_PAGES * HOST_PAGE_BYTES as u64;
    // SAFETY: the one thread is here, and what it wrote before is read no more.
    let bytes = unsafe { &mut *TILES.0.get() };
    let first = start / TILE_BYTES;
    let mut tiles = TileWriter::new(bytes, first);
    for tile in first..end.div_ceil(TILE_BYTES) {
        let mut pages = TilePages::default();
        for page in 0..TILE_PAGES {
            let at = tile * TILE_BYTES + page * HOST_PAGE_BYTES as u64;
            if (start..end).contains(&at) && is_written(at as usize) {
                pages.resident[page as usize / 64] |= 1 << (page % 64);
            }
        }
        if !pages.is_empty() {
            tiles.put(tile, &pages);
        }
    }
    let length = tiles.len();
    &bytes[..length]
}

/// Whether a page of linear memory behind the module's data holds anything but zeros.
fn is_written(page: usize) -> bool {
    let words = page as *const u64;
    // SAFETY: inside linear memory, of which every byte may be read; whoever uses it is not running.
    (0..HOST_PAGE_BYTES / 8).any(|word| unsafe { words.add(word).read_volatile() } != 0)
}

/// Writes a part of the trace that is one record.
fn write_record(place: Range<usize>, encode: impl FnOnce(&mut [u8]) -> Option<usize>) {
    // SAFETY: a part of the trace that only this writes, while nobody reads it.
    let area = unsafe { core::slice::from_raw_parts_mut(trace().add(place.start), place.len()) };
    let (frame, payload) = area.split_at_mut(record::FRAME_BYTES);
    if let Some(length) = encode(payload) {
        frame.copy_from_slice(&record::frame(&payload[..length]).to_le_bytes());
    }
}

fn describe() {
    let description = Description {
        exe: "a module of wasm32",
        allocator: "the recorder linked in",
        page_bytes: HOST_PAGE_BYTES as u32,
        tracer_version: env!("CARGO_PKG_VERSION"),
        ring_asked_bytes: EVENTS_BYTES as u64,
        // Each block says what may be used of it.
        usable_rule: UsableRule::ByClass,
        ..Description::default()
    };
    write_record(HEADER_BYTES..LOOK_AT, |out| record::encode(&description, out));
}

/// Where the trace begins: to be saved as a file of [`fragtrace_trace_bytes`], whenever the module
/// is not running.
#[unsafe(no_mangle)]
pub extern "C" fn fragtrace_trace() -> *const u8 {
    if recorder().chunks > 0 {
        recorder().look();
    }
    trace()
}

/// Bytes of the trace so far; 0: no block was asked for yet.
#[unsafe(no_mangle)]
pub extern "C" fn fragtrace_trace_bytes() -> usize {
    match recorder().chunks {
        0 => 0,
        chunks => EVENTS_AT + chunks * CHUNK_BYTES,
    }
}

/// Tells the time: milliseconds since the host's clock began, and since 1970. Events that follow
/// have that time; where it is never told, times in the report count events.
#[unsafe(no_mangle)]
pub extern "C" fn fragtrace_clock(elapsed_ms: f64, unix_ms: f64) {
    let ns = |ms: f64| (ms * 1e6) as u64;
    recorder().tell_time(ns(elapsed_ms), ns(unix_ms - elapsed_ms));
}

/// What to tell of a block that ends.
pub(crate) unsafe extern "C" fn released(block: *mut c_void, bits: u32) {
    recorder().released(block as u64, Flags::from_bits(bits));
}

/// What to tell of a new block.
pub(crate) unsafe extern "C" fn acquired(block: *mut c_void, size: usize, align: usize, bits: u32) {
    recorder().acquired(&Acquire {
        address: block as u64,
        size: size as u64,
        flags: Flags::from_bits(bits),
        align_log2: if align > 16 { align.ilog2() as u8 } else { 0 },
        usable: Some(size as u64),
        pool: WRAPPED,
        ..Acquire::default()
    });
}
