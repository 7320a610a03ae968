//! The shape of the heap at one moment: what of each heap is in memory with nothing live on
//! it, and what lies next to its end. Diagnoses go by it; one walk over pages and blocks.

use super::blame::{CallFacts, Held};
use super::{Step, Survivors, Usage};
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use crate::read::Trace;
use crate::replay::{Block, Kind, Reclaim, Replay, TILE_BYTES};
use crate::symbols::Symbols;
use fragtrace_format::Stamp;
use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks next to the end of the heap that take no more than this together, from the first to
/// the end, are what keeps the end where it is.
const TOP_CLUSTER_BYTES: u64 = 64 << 10;

/// What the heap is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeapShape {
    /// Whether the allocator is glibc's.
    pub glibc: bool,
    /// Heap pages in memory without a live byte, in bytes. `None`: residency is not known.
    pub empty_bytes: Option<u64>,
    /// Heap pages in memory that never held a block. `None`: residency is not known.
    pub never_used_bytes: Option<u64>,
    /// The brk heap.
    pub brk: Option<HeapPart>,
    /// Heaps of secondary arenas of glibc.
    pub arenas: Vec<HeapPart>,
    /// The blocks that keep the end of the brk heap up.
    pub top: Option<TopBlocks>,
    /// What glibc can have done with freed blocks.
    pub reclaim: Reclaim,
    /// What is live of the bursts that made the footprint grow, for each step of the analysis.
    pub survivors: Vec<Survivors>,
    /// How the program uses its allocator.
    pub usage: Usage,
}

/// One heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeapPart {
    /// First address.
    pub start: u64,
    /// Of an arena's heap, where the arena's first heap begins, or itself where that is not known.
    pub first_heap: u64,
    /// What blocks cover.
    pub live_bytes: u64,
    /// Pages in memory.
    pub resident_bytes: u64,
    /// Of these, pages without a live byte.
    pub empty_bytes: u64,
    /// Of the resident pages, those that never held a block.
    pub never_used_bytes: u64,
}

/// Live blocks close to the end of the brk heap, above a hole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopBlocks {
    /// Address of the lowest.
    pub address: u64,
    /// How many.
    pub blocks: u64,
    /// What was asked for.
    pub live_bytes: u64,
    /// Pages in memory without a live byte between them and the next live block below.
    pub below_bytes: u64,
    /// How long the lowest has been there.
    pub age_ns: u64,
    /// Who acquired it.
    pub site: CallFacts,
    /// Whether it is the buffer of a stream, such as stdout's: taken by the library, at the first
    /// output, wherever that is.
    pub stream_buffer: bool,
}

impl HeapShape {
    /// The heap as the replay has it at `at_ns`, grown in `steps`.
    pub fn of<'t>(
        trace: &'t Trace,
        replay: &Replay<'t>,
        at_ns: u64,
        steps: &[Step],
        symbols: &mut Symbols<'t>,
    ) -> HeapShape {
        let space = replay.space();
        let known = space.residency().is_some();
        let mut shape = HeapShape {
            glibc: replay.is_glibc(),
            reclaim: *replay.reclaim(),
            survivors: Survivors::of(trace, replay, steps, symbols),
            ..HeapShape::default()
        };
        if !known {
            return shape;
        }
        let mut brk: Option<HeapPart> = None;
        let mut brk_range = 0..0;
        let mut arenas: BTreeMap<u64, HeapPart> = BTreeMap::new();
        let (mut empty_bytes, mut never_used_bytes) = (0, 0);
        for (range, kind) in space.heap_regions() {
            let mut other = HeapPart::default();
            let part = match kind {
                Kind::Brk => {
                    let start = if brk.is_none() { range.start } else { brk_range.start };
                    brk_range = start..range.end;
                    brk.get_or_insert(HeapPart { start, ..HeapPart::default() })
                }
                Kind::Arena => {
                    let start = range.start & !(ARENA_HEAP_BYTES - 1);
                    let first_heap = space.first_heap_of(start).unwrap_or(start);
                    let part = HeapPart { start, first_heap, ..HeapPart::default() };
                    arenas.entry(start).or_insert(part)
                }
                _ => &mut other,
            };
            let before = *part;
            part.add(replay, range);
            empty_bytes += part.empty_bytes - before.empty_bytes;
            never_used_bytes += part.never_used_bytes - before.never_used_bytes;
        }
        shape.empty_bytes = Some(empty_bytes);
        shape.never_used_bytes = Some(never_used_bytes);
        shape.arenas = arenas.into_values().collect();
        shape.usage = Usage::of(trace, replay, &shape.arenas, symbols);
        if let Some(brk) = brk.filter(|_| shape.glibc) {
            shape.top = top_blocks(trace, replay, &brk_range, at_ns, symbols);
            shape.brk = Some(brk);
        }
        shape
    }
}

