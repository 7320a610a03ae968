//! What a ring that went round leaves in a file, laid out as docs/trace-format.md draws it: the
//! base table, two cuts, how far each chunk is folded by them, and what is kept of rare events.

use super::{put_u32, put_u64, record};
use core::mem::{offset_of, size_of};
use fragtrace_format::base::Words;
use fragtrace_format::chunk::FOLDED;
use fragtrace_format::header::{Area, Cut, CutCell, Header};
use fragtrace_format::record::{Cold, FoldedEvent, encode};
use fragtrace_format::threads;
use std::collections::BTreeMap;

/// Where a chunk keeps how far it is folded, by each of the two cuts.
const FOLDED_AT: usize = 56;

/// An event on mappings as the regions area keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Number of its fold.
    pub fold: u64,
    pub stamp: u64,
    pub lane: u32,
    pub event: Cold<'static>,
}

/// What is folded of a trace. The events are the builder's all the same.
#[derive(Debug, Clone, Default)]
pub struct Wrapped {
    /// Folds done, and the last one begun.
    pub folds: u64,
    pub folding: u64,
    pub cuts: [Cut; 2],
    /// The entries of the base table; all zeros: a free one.
    pub table: Vec<Words>,
    /// By each of the two cuts: events that are folded of each lane.
    pub folded: [BTreeMap<u32, usize>; 2],
    /// The chunks that are folded as a whole by the cut in force are given back.
    pub given_back: bool,
    /// The two halves of the regions area.
    pub regions: [Vec<Region>; 2],
    pub threads: Vec<threads::Entry<'static>>,
}

/// The events of a chunk: the number of the first on its lane, and where each ends in the payload.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    pub first: usize,
    pub ends: Vec<usize>,
}

impl Wrapped {
    /// The folded word of a chunk, by one of the cuts. `last`: it is its lane's last.
    fn folded_word(&self, cut: usize, lane: u32, filled: &Filled, last: bool) -> u32 {
        let folded = self.folded[cut].get(&lane).copied().unwrap_or(0);
        match folded.saturating_sub(filled.first) {
            0 => 0,
            // The last one stays its owner's, and there may be more to come.
            all if all >= filled.ends.len() && !last => FOLDED,
            some => filled.ends[some.min(filled.ends.len()) - 1] as u32,
        }
    }

    /// Writes on a chunk how far it is folded.
    pub fn mark(&self, chunk: &mut [u8], lane: u32, filled: &Filled, last: bool) {
        for cut in 0..2 {
            let word = self.folded_word(cut, lane, filled, last);
            put_u32(chunk, FOLDED_AT + cut * 4, word);
            if word == FOLDED && self.given_back && self.folds & 1 == cut as u64 && self.folds > 0 {
                put_u64(chunk, 0, 0);
            }
        }
    }

    /// The areas of what is folded.
    pub fn areas(&self) -> [(Area, Vec<u8>); 3] {
        let table = self.table.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        let mut regions: Vec<u8> = self.half(0);
        regions.resize(self.half_bytes(), 0);
        regions.extend(self.half(1));
        let threads = self.threads.iter().flat_map(thread_entry).collect();
        [(Area::Base, table), (Area::Regions, regions), (Area::Threads, threads)]
    }

    fn half(&self, half: usize) -> Vec<u8> {
        let record_of = |region: &Region| {
            let Region { fold, stamp, lane, event } = *region;
            let mut payload = [0; 128];
            let len = encode(&event, &mut payload).expect("events on mappings are short");
            record(|out| encode(&FoldedEvent { fold, stamp, lane, event: &payload[..len] }, out))
        };
        self.regions[half].iter().flat_map(record_of).collect()
    }

    /// Each half has room for its records, and for the empty frame behind them.
    fn half_bytes(&self) -> usize {
        let longest = self.half(0).len().max(self.half(1).len());
        (longest + 8).next_multiple_of(4096)
    }

    /// What the header says of it.
    pub fn write_header(&self, file: &mut [u8]) {
        put_u64(file, offset_of!(Header, folds), self.folds);
        put_u64(file, offset_of!(Header, folding), self.folding);
        put_u64(file, offset_of!(Header, regions_half_bytes), self.half_bytes() as u64);
        for (number, cut) in self.cuts.iter().enumerate() {
            let at = offset_of!(Header, cuts) + number * size_of::<CutCell>();
            let words = [
                cut.stamp,
                cut.live_bytes,
                cut.live_blocks,
                cut.peak_live_bytes,
                cut.peak_live_stamp,
                0,
                0,
                0,
            ];
            for (index, word) in words.iter().chain(&cut.counts).enumerate() {
                put_u64(file, at + index * 8, *word);
            }
        }
    }
}

fn thread_entry(entry: &threads::Entry<'_>) -> Vec<u8> {
    let mut bytes = vec![0; threads::ENTRY_BYTES];
    put_u32(&mut bytes, 0, entry.thread);
    put_u32(&mut bytes, 4, entry.tid);
    bytes[8..8 + entry.name.len()].copy_from_slice(entry.name.as_bytes());
    bytes
}
