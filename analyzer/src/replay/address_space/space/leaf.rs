//! A leaf: 256 KiB of address space as 64 tiles, one bit a tile and word.
//!
//! Only a leaf with blocks that end within tiles has a [row of edges](super::edges). An edit changes
//! bits and marks tiles as stale; what the tiles hold is summed up when somebody asks.

use super::edges::{Row, Rows};
use super::fullness::Fullness;
use super::gaps::{Gaps, SmallGaps};
use super::holes::Holes;
use super::tile::{TILE_BYTES, TILE_GRANULES, Tile};
use super::{Edit, Totals, Uniform};

/// Tiles of a leaf.
pub(super) const LEAF_TILES: u32 = 64;
/// Bytes of a leaf, as a power of two.
pub(super) const LEAF_SHIFT: u32 = 18;
/// Bytes of a leaf.
pub(super) const LEAF_BYTES: u64 = 1 << LEAF_SHIFT;

const _: () = assert!(LEAF_BYTES == LEAF_TILES as u64 * TILE_BYTES);

/// The number of no row.
const NONE: u32 = u32::MAX;

/// 256 KiB of address space. Each word has a bit for each tile. First comes what blocks need that come
/// and go, in one cache line.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Leaf {
    /// Where the edges are. [`NONE`]: no block ends within a tile.
    row: u32,
    /// Granules of the blocks here; where two lie over each other, of both.
    covered: u32,
    /// In the footprint.
    touched: u64,
    /// Ever held a block.
    ever: u64,
    /// Where blocks may lie over each other, or over the head of a heap: nothing is flipped there
    /// without a look.
    guarded: u64,
    /// Of which the first granule is covered.
    starts: u64,
    /// Tiles of which something else may be covered than before.
    stale: u64,
    /// Whether the leaf waits to be summed up.
    pub queued: bool,
    /// Whether it shows blocks that lie over others: see [`super::over`].
    pub shows_over: bool,
    /// Which 256 KiB.
    pub number: u64,
    /// The node above.
    pub parent: u32,
    /// With edges, so covered in part; of stale tiles not known.
    mixed: u64,
    /// In memory.
    resident: u64,
    /// Those that were when tiles were counted last.
    counted: u64,
    gaps: Gaps,
    /// Covered granules of each tile, as of the last [`Leaf::refresh`].
    live: [u16; LEAF_TILES as usize],
    holes: Holes,
}

/// The bits `from..to`, `from < to ≤ 64`.
#[inline]
pub(super) fn bits(from: u32, to: u32) -> u64 {
    (u64::MAX << from) & (u64::MAX >> (64 - to))
}

/// The tiles that have a part in granules `from..to`, `from < to`.
#[inline]
fn tiles_of(from: u32, to: u32) -> u64 {
    let (first, last) = (from / TILE_GRANULES, (to - 1) / TILE_GRANULES);
    (u64::MAX << first) & (u64::MAX >> (LEAF_TILES - 1 - last))
}

/// Those of `tiles` of which the first granule is one of `from..`: all but the lowest, maybe.
#[inline]
fn starts_of(tiles: u64, from: u32) -> u64 {
    tiles & (tiles - u64::from(!from.is_multiple_of(TILE_GRANULES)))
}

/// Granules `from..to`, tile by tile, counted from its first.
fn parts_of((from, to): (u32, u32)) -> impl Iterator<Item = (u32, (u32, u32))> {
    ones(tiles_of(from, to)).map(move |at| {
        let start = at * TILE_GRANULES;
        (at, (from.saturating_sub(start), (to - start).min(TILE_GRANULES)))
    })
}

/// The positions of the bits that are set.
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

impl Leaf {
    /// A leaf whose tiles are all alike.
    pub fn new(number: u64, parent: u32, like: Uniform) -> Leaf {
        let all = |flag: bool| if flag { u64::MAX } else { 0 };
        Leaf {
            row: NONE,
            covered: if like.live { LEAF_TILES * TILE_GRANULES } else { 0 },
            touched: all(like.touched),
            ever: all(like.ever),
            guarded: 0,
            starts: all(like.live),
            stale: 0,
            queued: false,
            shows_over: false,
            number,
            parent,
            mixed: 0,
            resident: all(like.resident),
            counted: all(like.resident),
            gaps: like.gaps(LEAF_BYTES),
            live: [if like.live { TILE_GRANULES as u16 } else { 0 }; LEAF_TILES as usize],
            holes: Holes::default(),
        }
    }

