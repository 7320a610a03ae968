//! The live set.
//!
//! With many blocks every look-up is a cache miss, so what is kept of a block is small: 32
//! bytes with its address, from which the block is put together ([`Entry`]), in a [`Table`]
//! that a look-up reads in one place. The few blocks that do not fit (aligned far into a
//! mapping, of 4 GiB and more, or damaged) are kept apart.

use super::block::Block;
use super::entry::Entry;
use super::table::Table;
use rustc_hash::FxHashMap;

/// The live blocks.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    entries: Table,
    apart: FxHashMap<u64, Block>,
}

/// Sums over live blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    /// How many there are.
    pub blocks: u64,
    /// Bytes that the program asked for. Wraps where a damaged trace asks for too much.
    pub bytes: u64,
    /// Their headers in bytes.
    pub overhead_bytes: u64,
    usable_bytes: u64,
    usable_unknown: u64,
}

impl Live {
    /// Bytes that the program may use; `None` when that is not known of some block.
    pub fn usable_bytes(&self) -> Option<u64> {
        (self.usable_unknown == 0).then_some(self.usable_bytes)
    }

    pub(super) fn add(&mut self, block: &Block) {
        self.count(block, true);
    }

    pub(super) fn subtract(&mut self, block: &Block) {
        self.count(block, false);
    }

    fn count(&mut self, block: &Block, comes: bool) {
        let known = block.usable.map(|usable| (usable, block.overhead_bytes()));
        self.count_one(block.size, known, comes);
    }

    /// A block that is not kept apart comes, or goes.
    #[inline(always)]
    pub(super) fn count_entry(&mut self, entry: &Entry, comes: bool) {
        self.count_one(entry.size().into(), entry.usable_and_overhead(), comes);
    }

    /// `known`: usable bytes and others, if it is known which are.
    #[inline(always)]
    fn count_one(&mut self, size: u64, known: Option<(u64, u64)>, comes: bool) {
        let sign: u64 = if comes { 1 } else { u64::MAX };
        let add = |sum: &mut u64, number: u64| *sum = sum.wrapping_add(number.wrapping_mul(sign));
        add(&mut self.blocks, 1);
        add(&mut self.bytes, size);
        match known {
            Some((usable, overhead)) => {
                add(&mut self.usable_bytes, usable);
                add(&mut self.overhead_bytes, overhead);
            }
            None => add(&mut self.usable_unknown, 1),
        }
    }
}

impl Blocks {
    /// How many are live.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The block at an address.
    pub fn get(&self, address: u64) -> Option<Block> {
        self.entries.get(address).map(|entry| self.unpack(entry))
    }

    /// The block at an address will be asked for.
    #[inline]
    pub(super) fn foresee(&self, address: u64) {
        self.entries.foresee(address);
    }

    /// All of them will be gone through: makes that quick if most are gone that there were.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink();
    }

    /// All blocks with their addresses, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Block)> {
        self.entries.iter().map(|entry| (entry.address, self.unpack(entry)))
    }

    fn unpack(&self, entry: &Entry) -> Block {
        match self.apart.get(&entry.address) {
            Some(block) if entry.is_apart() => block.clone(),
            _ => entry.unpack(),
        }
    }

    /// Adds a block, with the entry that it is packed into; the one that was there before, if any.
    pub(super) fn insert(&mut self, entry: Entry, block: &Block) -> Option<(Entry, Block)> {
        let before = self.entries.insert(entry).map(|before| (before, self.take(&before)));
        if entry.is_apart() {
            self.apart.insert(entry.address, block.clone());
        }
        before
    }

    /// Adds a block that is not kept apart, where there is none. False: nothing was done.
    #[inline]
    pub(super) fn insert_usual(&mut self, entry: Entry) -> bool {
        !entry.is_apart() && self.entries.insert_new(entry)
    }

    /// Takes a block out that is not kept apart. `None`: nothing was done.
    #[inline(always)]
    pub(super) fn remove_usual(&mut self, address: u64) -> Option<Entry> {
        self.entries.remove_if(address, |entry| !entry.is_apart())
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, address: u64) -> Option<(Entry, Block)> {
        let entry = self.entries.remove(address)?;
        Some((entry, self.take(&entry)))
    }

    /// The block of an entry that was removed.
    fn take(&mut self, entry: &Entry) -> Block {
        let apart = if entry.is_apart() { self.apart.remove(&entry.address) } else { None };
        apart.unwrap_or_else(|| entry.unpack())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block() -> impl Strategy<Value = Block> {
        let number = || prop_oneof![0..5000u64, 0..1u64 << 33, 0..1u64 << 57];
        let usable = prop_oneof![Just(None), (0..64u64).prop_map(Some), number().prop_map(Some)];
        (number(), usable, (number(), 0..100u64), any::<bool>()).prop_map(
            |(size, usable, (start, len), own_mapping)| Block {
                size,
                usable: usable.map(|more| size.wrapping_add(more)),
                extent: start..start + len * 8,
                birth: size,
                thread: 3,
                stack: 4,
                own_mapping,
            },
        )
    }

    proptest! {
        /// Also blocks that no allocator makes come back as they went in.
        #[test]
        fn blocks_come_back_as_they_went_in(
            steps in prop::collection::vec((0..4u64, block(), any::<bool>()), 1..40)
        ) {
            let mut blocks = Blocks::default();
            let mut known = std::collections::BTreeMap::new();
            for (slot, block, add) in steps {
                let address = 0x1000 + slot * 0x1000;
                if add {
                    let before = blocks.insert(Entry::pack(address, &block), &block);
                    prop_assert_eq!(before.map(|(_, b)| b), known.insert(address, block));
                } else {
                    let gone = blocks.remove(address).map(|(_, block)| block);
                    prop_assert_eq!(gone, known.remove(&address));
                }
                let all: std::collections::BTreeMap<u64, Block> = blocks.iter().collect();
                prop_assert_eq!(&all, &known);
            }
        }
    }
}
