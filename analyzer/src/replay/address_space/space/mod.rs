//! Which bytes blocks cover, which pages were touched, and the holes between: a map of the
//! whole address space in which every question is answered from sums.
//!
//! The space is a tree. Its [leaves](leaf) are 256 KiB, each of 64 [tiles](tile) of 4 KiB with a
//! bit for 8 bytes, all in one [row of edges](edges); [nodes](node) above have 64 children each. A
//! stretch that is all alike (a block of a gigabyte, or a terabyte) is one entry, as high up as it
//! fits, so the tree's size goes with the number of edits and not with their length. An edit
//! changes bits and marks what is above them; [sums] are brought up to date when asked for, and
//! only where something changed.
//!
//! | question | answer |
//! |---|---|
//! | footprint, free bytes, high-water mark | counted with each edit |
//! | number of holes, largest hole, how full pages in memory are | from the sums, after [`Space::refresh`] |
//! | the holes themselves | a walk over the tree |

mod edges;
mod fullness;
mod gaps;
mod holes;
mod leaf;
mod node;
mod over;
mod sums;
mod tile;
mod tree;
mod walk;

pub use fullness::{BUCKETS, Fullness};
pub use gaps::Gaps;
pub use tile::{GRANULE_BYTES, TILE_BYTES};
pub use tree::{MAX_ADDRESS, Space};
pub use walk::Stretch;

/// A change to a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// A block lies there now: the bytes are covered, their pages touched.
    Cover,
    /// No block lies there any more.
    Uncover,
    /// The pages went back to the kernel.
    GiveBack,
    /// The pages are in the footprint.
    Touch,
    /// The pages are taken to have held blocks.
    MarkUsed,
    /// The pages are in memory.
    Enter,
    /// They are not.
    Leave,
    /// Blocks may lie over each other there.
    Guard,
}

/// What a stretch has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Uniform {
    /// Blocks cover all of it.
    live: bool,
    /// It is in the footprint.
    touched: bool,
    /// It held a block at least once.
    ever: bool,
    /// It is in memory.
    resident: bool,
}

impl Uniform {
    fn after(self, edit: Edit) -> Uniform {
        match edit {
            Edit::Cover => Uniform { live: true, touched: true, ever: true, ..self },
            Edit::Uncover => Uniform { live: false, ..self },
            Edit::GiveBack => Uniform { touched: false, ..self },
            Edit::Touch => Uniform { touched: true, ..self },
            Edit::MarkUsed => Uniform { ever: true, ..self },
            Edit::Enter => Uniform { resident: true, ..self },
            Edit::Leave => Uniform { resident: false, ..self },
            Edit::Guard => self,
        }
    }

    fn gaps(self, bytes: u64) -> Gaps {
        if self.touched && !self.live { Gaps::whole(bytes) } else { Gaps::default() }
    }
}

/// Counts that hold at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    touched_tiles: u64,
    ever_tiles: u64,
    /// Covered granules.
    covered_granules: u64,
    /// Those in the footprint.
    live_granules: u64,
    resident_tiles: u64,
}

impl Totals {
    fn of(like: Uniform, bytes: u64) -> Totals {
        let tiles = |counts: bool| if counts { bytes / TILE_BYTES } else { 0 };
        let granules = |counts: bool| if counts { bytes / GRANULE_BYTES } else { 0 };
        Totals {
            touched_tiles: tiles(like.touched),
            ever_tiles: tiles(like.ever),
            covered_granules: granules(like.live),
            live_granules: granules(like.live && like.touched),
            resident_tiles: tiles(like.resident),
        }
    }

    /// Blocks cover so many granules more, or less, of which so many are in the footprint.
    #[inline(always)]
    fn count_blocks(&mut self, granules: u64, in_footprint: u64, more: bool) {
        let sign: u64 = if more { 1 } else { u64::MAX };
        let add = |sum: &mut u64, number: u64| *sum = sum.wrapping_add(number.wrapping_mul(sign));
        add(&mut self.covered_granules, granules);
        add(&mut self.live_granules, in_footprint);
    }

    fn add(&mut self, other: &Totals) {
        self.touched_tiles += other.touched_tiles;
        self.ever_tiles += other.ever_tiles;
        self.covered_granules += other.covered_granules;
        self.live_granules += other.live_granules;
        self.resident_tiles += other.resident_tiles;
    }

    fn subtract(&mut self, other: &Totals) {
        self.touched_tiles -= other.touched_tiles;
        self.ever_tiles -= other.ever_tiles;
        self.covered_granules -= other.covered_granules;
        self.live_granules -= other.live_granules;
        self.resident_tiles -= other.resident_tiles;
    }
}
