//! Size classes: what an allocator gives for what is asked, as far as it was asked about.
//!
//! With [`UsableRule::ByClass`](crate::record::UsableRule) usable bytes are a function of the
//! size, in steps: all sizes from one that was asked about up to its usable bytes are of its
//! class. Sizes are taken in eights, as no allocator's steps are finer. Where an allocator
//! keeps to the byte what was asked for, one entry says so of all sizes.
//!
//! The area is an array of entries, in the order in which they were learnt.
//!
//! ```text
//!  0  size    u64   what was asked for; all ones: of any size just that may be used
//!  8  usable  u64   what may be used of it; written last, 0 = the entry is not there
//! ```

use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 16;
/// Sizes above are asked about each time.
pub const MAX_SIZE: u64 = 64 << 10;
/// Classes of sizes that are told apart: eights, and zero.
pub const STEPS: usize = (MAX_SIZE / STEP_BYTES) as usize + 1;

const STEP_BYTES: u64 = 8;
const EXACT: u64 = u64::MAX;

/// Which step a size of at most [`MAX_SIZE`] is on.
#[inline(always)]
pub const fn step(size: u64) -> usize {
    size.div_ceil(STEP_BYTES) as usize
}

/// What was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// Of so many bytes asked for, so many may be used.
    Class {
        /// Asked for, at most [`MAX_SIZE`].
        size: u64,
        /// A multiple of 8, at least `size`.
        usable: u64,
    },
    /// Of any size just what was asked for may be used.
    Exact,
}

impl Learnt {
    /// What an answer means; `None`: nothing that would hold for other sizes.
    pub const fn from(size: u64, usable: u64) -> Option<Learnt> {
        if usable == size && !size.is_multiple_of(STEP_BYTES) {
            return Some(Learnt::Exact);
        }
        let sound = size <= MAX_SIZE && usable >= size && usable.is_multiple_of(STEP_BYTES);
        if sound && usable > 0 { Some(Learnt::Class { size, usable }) } else { None }
    }

    /// The entry at the start of `bytes`; `None` if it is not there, or makes no sense.
    pub fn read(bytes: &[u8]) -> Option<Learnt> {
        let bytes = bytes.get(..ENTRY_BYTES)?;
        let word = |at: usize| {
            let raw = bytes[at..at + 8].try_into().unwrap_or([0; 8]);
            u64::from_le_bytes(raw)
        };
        match (word(0), word(8)) {
            (_, 0) => None,
            (EXACT, _) => Some(Learnt::Exact),
            (size, usable) => match Learnt::from(size, usable) {
                Some(class @ Learnt::Class { .. }) => Some(class),
                _ => None,
            },
        }
    }
}

/// An entry as the writer sees it in mapped memory.
#[derive(Debug, Default)]
#[repr(C)]
pub struct EntryCell {
    size: AtomicU64,
    usable: AtomicU64,
}

const _: () = assert!(size_of::<EntryCell>() == ENTRY_BYTES);

impl EntryCell {
    /// Fills the entry, once.
    pub fn fill(&self, learnt: Learnt) {
        let (size, usable) = match learnt {
            Learnt::Class { size, usable } => (size, usable),
            Learnt::Exact => (EXACT, 1),
        };
        self.size.store(size.to_le(), Ordering::Relaxed);
        self.usable.store(usable.to_le(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(learnt: Learnt) -> Option<Learnt> {
        let cell = EntryCell::default();
        cell.fill(learnt);
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&cell.size.load(Ordering::Relaxed).to_ne_bytes());
        bytes[8..].copy_from_slice(&cell.usable.load(Ordering::Relaxed).to_ne_bytes());
        Learnt::read(&bytes)
    }

    #[test]
    fn what_was_learnt_reads_as_it_was_written() {
        for learnt in [Learnt::Exact, Learnt::Class { size: 100, usable: 112 }] {
            assert_eq!(read_back(learnt), Some(learnt));
        }
        assert_eq!(Learnt::read(&[0; ENTRY_BYTES]), None);
    }

    #[test]
    fn an_answer_that_holds_for_no_other_size_teaches_nothing() {
        assert_eq!(Learnt::from(100, 112), Some(Learnt::Class { size: 100, usable: 112 }));
        assert_eq!(Learnt::from(101, 101), Some(Learnt::Exact));
        // Either of a class, or to the byte.
        assert_eq!(Learnt::from(104, 104), Some(Learnt::Class { size: 104, usable: 104 }));
        assert_eq!(Learnt::from(100, 109), None);
        assert_eq!(Learnt::from(100, 96), None);
        assert_eq!(Learnt::from(MAX_SIZE + 1, MAX_SIZE + 8), None);
        assert_eq!(Learnt::from(0, 0), None);
    }

    #[test]
    fn sizes_up_to_a_multiple_of_eight_are_on_its_step() {
        assert_eq!([0, 1, 8, 9, 16].map(step), [0, 1, 1, 2, 2]);
        assert_eq!(step(MAX_SIZE), STEPS - 1);
    }
}
