//! Records: what is written rarely. Serialised by bincode, framed so that a reader finds
//! the end and sees damage.
//!
//! ```text
//!  0  length  u32   of the payload; 0 = no more records; written last
//!  4  check   u32   FNV-1a of the payload
//!  8  payload       padded with zeros to a multiple of 8
//! ```
//!
//! bincode is no longer maintained (deny.toml names the advisory). It stands behind
//! [`encode`] and [`decode`] alone, and golden bytes pin its output, so it can be replaced.

use serde::{Deserialize, Serialize};

/// Bytes in front of a record's payload.
pub const FRAME_BYTES: usize = 8;
/// The longest record that a reader accepts.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// Serialises `value` into `out`; the bytes used, or `None` if it does not fit.
pub fn encode<T: Serialize>(value: &T, out: &mut [u8]) -> Option<usize> {
    bincode::serde::encode_into_slice(value, out, bincode::config::standard()).ok()
}

/// The value at the start of `bytes`, and how many bytes it took.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, usize)> {
    // A limit keeps lengths in damaged bytes from asking for memory.
    let config = bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();
    bincode::serde::borrow_decode_from_slice(bytes, config).ok()
}

/// FNV-1a, 32 bit: enough to tell damage from data.
pub fn check(payload: &[u8]) -> u32 {
    payload.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ *byte as u32).wrapping_mul(0x0100_0193))
}

/// The frame of a payload as one word, to be stored behind it in time.
pub fn frame(payload: &[u8]) -> u64 {
    payload.len() as u64 | (check(payload) as u64) << 32
}

/// Bytes that a record with this payload takes.
pub const fn framed_bytes(payload_len: usize) -> usize {
    FRAME_BYTES + payload_len.next_multiple_of(8)
}

/// Iterates over the payloads of an area; ends at the first empty or damaged frame.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// The records of an area.
    pub fn new(bytes: &'a [u8]) -> Self {
        Records { bytes, at: 0 }
    }

    /// Where the next record starts, or where the records end.
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let head = self.bytes.get(self.at..self.at + FRAME_BYTES)?;
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let expected = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if len == 0 || len > MAX_RECORD_BYTES {
            return None;
        }
        let start = self.at + FRAME_BYTES;
        let payload = self.bytes.get(start..start + len)?;
        if check(payload) != expected {
            return None;
        }
        self.at += framed_bytes(len);
        Some(payload)
    }
}

/// The process and the machine: the first record of the description area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Description<'a> {
    /// The executable's path.
    pub exe: &'a str,
    /// Arguments, each ended by a zero byte, as in /proc/self/cmdline.
    pub command: &'a [u8],
    /// The machine's name.
    pub host: &'a str,
    /// Kernel release and version.
    pub kernel: &'a str,
    /// "glibc 2.36", "musl", …
    pub libc: &'a str,
    /// Path of the object whose malloc is called.
    pub allocator: &'a str,
    /// Environment variables that steer allocators: NAME=value, each ended by a zero byte.
    pub allocator_env: &'a [u8],
    /// The chosen word of /sys/kernel/mm/transparent_hugepage/enabled.
    pub transparent_huge_pages: &'a str,
    /// Memory limit of the cgroup in bytes; `None` = none, or not known.
    pub cgroup_limit_bytes: Option<u64>,
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Version of the tracer.
    pub tracer_version: &'a str,
    /// Ring size asked for, before limits.
    pub ring_asked_bytes: u64,
    /// Least time between two looks.
    pub look_ms: u64,
    /// Greatest depth of stacks; 0 = off.
    pub stack_depth: u32,
    /// How the usable size of a block follows from what was asked for.
    pub usable_rule: UsableRule,
    /// The parent process.
    pub parent_pid: u32,
}

/// Allocators whose blocks are not in the trace: the second record of the description area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unseen<'a> {
    /// A line each: which, and why.
    pub allocators: &'a str,
}

/// What the kernel allows the process: behind [`Unseen`], in the same payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// vm.max_map_count; `None` = not known.
    pub max_map_count: Option<u64>,
}

