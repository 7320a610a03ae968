//! The base table: entries in the file, and the index that finds them.

use super::index::{self, Index, hash};
use crate::arch::prefetch;
use crate::file::{self, Private};
use crate::sys;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::base::{self, ENTRY_BYTES, EntryCell, Words};
use fragtrace_format::header::{Area, limit};

/// The file grows by at least this much …
const MIN_GROWTH: u64 = 16 << 10;
/// … and by this share of what there is: so room takes at most 60 bytes an entry.
const GROWTH_SHARE: u64 = 4;
/// Leaves that get memory at once: address space only, until they are used.
const LEAVES_STEP: u32 = 1 << 9;
/// Entries are touched by calls of so many bytes ahead, instead of by a fault a page.
const POPULATE_BYTES: usize = 16 << 10;
const PAGE: u64 = 4096;
const CACHE_LINE: usize = 64;
/// What is read of an entry: its key, size and thread.
const READ_BYTES: usize = 32;
/// The index keeps entry numbers in 32 bits.
const MAX_ENTRIES: u64 = u32::MAX as u64 - 1;

/// Where in private memory the index keeps its parts.
pub(super) const DIRECTORY_AT: usize = 512 << 20;
const NOTES_AT: usize = DIRECTORY_AT + index::DIRECTORY_BYTES;

/// Live blocks of the time of the cut.
pub(super) struct Table {
    start: usize,
    /// Bytes of the area in the file, and entries that they hold.
    bytes: u64,
    capacity: u32,
    /// Entries ever used.
    used: u32,
    /// The first free one among them, plus one.
    free: u64,
    free_count: u32,
    populated: usize,
    index: Index,
}

impl Table {
    pub(super) const EMPTY: Table = Table {
        start: 0,
        bytes: 0,
        capacity: 0,
        used: 0,
        free: 0,
        free_count: 0,
        populated: 0,
        index: Index::EMPTY,
    };

    /// Maps what the index needs to begin with. False: there is no memory.
    pub(super) fn begin(&mut self) -> bool {
        let private = file::private_start(Private::Fold);
        let bytes = index::DIRECTORY_BYTES + index::NOTES_BYTES;
        if !file::map_private(private + DIRECTORY_AT, bytes) {
            return false;
        }
        self.start = file::area_start(Area::Base);
        let leaves = file::private_start(Private::Leaves);
        // SAFETY: `file` keeps these places for this, and the first two were just mapped.
        self.index = unsafe { Index::new(private + DIRECTORY_AT, private + NOTES_AT, leaves) };
        self.reserve_index(1)
    }

    /// A child of fork's, not indexed yet, in so many bytes of the file.
    pub(super) const fn of_parent(bytes: u64) -> Table {
        Table { bytes, ..Table::EMPTY }
    }

    /// In a child of fork: indexes the entries that the parent left. False: there is no memory.
    pub(super) fn inherit(&mut self) -> bool {
        self.capacity = (self.bytes / ENTRY_BYTES as u64).min(MAX_ENTRIES) as u32;
        let last = (0..self.capacity).rev().find(|number| self.cell(*number).key() != 0);
        self.used = last.map_or(0, |last| last + 1);
        self.populated = (self.used as usize * ENTRY_BYTES) & !(PAGE as usize - 1);
        for number in 0..self.used {
            let key = self.cell(number).key();
            if key == 0 {
                self.cell(number).free(self.free);
                self.free = number as u64 + 1;
                self.free_count += 1;
            } else if self.reserve_index(1) {
                self.index.insert(hash(base::address(key)), number);
            } else {
                return false;
            }
        }
        true
    }

