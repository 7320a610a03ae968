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
use super::GRANULE_BYTES;
use super::leaf::{LEAF_BYTES, LEAF_SHIFT};
use super::tree::{Space, granules};
use std::collections::BTreeMap;
use std::ops::Range;

/// A block came, or went. From the lowest bit: whether it came; how many granules it takes, no more than two
/// leaves have; the number of its first one. Small, as they leave the caches before anybody asks.
#[derive(Debug, Clone, Copy)]
struct Flip(u64);

const LEN_SHIFT: u32 = 1;
const LEN_BITS: u32 = 18;
const START_SHIFT: u32 = LEN_SHIFT + LEN_BITS;
/// Blocks that end behind this are not flipped. No process has any there that does not ask for it.
pub(super) const REACH: u64 = GRANULE_BYTES << (u64::BITS - START_SHIFT);

const _: () = assert!(2 * LEAF_BYTES / GRANULE_BYTES < 1 << LEN_BITS && REACH == 1 << 48);

impl Flip {
    #[inline(always)]
    fn new(start: u64, end: u64, comes: bool) -> Flip {
        let len = (end - start).div_ceil(GRANULE_BYTES);
        Flip((start / GRANULE_BYTES) << START_SHIFT | len << LEN_SHIFT | u64::from(comes))
    }

    fn range(self) -> Range<u64> {
        let start = (self.0 >> START_SHIFT) * GRANULE_BYTES;
        start..start + (self.0 >> LEN_SHIFT & ((1 << LEN_BITS) - 1)) * GRANULE_BYTES
    }

    fn comes(self) -> bool {
        self.0 & 1 != 0
    }
}

