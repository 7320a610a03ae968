//! What came to the holes of a moment and went: one more pass over the events, over the whole
//! trace, in which the pauses are noted that blocks leave between them on these holes. So it is
//! known since when nothing has been in each, and how much of it is filled again.
//!
//! A stretch that has been free for no longer than it once was before a block came to it again, or
//! that a block came to later, is a reserve: the program works in cycles, as far as can be seen,
//! and this part of the heap belongs to them. What has been free for longer than ever before is
//! not. The same rule judges the heap as a whole (`diagnose/case.rs`).
//!
//! Holes are divided into cells of 512 bytes from each hole's start, or into 1,024 where these are
//! larger; a cell is taken when a block takes any byte of it. So the answer is right to a cell at
//! each end of a block.

use super::playback::before_each_event;
use crate::order::Action;
use crate::read::Trace;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Bytes of a cell at least; the last one of a hole may be shorter.
const LEAST_CELL_BYTES: u64 = 512;
/// Cells of a hole at most.
const MOST_CELLS: u64 = 1_024;
/// Bytes of a neighbourhood in which holes are looked for, as a power of two.
const NEAR_SHIFT: u32 = 16;

/// What there was to see of a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refill {
    /// How much of it is reserve.
    pub reserve_bytes: u64,
    /// When the last block on it was released, up to the moment; `None`: no release is on record.
    pub last_release: Option<Stamp>,
}

/// A part of a hole.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Blocks on it.
    blocks: u32,
    /// Since when there has been none, while there is none. `None`: there never was one.
    free_since: Option<Stamp>,
    /// The longest time for which there was none before one came.
    longest_pause: Stamp,
    /// The same as `free_since`, as of the moment whose holes these are.
    free_since_then: Option<Stamp>,
}

/// All holes of a moment, in cells.
#[derive(Debug)]
struct Cells<'h> {
    /// In order of address.
    holes: &'h [Range<u64>],
    /// Those with a part in a neighbourhood, by its number; without neighbourhoods that one hole
    /// fills.
    near: FxHashMap<u64, Range<usize>>,
    /// The first cell of each hole.
    firsts: Vec<usize>,
    cells: Vec<Cell>,
    /// The last release on each hole, up to the moment.
    last_releases: Vec<Option<Stamp>>,
    moment: Stamp,
    /// Whether it lies behind.
    past: bool,
}

/// What came to each of these holes of a moment, and when it went. They are in order of address.
pub(super) fn refills(trace: &Trace, at_ns: u64, holes: &[Range<u64>]) -> Vec<Refill> {
    // What was free when the kept events begin had been so for longer.
    let free_since = trace.base().map(|_| trace.window_start());
    let mut cells = Cells::new(holes, trace.clock().stamp_at(at_ns), free_since);
    before_each_event(trace, |event, matching| {
        cells.come_to(event.stamp);
        match &event.action {
            // A released block is known before its release, an acquired one only after.
            Action::Release { address, .. } => {
                if let Some(block) = matching.blocks().get(*address) {
                    cells.released(&block.extent, event.stamp);
                }
            }
            Action::Acquire { address, size, align_log2, note, .. } => {
                let extent = matching.extent(*address, *size, *align_log2, note.as_ref());
                cells.acquired(&extent, event.stamp);
            }
            _ => {}
        }
    });
    cells.finish()
}

fn cell_bytes(hole: &Range<u64>) -> u64 {
    ((hole.end - hole.start) / MOST_CELLS).max(LEAST_CELL_BYTES)
}

impl<'h> Cells<'h> {
    /// `free_since`: of cells without a block on record.
    fn new(holes: &'h [Range<u64>], moment: Stamp, free_since: Option<Stamp>) -> Self {
        let mut near: FxHashMap<u64, Range<usize>> = FxHashMap::default();
        let mut firsts = Vec::with_capacity(holes.len());
        let mut count = 0;
        for (index, hole) in holes.iter().enumerate() {
            for address in [hole.start, hole.end - 1] {
                near.entry(address >> NEAR_SHIFT).or_insert(index..index).end = index + 1;
            }
            firsts.push(count);
            count += (hole.end - hole.start).div_ceil(cell_bytes(hole)) as usize;
        }
        let cells = vec![Cell { free_since, ..Cell::default() }; count];
        let last_releases = vec![None; holes.len()];
        Cells { holes, near, firsts, cells, last_releases, moment, past: false }
    }

    /// The holes that a range has a part in.
    #[inline]
    fn holes_on(&self, range: &Range<u64>) -> Range<usize> {
        let number = range.start >> NEAR_SHIFT;
        let among = match self.near.get(&number) {
            Some(near) if range.end.saturating_sub(1) >> NEAR_SHIFT == number => near.clone(),
            _ => 0..self.holes.len(),
        };
        let holes = &self.holes[among.clone()];
        let first = holes.partition_point(|hole| hole.end <= range.start);
        let count = holes[first..].iter().take_while(|hole| hole.start < range.end).count();
        among.start + first..among.start + first + count
    }

    /// The cells of a hole that a range has a part in.
    fn cells_on(&mut self, hole: usize, range: &Range<u64>) -> &mut [Cell] {
        let (first, hole) = (self.firsts[hole], &self.holes[hole]);
        let cell_bytes = cell_bytes(hole);
        let from = (range.start.max(hole.start) - hole.start) / cell_bytes;
        let to = (range.end.min(hole.end) - hole.start).div_ceil(cell_bytes);
        &mut self.cells[first + from as usize..first + to as usize]
    }

    /// The next event has this stamp.
    #[inline]
    fn come_to(&mut self, stamp: Stamp) {
        if stamp > self.moment && !self.past {
            self.keep_moment();
        }
    }

