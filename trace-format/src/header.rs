//! The header: the first 16 KiB of a trace, and the segments behind it.
//!
//! A file grows by segments. Each belongs to one area; the segments of an area, laid end
//! to end in the order of the table, are the area. So areas grow without moving, the file
//! is dense, and its length is what was reserved. Every field that changes while the
//! program runs is one aligned word, so a reader never sees half of one.
//!
//! The writer's view is [`Header`], an overlay on mapped memory; the reader's is
//! [`HeaderInfo`], a copy. docs/trace-format.md lists the fields with their offsets.

mod cut;
mod fork;

pub use cut::{COUNTS, Count, Cut, CutCell};
pub use fork::{Fork, ForkInfo};

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use cut::cut_at;

/// The first eight bytes of every trace.
pub const MAGIC: [u8; 8] = *b"\x89FTRACE\n";
/// Version of the layout. A reader refuses others.
pub const VERSION: u32 = 1;
/// Bytes of the header, and the alignment of segments.
pub const HEADER_BYTES: usize = 16 << 10;
/// Entries of the segment table.
pub const MAX_SEGMENTS: usize = 768;
/// Features that a reader must know to read the events at all. None so far.
pub const KNOWN_REQUIRED_FEATURES: u64 = 0;

/// Areas of the file. Each has a bound and a rule on wrapping: docs/trace-format.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Area {
    /// One record: the process. Written once.
    Description = 1,
    /// The ring's chunks.
    Events = 2,
    /// The blocks that were live at the cut.
    Base = 3,
    /// Call stacks.
    Stacks = 4,
    /// Loaded modules.
    Modules = 5,
    /// Looks at the kernel's view.
    Looks = 6,
    /// Names of threads whose first events are folded.
    Threads = 7,
    /// Pools.
    Pools = 8,
    /// Events on mappings that are folded, in two halves.
    Regions = 9,
    /// Size classes of the allocator.
    Classes = 10,
    /// Looks that another process took while this one slept; written when it has ended.
    OutsideLooks = 11,
}

impl Area {
    const ALL: [Area; 11] = [
        Area::Description,
        Area::Events,
        Area::Base,
        Area::Stacks,
        Area::Modules,
        Area::Looks,
        Area::Threads,
        Area::Pools,
        Area::Regions,
        Area::Classes,
        Area::OutsideLooks,
    ];

    fn from_number(number: u64) -> Option<Area> {
        Self::ALL.into_iter().find(|area| *area as u64 == number)
    }
}

/// Where stamps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ClockKind {
    /// The processor's time stamp counter, shifted right by the header's shift.
    Tsc = 1,
    /// CLOCK_MONOTONIC in nanoseconds, shifted likewise.
    Monotonic = 2,
    /// The generic timer of aarch64, not shifted.
    Counter = 3,
}

/// How the process ended, as far as its tracer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// Still running, or killed: nobody wrote an end.
    #[default]
    Open,
    /// Through `exit` or a return from `main`.
    Exit,
    /// Through `_exit`, `_Exit` or `quick_exit`.
    UnderscoreExit,
    /// By replacing itself through exec.
    Exec,
    /// By a signal, as the parent that recorded it saw.
    Signal(u32),
}

impl End {
    /// The word that the header keeps.
    pub const fn to_word(self) -> u32 {
        match self {
            End::Open => 0,
            End::Exit => 1,
            End::UnderscoreExit => 2,
            End::Exec => 3,
            End::Signal(number) => 0x100 | number,
        }
    }

    /// The inverse of [`End::to_word`]; unknown words count as open.
    pub const fn from_word(word: u32) -> End {
        match word {
            1 => End::Exit,
            2 => End::UnderscoreExit,
            3 => End::Exec,
            0x101..=0x17f => End::Signal(word & 0x7f),
            _ => End::Open,
        }
    }
}