    /// Bytes of our memory that it takes.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.index.bytes() + self.populated as u64
    }

    fn cell(&self, number: u32) -> &EntryCell {
        debug_assert!(number < self.capacity);
        // SAFETY: below `capacity`, so mapped for good, zeroed; cells are atomics.
        unsafe { &*((self.start + number as usize * ENTRY_BYTES) as *const EntryCell) }
    }

    fn reserve_index(&mut self, insertions: usize) -> bool {
        let missing = self.index.leaves_missing(insertions);
        if missing == 0 {
            return true;
        }
        let step = missing.max(self.index.backed()).next_multiple_of(LEAVES_STEP);
        let (start, bytes) = (self.index.next_leaf(), step as usize * index::LEAF_BYTES);
        let backed = file::map_private(start, bytes);
        if backed {
            // A large index is read all over: with small pages, finding the page costs as much
            // as reading it. The first leaves stay small, as most processes have few blocks.
            if start != file::private_start(Private::Leaves) {
                let _ = sys::advise(start, bytes, libc::MADV_HUGEPAGE);
            }
            // SAFETY: just mapped.
            unsafe { self.index.back(step) };
        }
        backed
    }

    /// Sees to it that so many insertions will find room. False: there is none, and the header
    /// says so. `None`: another thread makes the file grow at this moment.
    pub(super) fn reserve(&mut self, insertions: usize) -> Option<bool> {
        if !self.reserve_index(insertions) {
            file::header().limits.fetch_or(limit::MAPPING, Relaxed);
            return Some(false);
        }
        let fresh = insertions.saturating_sub(self.free_count as usize);
        let reserved = self.reserve_file(fresh).map(|made| made && self.populate(fresh));
        if reserved == Some(false) {
            file::header().limits.fetch_or(limit::TABLE, Relaxed);
        }
        reserved
    }

    /// Makes room for so many more blocks than there are, as far as there is some.
    pub(super) fn make_room(&mut self, entries: usize) {
        /// Leaves are fuller than this when they are split.
        const ENTRIES_A_LEAF: usize = 64;
        let leaves = entries / ENTRIES_A_LEAF + 2 * super::net::FULL;
        // Whatever of this fails is found out again when a fold needs it.
        let _ = self.reserve_index(leaves) && self.reserve_file(entries) == Some(true);
    }

    /// Room in the file for so many entries that were never used. `None`: another thread
    /// grows the file at this moment.
    fn reserve_file(&mut self, fresh: usize) -> Option<bool> {
        let spare = (self.capacity - self.used) as usize;
        let missing = fresh.saturating_sub(spare) as u64 * ENTRY_BYTES as u64;
        if missing == 0 {
            return Some(true);
        }
        let share = (self.bytes / GROWTH_SHARE).max(MIN_GROWTH);
        // Where the disk is nearly full, what is needed may fit when more does not.
        for bytes in [missing.max(share), missing] {
            let bytes = bytes.next_multiple_of(PAGE);
            if file::grow(Area::Base, || bytes, |_| ())? {
                self.bytes += bytes;
                self.capacity = (self.bytes / ENTRY_BYTES as u64).min(MAX_ENTRIES) as u32;
                return Some(true);
            }
        }
        Some(false)
    }

    /// Touches what these will need. False: the room is not there after all, as on file
    /// systems that compress or copy on write; touching it later would be SIGBUS.
    fn populate(&mut self, fresh: usize) -> bool {
        let end = (self.used as usize + fresh) * ENTRY_BYTES;
        while self.populated < end {
            let step = POPULATE_BYTES.min(self.bytes as usize - self.populated);
            if let Err(libc::EFAULT) =
                sys::advise(self.start + self.populated, step, libc::MADV_POPULATE_WRITE)
            {
                return false;
            }
            self.populated += step;
        }
        true
    }

    /// Asks for the cache lines by which an address is found.
    #[inline(always)]
    pub(super) fn foresee(&self, address: u64) {
        self.index.foresee(hash(address));
    }

    /// The entry that an address probably has, without a look at the entry itself, whose cache
    /// lines are asked for.
    #[inline(always)]
    pub(super) fn suppose(&self, address: u64) -> Option<u32> {
        let number = self.index.find(hash(address), |_| true)?;
        let start = self.cell(number) as *const EntryCell as usize;
        prefetch(start);
        // What is read of it reaches into the next line in one case of four.
        if start % CACHE_LINE > CACHE_LINE - READ_BYTES {
            prefetch(start + READ_BYTES);
        }
        Some(number)
    }

    /// The entry of an address, given what [`Table::suppose`] said.
    #[inline(always)]
    pub(super) fn find(&self, address: u64, supposed: Option<u32>) -> Option<u32> {
        let is_it = |number: u32| base::address(self.cell(number).key()) == address;
        match supposed {
            Some(number) if !is_it(number) => self.index.find(hash(address), is_it),
            supposed => supposed,
        }
    }

    /// An entry's size and thread.
    #[inline]
    pub(super) fn size_and_thread(&self, number: u32) -> (u64, u32) {
        self.cell(number).size_and_thread()
    }

    /// An entry's words.
    pub(super) fn words(&self, number: u32) -> Words {
        self.cell(number).words()
    }

    /// Adds a block that is not there, for which room was reserved.
    #[inline]
    pub(super) fn insert(&mut self, address: u64, words: &Words) {
        let number = match self.free.checked_sub(1) {
            Some(number) => {
                self.free = self.cell(number as u32).next();
                self.free_count -= 1;
                number as u32
            }
            None => {
                self.used += 1;
                self.used - 1
            }
        };
        self.cell(number).fill_words(words);
        self.index.insert(hash(address), number);
    }

    /// Puts the block of another address in an entry's place: one access for two.
    #[inline]
    pub(super) fn supersede(
        &mut self,
        (number, address): (u32, u64),
        (new_address, words): (u64, &Words),
    ) {
        self.index.remove(hash(address), number);
        self.cell(number).fill_words(words);
        self.index.insert(hash(new_address), number);
    }

    /// Puts another block of the same address in an entry's place.
    pub(super) fn replace(&mut self, number: u32, words: &Words) {
        self.cell(number).fill_words(words);
    }

    /// Takes the block of an address out.
    #[inline]
    pub(super) fn remove(&mut self, number: u32, address: u64) {
        self.index.remove(hash(address), number);
        self.cell(number).free(self.free);
        self.free = number as u64 + 1;
        self.free_count += 1;
    }
}
