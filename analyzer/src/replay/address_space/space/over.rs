//! Blocks that lie over others.
//!
//! None do, but for some microseconds: the order of events may be wrong for as long, so that a block
//! comes before the one goes that was there. Nothing on the short way of blocks looks for that: two blocks
//! that lie over each other flip the same bits twice, and when the first one goes, what is left is the
//! second. In between the leaf's edges say that less is covered than its blocks are large, and whoever
//! [sums it up](Space::refresh) sees that. Then some block that came lately lies over another one,
//! and wherever it seems to cover nothing, it does. That is shown until the leaf changes, and changes
//! nothing: what is found out does not depend on who looked.
//!
//! Where blocks lie over each other for longer, the trace says nonsense, as one does of a process whose
//! memory was written over. So after some time the leaf is [taken as it is](Space::settle), and what
//! comes there is looked at one by one.

use super::Edit;
use super::leaf::{LEAF_BYTES, LEAF_SHIFT};
use super::tree::{Space, granules};
use std::collections::BTreeMap;
use std::ops::Range;

/// A block came, or went.
#[derive(Debug, Clone, Copy)]
struct Flip {
    start: u64,
    end: u64,
    comes: bool,
}

/// After so many flips it is time to settle: 6 MiB.
const MOST_FLIPS: usize = 1 << 18;

/// What is shown in a leaf.
#[derive(Debug, Clone)]
struct Shown {
    leaf: u32,
    /// Granules that are covered and do not seem so.
    runs: Vec<(u32, u32)>,
    /// By how many granules blocks are larger than what they cover.
    over: u64,
}

/// What is known of such blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Over {
    /// Since the last [`Space::settle`].
    flips: Vec<Flip>,
    shown: Vec<Shown>,
}

impl Over {
    #[inline(always)]
    pub fn note_flip(&mut self, start: u64, end: u64, comes: bool) {
        self.flips.push(Flip { start, end, comes });
    }

    /// By how many granules blocks are larger than what they cover, as of the last [`Space::refresh`].
    pub fn granules(&self) -> u64 {
        self.shown.iter().fold(0, |sum, shown| sum.wrapping_add(shown.over))
    }

    /// Blocks that came since it was settled last and are still there, of those with a part in a range.
    fn came_lately(&self, range: &Range<u64>) -> BTreeMap<u64, u64> {
        let mut came = BTreeMap::new();
        for Flip { start, end, comes } in &self.flips {
            if *start < range.end && range.start < *end {
                match comes {
                    true => came.insert(*start, *end),
                    false => came.remove(start),
                };
            }
        }
        came
    }
}

impl Space {
    /// Shows in a leaf what blocks cover that lie over others.
    #[cold]
    pub(super) fn show_over(&mut self, index: u32) {
        let here = self.range_of(index);
        let mut runs = Vec::new();
        for (start, end) in self.over.came_lately(&here) {
            let part = granules(start.max(here.start), end.min(here.end));
            for run in self.leaves[index as usize].uncovered(part, &self.rows) {
                self.leaves[index as usize].flip_run(run, &mut self.rows);
                runs.push(run);
            }
        }
        let over = self.refresh_leaf(index);
        self.leaves[index as usize].shows_over = true;
        self.over.shown.push(Shown { leaf: index, runs, over });
    }

    /// Shows it no more.
    #[cold]
    pub(super) fn hide_over(&mut self, index: u32) {
        let leaf = &mut self.leaves[index as usize];
        leaf.shows_over = false;
        for shown in self.over.shown.extract_if(.., |shown| shown.leaf == index) {
            shown.runs.iter().for_each(|run| leaf.flip_run(*run, &mut self.rows));
        }
    }

    fn range_of(&self, index: u32) -> Range<u64> {
        let start = self.leaves[index as usize].number << LEAF_SHIFT;
        start..start + LEAF_BYTES
    }

    /// Whether it is time to [settle](Space::settle).
    #[inline(always)]
    pub fn is_unsettled(&self) -> bool {
        self.over.flips.len() >= MOST_FLIPS
    }

    /// Blocks that lie over others now are taken to do so for good. Which they are, of those that came
    /// lately.
    pub fn settle(&mut self) -> Vec<Range<u64>> {
        let shown: Vec<u32> = self.over.shown.iter().map(|shown| shown.leaf).collect();
        shown.into_iter().for_each(|index| self.wake(index));
        let mut over = Vec::new();
        for (index, _) in self.refresh_leaves() {
            let here = self.range_of(index);
            for (start, end) in self.over.came_lately(&here) {
                let part = start.max(here.start)..end.min(here.end);
                let before = self.totals.covered_granules;
                self.edit_leaf(index, &part, Edit::Cover);
                if self.totals.covered_granules != before {
                    over.push(start..end);
                }
            }
            let twice = self.refresh_leaf(index);
            self.leaves[index as usize].take_as_it_is();
            self.totals.count_blocks(twice, twice, false);
        }
        over.iter().for_each(|range| self.guard(range.clone()));
        self.over.flips.clear();
        for leaf in &mut self.leaves {
            leaf.drop_empty_row(&mut self.rows);
        }
        over
    }
}
