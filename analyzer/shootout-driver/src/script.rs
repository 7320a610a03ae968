//! The script: what the driver does, step by step, in words of 64 bits.
//!
//! ```text
//!  bit  0    4            32                              64
//!      ┌────┬────────────┬───────────────────────────────┐
//!      │ op │ slot       │ value                         │
//!      └────┴────────────┴───────────────────────────────┘
//! ```
//!
//! A slot is where the driver keeps a block's address; slots of blocks that are gone are used
//! again. Behind [`Op::Large`] stand two more words: the size, and the part of the block that is
//! to be written, in units of 4 KiB: from (low half) and to (high half). [`Op::Clock`] and
//! [`Op::Jump`] have a value of 60 bits from bit 4 on. In front of all that stands a [`Head`].
//!
//! Where stand-ins take turns, steps stand in the order in which they are done. Where they run
//! freely, each has its own steps, in pieces that end in [`Op::Jump`]s to the next piece or in
//! [`Op::Done`], and a directory says where each one's first piece is.
//!
//! ```text
//!  Head │ steps of 0, Jump ─┐ │ steps of 1, Done │ ◄─┘ steps of 0, Done │ directory: 0 ►, 1 ►
//! ```
//!
//! Example: `malloc(100)` into slot 7 is `100 << 32 | 7 << 4 | 1`.

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Op {
    /// The script is over.
    Done = 0,
    /// malloc of `value` bytes, all of which are written.
    Malloc = 1,
    /// calloc of `value` bytes, all of which are written.
    Calloc = 2,
    /// free.
    Free = 3,
    /// realloc to `value` bytes, all of which are written.
    Realloc = 4,
    /// Something about a block of which size, alignment or written part need more words:
    /// `value` is a [`Large`], and the alignment as a power of two from bit 8 on.
    Large = 5,
    /// The stand-in `value` goes on.
    Turn = 6,
    /// The stand-in `value`, not the one whose turn it is, ends.
    End = 7,
    /// So many nanoseconds have passed since the recording began.
    Clock = 8,
    /// Reads the kernel's figures into sample `value`.
    Sample = 9,
    /// The program has its allocator give back what is free, in the way that `value` says, a
    /// [`Trim`]; another allocator knows nothing of it.
    Trim = 10,
    /// A block of `value` bytes from the driver's pool, all of which are written.
    PoolMalloc = 11,
    /// The block of `value` bytes goes back to the pool.
    PoolFree = 12,
    /// Waits until the slot has [counted](handlings) up to `value`: another stand-in had it last.
    Await = 13,
    /// The stand-in's steps go on at this word of the script.
    Jump = 14,
}

/// What [`Op::Large`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Large {
    /// malloc, or an aligned allocation.
    Malloc = 0,
    /// calloc.
    Calloc = 1,
    /// realloc.
    Realloc = 2,
    /// Nothing is called, more of the block is written.
    Touch = 3,
}

/// What [`Op::Trim`] calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Trim {
    /// malloc_trim(0), which is glibc's.
    Glibc = 0,
    /// mallctl("arena.4096.purge"), which is jemalloc's.
    Jemalloc = 1,
}

/// Bits of a slot's number: more blocks than that cannot be live at once.
pub const SLOT_BITS: u32 = 28;
const SLOT_SHIFT: u32 = 4;
const VALUE_SHIFT: u32 = 32;
/// The unit in which written parts are told.
pub const TOUCH_UNIT: u64 = 4096;
/// The written part reaches to the last byte.
pub const TO_THE_END: u32 = u32::MAX;

/// A step's first word.
pub const fn word(op: Op, slot: u32, value: u32) -> u64 {
    op as u64 | (slot as u64) << SLOT_SHIFT | (value as u64) << VALUE_SHIFT
}

/// A step that tells the time.
pub const fn clock_word(elapsed_ns: u64) -> u64 {
    Op::Clock as u64 | elapsed_ns << SLOT_SHIFT
}

/// A step that goes on elsewhere.
pub const fn jump_word(place: u64) -> u64 {
    Op::Jump as u64 | place << SLOT_SHIFT
}

/// How often a step, of which this is the first word, has its slot count: when a block is put into
/// it, taken out of it, or written to.
pub const fn handlings(word: u64) -> u32 {
    match op(word) {
        Some(Op::Realloc) => 2,
        Some(Op::Large) => match large(value(word)) {
            Some((Large::Realloc, _)) => 2,
            _ => 1,
        },
        Some(Op::Malloc | Op::Calloc | Op::Free | Op::PoolMalloc | Op::PoolFree) => 1,
        _ => 0,
    }
}

