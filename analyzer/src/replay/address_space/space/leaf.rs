//! A leaf: 256 KiB of address space as 64 tiles, one bit a tile and word.
//!
//! Only tiles that blocks cover in part have a bitmap. What is known of the leaf's holes is
//! brought up to date when somebody asks.

use super::fullness::{BUCKETS, Fullness};
use super::gaps::{Gaps, SmallGaps, Sum};
use super::pool::Pool;
use super::tile::{TILE_BYTES, TILE_GRANULES, Tile};
use super::{Edit, Totals, Uniform};

/// Tiles of a leaf.
pub(super) const LEAF_TILES: u32 = 64;
/// Bytes of a leaf, as a power of two.
pub(super) const LEAF_SHIFT: u32 = 18;
/// Bytes of a leaf.
pub(super) const LEAF_BYTES: u64 = 1 << LEAF_SHIFT;

const _: () = assert!(LEAF_BYTES == LEAF_TILES as u64 * TILE_BYTES);

/// 256 KiB of address space. Each word has a bit for each tile.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Which 256 KiB.
    pub number: u64,
    /// The node above.
    pub parent: u32,
    /// Whether the leaf waits to be summed up.
    pub queued: bool,
    /// In the footprint.
    touched: u64,
    /// Ever held a block.
    ever: u64,
    /// Covered throughout.
    solid: u64,
    /// Covered in part: with a bitmap.
    mixed: u64,
    /// Mixed tiles whose holes changed.
    stale: u64,
    /// In memory.
    resident: u64,
    gaps: Gaps,
    /// As it was counted last.
    fullness: Fullness,
    /// Where the bitmaps of mixed tiles are, how many granules blocks cover of each, and
    /// their holes but for the stale ones. Side by side, as all are summed up together.
    slots: [u32; LEAF_TILES as usize],
    live: [u16; LEAF_TILES as usize],
    tile_gaps: [SmallGaps; LEAF_TILES as usize],
}

