//! The recorder's file, read as plainly as can be: chunks by their headers, events by the
//! decoder, the table entry by entry.

use crate::file;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::Stamp;
use fragtrace_format::base::{ENTRY_BYTES, Entry};
use fragtrace_format::chunk::{self, FOLDED};
use fragtrace_format::event::{Acquire, Event, Flags};
use fragtrace_format::header::{Area, Cut, HEADER_BYTES, HeaderInfo};
use fragtrace_format::record::{self, Cold};
use std::collections::BTreeMap;
use std::vec::Vec;

/// What a lane says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Acquire(Acquire),
    Release { address: u64, flags: Flags },
    Cold(Cold<'static>),
    HandOver { thread: u32 },
}

impl Said {
    /// The block that it is about; `None`: it is about none.
    pub fn address(&self) -> Option<u64> {
        match self {
            Said::Acquire(block) => Some(block.address),
            Said::Release { address, .. } | Said::Cold(Cold::ReallocFreed { address }) => {
                Some(*address)
            }
            Said::Cold(_) | Said::HandOver { .. } => None,
        }
    }
}

/// What a lane says and how its thread goes on.
impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Said {
        match event {
            Event::Acquire(block) => Said::Acquire(block),
            Event::Release { address, flags } => Said::Release { address, flags },
            Event::Cold(payload) => match record::decode(payload) {
                Some((Cold::Thread { thread, .. }, _)) => Said::HandOver { thread },
                Some((cold, _)) => Said::Cold(owned(cold)),
                None => panic!("a cold event that cannot be read: {payload:?}"),
            },
        }
    }
}

/// Only a thread's name is borrowed.
fn owned(cold: Cold<'_>) -> Cold<'static> {
    match cold {
        Cold::Thread { thread, tid, .. } => Cold::Thread { thread, tid, name: "" },
        Cold::Map { address, bytes, protection, flags, file, heap } => {
            Cold::Map { address, bytes, protection, flags, file, heap }
        }
        Cold::Unmap { address, bytes } => Cold::Unmap { address, bytes },
        Cold::Remap { address, bytes, new_bytes } => Cold::Remap { address, bytes, new_bytes },
        Cold::Remapped { address, bytes } => Cold::Remapped { address, bytes },
        Cold::Undo { address } => Cold::Undo { address },
        Cold::Advise { address, bytes, advice } => Cold::Advise { address, bytes, advice },
        Cold::Protect { address, bytes, protection } => {
            Cold::Protect { address, bytes, protection }
        }
        Cold::Brk { end } => Cold::Brk { end },
        Cold::ReallocFreed { address } => Cold::ReallocFreed { address },
        Cold::End { kind, status } => Cold::End { kind, status },
        Cold::Timed { call, ticks } => Cold::Timed { call, ticks },
    }
}

/// What the file holds.
pub(super) struct Recorded {
    pub cut: Cut,
    pub table: BTreeMap<u64, Entry>,
    /// By lane: the events that are not folded.
    pub kept: BTreeMap<u32, Vec<(Stamp, Said)>>,
    pub dropped_events: u64,
}

/// The mapped bytes of an area.
fn bytes(header: &HeaderInfo, head: &[u8], area: Area) -> &'static [u8] {
    let segments = (0..header.segment_count).filter_map(|index| header.segment(head, index).ok());
    let len: u64 = segments.filter(|segment| segment.area == area).map(|of| of.bytes).sum();
    // SAFETY: the segments of an area are mapped there end to end, for good; nobody writes
    // while a test reads.
    unsafe { core::slice::from_raw_parts(file::area_start(area) as *const u8, len as usize) }
}

impl Recorded {
    pub fn read() -> Recorded {
        let start = file::header() as *const _ as *const u8;
        // SAFETY: the header is mapped for good; nobody writes while a test reads.
        let head = unsafe { core::slice::from_raw_parts(start, HEADER_BYTES) };
        let header = HeaderInfo::read(head).expect("the recorder's header");
        assert_eq!(header.folds, header.folding, "no fold is under way");
        let mut table = BTreeMap::new();
        for entry in bytes(&header, head, Area::Base).chunks_exact(ENTRY_BYTES) {
            if let Some(entry) = Entry::read(entry) {
                let twice = table.insert(entry.block.address, entry);
                assert_eq!(twice, None, "a block has one entry");
            }
        }
        let chunks = bytes(&header, head, Area::Events);
        let kept = kept(chunks.chunks_exact(header.chunk_bytes as usize), header.folds);
        let dropped_events = file::header().dropped_events.load(Relaxed);
        Recorded { cut: *header.cut(), table, kept, dropped_events }
    }
}

fn kept<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    folds: u64,
) -> BTreeMap<u32, Vec<(Stamp, Said)>> {
    let mut sorted: Vec<_> = chunks.filter_map(chunk::read).collect();
    sorted.sort_by_key(|(info, _)| (info.lane, info.lane_seq));
    let mut kept: BTreeMap<u32, Vec<(Stamp, Said)>> = BTreeMap::new();
    for (info, mut decoder) in sorted {
        let folded = if folds == 0 { 0 } else { info.folded[(folds & 1) as usize] };
        assert_ne!(folded, FOLDED, "chunks that are folded as a whole are given back");
        let lane = kept.entry(info.lane).or_default();
        assert!(folded == 0 || lane.is_empty(), "what is folded of a lane is a prefix");
        while let Some((stamp, event)) = decoder.next_event().expect("events as written") {
            if decoder.offset() > folded as usize {
                lane.push((stamp, event.into()));
            }
        }
    }
    kept
}
