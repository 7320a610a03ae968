//! The base table: the blocks that were live at the cut.
//!
//! When the ring is full its oldest events are *folded*: their effect goes into this table,
//! and their chunks are used again. The [cut](crate::header::Cut) says up to where; base and
//! ring together replay exactly.
//!
//! The area is an array of entries, in no order. Each block has one entry; an entry whose
//! first word is 0 is free. An entry is written first word last, and freed by zeroing that
//! word, so whatever moment a writer dies at, each entry is there whole or not at all.
//!
//! ```text
//!  0  address  u64   53 bits of address / 16, 4 bits its rest, 1 zeroed, 6 alignment (log2)
//!  8  birth    u64   stamp of the acquisition (in a free entry: the next free one)
//! 16  size     u64   what was asked for, in bytes
//! 24  stack    u32   call stack, 0 = not known
//! 28  thread   u32   index of the thread that acquired it
//! 32  usable   u64   usable bytes + 1, where the rule does not give them, else 0
//! 40  pool     u32   0 = the allocator itself
//! 44  mapped   u32   (bytes from the start of the block's own mapping) / 16 + 1, or 0
//! ```

use crate::Stamp;
use crate::event::{Acquire, Flags};
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 48;

const UNIT_BITS: u32 = 53;
const UNITS: u64 = (1 << UNIT_BITS) - 1;
const ZEROED: u64 = 1 << 57;
const ALIGN_SHIFT: u32 = 58;

/// A live block, as the table keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// When it was acquired.
    pub birth: Stamp,
    /// The thread that acquired it, by index.
    pub thread: u32,
    /// The acquisition. Of its flags only [`Flags::ZEROED`] is kept.
    pub block: Acquire,
}

/// The first word of the entry of a block: never 0 for an address that is not null.
#[inline]
pub const fn key(address: u64, zeroed: bool, align_log2: u8) -> u64 {
    (address >> 4 & UNITS)
        | (address & 15) << UNIT_BITS
        | if zeroed { ZEROED } else { 0 }
        | (align_log2 as u64) << ALIGN_SHIFT
}

/// The address in an entry's first word.
#[inline]
pub const fn address(key: u64) -> u64 {
    (key & UNITS) << 4 | (key >> UNIT_BITS & 15)
}

/// An entry as its words.
pub type Words = [u64; 6];

/// The words of a block of which there is nothing rare to say: when it came, its thread and
/// its call stack.
#[inline(always)]
pub const fn plain_words(address: u64, size: u64, came: (Stamp, u32, u32)) -> Words {
    let (birth, thread, stack) = came;
    [key(address, false, 0), birth, size, stack as u64 | (thread as u64) << 32, 0, 0]
}

/// The stamp of the acquisition.
#[inline(always)]
pub const fn birth(words: &Words) -> Stamp {
    words[1]
}

/// What was asked for, in bytes.
#[inline(always)]
pub const fn size(words: &Words) -> u64 {
    words[2]
}

/// The thread that acquired the block, by index.
#[inline(always)]
pub const fn thread(words: &Words) -> u32 {
    (words[3] >> 32) as u32
}

impl Entry {
    /// The words of the entry.
    #[inline]
    pub fn words(&self) -> Words {
        let block = &self.block;
        let units = block.mapped_offset.map_or(0, |offset| (offset >> 4).saturating_add(1));
        [
            key(block.address, block.flags.has(Flags::ZEROED), block.align_log2),
            self.birth,
            block.size,
            block.stack as u64 | (self.thread as u64) << 32,
            block.usable.map_or(0, |usable| usable.wrapping_add(1)),
            // An offset of 64 GiB and more is kept as if there were none.
            block.pool as u64 | if units >> 32 == 0 { units << 32 } else { 0 },
        ]
    }

    /// The entry in `words`; `None` if it is free.
    pub fn from_words(words: Words) -> Option<Entry> {
        let [key, birth, size, stack_and_thread, usable, pool_and_mapped] = words;
        let block = Acquire {
            address: address(key),
            size,
            flags: if key & ZEROED != 0 { Flags::ZEROED } else { Flags::NONE },
            align_log2: (key >> ALIGN_SHIFT) as u8,
            usable: usable.checked_sub(1),
            mapped_offset: (pool_and_mapped >> 32).checked_sub(1).map(|units| units << 4),
            stack: stack_and_thread as u32,
            pool: pool_and_mapped as u32,
        };
        let thread = (stack_and_thread >> 32) as u32;
        (key != 0).then_some(Entry { birth, thread, block })
    }

    /// The entry at the start of `bytes`; `None` if it is free or cut off.
    pub fn read(bytes: &[u8]) -> Option<Entry> {
        let bytes = bytes.get(..ENTRY_BYTES)?;
        let mut words = [0; 6];
        for (word, raw) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(raw.try_into().unwrap_or([0; 8]));
        }
        Entry::from_words(words)
    }
}

/// An entry as the writer sees it in mapped memory. One writer at a time.
#[derive(Debug, Default)]
#[repr(C)]
pub struct EntryCell {
    words: [AtomicU64; 6],
}

const _: () = assert!(size_of::<EntryCell>() == ENTRY_BYTES);

impl EntryCell {
    /// Fills a free entry, or replaces one of the same address.
    pub fn fill(&self, entry: &Entry) {
        self.fill_words(&entry.words());
    }

    /// The same, with the entry's words.
    #[inline]
    pub fn fill_words(&self, words: &Words) {
        self.words[1].store(words[1].to_le(), Ordering::Relaxed);
        self.words[2].store(words[2].to_le(), Ordering::Relaxed);
        self.words[3].store(words[3].to_le(), Ordering::Relaxed);
        self.words[4].store(words[4].to_le(), Ordering::Relaxed);
        self.words[5].store(words[5].to_le(), Ordering::Relaxed);
        self.words[0].store(words[0].to_le(), Ordering::Release);
    }

    /// Frees the entry. `next` is for the writer to keep: readers skip it.
    pub fn free(&self, next: u64) {
        self.words[0].store(0, Ordering::Relaxed);
        self.words[1].store(next.to_le(), Ordering::Release);
    }

    /// What [`EntryCell::free`] kept.
    pub fn next(&self) -> u64 {
        u64::from_le(self.words[1].load(Ordering::Relaxed))
    }

    /// The first word; 0 = free.
    #[inline]
    pub fn key(&self) -> u64 {
        u64::from_le(self.words[0].load(Ordering::Relaxed))
    }

    /// The entry's size, and the thread that acquired its block.
    #[inline]
    pub fn size_and_thread(&self) -> (u64, u32) {
        let size = u64::from_le(self.words[2].load(Ordering::Relaxed));
        (size, (u64::from_le(self.words[3].load(Ordering::Relaxed)) >> 32) as u32)
    }

    /// The entry's words.
    pub fn words(&self) -> Words {
        core::array::from_fn(|at| u64::from_le(self.words[at].load(Ordering::Relaxed)))
    }
}