    fn keep_moment(&mut self) {
        self.past = true;
        for cell in &mut self.cells {
            cell.free_since_then = cell.free_since;
        }
    }

    fn acquired(&mut self, extent: &Range<u64>, stamp: Stamp) {
        for hole in self.holes_on(extent) {
            for cell in self.cells_on(hole, extent) {
                if let Some(free_since) = cell.free_since.take() {
                    cell.longest_pause = cell.longest_pause.max(stamp.saturating_sub(free_since));
                }
                cell.blocks += 1;
            }
        }
    }

    fn released(&mut self, extent: &Range<u64>, stamp: Stamp) {
        for hole in self.holes_on(extent) {
            if !self.past {
                self.last_releases[hole] = self.last_releases[hole].max(Some(stamp));
            }
            for cell in self.cells_on(hole, extent) {
                cell.blocks = cell.blocks.saturating_sub(1);
                if cell.blocks == 0 {
                    cell.free_since = Some(stamp);
                }
            }
        }
    }

    /// The trace is over.
    fn finish(mut self) -> Vec<Refill> {
        if !self.past {
            self.keep_moment();
        }
        let refill = |hole| Refill {
            reserve_bytes: self.reserve_of(hole),
            last_release: self.last_releases[hole],
        };
        (0..self.holes.len()).map(refill).collect()
    }

    fn reserve_of(&self, hole: usize) -> u64 {
        let bytes = self.holes[hole].end - self.holes[hole].start;
        let cell_bytes = cell_bytes(&self.holes[hole]);
        let end = self.firsts.get(hole + 1).copied().unwrap_or(self.cells.len());
        let cells = self.firsts[hole]..end;
        let reserve = self.cells[cells].iter().enumerate().filter(|(_, cell)| {
            cell.free_since_then.is_some_and(|since| {
                cell.longest_pause > 0 && self.moment.saturating_sub(since) <= cell.longest_pause
            })
        });
        reserve.map(|(index, _)| cell_bytes.min(bytes - index as u64 * cell_bytes)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOLE: Range<u64> = 0x1000..0x1600;

    /// Blocks that came to the hole, from when to when.
    fn refill(blocks: &[(Range<u64>, Range<Stamp>)], moment: Stamp) -> Refill {
        let holes = [HOLE];
        let mut cells = Cells::new(&holes, moment, None);
        let mut events: Vec<(Stamp, bool, &Range<u64>)> = Vec::new();
        for (extent, there) in blocks {
            events.extend([(there.start, true, extent), (there.end, false, extent)]);
        }
        events.sort_by_key(|(stamp, ..)| *stamp);
        for (stamp, acquired, extent) in events {
            cells.come_to(stamp);
            match acquired {
                true => cells.acquired(extent, stamp),
                false => cells.released(extent, stamp),
            }
        }
        cells.finish()[0]
    }

    fn reserve(blocks: &[(Range<u64>, Range<Stamp>)], moment: Stamp) -> u64 {
        refill(blocks, moment).reserve_bytes
    }

    #[test]
    fn what_was_never_filled_again_is_no_reserve() {
        assert_eq!(reserve(&[], 100), 0);
        assert_eq!(reserve(&[(HOLE, 5..10)], 12), 0, "whatever was before the first block");
    }

    #[test]
    fn what_is_filled_again_in_each_cycle_is_a_reserve_until_a_cycle_passes_without() {
        let cycles = [(HOLE, 0..10), (HOLE, 40..50), (HOLE, 80..90)];
        assert_eq!(reserve(&cycles, 120), 0x600, "free for 30, as before each of the others");
        assert_eq!(reserve(&cycles, 121), 0);
    }

    #[test]
    fn what_is_filled_later_was_a_reserve() {
        assert_eq!(reserve(&[(HOLE, 1..2), (HOLE, 200..201)], 100), 0x600);
        assert_eq!(reserve(&[(HOLE, 1..2), (HOLE, 200..201)], 2), 0x600);
    }

    #[test]
    fn cells_are_judged_each_for_itself() {
        let half = 0x1000..0x1201;
        let blocks = [(HOLE, 0..10), (half, 40..50)];
        assert_eq!(reserve(&blocks, 80), 0x400, "the cell of its last byte, too");
        assert_eq!(reserve(&[(0x1500..0x1600, 0..10), (0x1500..0x2000, 30..40)], 50), 0x200);
    }

    #[test]
    fn a_hole_is_as_old_as_the_last_release_on_it_before_the_moment() {
        let blocks = [(HOLE, 0..10), (0x800..0x1001, 20..30), (0x1600..0x1700, 31..32)];
        assert_eq!(refill(&blocks, 100).last_release, Some(30));
        assert_eq!(refill(&blocks, 29).last_release, Some(10));
        assert_eq!(refill(&blocks, 9).last_release, None);
    }

    proptest! {
        #[test]
        fn holes_are_found_wherever_a_block_lies(
            steps in prop::collection::vec((1..9u64, prop_oneof![1..40u64, 1..40_000u64]), 1..30),
            start in 0..1u64 << 19,
            bytes in prop_oneof![0..200u64, 0..1u64 << 18],
        ) {
            let mut end = 0;
            let after = |(gap, bytes): (u64, u64)| {
                let start = end + gap * 8;
                end = start + bytes * 8;
                start..end
            };
            let holes: Vec<Range<u64>> = steps.into_iter().map(after).collect();
            let range = start..start + bytes;
            let found = Cells::new(&holes, 0, None).holes_on(&range);
            for (index, hole) in holes.iter().enumerate() {
                let lies_on = hole.start < range.end && range.start < hole.end;
                prop_assert_eq!(found.contains(&index), lies_on, "{:?} on {:?}", range, hole);
            }
        }
    }
}