    /// Whether all tiles are in memory, or none is; `None`: some are.
    pub fn all_resident(&self) -> Option<bool> {
        match self.resident {
            0 => Some(false),
            u64::MAX => Some(true),
            _ => None,
        }
    }

    /// Whether all tiles of granules `from..to` are in the footprint.
    pub fn is_touched(&self, (from, to): (u32, u32)) -> bool {
        tiles_of(from, to) & !self.touched == 0
    }

    /// How many of the tiles of granules `from..to` never held a block.
    pub fn never_used_tiles(&self, (from, to): (u32, u32)) -> u64 {
        (tiles_of(from, to) & !self.ever).count_ones().into()
    }

    /// The holes, as of the last [`Leaf::refresh`].
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// A block that takes granules `from..to` comes, or goes, if their tiles are in the footprint and held
    /// blocks before, and others end within tiles of this leaf; else nothing is done. Where nothing is
    /// guarded it is taken on trust that it comes where nothing is, and goes from where it is: if that
    /// is not so, [`Leaf::refresh`] finds it out. `over`: some blocks are known to lie over others.
    #[inline(always)]
    pub fn flip(
        &mut self,
        (from, to): (u32, u32),
        comes: bool,
        over: bool,
        rows: &mut Rows,
    ) -> bool {
        let tiles = tiles_of(from, to);
        let Some(row) = rows.get_mut(self.row) else { return false };
        if tiles & !(self.touched & self.ever) != 0 {
            return false;
        }
        if tiles & self.guarded != 0
            && (over && !comes || self.changed_by((from, to), comes, row) < to - from)
        {
            return false;
        }
        self.flip_part((from, to), row);
        let change = to - from;
        self.covered =
            self.covered.wrapping_add(if comes { change } else { change.wrapping_neg() });
        true
    }

    /// How many of granules `from..to` are not covered, or are.
    #[inline(never)]
    fn changed_by(&self, part: (u32, u32), comes: bool, row: &Row) -> u32 {
        let parts = parts_of(part);
        parts.map(|(at, (from, to))| self.tile(row, at).count(from, to, !comes)).sum()
    }

