//! Where in the base table each address is: an extendible hash table in private memory.
//!
//! A directory, indexed by the first bits of an address's hash, points to leaves of 4 KiB.
//! A leaf that is full splits in two; only when a leaf splits that no other directory entry
//! shares does the directory double. So growing costs a bounded step now and then, never a
//! pass over all entries, and an address is found by one access to the directory, which is
//! small, and one to a leaf.
//!
//! A slot of a leaf holds 32 bits of hash, by which leaves split and order themselves, and
//! the entry's number in the table. Different addresses may share a hash, so whoever looks
//! compares the entry itself.

use crate::arch::prefetch;

/// Slots of a leaf.
const SLOTS: usize = 512;
/// A leaf splits when it holds so many.
const FULL: u16 = 448;
/// The directory has at most 2 to this many entries: the other bits order a leaf.
const MAX_DEPTH: u32 = 32 - SLOTS.trailing_zeros();
/// Bytes of address space for the directory.
pub(super) const DIRECTORY_BYTES: usize = 4 << MAX_DEPTH;
/// What is known of leaves besides their slots.
pub(super) const NOTES_BYTES: usize = size_of::<Note>() << MAX_DEPTH;
pub(super) const LEAF_BYTES: usize = SLOTS * 8;

/// What is known of a leaf besides its slots.
#[derive(Clone, Copy)]
struct Note {
    count: u16,
    /// How many bits of the hash its addresses share.
    depth: u16,
}

/// The table. All memory is handed in, zeroed, and reached only through here.
pub(super) struct Index {
    directory: *mut u32,
    notes: *mut Note,
    leaves: *mut [u64; SLOTS],
    depth: u32,
    leaf_count: u32,
    /// Leaves that have memory.
    backed: u32,
}

