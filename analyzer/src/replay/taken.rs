//! Pages that blocks took into the heap, by call stack.

use super::Block;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;

/// Pages that blocks of one stack took: given back before, or never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// How much, each time counted.
    pub bytes: u64,
    /// How often.
    pub times: u64,
    /// A moment at which the stack was there.
    pub birth: Stamp,
}

impl Taken {
    fn add(&mut self, block: &Block, bytes: u64) {
        self.bytes += bytes;
        self.times += 1;
        self.birth = block.birth;
    }
}

/// All of them, up to the last event.
#[derive(Debug, Clone, Default)]
pub struct TakenPages {
    refilled: FxHashMap<u32, Taken>,
    grown: FxHashMap<u32, Taken>,
}

impl TakenPages {
    /// A block took pages that had held others, and had been given back.
    pub(super) fn refilled(&mut self, block: &Block, bytes: u64) {
        self.refilled.entry(block.stack).or_default().add(block, bytes);
    }

    /// A block took pages that were never used before, although a hole would have held it.
    pub(super) fn grew_despite_fit(&mut self, block: &Block, bytes: u64) {
        self.grown.entry(block.stack).or_default().add(block, bytes);
    }

    /// Pages given back and taken again, by stack.
    pub fn refills(&self) -> impl Iterator<Item = (u32, Taken)> {
        self.refilled.iter().map(|(stack, refilled)| (*stack, *refilled))
    }

    /// Pages taken that were never used before although a hole would have held the block, by stack.
    pub fn growth(&self) -> impl Iterator<Item = (u32, Taken)> {
        self.grown.iter().map(|(stack, taken)| (*stack, *taken))
    }
}
