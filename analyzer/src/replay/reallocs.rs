//! What each lane's last realloc took away.

use super::Who;
use super::block::Block;
use rustc_hash::FxHashMap;

/// The release halves of reallocs, by lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Reallocs {
    by_lane: FxHashMap<u32, Reallocated>,
}

#[derive(Debug, Clone)]
struct Reallocated {
    address: u64,
    who: Who,
    block: Block,
}

impl Reallocs {
    /// The release half of a realloc. Whose block it was may turn out late, when the lane's
    /// next realloc is known already.
    pub fn remember(&mut self, who: Who, address: u64, block: Block) {
        let known = self.by_lane.get(&who.lane);
        if known.is_none_or(|known| known.who.stamp <= who.stamp) {
            self.by_lane.insert(who.lane, Reallocated { address, who, block });
        }
    }

    /// Address and block of the lane's last realloc.
    pub fn last(&self, lane: u32) -> Option<(u64, &Block)> {
        self.by_lane.get(&lane).map(|known| (known.address, &known.block))
    }

    /// The block that the lane's last realloc released, if it had this address: it was refused.
    pub fn refused(&mut self, lane: u32, address: u64) -> Option<Block> {
        self.by_lane.get(&lane).filter(|known| known.address == address)?;
        self.by_lane.remove(&lane).map(|known| known.block)
    }

    /// The same, whatever its address, and the thread that called: it was a free.
    pub fn freed(&mut self, lane: u32) -> Option<(u32, Block)> {
        self.by_lane.remove(&lane).map(|known| (known.who.thread, known.block))
    }
}
