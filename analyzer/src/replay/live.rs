//! The live set.
//!
//! With many blocks every look-up is a cache miss or two, so entries are small: 32 bytes
//! beside the address, from which the block is put together. The few blocks that do not fit
//! (aligned far into a mapping, or damaged) are kept apart.

use super::address_space::GRANULE_BYTES;
use super::block::Block;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;

/// A block as it is kept. Its extent reaches from `before` bytes in front of the block to
/// its last usable byte, or what was asked for if that is not known, rounded up.
#[derive(Debug, Clone, Copy)]
struct Entry {
    size: u64,
    birth: Stamp,
    thread: u32,
    stack: u32,
    before: u32,
    /// Usable bytes beyond the size in the upper bits, or [`SLOP_UNKNOWN`]; then [`OWN_MAPPING`].
    slop_and_kind: u32,
}

const OWN_MAPPING: u32 = 1;
const SLOP_SHIFT: u32 = 1;
const SLOP_UNKNOWN: u32 = u32::MAX >> SLOP_SHIFT;
/// Kept apart: no entry says so by itself, as an unknown slop has no own mapping.
const APART: u32 = u32::MAX;

impl Entry {
    fn pack(address: u64, block: &Block) -> Entry {
        let slop = match block.usable {
            Some(usable) => {
                usable.checked_sub(block.size).and_then(|slop| u32::try_from(slop).ok())
            }
            None => Some(SLOP_UNKNOWN),
        };
        let before = address.checked_sub(block.extent.start).and_then(|b| u32::try_from(b).ok());
        let entry = Entry {
            size: block.size,
            birth: block.birth,
            thread: block.thread,
            stack: block.stack,
            before: before.unwrap_or(0),
            slop_and_kind: slop.unwrap_or(0) << SLOP_SHIFT | u32::from(block.own_mapping),
        };
        let fits = slop.is_some_and(|slop| slop <= SLOP_UNKNOWN) && before.is_some();
        if fits && entry.slop_and_kind != APART && entry.unpack(address) == *block {
            entry
        } else {
            Entry { slop_and_kind: APART, ..entry }
        }
    }

    #[inline]
    fn unpack(&self, address: u64) -> Block {
        let slop = self.slop_and_kind >> SLOP_SHIFT;
        let usable = (slop != SLOP_UNKNOWN).then(|| self.size.wrapping_add(slop.into()));
        let end = address.wrapping_add(usable.unwrap_or(self.size));
        let end = end.wrapping_add(GRANULE_BYTES - 1) & !(GRANULE_BYTES - 1);
        Block {
            size: self.size,
            usable,
            extent: address.wrapping_sub(self.before.into())..end,
            birth: self.birth,
            thread: self.thread,
            stack: self.stack,
            own_mapping: self.slop_and_kind & OWN_MAPPING != 0,
        }
    }
}

/// The live blocks, and their sums.
#[derive(Debug, Default)]
pub struct Blocks {
    by_address: FxHashMap<u64, Entry>,
    apart: FxHashMap<u64, Block>,
    live_bytes: u64,
    usable_bytes: u64,
    overhead_bytes: u64,
    usable_unknown: u64,
}

impl Blocks {
    /// Bytes that the program asked for. Wraps where a damaged trace asks for too much.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// How many are live.
    pub fn count(&self) -> u64 {
        self.by_address.len() as u64
    }

    /// Bytes that the program may use; `None` when that is not known of some block.
    pub fn usable_bytes(&self) -> Option<u64> {
        (self.usable_unknown == 0).then_some(self.usable_bytes)
    }

    /// Headers of live blocks in bytes.
    pub fn overhead_bytes(&self) -> u64 {
        self.overhead_bytes
    }

    /// The block at an address.
    pub fn get(&self, address: u64) -> Option<Block> {
        self.by_address.get(&address).map(|entry| self.unpack(address, entry))
    }

    /// Reads the entry of an address, for its cache line's sake: something of it.
    #[inline]
    pub fn peek(&self, address: u64) -> u64 {
        self.by_address.get(&address).map_or(0, |entry| entry.size)
    }

    /// All blocks with their addresses, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Block)> {
        self.by_address.iter().map(|(address, entry)| (*address, self.unpack(*address, entry)))
    }

    fn unpack(&self, address: u64, entry: &Entry) -> Block {
        match self.apart.get(&address) {
            Some(block) if entry.slop_and_kind == APART => block.clone(),
            _ => entry.unpack(address),
        }
    }

    /// Adds a block; the one that was there before, if any.
    #[inline]
    pub fn insert(&mut self, address: u64, block: &Block) -> Option<Block> {
        self.live_bytes = self.live_bytes.wrapping_add(block.size);
        self.overhead_bytes = self.overhead_bytes.wrapping_add(block.overhead_bytes());
        match block.usable {
            Some(usable) => self.usable_bytes = self.usable_bytes.wrapping_add(usable),
            None => self.usable_unknown += 1,
        }
        let entry = Entry::pack(address, block);
        let before = self.by_address.insert(address, entry);
        let before = before.map(|before| self.take(address, &before));
        if entry.slop_and_kind == APART {
            self.apart.insert(address, block.clone());
        }
        before
    }

    /// Takes a block out.
    #[inline]
    pub fn remove(&mut self, address: u64) -> Option<Block> {
        let entry = self.by_address.remove(&address)?;
        Some(self.take(address, &entry))
    }

    /// The block of an entry that was removed, taken out of the sums.
    #[inline]
    fn take(&mut self, address: u64, entry: &Entry) -> Block {
        let apart = match entry.slop_and_kind {
            APART => self.apart.remove(&address),
            _ => None,
        };
        let block = apart.unwrap_or_else(|| entry.unpack(address));
        self.live_bytes = self.live_bytes.wrapping_sub(block.size);
        self.overhead_bytes = self.overhead_bytes.wrapping_sub(block.overhead_bytes());
        match block.usable {
            Some(usable) => self.usable_bytes = self.usable_bytes.wrapping_sub(usable),
            None => self.usable_unknown -= 1,
        }
        block
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
                    let before = blocks.insert(address, &block);
                    prop_assert_eq!(before, known.insert(address, block));
                } else {
                    prop_assert_eq!(blocks.remove(address), known.remove(&address));
                }
                let all: std::collections::BTreeMap<u64, Block> = blocks.iter().collect();
                prop_assert_eq!(&all, &known);
            }
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(u64, Entry)>(), 40);
    }

    #[test]
    fn usual_blocks_need_nothing_apart() {
        let mut blocks = Blocks::default();
        let (size, usable) = (100, Some(104));
        let (birth, thread, stack) = (1, 2, 3);
        let extent = 0x1008..0x1078;
        let block = Block { size, usable, extent, birth, thread, stack, own_mapping: false };
        blocks.insert(0x1010, &block);
        let (usable, extent) = (Some(0x2ff0), 0x8000..0xb000);
        blocks.insert(0x8010, &Block { usable, extent, own_mapping: true, ..block.clone() });
        blocks.insert(0x2000, &Block { usable: None, extent: 0x2000..0x2068, ..block });
        assert!(blocks.apart.is_empty());
    }
}