/// A stamp and the clocks at the same moment.
#[derive(Debug)]
#[repr(C)]
pub struct ClockPair {
    /// Odd while the pair is being written.
    pub version: AtomicU64,
    /// In units of the trace.
    pub stamp: AtomicU64,
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: AtomicU64,
    /// CLOCK_REALTIME.
    pub realtime_ns: AtomicU64,
}

impl ClockPair {
    /// Replaces the pair. One writer at a time.
    pub fn set(&self, stamp: u64, monotonic_ns: u64, realtime_ns: u64) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version | 1, Ordering::Relaxed);
        core::sync::atomic::fence(Ordering::Release);
        self.stamp.store(stamp, Ordering::Relaxed);
        self.monotonic_ns.store(monotonic_ns, Ordering::Relaxed);
        self.realtime_ns.store(realtime_ns, Ordering::Relaxed);
        self.version.store((version | 1).wrapping_add(1), Ordering::Release);
    }
}

/// One entry of the segment table.
#[derive(Debug)]
#[repr(C)]
pub struct SegmentEntry {
    /// Area in the lowest byte, file offset above it (a multiple of 4 KiB).
    place: AtomicU64,
    /// Bytes.
    bytes: AtomicU64,
}

/// The header as the writer sees it in mapped memory. All integers little-endian.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`], written last.
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// [`HEADER_BYTES`].
    pub header_bytes: AtomicU32,
    /// Features a reader must know.
    pub required_features: AtomicU64,
    /// Features a reader may ignore.
    pub optional_features: AtomicU64,
    /// [`ClockKind`].
    pub clock_kind: AtomicU32,
    /// How far raw stamps were shifted right.
    pub clock_shift: AtomicU32,
    /// The clocks when recording began.
    pub clock_start: ClockPair,
    /// The clocks when last looked at: start and last give the unit of stamps.
    pub clock_last: ClockPair,
    /// The process.
    pub pid: AtomicU32,
    /// [`End`].
    pub end: AtomicU32,
    /// Bytes of the ring, as bounded.
    pub ring_bytes: AtomicU64,
    /// Bytes of each chunk.
    pub chunk_bytes: AtomicU64,
    /// Chunks taken so far, over the whole life.
    pub chunks_taken: AtomicU64,
    /// Events that found no room.
    pub dropped_events: AtomicU64,
    /// Looks taken.
    pub looks: AtomicU64,
    /// Looks that found no room.
    pub dropped_looks: AtomicU64,
    /// Time spent in looks and in taking chunks, in units of stamps.
    pub slow_path_stamps: AtomicU64,
    /// Threads seen.
    pub threads: AtomicU64,
    /// For tools that steer a running trace: see [`control`].
    pub control: AtomicU64,
    /// Folds done so far; its lowest bit says which of `cuts`, and which of the two words
    /// that each chunk has, is in force. 0 = nothing is folded.
    pub folds: AtomicU64,
    /// The number of the last fold that was begun. A fold goes in four steps:
    ///
    /// 1. the other cut and the chunks' other words are written, whole;
    /// 2. `folding` is set to `folds + 1`;
    /// 3. entries of the base table are filled, replaced and freed, one by one;
    /// 4. `folds` is set to `folding`; only then are chunks used again.
    ///
    /// So while `folding` is not `folds`, the other cut and the other words hold already,
    /// but the table is on its way there from the cut in force: a mixture of both. The
    /// events between the two words of each chunk (by position, not by stamp) say where it
    /// goes.
    pub folding: AtomicU64,
    /// What ended or limited recording early: see [`limit`].
    pub limits: AtomicU64,
    /// Bytes of each half of the looks area; 0 = it is not split.
    pub looks_half_bytes: AtomicU64,
    /// Bytes of each half of the regions area.
    pub regions_half_bytes: AtomicU64,
    /// Times that looks came to the end of the list of mappings, which they may read in parts.
    pub list_cycles: AtomicU64,
    /// Times that looks came to the end of the heap's pages, which they scan in parts.
    pub scan_cycles: AtomicU64,
    reserved: AtomicU64,
    /// The state of the base table, twice: while one is in force the other is written.
    pub cuts: [CutCell; 2],
    /// What a child of fork has from its parent.
    pub fork: Fork,
    reserved_behind: [AtomicU64; 410],
    /// Segments in use; raised after the entry is written.
    pub segment_count: AtomicU64,
    /// The segment table.
    pub segments: [SegmentEntry; MAX_SEGMENTS],
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Bits of the control word.
pub mod control {
    /// Do not record events.
    pub const PAUSED: u64 = 1;
    /// Take a look as soon as an event comes.
    pub const LOOK_NOW: u64 = 2;
}

