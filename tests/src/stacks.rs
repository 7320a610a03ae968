//! Call stacks as a trace has them, and as other unwinders saw them: the library
//! `programs/backtrace.c`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use fragtrace_format::chunk;
use fragtrace_format::event::{Event, Flags};
use fragtrace_format::header::{Area, HeaderInfo};
use fragtrace_format::record::{self, Cold, ModuleEvent, Records};
use fragtrace_format::stack::{Frame, Root};

use crate::programs;

/// Frames that a sample has at most; as in `backtrace.c`.
const SAMPLE_FRAMES: usize = 48;
const SAMPLE_BYTES: usize = 32 + 8 * SAMPLE_FRAMES;

/// Who gives a second opinion on stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The C compiler's own unwinder, which exceptions go by.
    Compiler,
    /// libunwind.
    Libunwind,
}

impl Judge {
    /// The library that takes the second opinion; `BACKTRACES` names its file, `BACKTRACES_ONE_IN`
    /// says how rare a sample is.
    pub fn library(self) -> PathBuf {
        match self {
            Judge::Compiler => programs::library("backtrace", "libbacktrace.so", &[]),
            Judge::Libunwind => {
                let defines = [("LIBUNWIND", "1".into())];
                programs::library("backtrace", "libbacktrace-libunwind.so", &defines)
            }
        }
    }
}

/// A stack as the other unwinder saw it.
pub struct Sample {
    /// The thread, by the kernel's number.
    pub thread: u32,
    /// Which acquisition of the thread, from 1 on.
    pub number: u64,
    /// What the program got.
    pub address: u64,
    /// Return addresses, innermost first.
    pub frames: Vec<u64>,
}

/// The samples in a file of the library's.
pub fn samples(path: &Path) -> Vec<Sample> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a word"));
    let room = (bytes.len() - 8) / SAMPLE_BYTES;
    (0..room.min(word(0) as usize))
        .map(|index| {
            let at = 8 + index * SAMPLE_BYTES;
            let frames = (word(at) >> 32) as usize;
            Sample {
                thread: word(at) as u32,
                number: word(at + 8),
                address: word(at + 16),
                frames: (0..frames).map(|frame| word(at + 32 + 8 * frame)).collect(),
            }
        })
        .collect()
}

/// One acquisition of a trace.
#[derive(Clone, Copy)]
pub struct Acquired {
    /// What the program got.
    pub address: u64,
    /// Number of its call stack.
    pub stack: u32,
}

/// A stack of a trace.
pub struct Stack {
    /// Its frames, innermost first.
    pub frames: Vec<Frame>,
    /// Why it ends.
    pub root: Root,
}

impl Stack {
    /// The addresses of its frames.
    pub fn addresses(&self) -> Vec<u64> {
        self.frames.iter().map(|frame| frame.address).collect()
    }
}

/// What a trace says of stacks.
pub struct Stacks {
    /// Acquisitions of each thread, by the kernel's number, in order.
    pub acquired: HashMap<u32, Vec<Acquired>>,
    /// Bytes of events.
    pub event_bytes: u64,
    table: Vec<u8>,
    modules: Vec<u8>,
}

impl Stacks {
    /// Reads a finished trace whose ring did not wrap.
    pub fn of(trace: &Path) -> Self {
        let bytes = fs::read(trace).unwrap_or_else(|error| panic!("{}: {error}", trace.display()));
        let header = HeaderInfo::read(&bytes).expect("a trace");
        let area = |area: Area| {
            let segments = (0..header.segment_count).map(|index| header.segment(&bytes, index));
            let segments = segments.map(|segment| segment.expect("a segment"));
            segments
                .filter(|segment| segment.area == area)
                .flat_map(|segment| {
                    let start = segment.file_offset as usize;
                    bytes[start..start + segment.bytes as usize].iter().copied()
                })
                .collect::<Vec<u8>>()
        };
        let events = area(Area::Events);
        let mut chunks: Vec<_> =
            events.chunks_exact(header.chunk_bytes as usize).filter_map(chunk::read).collect();
        chunks.sort_by_key(|(info, _)| (info.lane, info.lane_seq));
        let mut acquired: HashMap<u32, Vec<Acquired>> = HashMap::new();
        let mut event_bytes = 0;
        for (info, mut decoder) in chunks {
            let mut tid = info.tid;
            while let Some((_, event)) = decoder.next_event().expect("whole chunks") {
                match event {
                    Event::Acquire(block) if !block.flags.has(Flags::AGAIN) => {
                        let Some(list) = acquired.get_mut(&tid) else {
                            acquired.insert(tid, Vec::new());
                            let block = Acquired { address: block.address, stack: block.stack };
                            acquired.entry(tid).or_default().push(block);
                            continue;
                        };
                        list.push(Acquired { address: block.address, stack: block.stack });
                    }
                    Event::Cold(payload) => {
                        if let Some((Cold::Thread { tid: next, .. }, _)) = record::decode(payload) {
                            tid = next;
                        }
                    }
                    _ => {}
                }
            }
            event_bytes += decoder.offset() as u64;
        }
        Stacks { acquired, event_bytes, table: area(Area::Stacks), modules: area(Area::Modules) }
    }

    /// The stack with a number.
    pub fn stack(&self, mut number: u32) -> Stack {
        let mut stack = Stack { frames: Vec::new(), root: Root::Unknown };
        while let Some(frame) = Frame::read(&self.table, number) {
            stack.root = frame.root;
            number = frame.caller;
            stack.frames.push(frame);
        }
        assert!(number == 0, "frame {number} is not in the table");
        stack
    }

    /// What happened to loaded objects.
    pub fn modules(&self) -> impl Iterator<Item = ModuleEvent<'_>> {
        Records::new(&self.modules)
            .map(|payload| record::decode(payload).expect("a record of a module").0)
    }
}