/// How usable size follows from requested size, where an event does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UsableRule {
    /// It does not; only events that say it are known.
    #[default]
    Unknown,
    /// glibc, 64 bit: max(24, (size + 8) rounded up to 16, less 8).
    Glibc,
    /// By size class: see [`crate::classes`].
    ByClass,
}

/// A mapping as /proc/self/maps shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mapping<'a> {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bits: 1 read, 2 write, 4 execute, 8 shared.
    pub permissions: u8,
    /// Offset in the file, if there is one.
    pub file_offset: u64,
    /// Inode of the file, 0 = none.
    pub inode: u64,
    /// Path, or the kernel's name in brackets, or empty.
    pub name: &'a str,
}

/// Why a look was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LookCause {
    /// Recording began.
    #[default]
    Start,
    /// The time between looks had passed.
    Due,
    /// The process ends.
    Exit,
    /// Somebody asked through the control word.
    Asked,
    /// Taken from outside, while the process slept.
    Outside,
}

/// A mapping that is not as the look before had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MappingChange<'a> {
    /// The mapping that began there is gone.
    Gone {
        /// Its first address.
        start: u64,
    },
    /// A new mapping, or one that began there and is different now.
    There(#[serde(borrow)] Mapping<'a>),
}

/// A stretch of address space in which it was found out which pages are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scan<'a> {
    /// First address.
    pub start: u64,
    /// Bytes, whole pages.
    pub bytes: u64,
    /// The tiles that changed: see [`crate::pages`].
    pub tiles: &'a [u8],
}

/// How the pages of scans were found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PageSource {
    /// They were not.
    #[default]
    None,
    /// PAGEMAP_SCAN: pages in memory, the shared zero page left out.
    Scan,
    /// Bit 63 of /proc/self/pagemap: the shared zero page counts as in memory.
    Pagemap,
    /// Pages that hold anything but zeros, of memory that gives nothing back: wasm32's.
    Contents,
}

/// One look at the kernel's view. Sizes in bytes. In the same frame follow `changes`
/// [`MappingChange`] records, then `scans` [`Scan`] records, then nothing, or an [`AllocatorView`]
/// and [`LookPart`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Look {
    /// When.
    pub stamp: u64,
    /// CLOCK_MONOTONIC at the same moment.
    pub monotonic_ns: u64,
    /// Why.
    pub cause: LookCause,
    /// Resident set: anonymous, file and shared pages.
    pub rss_anon: Option<u64>,
    /// File pages of the resident set, the tracer's included.
    pub rss_file: Option<u64>,
    /// Shared memory pages of the resident set.
    pub rss_shmem: Option<u64>,
    /// Swapped out.
    pub swapped: Option<u64>,
    /// Peak resident set so far.
    pub rss_peak: Option<u64>,
    /// The tracer's own resident pages.
    pub tracer_resident: u64,
    /// The end of the brk segment.
    pub brk_end: Option<u64>,
    /// smaps: pages given back lazily.
    pub lazyfree: Option<u64>,
    /// smaps: anonymous huge pages.
    pub anon_huge: Option<u64>,
    /// What the look cost, in units of stamps.
    pub cost_stamps: u64,
    /// The changes that follow make the whole list of mappings, and no tile was named before.
    pub afresh: bool,
    /// Changes of mappings that follow, since the look before.
    pub changes: u32,
    /// Scans that follow.
    pub scans: u32,
    /// How their pages were found out.
    pub page_source: PageSource,
    /// The scans came to the end of the list: the next look's begin anew.
    pub scans_end: bool,
}

/// One record of the pools area: a stretch of memory that the program cuts up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolEvent<'a> {
    /// There is a new one.
    Created {
        /// When.
        stamp: u64,
        /// Its number, from [`crate::event::FIRST_POOL`] on.
        pool: u32,
        /// First address.
        start: u64,
        /// Bytes.
        bytes: u64,
        /// As the program calls it.
        name: &'a str,
    },
    /// It is gone, and all blocks in it.
    Destroyed {
        /// When.
        stamp: u64,
        /// Its number.
        pool: u32,
    },
}

/// What the allocator says of itself: in the frame of a look, behind its scans, where it was
/// asked for that look. Then follow `figures` [`Figure`] records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AllocatorView {
    /// When it was asked.
    pub stamp: u64,
    /// How many figures it gave.
    pub figures: u32,
}

