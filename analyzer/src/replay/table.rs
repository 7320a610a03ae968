//! Live blocks by address: open addressing, linear probing, no tombstones.
//!
//! Neighbours in the heap are often acquired and released together. So the four blocks of 32
//! bytes that could begin within 128 bytes of the heap share two cache lines of the table, and
//! where these lie follows from a hash. Of a general table, with its control bytes apart from
//! its entries, a look-up reads two to three lines; of this one, mostly one or two.

use super::entry::Entry;
use super::fetch::fetch;

/// Bytes of heap whose blocks lie side by side, as a power of two.
const GROUP_SHIFT: u32 = 7;
/// The least bytes between two blocks of most allocators, as a power of two.
const BLOCK_SHIFT: u32 = 5;
const GROUP_ENTRIES: usize = 1 << (GROUP_SHIFT - BLOCK_SHIFT);
const LEAST_SHIFT: u32 = 6;

/// One place in so many is taken at least, after [`Table::shrink`].
const LEAST_FULL: usize = 16;

/// Entries of a cache line.
const ENTRIES_A_LINE: usize = 64 / size_of::<Entry>();

/// The live blocks, each with its address.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    count: usize,
    /// By how much a hash is shifted to number a group.
    shift: u32,
}

impl Default for Table {
    fn default() -> Table {
        Table::of_groups(LEAST_SHIFT)
    }
}

/// A copy has room for what is there, not for what was.
impl Clone for Table {
    fn clone(&self) -> Table {
        let mut copy = Table::default();
        while copy.count_at_most() < self.count {
            copy = Table::of_groups(u64::BITS - copy.shift + 1);
        }
        for entry in self.iter() {
            copy.insert(*entry);
        }
        copy
    }
}