/// The part of an address that leaves keep.
#[inline(always)]
pub(super) fn hash(address: u64) -> u32 {
    ((address >> 4 ^ address << 60).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Where in its leaf a hash wants to be.
#[inline(always)]
fn home(hash: u32) -> usize {
    hash as usize % SLOTS
}

#[inline(always)]
fn slot_hash(slot: u64) -> u32 {
    (slot >> 32) as u32
}

impl Index {
    pub(super) const EMPTY: Index = Index {
        directory: core::ptr::null_mut(),
        notes: core::ptr::null_mut(),
        leaves: core::ptr::null_mut(),
        depth: 0,
        leaf_count: 0,
        backed: 0,
    };

    /// An empty table in zeroed memory, with memory for no leaf yet.
    ///
    /// # Safety
    /// The addresses are page-aligned, of as many bytes of address space as the constants
    /// say, for this table alone and for good. Directory and notes can be written, leaves as
    /// far as [`Index::back`] said.
    pub(super) unsafe fn new(directory: usize, notes: usize, leaves: usize) -> Index {
        Index {
            directory: directory as *mut u32,
            notes: notes as *mut Note,
            leaves: leaves as *mut [u64; SLOTS],
            depth: 0,
            leaf_count: 1,
            backed: 0,
        }
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> u64 {
        self.leaf_count as u64 * (LEAF_BYTES + size_of::<Note>()) as u64 + (4 << self.depth)
    }

    /// How many leaves must get memory before so many insertions.
    pub(super) fn leaves_missing(&self, insertions: usize) -> u32 {
        // Hardly ever does an insertion split a leaf, and hardly ever more than one.
        (self.leaf_count + insertions as u32 + 1).saturating_sub(self.backed)
    }

    /// Leaves that have memory.
    pub(super) fn backed(&self) -> u32 {
        self.backed
    }

    /// Where the first leaf is that has no memory.
    pub(super) fn next_leaf(&self) -> usize {
        self.leaves as usize + self.backed as usize * LEAF_BYTES
    }

    /// So many more leaves have memory.
    ///
    /// # Safety
    /// They have.
    pub(super) unsafe fn back(&mut self, leaves: u32) {
        self.backed += leaves;
    }

    #[inline(always)]
    fn directory_at(&self, hash: u32) -> usize {
        ((hash as u64) << self.depth >> 32) as usize
    }

    #[inline(always)]
    fn leaf_of(&self, hash: u32) -> u32 {
        // SAFETY: below 2^depth, as far as the directory was filled.
        unsafe { *self.directory.add(self.directory_at(hash)) }
    }

    #[expect(clippy::mut_from_ref, reason = "the caller holds the fold's lock; one at a time")]
    #[inline(always)]
    fn slots(&self, leaf: u32) -> &mut [u64; SLOTS] {
        debug_assert!(leaf < self.leaf_count);
        // SAFETY: leaves below `leaf_count` are backed; references do not outlive a method.
        unsafe { &mut *self.leaves.add(leaf as usize) }
    }

    fn note(&mut self, leaf: u32) -> &mut Note {
        // SAFETY: as above.
        unsafe { &mut *self.notes.add(leaf as usize) }
    }

    /// Reads the place of a hash, for its cache line's sake.
    #[inline(always)]
    pub(super) fn foresee(&self, hash: u32) {
        prefetch(&raw const self.slots(self.leaf_of(hash))[home(hash)] as usize);
    }

    /// The number of the entry with a hash that `is_it` says yes to.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let slots = self.slots(self.leaf_of(hash));
        let mut at = home(hash);
        loop {
            let slot = slots[at];
            if slot == 0 {
                return None;
            }
            let number = slot as u32 - 1;
            if slot_hash(slot) == hash && is_it(number) {
                return Some(number);
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// Adds an entry. False: there is no more room.
    pub(super) fn insert(&mut self, hash: u32, number: u32) -> bool {
        let mut leaf = self.leaf_of(hash);
        while self.note(leaf).count >= FULL {
            if !self.split(leaf, hash) {
                // As far as it goes: one slot stays empty, or searches would not end.
                if self.note(leaf).count as usize >= SLOTS - 1 {
                    return false;
                }
                break;
            }
            leaf = self.leaf_of(hash);
        }
        self.put(leaf, (hash as u64) << 32 | (number as u64 + 1));
        true
    }

    fn put(&mut self, leaf: u32, slot: u64) {
        let slots = self.slots(leaf);
        let mut at = home(slot_hash(slot));
        while slots[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        slots[at] = slot;
        self.note(leaf).count += 1;
    }

    /// Splits a leaf by the next bit of the hash.
    #[cold]
    #[inline(never)]
    fn split(&mut self, leaf: u32, hash: u32) -> bool {
        let depth = self.note(leaf).depth as u32;
        if depth == MAX_DEPTH || self.leaf_count == self.backed {
            return false;
        }
        if depth == self.depth {
            self.double();
        }
        let new = self.leaf_count;
        self.leaf_count += 1;
        let bit = 1 << (31 - depth);
        // The directory entries that share the leaf stand side by side: the upper half of
        // them goes to the new one.
        let share = 1usize << (self.depth - depth);
        let first = self.directory_at(hash) & !(share - 1);
        for at in first + share / 2..first + share {
            // SAFETY: below 2^depth.
            unsafe { *self.directory.add(at) = new };
        }
        *self.note(leaf) = Note { count: 0, depth: depth as u16 + 1 };
        *self.note(new) = Note { count: 0, depth: depth as u16 + 1 };
        // Slots that stay must be put anew, as their places may have been taken by others:
        // first all are moved out, a run at a time, so that no copy of the leaf is needed.
        let start = (0..SLOTS).find(|at| self.slots(leaf)[*at] == 0).unwrap_or(0);
        for step in 1..=SLOTS {
            let at = (start + step) % SLOTS;
            let slot = core::mem::take(&mut self.slots(leaf)[at]);
            if slot != 0 {
                self.put(if slot_hash(slot) & bit == 0 { leaf } else { new }, slot);
            }
        }
        true
    }

    /// Doubles the directory in place, from its end.
    fn double(&mut self) {
        for at in (0..1usize << self.depth).rev() {
            // SAFETY: the directory has room for 2^MAX_DEPTH entries.
            unsafe {
                let leaf = *self.directory.add(at);
                *self.directory.add(2 * at) = leaf;
                *self.directory.add(2 * at + 1) = leaf;
            }
        }
        self.depth += 1;
    }

    /// Takes an entry out that is there.
    #[inline]
    pub(super) fn remove(&mut self, hash: u32, number: u32) {
        let leaf = self.leaf_of(hash);
        let slots = self.slots(leaf);
        let wanted = (hash as u64) << 32 | (number as u64 + 1);
        let mut at = home(hash);
        while slots[at] != wanted {
            if slots[at] == 0 {
                return;
            }
            at = (at + 1) % SLOTS;
        }
        // Close the gap: what comes behind moves up as far as its home allows.
        let mut gap = at;
        loop {
            at = (at + 1) % SLOTS;
            let slot = slots[at];
            if slot == 0 {
                break;
            }
            let wants = home(slot_hash(slot));
            if at.wrapping_sub(wants) % SLOTS >= at.wrapping_sub(gap) % SLOTS {
                slots[gap] = slot;
                gap = at;
            }
        }
        slots[gap] = 0;
        self.note(leaf).count -= 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    fn space(bytes: usize) -> usize {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping.
        let at = unsafe { libc::mmap(core::ptr::null_mut(), bytes, access, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        at as usize
    }

    #[test]
    fn an_index_is_a_map() {
        // SAFETY: mapped for this, for as long as the process lives.
        let mut index = unsafe {
            Index::new(space(DIRECTORY_BYTES), space(NOTES_BYTES), space(LEAF_BYTES << MAX_DEPTH))
        };
        // SAFETY: all of it is mapped.
        unsafe { index.back(1 << MAX_DEPTH) };
        let mut model = BTreeMap::new();
        let mut entries: Vec<u64> = vec![];
        let mut random = 0x1234_5678_9abc_def0u64;
        for step in 0..400_000u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Addresses as a heap has them: dense, most at multiples of 16.
            let address = 0x5555_0000_0000 + (random % 60_000) * 16 + (random >> 60 & 8);
            match model.get(&address).copied() {
                Some(number) if random >> 32 & 1 == 0 || step > 300_000 => {
                    index.remove(hash(address), number);
                    model.remove(&address);
                }
                Some(_) => {}
                None => {
                    entries.push(address);
                    let number = entries.len() as u32 - 1;
                    assert!(index.insert(hash(address), number));
                    model.insert(address, number);
                }
            }
            let other = 0x5555_0000_0000 + (random >> 20) % 60_000 * 16;
            let found = index.find(hash(other), |number| entries[number as usize] == other);
            assert_eq!(found, model.get(&other).copied());
        }
        for (address, number) in &model {
            let found = index.find(hash(*address), |n| entries[n as usize] == *address);
            assert_eq!(found, Some(*number));
        }
    }
}