impl HeapPart {
    /// Adds a region, or a piece of one.
    fn add(&mut self, replay: &Replay<'_>, range: Range<u64>) {
        replay.space().for_each_stretch(range, |stretch| {
            self.live_bytes += stretch.live_bytes;
            let resident = if stretch.resident { stretch.bytes } else { 0 };
            self.resident_bytes += resident;
            self.never_used_bytes += if stretch.ever { 0 } else { resident };
            self.empty_bytes += if stretch.live_bytes > 0 { 0 } else { resident };
        });
    }
}

/// A live block, as far as it matters here.
#[derive(Clone, Copy)]
struct Seen {
    start: u64,
    size: u64,
    birth: Stamp,
    stack: u32,
}

/// The few blocks next to the end of the brk heap, if there are only few. Two walks over the
/// live blocks: where the last one ends, and what lies within a small distance below.
fn top_blocks<'t>(
    trace: &'t Trace,
    replay: &Replay<'t>,
    brk: &Range<u64>,
    at_ns: u64,
    symbols: &mut Symbols<'t>,
) -> Option<TopBlocks> {
    let in_brk = || {
        replay.blocks().iter().filter(|(_, block)| {
            !block.own_mapping && block.extent.start < brk.end && brk.start < block.extent.end
        })
    };
    let end = in_brk().map(|(_, block)| block.extent.end).max()?;
    let floor = end.saturating_sub(TOP_CLUSTER_BYTES);
    let mut cluster: Vec<Seen> = Vec::new();
    let mut below = brk.start;
    for (_, block) in in_brk() {
        let (start, end) = (block.extent.start, block.extent.end);
        if start >= floor {
            let Block { size, birth, stack, .. } = block;
            cluster.push(Seen { start, size, birth, stack });
        } else {
            below = below.max(end);
        }
    }
    cluster.sort_unstable_by_key(|seen| seen.start);
    let held = Held::of(replay.space(), TILE_BYTES);
    let lowest = *cluster.first()?;
    let pages = |from: u64, to: u64| {
        let (from, to) = (from.div_ceil(TILE_BYTES), to / TILE_BYTES);
        if from < to { held.pages_in(from, to) * TILE_BYTES } else { 0 }
    };
    let below_bytes = pages(below, lowest.start);
    let calls = symbols.calls(lowest.stack, lowest.birth);
    let stream_buffer =
        calls.iter().filter_map(|call| call.function.as_deref()).any(takes_a_stream_buffer);
    let site = symbols.site(lowest.stack, lowest.birth);
    let site = site.map(|site| CallFacts::of(site.call(), symbols.modules())).unwrap_or_default();
    Some(TopBlocks {
        address: lowest.start,
        blocks: cluster.len() as u64,
        live_bytes: cluster.iter().map(|seen| seen.size).sum(),
        below_bytes,
        age_ns: at_ns.saturating_sub(trace.clock().time_ns(lowest.birth)),
        site,
        stream_buffer,
    })
}

/// glibc's (libio/filedoalloc.c) and Rust's (library/std/src/io/stdio.rs) way to a buffer.
fn takes_a_stream_buffer(function: &str) -> bool {
    function == "_IO_file_doallocate" || function.contains("std::io::stdio::")
}