impl Table {
    fn of_groups(bits: u32) -> Table {
        let entries = vec![Entry::NONE; GROUP_ENTRIES << bits];
        Table { entries, count: 0, shift: u64::BITS - bits }
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_some())
    }

    /// Where the search for an address begins.
    #[inline]
    fn home(&self, address: u64) -> usize {
        /// 2⁶⁴ divided by the golden ratio: spreads numbers in a row (Knuth, volume 3, 6.4).
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let group = (address >> GROUP_SHIFT).wrapping_mul(SPREAD) >> self.shift;
        group as usize * GROUP_ENTRIES + (address >> BLOCK_SHIFT) as usize % GROUP_ENTRIES
    }

    #[inline]
    fn next(&self, index: usize) -> usize {
        (index + 1) & (self.entries.len() - 1)
    }

    /// The index of an address, or of where it would have to be. That of [`Entry::NONE`] is found at
    /// an empty place.
    #[inline(always)]
    fn find(&self, address: u64) -> Result<usize, usize> {
        let mut index = self.home(address);
        loop {
            let entry = &self.entries[index];
            if entry.address == address {
                return Ok(index);
            }
            if !entry.is_some() {
                return Err(index);
            }
            index = self.next(index);
        }
    }

    /// Begins to fetch the cache lines in which an address will be looked for, two mostly.
    #[inline]
    pub fn foresee(&self, address: u64) {
        let home = self.home(address);
        let beyond = (home + ENTRIES_A_LINE) & (self.entries.len() - 1);
        fetch(&self.entries[home]);
        fetch(&self.entries[beyond]);
    }

    /// The entry of an address.
    #[inline]
    pub fn get(&self, address: u64) -> Option<&Entry> {
        self.find(address).ok().map(|index| &self.entries[index]).filter(|entry| entry.is_some())
    }

    /// Adds an entry; the one of that address before, if any. [`Entry::NONE`] is never there.
    #[inline]
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        if !entry.is_some() {
            return None;
        }
        match self.find(entry.address) {
            Ok(index) => Some(std::mem::replace(&mut self.entries[index], entry)),
            Err(index) => {
                self.put(index, entry);
                None
            }
        }
    }

    /// Adds an entry, if there is none of its address. False: nothing was done.
    #[inline]
    pub fn insert_new(&mut self, entry: Entry) -> bool {
        let Err(index) = self.find(entry.address) else { return false };
        self.put(index, entry);
        true
    }

    /// Fills an empty place.
    #[inline]
    fn put(&mut self, index: usize, entry: Entry) {
        self.entries[index] = entry;
        self.count += 1;
        if self.count > self.count_at_most() {
            self.grow();
        }
    }

    /// After most entries went it takes long to go through the places of all: makes room for what is
    /// there only.
    pub fn shrink(&mut self) {
        if self.entries.len() / LEAST_FULL > self.count.max(GROUP_ENTRIES << LEAST_SHIFT) {
            *self = self.clone();
        }
    }

    /// With more entries it grows.
    #[inline]
    fn count_at_most(&self) -> usize {
        self.entries.len() / 2
    }

    #[cold]
    fn grow(&mut self) {
        let larger = Table::of_groups(u64::BITS - self.shift + 1);
        let before = std::mem::replace(self, larger);
        for entry in before.iter() {
            self.insert(*entry);
        }
    }

    /// Takes an entry out.
    #[inline]
    pub fn remove(&mut self, address: u64) -> Option<Entry> {
        self.remove_if(address, |_| true)
    }

    /// Takes an entry out, if it is such a one.
    #[inline(always)]
    pub fn remove_if(&mut self, address: u64, is: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut hole = self.find(address).ok()?;
        let removed = self.entries[hole];
        if !removed.is_some() || !is(&removed) {
            return None;
        }
        self.count -= 1;
        // Those behind the hole, up to the next one, are found only if none is before them.
        let mut index = self.next(hole);
        while self.entries[index].is_some() {
            let from_home = index.wrapping_sub(self.home(self.entries[index].address));
            let mask = self.entries.len() - 1;
            if from_home & mask >= index.wrapping_sub(hole) & mask {
                self.entries[hole] = self.entries[index];
                hole = index;
            }
            index = self.next(index);
        }
        self.entries[hole] = Entry::NONE;
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::block::Block;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(address: u64, birth: u64) -> Entry {
        let (size, usable, extent) = (24, Some(24), address.wrapping_sub(8)..address + 24);
        let block = Block { size, usable, extent, birth, thread: 1, stack: 2, own_mapping: false };
        Entry::pack(address, &block)
    }

    proptest! {
        /// Also where blocks are crowded, at the ends of the table and beyond.
        #[test]
        fn a_table_is_a_map(
            steps in prop::collection::vec((0u64..600, 0u32..3, any::<bool>()), 1..2000)
        ) {
            let (mut table, mut known) = (Table::default(), BTreeMap::new());
            for (number, (slot, scale, add)) in steps.into_iter().enumerate() {
                let address = 0x7fff_0000 + (slot << (4 + 4 * scale));
                if add {
                    let fresh = entry(address, number as u64);
                    prop_assert_eq!(table.insert(fresh), known.insert(address, fresh));
                } else {
                    prop_assert_eq!(table.remove(address), known.remove(&address));
                }
                prop_assert_eq!(table.len(), known.len());
                prop_assert_eq!(table.get(address), known.get(&address));
            }
            let mut all: Vec<Entry> = table.iter().copied().collect();
            all.sort_by_key(|entry| entry.address);
            prop_assert!(all.iter().eq(known.values()));
            let copy = table.clone();
            prop_assert_eq!(copy.len(), known.len());
            prop_assert!(known.values().all(|entry| copy.get(entry.address) == Some(entry)));
            for (address, entry) in &known {
                prop_assert_eq!(table.get(*address), Some(entry));
            }
        }
    }

    #[test]
    fn what_is_left_of_many_blocks_takes_little_room() {
        let mut table = Table::default();
        let address = |number: u64| 0x7fff_0000 + number * 0x30;
        for number in 0..100_000 {
            table.insert(entry(address(number), number));
        }
        let places = table.entries.len();
        table.shrink();
        assert_eq!(table.entries.len(), places, "there is no need to");
        for number in 1_000..100_000 {
            table.remove(address(number));
        }
        table.shrink();
        assert!(table.entries.len() < places / 16);
        assert_eq!(table.len(), 1_000);
        for number in 0..1_000 {
            assert_eq!(table.get(address(number)), Some(&entry(address(number), number)));
        }
    }

    #[test]
    fn there_is_no_block_at_the_last_byte() {
        let mut table = Table::default();
        assert_eq!(table.insert(Entry::NONE), None);
        assert_eq!((table.len(), table.get(u64::MAX)), (0, None));
        assert_eq!(table.remove(u64::MAX), None);
    }
}
