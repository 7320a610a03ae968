//! Traces without a tracer: events and looks as a test says them, laid out as in a file.
//!
//! One stamp is one nanosecond, and the recording begins at stamp 0.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod exercise;
pub mod folding;
pub mod naive;
pub mod program;
pub mod wrapped;

use core::mem::offset_of;
use fragtrace_analyzer::read::Trace;
use fragtrace_format::chunk::{HEADER_BYTES as CHUNK_HEADER_BYTES, MIN_BYTES};
use fragtrace_format::event::{Acquire, Encoded, Flags, MAX_WORD_BYTES, State, Word};
use fragtrace_format::header::{
    Area, ClockKind, ClockPair, End, HEADER_BYTES, Header, MAGIC, VERSION,
};
use fragtrace_format::record::{
    Cold, Description, FRAME_BYTES, Look, Mapping, MappingChange, ModuleEvent, Scan, UsableRule,
    encode, frame, framed_bytes,
};
use fragtrace_format::stack::{Frame, Root};
use std::collections::BTreeMap;
use std::io::Write;
use wrapped::{Filled, Wrapped};

/// What a lane says at one moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Acquire(Acquire),
    Release { address: u64, flags: Flags },
    Cold(Cold<'static>),
}

/// A plain malloc.
pub fn malloc(address: u64, size: u64) -> Said {
    Said::Acquire(Acquire { address, size, ..Acquire::default() })
}

/// A plain malloc of a call stack.
pub fn malloc_by(stack: u32, address: u64, size: u64) -> Said {
    Said::Acquire(Acquire { address, size, stack, ..Acquire::default() })
}

/// A plain free.
pub fn free(address: u64) -> Said {
    Said::Release { address, flags: Flags::NONE }
}

/// The halves of a realloc.
pub fn realloc_from(address: u64) -> Said {
    Said::Release { address, flags: Flags::REALLOC }
}

pub fn realloc_to(address: u64, size: u64) -> Said {
    Said::Acquire(Acquire { address, size, flags: Flags::REALLOC, ..Acquire::default() })
}

/// A mapping of the program's own memory, readable and writable.
pub fn anonymous(start: u64, bytes: u64) -> Mapping<'static> {
    Mapping { start, bytes, permissions: 3, ..Mapping::default() }
}

/// Builds a trace file.
#[derive(Debug, Clone)]
pub struct Builder {
    pub usable_rule: UsableRule,
    pub page_bytes: u32,
    pub chunk_bytes: u64,
    pub end: End,
    pub pid: u32,
    /// By lane: when, and what. Threads have the lanes' numbers, until a lane says otherwise.
    pub lanes: BTreeMap<u32, Vec<(u64, Said)>>,
    /// When, and the record.
    pub looks: Vec<(u64, Vec<u8>)>,
    /// The table of frames: the first is number 1.
    pub frames: Vec<Frame>,
    pub modules: Vec<ModuleEvent<'static>>,
    pub stack_depth: u32,
    /// What of all this is folded; `None`: the ring did not go round.
    pub wrapped: Option<Wrapped>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            usable_rule: UsableRule::Glibc,
            page_bytes: 4096,
            chunk_bytes: MIN_BYTES,
            end: End::Exit,
            // Larger than any process number of Linux.
            pid: 1 << 30,
            lanes: BTreeMap::new(),
            looks: Vec::new(),
            frames: Vec::new(),
            modules: Vec::new(),
            stack_depth: 64,
            wrapped: None,
        }
    }
}

impl Builder {
    /// Adds an event behind those of its lane.
    pub fn say(&mut self, lane: u32, stamp: u64, said: Said) -> &mut Builder {
        self.lanes.entry(lane).or_default().push((stamp, said));
        self
    }

    /// Adds a look that tells all mappings.
    pub fn look(&mut self, look: Look, mappings: Vec<Mapping<'static>>) -> &mut Builder {
        let look = Look { afresh: true, changes: mappings.len() as u32, ..look };
        let changes: Vec<_> = mappings.into_iter().map(MappingChange::There).collect();
        self.look_at(&look, &changes, &[])
    }

