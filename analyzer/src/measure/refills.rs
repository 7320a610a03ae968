//! Which holes are filled again: one more pass over the events, over the whole trace, in which the
//! pauses are noted that blocks leave between them on the holes of one moment.
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
use std::ops::Range;

/// Bytes of a cell at least; the last one of a hole may be shorter.
const LEAST_CELL_BYTES: u64 = 512;
/// Cells of a hole at most.
const MOST_CELLS: u64 = 1_024;

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
    holes: &'h [Range<u64>],
    /// The first cell of each hole.
    firsts: Vec<usize>,
    cells: Vec<Cell>,
}

/// How many bytes of each of these holes of a moment are reserve. They are in order of address.
pub(super) fn reserve_bytes(trace: &Trace, at_ns: u64, holes: &[Range<u64>]) -> Vec<u64> {
    let moment = trace.clock().stamp_at(at_ns);
    // What was free when the kept events begin had been so for longer.
    let free_since = trace.base().map(|_| trace.window_start());
    let mut cells = Cells::new(holes, free_since);
    let mut past = false;
    before_each_event(trace, |event, matching| {
        if !past && event.stamp > moment {
            past = true;
            cells.keep_moment();
        }
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
    if !past {
        cells.keep_moment();
    }
    (0..holes.len()).map(|hole| cells.reserve_of(hole, moment)).collect()
}

fn cell_bytes(hole: &Range<u64>) -> u64 {
    ((hole.end - hole.start) / MOST_CELLS).max(LEAST_CELL_BYTES)
}

impl<'h> Cells<'h> {
    /// `free_since`: of cells without a block on record.
    fn new(holes: &'h [Range<u64>], free_since: Option<Stamp>) -> Self {
        let mut firsts = Vec::with_capacity(holes.len());
        let mut count = 0;
        for hole in holes {
            firsts.push(count);
            count += (hole.end - hole.start).div_ceil(cell_bytes(hole)) as usize;
        }
        let cell = Cell { free_since, ..Cell::default() };
        Cells { holes, firsts, cells: vec![cell; count] }
    }

    /// Calls `each` with the cells that a range has a part in.
    fn for_each(&mut self, range: &Range<u64>, mut each: impl FnMut(&mut Cell)) {
        let first = self.holes.partition_point(|hole| hole.end <= range.start);
        for (index, hole) in self.holes.iter().enumerate().skip(first) {
            if hole.start >= range.end {
                break;
            }
            let cell_bytes = cell_bytes(hole);
            let from = (range.start.max(hole.start) - hole.start) / cell_bytes;
            let to = (range.end.min(hole.end) - hole.start).div_ceil(cell_bytes);
            let first = self.firsts[index];
            self.cells[first + from as usize..first + to as usize].iter_mut().for_each(&mut each);
        }
    }

    fn acquired(&mut self, extent: &Range<u64>, stamp: Stamp) {
        self.for_each(extent, |cell| {
            if let Some(free_since) = cell.free_since.take() {
                cell.longest_pause = cell.longest_pause.max(stamp.saturating_sub(free_since));
            }
            cell.blocks += 1;
        });
    }

    fn released(&mut self, extent: &Range<u64>, stamp: Stamp) {
        self.for_each(extent, |cell| {
            cell.blocks = cell.blocks.saturating_sub(1);
            if cell.blocks == 0 {
                cell.free_since = Some(stamp);
            }
        });
    }

    fn keep_moment(&mut self) {
        for cell in &mut self.cells {
            cell.free_since_then = cell.free_since;
        }
    }

    fn reserve_of(&self, hole: usize, moment: Stamp) -> u64 {
        let bytes = self.holes[hole].end - self.holes[hole].start;
        let cell_bytes = cell_bytes(&self.holes[hole]);
        let end = self.firsts.get(hole + 1).copied().unwrap_or(self.cells.len());
        let cells = self.firsts[hole]..end;
        let reserve = self.cells[cells].iter().enumerate().filter(|(_, cell)| {
            cell.free_since_then.is_some_and(|since| {
                cell.longest_pause > 0 && moment.saturating_sub(since) <= cell.longest_pause
            })
        });
        reserve.map(|(index, _)| cell_bytes.min(bytes - index as u64 * cell_bytes)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLE: Range<u64> = 0x1000..0x1600;

    /// Blocks that came to the hole, from when to when.
    fn reserve(blocks: &[(Range<u64>, Range<Stamp>)], moment: Stamp) -> u64 {
        let holes = [HOLE];
        let mut cells = Cells::new(&holes, None);
        let mut events: Vec<(Stamp, bool, &Range<u64>)> = Vec::new();
        for (extent, there) in blocks {
            events.extend([(there.start, true, extent), (there.end, false, extent)]);
        }
        events.sort_by_key(|(stamp, ..)| *stamp);
        let mut past = false;
        for (stamp, acquired, extent) in events {
            if !past && stamp > moment {
                past = true;
                cells.keep_moment();
            }
            match acquired {
                true => cells.acquired(extent, stamp),
                false => cells.released(extent, stamp),
            }
        }
        if !past {
            cells.keep_moment();
        }
        cells.reserve_of(0, moment)
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
}