/// The value of a step of [`Op::Large`].
pub const fn large_value(what: Large, align_log2: u8) -> u32 {
    what as u32 | (align_log2 as u32) << 8
}

/// The word that tells a written part.
pub const fn part_word(from: u32, to: u32) -> u64 {
    from as u64 | (to as u64) << VALUE_SHIFT
}

/// A word taken apart again; `None`: no step.
pub const fn op(word: u64) -> Option<Op> {
    Some(match word & 15 {
        0 => Op::Done,
        1 => Op::Malloc,
        2 => Op::Calloc,
        3 => Op::Free,
        4 => Op::Realloc,
        5 => Op::Large,
        6 => Op::Turn,
        7 => Op::End,
        8 => Op::Clock,
        9 => Op::Sample,
        10 => Op::Trim,
        11 => Op::PoolMalloc,
        12 => Op::PoolFree,
        13 => Op::Await,
        14 => Op::Jump,
        _ => return None,
    })
}

/// The slot of a step.
pub const fn slot(word: u64) -> u32 {
    (word >> SLOT_SHIFT) as u32 & ((1 << SLOT_BITS) - 1)
}

/// The value of a step; of [`Op::Clock`] see [`elapsed_ns`].
pub const fn value(word: u64) -> u32 {
    (word >> VALUE_SHIFT) as u32
}

/// The time that a step of [`Op::Clock`] tells.
pub const fn elapsed_ns(word: u64) -> u64 {
    word >> SLOT_SHIFT
}

/// Where a step of [`Op::Jump`] goes on.
pub const fn place(word: u64) -> u64 {
    word >> SLOT_SHIFT
}

/// What a step of [`Op::Large`] does, and the alignment as a power of two.
pub const fn large(value: u32) -> Option<(Large, u8)> {
    let what = match value & 255 {
        0 => Large::Malloc,
        1 => Large::Calloc,
        2 => Large::Realloc,
        3 => Large::Touch,
        _ => return None,
    };
    Some((what, (value >> 8) as u8))
}

/// What stands in front of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Slots that the steps use.
    pub slots: u64,
    /// Stand-ins that the steps use; the first is the process's first thread.
    pub stand_ins: u64,
    /// Samples that the steps take.
    pub samples: u64,
    /// Whether pauses are waited for, and the real clock is shown.
    pub real_time: bool,
    /// Where stand-ins run freely: the word of the script from which on a word each says where its
    /// steps begin. 0: they take turns.
    pub directory: u64,
}

const MAGIC: u64 = u64::from_le_bytes(*b"ftscript");

impl Head {
    /// Words that it takes.
    pub const WORDS: usize = 6;

    /// As it stands in the file.
    pub const fn words(&self) -> [u64; Self::WORDS] {
        let Head { slots, stand_ins, samples, real_time, directory } = *self;
        [MAGIC, slots, stand_ins, samples, real_time as u64, directory]
    }

    /// Taken apart again; `None`: this is no script.
    pub fn read(words: [u64; Self::WORDS]) -> Option<Head> {
        let [magic, slots, stand_ins, samples, real_time, directory] = words;
        let sound = magic == MAGIC && slots <= 1 << SLOT_BITS && stand_ins > 0;
        let real_time = real_time != 0;
        sound.then_some(Head { slots, stand_ins, samples, real_time, directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back_as_they_went_in() {
        for number in 0..15 {
            let known = op(number).expect("a step");
            let packed = word(known, (1 << SLOT_BITS) - 1, u32::MAX - 1);
            assert_eq!(op(packed), Some(known));
            assert_eq!((slot(packed), value(packed)), ((1 << SLOT_BITS) - 1, u32::MAX - 1));
        }
        assert_eq!(op(15), None);
        assert_eq!(word(Op::Malloc, 7, 100), 100 << 32 | 7 << 4 | 1);
        let years = 30 * 366 * 86_400_000_000_000;
        assert_eq!(elapsed_ns(clock_word(years)), years);
        assert_eq!((op(jump_word(1 << 40)), place(jump_word(1 << 40))), (Some(Op::Jump), 1 << 40));
        assert_eq!(large(large_value(Large::Touch, 21)), Some((Large::Touch, 21)));
    }

    #[test]
    fn a_head_is_told_from_other_bytes() {
        let head = Head { slots: 5, stand_ins: 1, samples: 9, real_time: true, directory: 70 };
        assert_eq!(Head::read(head.words()), Some(head));
        assert_eq!(Head::read([0; Head::WORDS]), None);
    }
}