/// One figure of an [`AllocatorView`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figure<'a> {
    /// As the allocator calls it.
    pub name: &'a str,
    /// As the allocator gave it.
    pub bytes: u64,
}

/// What else a look tells: behind its [`AllocatorView`] (one without figures, where nothing was
/// asked), one after the other up to the end of its frame. A reader leaves what follows the first
/// one that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookPart {
    /// The look read the list of mappings in a part of the address space alone, or not at all: all
    /// others are as looks before it told them. Where this is missing it read the whole list.
    Listed {
        /// First address: mappings that begin from here on were read.
        from: u64,
        /// Address behind the last one. The same as `from`: none was. `u64::MAX`: the rest.
        to: u64,
        /// How many mappings it read.
        mappings: u32,
    },
    /// A heap of a secondary arena of glibc, told when it is new, or another arena's than before.
    ArenaHeap {
        /// Its first address.
        start: u64,
        /// That of the first heap of its arena: which arena it is.
        first_heap: u64,
    },
}

/// One record of the modules area: what happened to a loaded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleEvent<'a> {
    /// An object was seen for the first time. It was loaded at `stamp` or before.
    Loaded(#[serde(borrow)] Module<'a>),
    /// The object that began at `start` was not there any more.
    Gone {
        /// When that was seen.
        stamp: u64,
        /// As in [`Module::start`].
        start: u64,
    },
}

/// An object that the loader mapped: the executable, a shared library, the vDSO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Module<'a> {
    /// When it was seen first.
    pub stamp: u64,
    /// First address of its loaded segments.
    pub start: u64,
    /// Bytes up to the end of its last segment.
    pub bytes: u64,
    /// What the loader added to the addresses in the file: 0 for an executable that is not
    /// position-independent.
    pub bias: u64,
    /// Its first executable segment: address in the file, and offset in it. An address `a` in
    /// memory is at `a - bias - text_address + text_offset` in the file.
    pub text_address: u64,
    /// See `text_address`.
    pub text_offset: u64,
    /// The bytes of its GNU build-id note; empty = it has none.
    pub build_id: &'a [u8],
    /// As the loader names it; of the executable its path.
    pub path: &'a str,
}

/// Rare events that stand among the packed ones of a lane, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cold<'a> {
    /// From here on the lane's events are this thread's.
    Thread {
        /// Index over the life of the process, from 1 on.
        thread: u32,
        /// The kernel's number.
        tid: u32,
        /// The kernel's name for it.
        name: &'a str,
    },
    /// A mapping was made.
    Map {
        /// Where.
        address: u64,
        /// Bytes asked for.
        bytes: u64,
        /// As mmap takes them.
        protection: u32,
        /// As mmap takes them.
        flags: u32,
        /// Whether a file is behind it.
        file: bool,
        /// Whether it was the allocator that called.
        heap: bool,
    },
    /// A range is about to be unmapped.
    Unmap {
        /// From where.
        address: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A mapping is about to be moved or resized.
    Remap {
        /// From where.
        address: u64,
        /// Bytes before.
        bytes: u64,
        /// Bytes wanted.
        new_bytes: u64,
    },
    /// A remapped mapping is there; the release half is the lane's last `Remap`.
    Remapped {
        /// Where.
        address: u64,
        /// Bytes.
        bytes: u64,
    },
    /// The kernel refused the lane's last `Unmap` or `Remap`: all is as before.
    Undo {
        /// The address that it had.
        address: u64,
    },
    /// madvise succeeded.
    Advise {
        /// From where.
        address: u64,
        /// Bytes.
        bytes: u64,
        /// As madvise takes it.
        advice: u32,
    },
    /// mprotect succeeded.
    Protect {
        /// From where.
        address: u64,
        /// Bytes.
        bytes: u64,
        /// As mprotect takes it.
        protection: u32,
    },
    /// The brk segment ends here now.
    Brk {
        /// Its end.
        end: u64,
    },
    /// The lane's last realloc of a block freed it: realloc(p, 0).
    ReallocFreed {
        /// The block.
        address: u64,
    },
    /// The process ends here, as far as this thread knows.
    End {
        /// [`crate::header::End`] as a word.
        kind: u32,
        /// Exit status.
        status: u32,
    },
    /// The allocator took so long for one call, of which the acquisition follows, or the release
    /// stands before.
    Timed {
        /// What was called.
        call: Call,
        /// Ticks of the raw clock: not shifted as stamps are.
        ticks: u64,
    },
}