/// Bits that say what limited the recording.
pub mod limit {
    /// The file system had no more room.
    pub const DISK_FULL: u64 = 1;
    /// RLIMIT_FSIZE allowed no more.
    pub const FILE_SIZE: u64 = 2;
    /// The ring was made smaller than asked for, for the memory cgroup's sake.
    pub const CGROUP: u64 = 4;
    /// The ring is full.
    pub const RING_FULL: u64 = 8;
    /// No more lanes for threads.
    pub const LANES: u64 = 16;
    /// The kernel refused to map a segment.
    pub const MAPPING: u64 = 32;
    /// The base table has no more room.
    pub const TABLE: u64 = 64;
    /// Events on mappings found no room in the regions area.
    pub const REGIONS: u64 = 128;
    /// In a child of fork: what its parent had live is not known.
    pub const INHERITANCE: u64 = 256;
    /// The trace could not be opened again to grow.
    pub const PATH: u64 = 512;
    /// The program installed a filter on system calls: the file could grow no more.
    pub const FILTER: u64 = 1024;
}

impl Header {
    /// The segments: of each its area, its place in the file and its bytes.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        let count = self.segment_count.load(Ordering::Acquire) as usize;
        self.segments.iter().take(count).filter_map(|entry| {
            let place = entry.place.load(Ordering::Relaxed);
            let bytes = entry.bytes.load(Ordering::Relaxed);
            Some(Segment {
                area: Area::from_number(place & 0xfff)?,
                file_offset: place & !0xfff,
                bytes,
            })
        })
    }

    /// Appends a segment to the table; false when the table is full. One writer at a time.
    pub fn add_segment(&self, area: Area, file_offset: u64, bytes: u64) -> bool {
        let count = self.segment_count.load(Ordering::Relaxed);
        let Some(entry) = self.segments.get(count as usize) else { return false };
        entry.place.store(file_offset | area as u64, Ordering::Relaxed);
        entry.bytes.store(bytes, Ordering::Relaxed);
        self.segment_count.store(count + 1, Ordering::Release);
        true
    }

    /// Lengthens the last segment by what lies behind it in the file; false when that is of another
    /// area, or elsewhere. One writer at a time.
    pub fn extend_last_segment(&self, area: Area, file_offset: u64, bytes: u64) -> bool {
        let count = self.segment_count.load(Ordering::Relaxed) as usize;
        let Some(entry) = count.checked_sub(1).and_then(|last| self.segments.get(last)) else {
            return false;
        };
        let there = entry.bytes.load(Ordering::Relaxed);
        let place = entry.place.load(Ordering::Relaxed);
        let fits = file_offset.checked_sub(there).map(|start| start | area as u64) == Some(place);
        if fits {
            entry.bytes.store(there + bytes, Ordering::Release);
        }
        fits
    }

    /// Shortens the last segment by `spare` bytes, when the file is cut at exit; false when
    /// it is not longer than that. One writer at a time.
    pub fn shrink_last_segment(&self, spare: u64) -> bool {
        let count = self.segment_count.load(Ordering::Relaxed) as usize;
        let Some(entry) = count.checked_sub(1).and_then(|last| self.segments.get(last)) else {
            return false;
        };
        match entry.bytes.load(Ordering::Relaxed).checked_sub(spare) {
            Some(rest) => {
                entry.bytes.store(rest, Ordering::Release);
                true
            }
            None => false,
        }
    }
}

/// A moment on three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockReading {
    /// In units of the trace.
    pub stamp: u64,
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME.
    pub realtime_ns: u64,
}