    #[inline]
    fn tile<'r>(&self, row: &'r Row, at: u32) -> Tile<'r> {
        row.tile(at, self.starts >> at & 1 != 0)
    }

    /// Makes an edit on granules `from..to`.
    pub fn edit(
        &mut self,
        edit: Edit,
        (from, to): (u32, u32),
        rows: &mut Rows,
        totals: &mut Totals,
        page_tiles: u32,
    ) {
        let first = from / TILE_GRANULES / page_tiles * page_tiles;
        let end = to.div_ceil(TILE_GRANULES).next_multiple_of(page_tiles);
        match edit {
            Edit::Cover => {
                self.touch(bits(first, end), rows, totals);
                self.mark_used(bits(first, end), totals);
                self.set((from, to), true, rows, totals);
            }
            Edit::MarkUsed => self.mark_used(bits(first, end), totals),
            Edit::Uncover => self.set((from, to), false, rows, totals),
            Edit::Touch => self.touch(bits(first, end), rows, totals),
            Edit::Enter => self.set_resident(self.resident | bits(first, end), totals),
            Edit::Leave => self.set_resident(self.resident & !bits(first, end), totals),
            Edit::Guard => self.guarded |= bits(first, end),
            Edit::GiveBack => {
                // Whole pages only.
                let first = from.div_ceil(TILE_GRANULES).next_multiple_of(page_tiles);
                let end = to / TILE_GRANULES / page_tiles * page_tiles;
                if first < end {
                    self.give_back(bits(first, end), rows, totals);
                }
            }
        }
    }

    /// Covered granules of the tiles in a mask.
    fn live_in(&self, mask: u64, rows: &Rows) -> u64 {
        match rows.get(self.row) {
            Some(row) => ones(mask).map(|at| u64::from(self.tile(row, at).live())).sum(),
            None => u64::from((mask & self.starts).count_ones()) * u64::from(TILE_GRANULES),
        }
    }

    fn touch(&mut self, mask: u64, rows: &Rows, totals: &mut Totals) {
        let fresh = mask & !self.touched;
        if fresh == 0 {
            return;
        }
        totals.touched_tiles += u64::from(fresh.count_ones());
        totals.live_granules += self.live_in(fresh, rows);
        self.touched |= mask;
    }

    fn mark_used(&mut self, mask: u64, totals: &mut Totals) {
        totals.ever_tiles += u64::from((mask & !self.ever).count_ones());
        self.ever |= mask;
    }

    fn set_resident(&mut self, resident: u64, totals: &mut Totals) {
        totals.resident_tiles += u64::from(resident.count_ones());
        totals.resident_tiles -= u64::from(self.resident.count_ones());
        self.resident = resident;
    }

    fn give_back(&mut self, mask: u64, rows: &Rows, totals: &mut Totals) {
        let gone = mask & self.touched;
        totals.touched_tiles -= u64::from(gone.count_ones());
        totals.live_granules -= self.live_in(gone, rows);
        self.touched &= !mask;
    }

    /// Blocks cover granules `from..to` now, or do not any more; what that changed is counted.
    fn set(&mut self, (from, to): (u32, u32), cover: bool, rows: &mut Rows, totals: &mut Totals) {
        let is_start = |granule: u32| granule.is_multiple_of(TILE_GRANULES);
        if self.row == NONE && !(is_start(from) && is_start(to)) {
            self.row = rows.insert();
        }
        let (mut changed, mut in_footprint) = (0, 0);
        for (at, part) in parts_of((from, to)) {
            let covered = self.starts >> at & 1 != 0;
            let here = match rows.get_mut(self.row) {
                Some(row) => row.set(at, part, covered, cover),
                None if covered == cover => 0,
                None => TILE_GRANULES,
            };
            changed += here;
            in_footprint += if self.touched >> at & 1 != 0 { here } else { 0 };
        }
        let tiles = tiles_of(from, to);
        let starts = starts_of(tiles, from);
        self.starts = if cover { self.starts | starts } else { self.starts & !starts };
        self.stale |= tiles;
        let signed = |granules: u32| if cover { granules } else { granules.wrapping_neg() };
        self.covered = self.covered.wrapping_add(signed(changed));
        totals.count_blocks(changed.into(), in_footprint.into(), cover);
    }

    /// The number of the row with its edges, if it has any.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// Begins to fetch what [`Leaf::refresh`] will read of its row.
    pub fn foresee_stale(&self, rows: &Rows) {
        if let Some(row) = rows.get(self.row) {
            ones(self.stale).for_each(|at| row.foresee(at * TILE_GRANULES));
        }
    }

    /// Sums the leaf up again, and counts how full its pages are. By how many granules blocks are larger
    /// than what they cover together: some lie over others.
    pub fn refresh(&mut self, rows: &mut Rows, fullness: &mut Fullness) -> i64 {
        let row = rows.get(self.row);
        for at in ones(self.stale | (self.resident ^ self.counted)) {
            if self.counted >> at & 1 != 0 {
                fullness.remove(self.live[at as usize].into());
            }
            if self.stale >> at & 1 != 0 {
                self.sum_tile(at, row);
            }
            if self.resident >> at & 1 != 0 {
                fullness.add(self.live[at as usize].into());
            }
        }
        (self.stale, self.counted) = (0, self.resident);
        let open = self.touched & !self.starts & !self.mixed;
        self.gaps = self.holes.sum(self.touched, open);
        i64::from(self.covered) - i64::from(self.live_now())
    }

    /// Covered granules, as of the last [`Leaf::refresh`].
    fn live_now(&self) -> u32 {
        self.live.iter().map(|live| u32::from(*live)).sum()
    }

    /// From now on what blocks cover is as of the last [`Leaf::refresh`], whatever their sizes say.
    pub fn take_as_it_is(&mut self) {
        self.covered = self.live_now();
    }

    /// Gives up the row where no block ends within a tile any more.
    pub fn drop_empty_row(&mut self, rows: &mut Rows) {
        if self.mixed == 0 && self.stale == 0 {
            self.drop_row(rows);
        }
    }

    /// Which of granules `from..to` are not covered, in runs.
    pub fn uncovered(&self, part: (u32, u32), rows: &Rows) -> Vec<(u32, u32)> {
        let Some(row) = rows.get(self.row) else { return Vec::new() };
        let mut runs = Vec::new();
        for (at, (from, to)) in parts_of(part) {
            let start = at * TILE_GRANULES;
            self.tile(row, at).for_each_run(|begin, end, covered| {
                let (begin, end) = (begin.max(from), end.min(to));
                if !covered && begin < end {
                    runs.push((start + begin, start + end));
                }
            });
        }
        runs
    }

    /// Granules `from..to` are covered where they were not, or the other way round, whatever lies there.
    pub fn flip_run(&mut self, (from, to): (u32, u32), rows: &mut Rows) {
        if let Some(row) = rows.get_mut(self.row) {
            self.flip_part((from, to), row);
        }
    }

    #[inline(always)]
    fn flip_part(&mut self, (from, to): (u32, u32), row: &mut Row) {
        let tiles = tiles_of(from, to);
        row.flip(from, to);
        self.starts ^= starts_of(tiles, from);
        self.stale |= tiles;
    }

    #[inline]
    fn sum_tile(&mut self, at: u32, row: Option<&Row>) {
        let is_covered = self.starts >> at & 1 != 0;
        let (gaps, live) = match row {
            Some(row) => row.tile(at, is_covered).summary(),
            None => (SmallGaps::default(), if is_covered { TILE_GRANULES } else { 0 }),
        };
        let is_mixed = !live.is_multiple_of(TILE_GRANULES);
        self.mixed = self.mixed & !(1 << at) | u64::from(is_mixed) << at;
        self.live[at as usize] = live as u16;
        self.holes.set(at, if is_mixed { gaps } else { SmallGaps::default() });
    }

    fn drop_row(&mut self, rows: &mut Rows) {
        if self.row != NONE {
            rows.remove(std::mem::replace(&mut self.row, NONE));
        }
    }

    /// Takes its pages out of what is counted.
    pub fn uncount(&mut self, fullness: &mut Fullness) {
        ones(self.counted).for_each(|at| fullness.remove(self.live[at as usize].into()));
        self.counted = 0;
    }

    /// Frees the leaf's row and takes its part out of the totals.
    pub fn clear(&mut self, rows: &mut Rows, totals: &mut Totals) {
        let twice = u64::from(self.covered).wrapping_sub(self.live_in(u64::MAX, rows));
        totals.subtract(&Totals {
            touched_tiles: self.touched.count_ones().into(),
            ever_tiles: self.ever.count_ones().into(),
            covered_granules: self.covered.into(),
            live_granules: self.live_in(self.touched, rows).wrapping_add(twice),
            resident_tiles: self.resident.count_ones().into(),
        });
        self.drop_row(rows);
        (self.touched, self.ever, self.resident) = (0, 0, 0);
        (self.starts, self.mixed, self.stale) = (0, 0, 0);
        (self.guarded, self.covered) = (0, 0);
    }

    /// The tiles that are covered in part, as it is now.
    fn mixed_now(&self, row: &Row) -> u64 {
        let mixed = ones(self.stale).filter(|at| self.tile(row, *at).is_mixed());
        mixed.fold(self.mixed & !self.stale, |mixed, at| mixed | 1 << at)
    }

    /// Calls `each` with the first tile, the number of tiles and what they have in common,
    /// for tiles `from..to`: single tiles, with their bits and covered
    /// granules, where they are mixed, else as many as are alike.
    pub fn for_each_stretch(
        &self,
        (from, to): (u32, u32),
        rows: &Rows,
        mut each: impl FnMut(u32, u32, Uniform, Option<Tile<'_>>),
    ) {
        let row = rows.get(self.row);
        let mixed = row.map_or(0, |row| self.mixed_now(row));
        let solid = self.starts & !mixed;
        let mut tile = from;
        while tile < to {
            let has = |word: u64| word >> tile & 1 != 0;
            let like = Uniform {
                live: has(solid),
                touched: has(self.touched),
                ever: has(self.ever),
                resident: has(self.resident),
            };
            if let Some(row) = row
                && has(mixed)
            {
                let counted = (!has(self.stale)).then_some(self.live[tile as usize]);
                let edges = self.tile(row, tile);
                debug_assert!(counted.is_none_or(|live| u32::from(live) == edges.live()));
                each(tile, 1, like, Some(Tile { counted, ..edges }));
                tile += 1;
                continue;
            }
            let same = |word: u64, flag: bool| if flag { word } else { !word };
            let alike = same(solid, like.live)
                & same(self.touched, like.touched)
                & same(self.ever, like.ever)
                & same(self.resident, like.resident)
                & !mixed;
            let count = (alike >> tile).trailing_ones().min(to - tile);
            each(tile, count, like, None);
            tile += count;
        }
    }
}