/// After so many flips it is time to settle: 2 MiB.
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
        self.flips.push(Flip::new(start, end, comes));
    }

    /// By how many granules blocks are larger than what they cover, as of the last [`Space::refresh`].
    pub fn granules(&self) -> u64 {
        self.shown.iter().fold(0, |sum, shown| sum.wrapping_add(shown.over))
    }

    /// Blocks that came since it was settled last and are still there, of those with a part in a range.
    fn came_lately(&self, range: &Range<u64>) -> BTreeMap<u64, u64> {
        let mut came = BTreeMap::new();
        for flip in &self.flips {
            let Range { start, end } = flip.range();
            if start < range.end && range.start < end {
                match flip.comes() {
                    true => came.insert(start, end),
                    false => came.remove(&start),
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

    /// Blocks that lie over others now are taken to do so for good. Which they are, and which they lie over,
    /// of those that came lately.
    pub fn settle(&mut self) -> Vec<Range<u64>> {
        let shown: Vec<u32> = self.over.shown.iter().map(|shown| shown.leaf).collect();
        shown.into_iter().for_each(|index| self.wake(index));
        let mut over = Vec::new();
        for (index, _) in self.refresh_leaves() {
            let here = self.range_of(index);
            let mut came = Vec::from_iter(self.over.came_lately(&here));
            came.retain(|(start, end)| {
                let part = granules(*start.max(&here.start), *end.min(&here.end));
                !self.leaves[index as usize].uncovered(part, &self.rows).is_empty()
            });
            for (start, end) in came {
                self.edit_leaf(index, &(start.max(here.start)..end.min(here.end)), Edit::Cover);
                over.push(start..end);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two leaves.
    const BYTES: u64 = 2 * LEAF_BYTES;
    /// Each of them has a block that ends within a tile, and stays.
    const STAYS: [Range<u64>; 2] = [8..48, LEAF_BYTES + 8..LEAF_BYTES + 48];

    #[derive(Debug, Clone)]
    enum Step {
        Comes { at: u64, granules: u64 },
        Goes { which: usize },
        Look,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Many around the place where one leaf ends and the other begins.
        let at = prop_oneof![0..BYTES / 8, LEAF_BYTES / 8 - 600..LEAF_BYTES / 8 + 600];
        prop_oneof![
            4 => (at, 1..900u64).prop_map(|(at, granules)| Step::Comes { at, granules }),
            3 => any::<prop::sample::Index>().prop_map(|at| Step::Goes { which: at.index(1 << 16) }),
            1 => Just(Step::Look),
        ]
    }

    fn used_space() -> Space {
        let mut space = Space::new(4096);
        space.cover(0..BYTES);
        space.uncover(0..BYTES);
        STAYS.into_iter().for_each(|range| space.cover(range));
        space
    }

    fn holes(space: &Space) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        space.for_each_hole(|hole| holes.push(hole));
        holes
    }

    fn naive_holes(blocks: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut covered = vec![false; (BYTES / GRANULE_BYTES) as usize];
        for block in blocks.iter().chain(&STAYS) {
            let granule = |address: u64| (address / GRANULE_BYTES) as usize;
            covered[granule(block.start)..granule(block.end)].fill(true);
        }
        let mut at = 0;
        let mut holes = Vec::new();
        for run in covered.chunk_by(|one, next| one == next) {
            let end = at + run.len() as u64 * GRANULE_BYTES;
            if !run[0] {
                holes.push(at..end);
            }
            at = end;
        }
        holes
    }

    proptest! {
        /// Any number of blocks, in any order, whoever looks.
        #[test]
        fn what_is_shown_is_what_all_blocks_cover_together(
            steps in prop::collection::vec(step(), 0..120)
        ) {
            let (mut space, mut unseen) = (used_space(), used_space());
            let mut blocks: Vec<Range<u64>> = Vec::new();
            for step in steps.into_iter().chain([Step::Look]) {
                match step {
                    Step::Comes { at, granules } => {
                        let start = at * GRANULE_BYTES;
                        let end = (start + granules * GRANULE_BYTES).min(BYTES);
                        if blocks.iter().all(|block| block.start != start) {
                            prop_assert!(space.flip(start, end, true, false));
                            prop_assert!(unseen.flip(start, end, true, false));
                            blocks.push(start..end);
                        }
                    }
                    Step::Goes { which } if !blocks.is_empty() => {
                        let Range { start, end } = blocks.swap_remove(which % blocks.len());
                        prop_assert!(space.flip(start, end, false, false));
                        prop_assert!(unseen.flip(start, end, false, false));
                    }
                    Step::Goes { .. } => {}
                    Step::Look => {
                        space.refresh();
                        let expected = naive_holes(&blocks);
                        prop_assert_eq!(&holes(&space), &expected);
                        let lengths = expected.iter().map(|hole| hole.end - hole.start);
                        prop_assert_eq!(space.free_bytes(), lengths.clone().sum::<u64>());
                        prop_assert_eq!(space.gaps().count, expected.len() as u64);
                        prop_assert_eq!(space.gaps().largest, lengths.max().unwrap_or(0));
                    }
                }
            }
            unseen.refresh();
            prop_assert_eq!(holes(&unseen), holes(&space));
            prop_assert_eq!(unseen.totals, space.totals);
        }
    }

    #[test]
    fn flips_keep_their_range_up_to_their_reach_and_nothing_is_flipped_beyond() {
        for (start, end) in [(0, 8), (4096, 4096 + 2 * LEAF_BYTES), (REACH - 64, REACH)] {
            for comes in [false, true] {
                let flip = Flip::new(start, end, comes);
                assert_eq!((flip.range(), flip.comes()), (start..end, comes));
            }
        }
        let mut space = Space::new(4096);
        for range in [REACH..REACH + 64, REACH + 128..REACH + 192] {
            space.cover(range.clone());
            assert!(!space.flip(range.start, range.end, false, false));
        }
    }

    #[test]
    fn after_it_is_settled_nothing_comes_there_unseen() {
        let mut space = used_space();
        let (one, other) = (0x1000..0x1800, 0x1400..0x1c00);
        assert!(space.flip(one.start, one.end, true, false));
        assert!(space.flip(other.start, other.end, true, false));
        assert_eq!(space.settle(), [one.clone(), other]);
        assert_eq!(space.free_bytes(), BYTES - 0xc00 - 2 * 40);
        assert_eq!(space.covered_bytes(), 0xc00 + 2 * 40, "and counts once from now on");
        assert!(
            !space.flip(one.start, one.end, false, true),
            "what it leaves must be covered again"
        );
        assert!(!space.flip(0x1a00, 0x1a10, true, true), "another one is there");
        assert!(space.flip(0x5000, 0x5010, true, true));
    }
}
