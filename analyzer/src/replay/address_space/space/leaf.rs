//! A leaf: 256 KiB of address space as 64 tiles, one bit a tile and word.
//!
//! Only a leaf with blocks that end within tiles has a [bitmap](super::bitmap). An edit changes
//! bits and marks tiles as stale; what the tiles hold is summed up when somebody asks.

use super::bitmap::{Bitmap, Bitmaps};
use super::fullness::{BUCKETS, Fullness};
use super::gaps::{Gaps, SmallGaps};
use super::holes::Holes;
use super::tile::{self, GRANULE_BYTES, TILE_BYTES, TILE_GRANULES, TileBits};
use super::{Edit, Totals, Uniform};

/// Tiles of a leaf.
pub(super) const LEAF_TILES: u32 = 64;
/// Bytes of a leaf, as a power of two.
pub(super) const LEAF_SHIFT: u32 = 18;
/// Bytes of a leaf.
pub(super) const LEAF_BYTES: u64 = 1 << LEAF_SHIFT;

const _: () = assert!(LEAF_BYTES == LEAF_TILES as u64 * TILE_BYTES);

/// The number of no bitmap.
const NONE: u32 = u32::MAX;

/// 256 KiB of address space. Each word has a bit for each tile. First comes what edits need, in
/// one cache line.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Leaf {
    /// Which 256 KiB.
    pub number: u64,
    /// The node above.
    pub parent: u32,
    /// Where the bitmap is. [`NONE`]: no block ends within a tile.
    bitmap: u32,
    /// In the footprint.
    touched: u64,
    /// Tiles whose bits changed.
    stale: u64,
    /// Covered throughout; of stale tiles not known.
    solid: u64,
    /// Covered in part; of stale tiles not known.
    mixed: u64,
    /// Ever held a block.
    ever: u64,
    /// In memory.
    resident: u64,
    /// Whether the leaf waits to be summed up.
    pub queued: bool,
    gaps: Gaps,
    /// As it was counted last.
    fullness: Fullness,
    /// Covered granules of mixed tiles.
    live: [u16; LEAF_TILES as usize],
    holes: Holes,
}

/// The bits `from..to`, `from < to ≤ 64`.
#[inline]
pub(super) fn bits(from: u32, to: u32) -> u64 {
    (u64::MAX << from) & (u64::MAX >> (64 - to))
}