/// The bits `from..to`, `from < to ≤ 64`.
#[inline]
pub(super) fn bits(from: u32, to: u32) -> u64 {
    (u64::MAX << from) & (u64::MAX >> (64 - to))
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
            queued: false,
            touched: all(like.touched),
            ever: all(like.ever),
            solid: all(like.live),
            mixed: 0,
            stale: 0,
            resident: all(like.resident),
            gaps: like.gaps(LEAF_BYTES),
            fullness: Fullness::of(like, LEAF_BYTES),
            slots: [0; LEAF_TILES as usize],
            live: [0; LEAF_TILES as usize],
            tile_gaps: [SmallGaps::default(); LEAF_TILES as usize],
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

    /// Covers granules `from..to` if all their tiles are in the footprint; else does
    /// nothing and says false.
    #[inline]
    pub fn cover_touched(
        &mut self,
        from: u32,
        to: u32,
        pool: &mut Pool,
        totals: &mut Totals,
    ) -> bool {
        let mask = bits(from / TILE_GRANULES, to.div_ceil(TILE_GRANULES));
        if self.touched & mask != mask {
            return false;
        }
        self.cover(from, to, pool, totals);
        true
    }

    /// Makes an edit on granules `from..to`.
    pub fn edit(
        &mut self,
        edit: Edit,
        (from, to): (u32, u32),
        pool: &mut Pool,
        totals: &mut Totals,
        page_tiles: u32,
    ) {
        let first = from / TILE_GRANULES / page_tiles * page_tiles;
        let end = to.div_ceil(TILE_GRANULES).next_multiple_of(page_tiles);
        match edit {
            Edit::Cover => {
                self.touch(bits(first, end), totals);
                self.mark_used(bits(first, end), totals);
                self.cover(from, to, pool, totals);
            }
            Edit::MarkUsed => self.mark_used(bits(first, end), totals),
            Edit::Uncover => self.uncover(from, to, pool, totals),
            Edit::Touch => self.touch(bits(first, end), totals),
            Edit::Enter => self.set_resident(self.resident | bits(first, end), totals),
            Edit::Leave => self.set_resident(self.resident & !bits(first, end), totals),
            Edit::GiveBack => {
                // Whole pages only.
                let first = from.div_ceil(TILE_GRANULES).next_multiple_of(page_tiles);
                let end = to / TILE_GRANULES / page_tiles * page_tiles;
                if first < end {
                    self.give_back(bits(first, end), totals);
                }
            }
        }
    }

    /// Covered granules of the tiles in a mask.
    fn live_in(&self, mask: u64) -> u64 {
        let mixed: u64 =
            ones(mask & self.mixed).map(|tile| u64::from(self.live[tile as usize])).sum();
        mixed + u64::from((mask & self.solid).count_ones()) * u64::from(TILE_GRANULES)
    }

    fn touch(&mut self, mask: u64, totals: &mut Totals) {
        let fresh = mask & !self.touched;
        if fresh == 0 {
            return;
        }
        totals.touched_tiles += u64::from(fresh.count_ones());
        totals.live_granules += self.live_in(fresh);
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

    fn give_back(&mut self, mask: u64, totals: &mut Totals) {
        let gone = mask & self.touched;
        totals.touched_tiles -= u64::from(gone.count_ones());
        totals.live_granules -= self.live_in(gone);
        self.touched &= !mask;
    }

    /// Calls `each` with the tile and the part of it for each tile in `from..to`.
    #[inline]
    fn for_each_part(from: u32, to: u32, mut each: impl FnMut(u32, u32, u32)) {
        let mut at = from;
        while at < to {
            let tile = at / TILE_GRANULES;
            let end = ((tile + 1) * TILE_GRANULES).min(to);
            each(tile, at - tile * TILE_GRANULES, end - tile * TILE_GRANULES);
            at = end;
        }
    }

    #[inline]
    fn cover(&mut self, from: u32, to: u32, pool: &mut Pool, totals: &mut Totals) {
        Self::for_each_part(from, to, |tile, from, to| {
            let bit = 1 << tile;
            let slot = &mut self.slots[tile as usize];
            let live = &mut self.live[tile as usize];
            let fresh = if self.solid & bit != 0 {
                0
            } else if to - from == TILE_GRANULES {
                let mut before = 0;
                if self.mixed & bit != 0 {
                    pool.remove(*slot);
                    before = u32::from(*live);
                }
                self.mixed &= !bit;
                self.solid |= bit;
                TILE_GRANULES - before
            } else {
                if self.mixed & bit == 0 {
                    (*slot, *live) = (pool.insert(Tile::default()), 0);
                    self.mixed |= bit;
                }
                self.stale |= bit;
                let fresh = pool.tile_mut(*slot).cover(from, to);
                *live += fresh as u16;
                fresh
            };
            totals.covered_granules += u64::from(fresh);
            if self.touched & bit != 0 {
                totals.live_granules += u64::from(fresh);
            }
        });
    }

    #[inline]
    fn uncover(&mut self, from: u32, to: u32, pool: &mut Pool, totals: &mut Totals) {
        Self::for_each_part(from, to, |tile, from, to| {
            let bit = 1 << tile;
            let slot = &mut self.slots[tile as usize];
            let live = &mut self.live[tile as usize];
            let mut gone = 0;
            if self.solid & bit != 0 {
                self.solid &= !bit;
                if to - from == TILE_GRANULES {
                    gone = TILE_GRANULES;
                } else {
                    (*slot, *live) = (pool.insert(Tile::FULL), TILE_GRANULES as u16);
                    self.mixed |= bit;
                }
            }
            if self.mixed & bit != 0 {
                gone = pool.tile_mut(*slot).uncover(from, to);
                *live -= gone as u16;
                if *live == 0 {
                    pool.remove(*slot);
                    self.mixed &= !bit;
                }
                self.stale |= bit;
            }
            totals.covered_granules -= u64::from(gone);
            if self.touched & bit != 0 {
                totals.live_granules -= u64::from(gone);
            }
        });
    }

    /// Where the bitmap of the tile at an address is, or was last.
    #[inline]
    pub fn slot_of(&self, address: u64) -> u32 {
        self.slots[(address / TILE_BYTES % u64::from(LEAF_TILES)) as usize]
    }

    /// Sums the leaf up again.
    pub fn refresh(&mut self, pool: &Pool) {
        // All cache misses at once, rather than one after the other.
        let slots = ones(self.stale & self.mixed).map(|tile| self.slots[tile as usize]);
        std::hint::black_box(slots.fold(0, |sum, slot| sum ^ pool.peek(slot)));
        for tile in ones(self.stale & self.mixed) {
            let gaps = pool.tile(self.slots[tile as usize]).gaps();
            self.tile_gaps[tile as usize] = gaps.into();
        }
        self.stale = 0;
        self.gaps = self.sum_gaps();
        self.fullness = self.sum_fullness();
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

    fn sum_gaps(&self) -> Gaps {
        let mut sum = Sum::default();
        let mut tile = 0;
        while tile < LEAF_TILES {
            if self.touched >> tile & 1 == 0 || self.solid >> tile & 1 != 0 {
                let breaks = (!self.touched | self.solid) >> tile;
                tile += breaks.trailing_ones();
                sum.push_solid();
            } else if self.mixed >> tile & 1 != 0 {
                sum.push(&self.tile_gaps[tile as usize].into(), TILE_BYTES);
                tile += 1;
            } else {
                let open = (self.touched & !self.solid & !self.mixed) >> tile;
                let bytes = u64::from(open.trailing_ones()) * TILE_BYTES;
                sum.push(&Gaps::whole(bytes), bytes);
                tile += open.trailing_ones();
            }
        }
        sum.gaps()
    }

    /// Frees the leaf's bitmaps and takes its part out of the totals.
    pub fn clear(&mut self, pool: &mut Pool, totals: &mut Totals) {
        totals.subtract(&Totals {
            touched_tiles: self.touched.count_ones().into(),
            ever_tiles: self.ever.count_ones().into(),
            covered_granules: self.live_in(u64::MAX),
            live_granules: self.live_in(self.touched),
            resident_tiles: self.resident.count_ones().into(),
        });
        for tile in ones(self.mixed) {
            pool.remove(self.slots[tile as usize]);
        }
        (self.touched, self.ever, self.solid, self.mixed, self.resident) = (0, 0, 0, 0, 0);
    }

    /// Calls `each` with the first tile, the number of tiles and what they have in common,
    /// for tiles `from..to`: single tiles, with their bitmaps and covered
    /// granules, where they are mixed, else as many as are alike.
    pub fn for_each_stretch(
        &self,
        (from, to): (u32, u32),
        pool: &Pool,
        mut each: impl FnMut(u32, u32, Uniform, Option<(&Tile, u32)>),
    ) {
        let mut tile = from;
        while tile < to {
            let has = |word: u64| word >> tile & 1 != 0;
            let like = Uniform {
                live: has(self.solid),
                touched: has(self.touched),
                ever: has(self.ever),
                resident: has(self.resident),
            };
            if has(self.mixed) {
                let bits = pool.tile(self.slots[tile as usize]);
                each(tile, 1, like, Some((bits, self.live[tile as usize].into())));
                tile += 1;
                continue;
            }
            let same = |word: u64, flag: bool| if flag { word } else { !word };
            let alike = same(self.solid, like.live)
                & same(self.touched, like.touched)
                & same(self.ever, like.ever)
                & same(self.resident, like.resident)
                & !self.mixed;
            let count = (alike >> tile).trailing_ones().min(to - tile);
            each(tile, count, like, None);
            tile += count;
        }
    }
}