    /// Adds a look, and what follows it.
    pub fn look_at(
        &mut self,
        look: &Look,
        changes: &[MappingChange<'_>],
        scans: &[Scan<'_>],
    ) -> &mut Builder {
        let bytes = record(|out| {
            let mut len = encode(look, out)?;
            for change in changes {
                len += encode(change, &mut out[len..])?;
            }
            for scan in scans {
                len += encode(scan, &mut out[len..])?;
            }
            Some(len)
        });
        self.looks.push((look.stamp, bytes));
        self
    }

    /// Adds a stack, return addresses innermost first; its number.
    pub fn stack(&mut self, addresses: &[u64]) -> u32 {
        let mut caller = 0;
        for address in addresses.iter().rev() {
            let frame = Frame { address: *address, caller, root: Root::Begin, interrupted: false };
            let known = self.frames.iter().position(|known| *known == frame);
            let index = known.unwrap_or_else(|| {
                self.frames.push(frame);
                self.frames.len() - 1
            });
            caller = index as u32 + 1;
        }
        caller
    }

    /// The stamp of the last thing said.
    fn last_stamp(&self) -> u64 {
        let events = self.lanes.values().flatten().map(|(stamp, _)| *stamp);
        events.chain(self.looks.iter().map(|(stamp, _)| *stamp)).max().unwrap_or(0)
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let description = Description {
            exe: "/bin/synthetic",
            command: b"synthetic\0",
            libc: "glibc 2.36",
            page_bytes: self.page_bytes,
            usable_rule: self.usable_rule,
            stack_depth: self.stack_depth,
            ..Description::default()
        };
        let chunks = self.chunks();
        let areas = [
            (Area::Description, record(|out| encode(&description, out))),
            (Area::Looks, self.looks.iter().flat_map(|(_, bytes)| bytes.clone()).collect()),
            (Area::Stacks, self.frames.iter().flat_map(frame_entry).collect()),
            (
                Area::Modules,
                self.modules.iter().flat_map(|event| record(|out| encode(event, out))).collect(),
            ),
            (Area::Events, chunks),
        ];
        let mut file = vec![0; HEADER_BYTES];
        let mut segments = Vec::new();
        let folded = self.wrapped.iter().flat_map(Wrapped::areas);
        for (area, mut bytes) in areas.into_iter().chain(folded) {
            if bytes.is_empty() {
                continue;
            }
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            segments.push((file.len() as u64 | area as u64, bytes.len() as u64));
            file.extend(bytes);
        }
        self.write_header(&mut file, &segments);
        file
    }

    fn write_header(&self, file: &mut [u8], segments: &[(u64, u64)]) {
        let last = self.last_stamp();
        put_u64(file, offset_of!(Header, magic), u64::from_le_bytes(MAGIC));
        put_u32(file, offset_of!(Header, version), VERSION);
        put_u32(file, offset_of!(Header, clock_kind), ClockKind::Monotonic as u32);
        put_u32(file, offset_of!(Header, pid), self.pid);
        put_u32(file, offset_of!(Header, end), self.end.to_word());
        put_u64(file, offset_of!(Header, chunk_bytes), self.chunk_bytes);
        put_u64(file, offset_of!(Header, looks), self.looks.len() as u64);
        put_u64(file, offset_of!(Header, threads), self.lanes.len() as u64);
        let clock_last = offset_of!(Header, clock_last);
        put_u64(file, clock_last + offset_of!(ClockPair, stamp), last);
        put_u64(file, clock_last + offset_of!(ClockPair, monotonic_ns), last);
        put_u64(file, offset_of!(Header, segment_count), segments.len() as u64);
        if let Some(wrapped) = &self.wrapped {
            wrapped.write_header(file);
        }
        for (index, (place, bytes)) in segments.iter().enumerate() {
            let at = offset_of!(Header, segments) + index * 16;
            put_u64(file, at, *place);
            put_u64(file, at + 8, *bytes);
        }
    }

    /// The area of events: each lane's chunks, lanes one after the other.
    fn chunks(&self) -> Vec<u8> {
        let mut area = Vec::new();
        let mut sequence = 0;
        for (lane, events) in &self.lanes {
            let mut writer = LaneWriter::new(*lane);
            let mut chunk = Vec::new();
            let mut filled = Filled::default();
            for (number, (stamp, said)) in events.iter().enumerate() {
                // As the tracer does: an eight-byte store must fit, and a zero byte behind it.
                let room = self.chunk_bytes as usize - MAX_WORD_BYTES;
                if chunk.is_empty()
                    || chunk.len() + writer.clone().encode(*stamp, said).len() > room
                {
                    self.close(&mut chunk, &mut area, (*lane, &filled, false));
                    sequence += 1;
                    chunk = writer.open(*stamp, sequence);
                    filled = Filled { first: number, ends: Vec::new() };
                }
                chunk.extend(writer.encode(*stamp, said));
                filled.ends.push(chunk.len() - CHUNK_HEADER_BYTES);
            }
            self.close(&mut chunk, &mut area, (*lane, &filled, true));
        }
        area
    }

    fn close(
        &self,
        chunk: &mut Vec<u8>,
        area: &mut Vec<u8>,
        (lane, filled, last): (u32, &Filled, bool),
    ) {
        if !chunk.is_empty() {
            chunk.resize(self.chunk_bytes as usize, 0);
            if let Some(wrapped) = &self.wrapped {
                wrapped.mark(chunk, lane, filled, last);
            }
            area.append(chunk);
        }
    }

    /// Writes the file and opens it.
    pub fn open(&self) -> Trace {
        open(&self.bytes()).expect("a trace as the tracer writes it opens")
    }
}

/// Opens bytes as if they were a file.
pub fn open(bytes: &[u8]) -> Result<Trace, fragtrace_analyzer::read::ReadError> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    Trace::open(file.path())
}

#[derive(Clone)]
struct LaneWriter {
    lane: u32,
    thread: u32,
    lane_seq: u64,
    state: State,
    stack: u32,
}

impl LaneWriter {
    fn new(lane: u32) -> LaneWriter {
        LaneWriter { lane, thread: lane, lane_seq: 0, state: State::default(), stack: 0 }
    }