/// The tiles that have a part in granules `from..to`.
#[inline]
fn tiles_of(from: u32, to: u32) -> u64 {
    bits(from / TILE_GRANULES, to.div_ceil(TILE_GRANULES))
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
            number,
            parent,
            bitmap: NONE,
            touched: all(like.touched),
            stale: 0,
            solid: all(like.live),
            mixed: 0,
            ever: all(like.ever),
            resident: all(like.resident),
            queued: false,
            gaps: like.gaps(LEAF_BYTES),
            fullness: Fullness::of(like, LEAF_BYTES),
            live: [0; LEAF_TILES as usize],
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

    /// How full pages in memory are, as of the last [`Leaf::refresh`].
    pub fn fullness(&self) -> &Fullness {
        &self.fullness
    }

    /// The holes, as of the last [`Leaf::refresh`].
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// Covers granules `from..to` if all their tiles are in the footprint and held a block before, and no
    /// block covers any of them; else, or where there is no bitmap, does nothing.
    #[inline]
    pub fn cover_free(&mut self, from: u32, to: u32, bitmaps: &mut Bitmaps) -> bool {
        let tiles = tiles_of(from, to);
        let done = self.touched & self.ever & tiles == tiles
            && bitmaps.get_mut(self.bitmap).is_some_and(|bitmap| bitmap.cover_free(from, to));
        self.stale |= if done { tiles } else { 0 };
        done
    }

    /// Uncovers granules `from..to` if all their tiles are in the footprint, and blocks cover all
    /// of them; else, or where there is no bitmap, does nothing.
    #[inline]
    pub fn uncover_covered(&mut self, from: u32, to: u32, bitmaps: &mut Bitmaps) -> bool {
        let tiles = tiles_of(from, to);
        let done = self.touched & tiles == tiles
            && bitmaps.get_mut(self.bitmap).is_some_and(|bitmap| bitmap.uncover_covered(from, to));
        self.stale |= if done { tiles } else { 0 };
        done
    }

    /// Makes an edit on granules `from..to`.
    pub fn edit(
        &mut self,
        edit: Edit,
        (from, to): (u32, u32),
        bitmaps: &mut Bitmaps,
        totals: &mut Totals,
        page_tiles: u32,
    ) {
        let first = from / TILE_GRANULES / page_tiles * page_tiles;
        let end = to.div_ceil(TILE_GRANULES).next_multiple_of(page_tiles);
        match edit {
            Edit::Cover => {
                self.touch(bits(first, end), bitmaps, totals);
                self.mark_used(bits(first, end), totals);
                self.cover(from, to, bitmaps, totals);
            }
            Edit::MarkUsed => self.mark_used(bits(first, end), totals),
            Edit::Uncover => self.uncover(from, to, bitmaps, totals),
            Edit::Touch => self.touch(bits(first, end), bitmaps, totals),
            Edit::Enter => self.set_resident(self.resident | bits(first, end), totals),
            Edit::Leave => self.set_resident(self.resident & !bits(first, end), totals),
            Edit::GiveBack => {
                // Whole pages only.
                let first = from.div_ceil(TILE_GRANULES).next_multiple_of(page_tiles);
                let end = to / TILE_GRANULES / page_tiles * page_tiles;
                if first < end {
                    self.give_back(bits(first, end), bitmaps, totals);
                }
            }
        }
    }

    /// Covered granules of the tiles in a mask.
    fn live_in(&self, mask: u64, bitmaps: &Bitmaps) -> u64 {
        match bitmaps.get(self.bitmap) {
            Some(bitmap) => ones(mask).map(|at| u64::from(tile::live(bitmap.tile(at)))).sum(),
            None => u64::from((mask & self.solid).count_ones()) * u64::from(TILE_GRANULES),
        }
    }

    fn touch(&mut self, mask: u64, bitmaps: &Bitmaps, totals: &mut Totals) {
        let fresh = mask & !self.touched;
        if fresh == 0 {
            return;
        }
        totals.touched_tiles += u64::from(fresh.count_ones());
        totals.live_granules += self.live_in(fresh, bitmaps);
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

    fn give_back(&mut self, mask: u64, bitmaps: &Bitmaps, totals: &mut Totals) {
        let gone = mask & self.touched;
        totals.touched_tiles -= u64::from(gone.count_ones());
        totals.live_granules -= self.live_in(gone, bitmaps);
        self.touched &= !mask;
    }

    /// The bitmap, for granules `from..to`: made if they end within tiles, and marked there.
    #[inline]
    fn bitmap_for<'b>(
        &mut self,
        from: u32,
        to: u32,
        bitmaps: &'b mut Bitmaps,
    ) -> Option<&'b mut Bitmap> {
        if self.bitmap == NONE {
            if from.is_multiple_of(TILE_GRANULES) && to.is_multiple_of(TILE_GRANULES) {
                return None;
            }
            self.bitmap = bitmaps.insert(self.solid);
        }
        self.stale |= tiles_of(from, to);
        bitmaps.get_mut(self.bitmap)
    }

    /// Covers granules of tiles that are in the footprint; how many no block covered before.
    #[inline]
    fn cover(&mut self, from: u32, to: u32, bitmaps: &mut Bitmaps, totals: &mut Totals) -> u32 {
        let fresh = match self.bitmap_for(from, to, bitmaps) {
            Some(bitmap) => bitmap.cover(from, to),
            None => {
                let tiles = tiles_of(from, to);
                let fresh = tiles & !self.solid;
                self.solid |= tiles;
                fresh.count_ones() * TILE_GRANULES
            }
        };
        totals.covered_granules += u64::from(fresh);
        totals.live_granules += u64::from(fresh);
        fresh
    }

    /// No block lies in granules `from..to` any more.
    #[inline]
    pub fn uncover(&mut self, from: u32, to: u32, bitmaps: &mut Bitmaps, totals: &mut Totals) {
        let tiles = tiles_of(from, to);
        if self.touched & tiles != tiles {
            return self.uncover_in_part(from, to, bitmaps, totals);
        }
        let gone = u64::from(self.uncover_all(from, to, bitmaps));
        totals.covered_granules -= gone;
        totals.live_granules -= gone;
    }

    /// The same where pages went back to the kernel below blocks.
    #[cold]
    fn uncover_in_part(&mut self, from: u32, to: u32, bitmaps: &mut Bitmaps, totals: &mut Totals) {
        for tile in ones(tiles_of(from, to)) {
            let start = tile * TILE_GRANULES;
            let part = (from.max(start), to.min(start + TILE_GRANULES));
            let gone = u64::from(self.uncover_all(part.0, part.1, bitmaps));
            totals.covered_granules -= gone;
            totals.live_granules -= if self.touched >> tile & 1 != 0 { gone } else { 0 };
        }
    }

    /// How many granules were covered.
    #[inline]
    fn uncover_all(&mut self, from: u32, to: u32, bitmaps: &mut Bitmaps) -> u32 {
        match self.bitmap_for(from, to, bitmaps) {
            Some(bitmap) => bitmap.uncover(from, to),
            None => {
                let tiles = tiles_of(from, to);
                let gone = tiles & self.solid;
                self.solid &= !tiles;
                gone.count_ones() * TILE_GRANULES
            }
        }
    }

    /// Begins to fetch the bits at an address.
    #[inline]
    pub fn foresee(&self, address: u64, bitmaps: &Bitmaps) {
        let granule = (address % LEAF_BYTES / GRANULE_BYTES) as u32;
        if let Some(bitmap) = bitmaps.get(self.bitmap) {
            bitmap.foresee(granule);
        }
    }

    /// Sums the leaf up again.
    pub fn refresh(&mut self, bitmaps: &mut Bitmaps) {
        if let Some(bitmap) = bitmaps.get(self.bitmap) {
            // All their cache lines at once: a large heap is not in the caches.
            ones(self.stale).for_each(|at| bitmap.foresee(at * TILE_GRANULES));
            for at in ones(self.stale) {
                let (gaps, live) = tile::summary(bitmap.tile(at));
                let bit = 1 << at;
                self.solid = self.solid & !bit | u64::from(live == TILE_GRANULES) << at;
                self.mixed = self.mixed & !bit | u64::from(live % TILE_GRANULES != 0) << at;
                self.live[at as usize] = live as u16;
                self.holes.set(at, if live == 0 { SmallGaps::default() } else { gaps });
            }
            self.stale = 0;
            if self.mixed == 0 {
                self.drop_bitmap(bitmaps);
            }
        }
        let open = self.touched & !self.solid & !self.mixed;
        self.gaps = self.holes.sum(self.touched, open);
        self.fullness = self.sum_fullness();
    }

    fn drop_bitmap(&mut self, bitmaps: &mut Bitmaps) {
        if self.bitmap != NONE {
            bitmaps.remove(std::mem::replace(&mut self.bitmap, NONE));
        }
    }

    fn sum_fullness(&self) -> Fullness {
        let mut sum = Fullness::default();
        sum.tiles[BUCKETS - 1] = (self.resident & self.solid).count_ones().into();
        let empty = self.resident & !self.solid & !self.mixed;
        sum.empty_tiles = empty.count_ones().into();
        for tile in ones(self.resident & self.mixed) {
            sum.count_mixed(self.live[tile as usize].into());
        }
        sum
    }

    /// Frees the leaf's bitmap and takes its part out of the totals.
    pub fn clear(&mut self, bitmaps: &mut Bitmaps, totals: &mut Totals) {
        totals.subtract(&Totals {
            touched_tiles: self.touched.count_ones().into(),
            ever_tiles: self.ever.count_ones().into(),
            covered_granules: self.live_in(u64::MAX, bitmaps),
            live_granules: self.live_in(self.touched, bitmaps),
            resident_tiles: self.resident.count_ones().into(),
        });
        self.drop_bitmap(bitmaps);
        (self.touched, self.ever, self.resident) = (0, 0, 0);
        (self.solid, self.mixed, self.stale) = (0, 0, 0);
    }

    /// The tiles that are covered throughout, and those that are in part, as it is now.
    fn solid_and_mixed(&self, bitmap: &Bitmap) -> (u64, u64) {
        let (mut solid, mut mixed) = (self.solid & !self.stale, self.mixed & !self.stale);
        for at in ones(self.stale) {
            match tile::live(bitmap.tile(at)) {
                0 => {}
                TILE_GRANULES => solid |= 1 << at,
                _ => mixed |= 1 << at,
            }
        }
        (solid, mixed)
    }

    /// Calls `each` with the first tile, the number of tiles and what they have in common,
    /// for tiles `from..to`: single tiles, with their bits and covered
    /// granules, where they are mixed, else as many as are alike.
    pub fn for_each_stretch(
        &self,
        (from, to): (u32, u32),
        bitmaps: &Bitmaps,
        mut each: impl FnMut(u32, u32, Uniform, Option<(&TileBits, u32)>),
    ) {
        let bitmap = bitmaps.get(self.bitmap);
        let (solid, mixed) = bitmap.map_or((self.solid, 0), |bitmap| self.solid_and_mixed(bitmap));
        let mut tile = from;
        while tile < to {
            let has = |word: u64| word >> tile & 1 != 0;
            let like = Uniform {
                live: has(solid),
                touched: has(self.touched),
                ever: has(self.ever),
                resident: has(self.resident),
            };
            if let Some(bitmap) = bitmap
                && has(mixed)
            {
                let bits = bitmap.tile(tile);
                each(tile, 1, like, Some((bits, tile::live(bits))));
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