/// A piece of the file that belongs to an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// To which.
    pub area: Area,
    /// From where, in bytes from the start of the file.
    pub file_offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Why a file's first bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// The file ends before the header does: its length in bytes.
    TooShort(u64),
    /// The magic is not there.
    NotATrace,
    /// Another version of the format.
    Version(u32),
    /// Features that this reader does not know.
    Features(u64),
    /// A field holds what no writer writes: its offset.
    Damaged(u64),
}

/// The header as a reader sees it: a copy of what stood there at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderInfo {
    /// Where stamps come from.
    pub clock_kind: ClockKind,
    /// How far they were shifted.
    pub clock_shift: u32,
    /// When recording began.
    pub clock_start: ClockReading,
    /// When the clocks were last read.
    pub clock_last: ClockReading,
    /// The process.
    pub pid: u32,
    /// How it ended.
    pub end: End,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// Bytes of each chunk.
    pub chunk_bytes: u64,
    /// Chunks taken.
    pub chunks_taken: u64,
    /// Events that found no room.
    pub dropped_events: u64,
    /// Looks taken.
    pub looks: u64,
    /// Looks that found no room.
    pub dropped_looks: u64,
    /// Cost of the slow path, in units of stamps.
    pub slow_path_stamps: u64,
    /// Threads seen.
    pub threads: u64,
    /// Folds done; the lowest bit chooses the cut, and the words that chunks keep for it.
    pub folds: u64,
    /// The last fold begun: not equal to `folds` while one is under way, [`Header::folding`].
    pub folding: u64,
    /// Both cuts; [`HeaderInfo::cut`] says which is in force.
    pub cuts: [Cut; 2],
    /// Bytes of each half of the looks area; 0 = it is not split.
    pub looks_half_bytes: u64,
    /// Bytes of each half of the regions area.
    pub regions_half_bytes: u64,
    /// What limited the recording: [`limit`].
    pub limits: u64,
    /// What a child of fork has from its parent, if the process is one.
    pub fork: Option<ForkInfo>,
    /// Entries of the segment table that are in use.
    pub segment_count: usize,
}

/// Byte offsets of fields, for readers and for docs/trace-format.md.
macro_rules! at {
    ($field:ident) => {
        core::mem::offset_of!(Header, $field)
    };
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u64_at(bytes, at & !7).to_le_bytes()[at & 4..][..4]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | *byte as u32)
}

fn clock_at(bytes: &[u8], at: usize) -> ClockReading {
    ClockReading {
        stamp: u64_at(bytes, at + 8),
        monotonic_ns: u64_at(bytes, at + 16),
        realtime_ns: u64_at(bytes, at + 24),
    }
}