    /// The header of the lane's next chunk.
    fn open(&mut self, stamp: u64, sequence: u64) -> Vec<u8> {
        self.lane_seq += 1;
        self.state = State { stamp, base: [0, 0] };
        self.stack = 0;
        let mut chunk = vec![0; CHUNK_HEADER_BYTES];
        put_u64(&mut chunk, 0, sequence);
        put_u32(&mut chunk, 8, self.lane);
        put_u32(&mut chunk, 12, self.thread);
        put_u64(&mut chunk, 16, self.lane_seq);
        put_u64(&mut chunk, 24, stamp);
        put_u32(&mut chunk, 48, 1000 + self.thread);
        chunk
    }

    fn encode(&mut self, stamp: u64, said: &Said) -> Vec<u8> {
        match said {
            Said::Acquire(block) => {
                let known = self.stack == block.stack;
                self.stack = block.stack;
                words(Encoded::acquire(&mut self.state, stamp, block, known).words())
            }
            Said::Release { address, flags } => {
                words(Encoded::release(&mut self.state, stamp, *address, *flags).words())
            }
            Said::Cold(cold) => {
                if let Cold::Thread { thread, .. } = cold {
                    self.thread = *thread;
                }
                let mut payload = [0; 512];
                let len = encode(cold, &mut payload).expect("a cold event is short");
                let mut bytes = words(Encoded::cold(&mut self.state, stamp, len).words());
                bytes.extend(&payload[..len]);
                bytes
            }
        }
    }
}

fn words(words: &[Word]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bits.to_le_bytes()[..word.len as usize].to_vec()).collect()
}

/// A framed record, padded.
fn record(write: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut payload = vec![0; 64 << 10];
    let len = write(&mut payload).expect("records of tests are short");
    let mut bytes = frame(&payload[..len]).to_le_bytes().to_vec();
    bytes.extend(&payload[..len]);
    assert!(bytes.len() <= framed_bytes(len) && FRAME_BYTES == 8);
    bytes.resize(framed_bytes(len), 0);
    bytes
}

/// An entry of the table of frames: docs/trace-format.md draws it.
fn frame_entry(frame: &Frame) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    put_u32(&mut bytes, 0, frame.caller);
    put_u32(&mut bytes, 4, frame.root as u32 | if frame.interrupted { 16 } else { 0 });
    put_u64(&mut bytes, 8, frame.address);
    bytes
}

pub fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
