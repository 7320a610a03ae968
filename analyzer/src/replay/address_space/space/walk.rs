//! Walking over a range: the stretches in it, and the holes.

use super::Uniform;
use super::node::Child;
use super::tile::{GRANULE_BYTES, TILE_BYTES, Tile};
use super::tree::{MAX_ADDRESS, Space, granules};
use std::ops::Range;

/// A stretch of whole tiles with something in common. What was never touched is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes that blocks cover.
    pub live_bytes: u64,
    /// Whether it is in the footprint.
    pub touched: bool,
    /// Whether it ever held a block.
    pub ever: bool,
    /// Whether it is in memory.
    pub resident: bool,
}

impl Space {
    /// Calls `each` with the stretches of a range of whole tiles, in order.
    pub fn for_each_stretch(&self, range: Range<u64>, mut each: impl FnMut(Stretch)) {
        self.walk(&range, &mut |start, bytes, like, tile| {
            let live_bytes = match tile {
                Some(tile) => u64::from(tile.live()) * GRANULE_BYTES,
                None => {
                    if like.live {
                        bytes
                    } else {
                        0
                    }
                }
            };
            let Uniform { touched, ever, resident, .. } = like;
            each(Stretch { start, bytes, live_bytes, touched, ever, resident });
        });
    }

    /// Calls `each` with every hole of the whole space, in order of address.
    pub fn for_each_hole(&self, mut each: impl FnMut(Range<u64>)) {
        let mut hole = 0..0;
        let mut free = |range: Range<u64>| {
            if range.start == hole.end {
                hole.end = range.end;
            } else {
                let whole = std::mem::replace(&mut hole, range);
                if !whole.is_empty() {
                    each(whole);
                }
            }
        };
        self.walk(&(0..MAX_ADDRESS), &mut |start, bytes, like, tile| match tile {
            _ if !like.touched => {}
            None if like.live => {}
            None => free(start..start + bytes),
            Some(tile) => tile.for_each_run(|from, to, covered| {
                if !covered {
                    let at = |granule: u32| start + u64::from(granule) * GRANULE_BYTES;
                    free(at(from)..at(to));
                }
            }),
        });
        if !hole.is_empty() {
            each(hole);
        }
    }

    /// Bytes in a range that blocks cover, by whole tiles.
    pub fn live_bytes_in(&self, range: Range<u64>) -> u64 {
        let mut live = 0;
        self.for_each_stretch(range, |stretch| live += stretch.live_bytes);
        live
    }

    /// Bytes in a range that never held a block, by whole tiles.
    pub fn never_used_bytes_in(&self, range: Range<u64>) -> u64 {
        match self.found_leaf(&range) {
            Some(leaf) => leaf.never_used_tiles(granules(range.start, range.end)) * TILE_BYTES,
            None => self.bytes_without(range, |stretch| stretch.ever),
        }
    }

    /// Whether all tiles of a range are in the footprint.
    pub fn is_touched(&self, range: Range<u64>) -> bool {
        match self.found_leaf(&range) {
            Some(leaf) => leaf.is_touched(granules(range.start, range.end)),
            None => self.bytes_without(range, |stretch| stretch.touched) == 0,
        }
    }

    fn bytes_without(&self, range: Range<u64>, has: impl Fn(&Stretch) -> bool) -> u64 {
        let tiles = tiles_around(&range);
        let mut with = 0;
        self.for_each_stretch(range, |stretch| {
            with += if has(&stretch) { stretch.bytes } else { 0 }
        });
        tiles.end - tiles.start - with
    }

    fn walk(&self, range: &Range<u64>, each: &mut impl FnMut(u64, u64, Uniform, Option<Tile<'_>>)) {
        let range = tiles_around(range);
        if range.start < range.end {
            self.walk_node(0, &range, each);
        }
    }

    fn walk_node(
        &self,
        index: u32,
        range: &Range<u64>,
        each: &mut impl FnMut(u64, u64, Uniform, Option<Tile<'_>>),
    ) {
        let node = &self.nodes[index as usize];
        let shift = node.child_shift();
        for (position, slot) in node.children_in(range) {
            let start = ((node.number << 6) + u64::from(position)) << shift;
            let part = range.start.max(start)..range.end.min(start + (1 << shift));
            match slot.child {
                Child::Uniform(like) => each(part.start, part.end - part.start, like, None),
                Child::Node(below) => self.walk_node(below, &part, each),
                Child::Leaf(leaf) => {
                    let tile = |address: u64| ((address - start) / TILE_BYTES) as u32;
                    let tiles = (tile(part.start), tile(part.end));
                    let leaf = &self.leaves[leaf as usize];
                    leaf.for_each_stretch(tiles, &self.rows, |first, count, like, tile| {
                        let at = start + u64::from(first) * TILE_BYTES;
                        each(at, u64::from(count) * TILE_BYTES, like, tile);
                    });
                }
            }
        }
    }
}

/// The whole tiles that a range has a part in.
fn tiles_around(range: &Range<u64>) -> Range<u64> {
    let end = range.end.min(MAX_ADDRESS).next_multiple_of(TILE_BYTES);
    (range.start & !(TILE_BYTES - 1)).min(end)..end
}