impl HeaderInfo {
    /// Reads the first [`HEADER_BYTES`] of a file.
    ///
    /// # Errors
    /// [`HeaderError`]: the bytes are no trace, or none that this version can read.
    pub fn read(bytes: &[u8]) -> Result<HeaderInfo, HeaderError> {
        let begun = bytes.len().min(MAGIC.len());
        if bytes[..begun] != MAGIC[..begun] {
            return Err(HeaderError::NotATrace);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(HeaderError::TooShort(bytes.len() as u64));
        }
        let version = u32_at(bytes, at!(version));
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let unknown = u64_at(bytes, at!(required_features)) & !KNOWN_REQUIRED_FEATURES;
        if unknown != 0 {
            return Err(HeaderError::Features(unknown));
        }
        let clock_kind = match u32_at(bytes, at!(clock_kind)) {
            1 => ClockKind::Tsc,
            2 => ClockKind::Monotonic,
            3 => ClockKind::Counter,
            _ => return Err(HeaderError::Damaged(at!(clock_kind) as u64)),
        };
        let chunk_bytes = u64_at(bytes, at!(chunk_bytes));
        if !chunk_bytes.is_power_of_two()
            || !(crate::chunk::MIN_BYTES..=crate::chunk::MAX_BYTES).contains(&chunk_bytes)
        {
            return Err(HeaderError::Damaged(at!(chunk_bytes) as u64));
        }
        let segment_count = u64_at(bytes, at!(segment_count));
        if segment_count > MAX_SEGMENTS as u64 {
            return Err(HeaderError::Damaged(at!(segment_count) as u64));
        }
        Ok(HeaderInfo {
            clock_kind,
            clock_shift: u32_at(bytes, at!(clock_shift)),
            clock_start: clock_at(bytes, at!(clock_start)),
            clock_last: clock_at(bytes, at!(clock_last)),
            pid: u32_at(bytes, at!(pid)),
            end: End::from_word(u32_at(bytes, at!(end))),
            ring_bytes: u64_at(bytes, at!(ring_bytes)),
            chunk_bytes,
            chunks_taken: u64_at(bytes, at!(chunks_taken)),
            dropped_events: u64_at(bytes, at!(dropped_events)),
            looks: u64_at(bytes, at!(looks)),
            dropped_looks: u64_at(bytes, at!(dropped_looks)),
            slow_path_stamps: u64_at(bytes, at!(slow_path_stamps)),
            threads: u64_at(bytes, at!(threads)),
            folds: u64_at(bytes, at!(folds)),
            folding: u64_at(bytes, at!(folding)),
            cuts: [cut_at(bytes, at!(cuts)), cut_at(bytes, at!(cuts) + size_of::<CutCell>())],
            looks_half_bytes: u64_at(bytes, at!(looks_half_bytes)),
            regions_half_bytes: u64_at(bytes, at!(regions_half_bytes)),
            limits: u64_at(bytes, at!(limits)),
            fork: ForkInfo::at(bytes, at!(fork)),
            segment_count: segment_count as usize,
        })
    }

    /// The cut in force; all zero when nothing was folded.
    pub fn cut(&self) -> &Cut {
        &self.cuts[(self.folds & 1) as usize]
    }

    /// The cut that a fold under way is going to, complete already; else the one in force.
    pub fn cut_ahead(&self) -> &Cut {
        &self.cuts[(self.folding & 1) as usize]
    }

    /// Segment `index` of the table in `bytes`, the same that [`HeaderInfo::read`] read.
    ///
    /// # Errors
    /// [`HeaderError::Damaged`] when the entry names no area or lies inside the header.
    pub fn segment(&self, bytes: &[u8], index: usize) -> Result<Segment, HeaderError> {
        let at = at!(segments) + index * size_of::<SegmentEntry>();
        if index >= self.segment_count || at + 16 > bytes.len() {
            return Err(HeaderError::Damaged(at as u64));
        }
        let place = u64_at(bytes, at);
        let file_offset = place & !0xfff;
        match Area::from_number(place & 0xfff) {
            Some(area) if file_offset >= HEADER_BYTES as u64 => {
                Ok(Segment { area, file_offset, bytes: u64_at(bytes, at + 8) })
            }
            _ => Err(HeaderError::Damaged(at as u64)),
        }
    }
}

/// What to write where, to add a segment to the file of a process that has ended: the entry
/// first, then the count. `None`: the table is full.
pub fn appended_segment(
    segment_count: usize,
    segment: &Segment,
) -> Option<[(u64, [u8; 16], usize); 2]> {
    if segment_count >= MAX_SEGMENTS {
        return None;
    }
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&(segment.file_offset | segment.area as u64).to_le_bytes());
    entry[8..].copy_from_slice(&segment.bytes.to_le_bytes());
    let mut count = [0; 16];
    count[..8].copy_from_slice(&(segment_count as u64 + 1).to_le_bytes());
    let at = at!(segments) + segment_count * size_of::<SegmentEntry>();
    Some([(at as u64, entry, 16), (at!(segment_count) as u64, count, 8)])
}

/// The bytes of the `end` field, for a parent that saw by which signal its child died:
/// offset in the file, and what to write there.
pub fn end_field(end: End) -> (u64, [u8; 4]) {
    (at!(end) as u64, end.to_word().to_le_bytes())
}