/// A function of the allocator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Call {
    /// malloc.
    Malloc,
    /// free.
    Free,
    /// calloc.
    Calloc,
    /// realloc.
    Realloc,
}

impl Call {
    /// The function's name.
    pub const fn name(self) -> &'static str {
        match self {
            Call::Malloc => "malloc",
            Call::Free => "free",
            Call::Calloc => "calloc",
            Call::Realloc => "realloc",
        }
    }
}

/// One record of the regions area: a cold event on mappings that was folded. It counts once
/// the fold of its number is done; until then it is in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedEvent<'a> {
    /// Number of the fold.
    pub fold: u64,
    /// When it happened.
    pub stamp: u64,
    /// On which lane.
    pub lane: u32,
    /// The bytes of a [`Cold`].
    pub event: &'a [u8],
}

/// What a cold event is, without the rest of what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdKind {
    /// [`Cold::Thread`], and the thread's index.
    Thread(u32),
    /// [`Cold::Map`].
    Map,
    /// [`Cold::Unmap`].
    Unmap,
    /// [`Cold::Remap`].
    Remap,
    /// [`Cold::Undo`].
    Undo,
    /// [`Cold::Advise`].
    Advise,
    /// [`Cold::Brk`].
    Brk,
    /// [`Cold::ReallocFreed`].
    ReallocFreed,
    /// [`Cold::Timed`].
    Timed,
    /// Another one, or none of ours.
    Other,
}

/// What the payload of a cold event is. Much less work, and code, than decoding it.
pub fn cold_kind(payload: &[u8]) -> ColdKind {
    // bincode writes a variant's number as one byte, up to 250.
    match payload.split_first() {
        Some((0, rest)) => decode(rest).map_or(ColdKind::Other, |(n, _)| ColdKind::Thread(n)),
        Some((1, _)) => ColdKind::Map,
        Some((2, _)) => ColdKind::Unmap,
        Some((3, _)) => ColdKind::Remap,
        Some((5, _)) => ColdKind::Undo,
        Some((6, _)) => ColdKind::Advise,
        Some((8, _)) => ColdKind::Brk,
        Some((9, _)) => ColdKind::ReallocFreed,
        Some((11, _)) => ColdKind::Timed,
        _ => ColdKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_what_decoding_says() {
        let (address, bytes) = (0x7f00_0000_0000, 4096);
        let known = [
            (Cold::Thread { thread: 70_000, tid: 5, name: "worker" }, ColdKind::Thread(70_000)),
            (
                Cold::Map { address, bytes, protection: 3, flags: 34, file: false, heap: true },
                ColdKind::Map,
            ),
            (Cold::Unmap { address, bytes }, ColdKind::Unmap),
            (Cold::Remap { address, bytes, new_bytes: 1 }, ColdKind::Remap),
            (Cold::Remapped { address, bytes }, ColdKind::Other),
            (Cold::Undo { address }, ColdKind::Undo),
            (Cold::Advise { address, bytes, advice: 4 }, ColdKind::Advise),
            (Cold::Protect { address, bytes, protection: 0 }, ColdKind::Other),
            (Cold::Brk { end: address }, ColdKind::Brk),
            (Cold::ReallocFreed { address }, ColdKind::ReallocFreed),
            (Cold::End { kind: 1, status: 0 }, ColdKind::Other),
            (Cold::Timed { call: Call::Realloc, ticks: 90_000 }, ColdKind::Timed),
        ];
        for (event, kind) in known {
            let mut payload = [0; 64];
            let len = encode(&event, &mut payload).unwrap_or(0);
            assert_eq!(cold_kind(&payload[..len]), kind, "{event:?}");
        }
        assert_eq!(cold_kind(&[]), ColdKind::Other);
    }
}
