//! How far the heap's extent, as events tell it, was from the kernel's mappings at each look.
//!
//! Between looks the extent is exact where allocators map through hooked functions, and follows
//! from where blocks lie where they do not (glibc's own brk and arenas). So the drift is what a
//! figure taken right before a look could have been off by.

use fragtrace_format::Stamp;

/// Corrections of the heap's extent by looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drift {
    /// Looks that saw the kernel's mappings or the end of brk.
    pub looks: u64,
    /// Those of them that corrected something.
    pub corrected_looks: u64,
    /// Bytes that the last look added to the heap or took from it.
    pub last_bytes: u64,
    /// The most that one look did.
    pub most_bytes: u64,
    /// That look.
    pub most_stamp: Stamp,
    /// What looks did in all.
    pub total_bytes: u64,
}

impl Drift {
    /// A look begins.
    pub(super) fn begin(&mut self) {
        self.last_bytes = 0;
    }

    /// It corrected so many bytes more.
    pub(super) fn add(&mut self, bytes: u64) {
        self.last_bytes = self.last_bytes.saturating_add(bytes);
    }

    /// It is over.
    pub(super) fn end(&mut self, stamp: Stamp) {
        self.looks += 1;
        self.corrected_looks += u64::from(self.last_bytes > 0);
        self.total_bytes = self.total_bytes.saturating_add(self.last_bytes);
        if self.last_bytes > self.most_bytes {
            (self.most_bytes, self.most_stamp) = (self.last_bytes, stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_look_that_corrected_most_is_kept() {
        let mut drift = Drift::default();
        for (stamp, parts) in [(10, &[3, 4][..]), (20, &[]), (30, &[5])] {
            drift.begin();
            parts.iter().for_each(|bytes| drift.add(*bytes));
            drift.end(stamp);
        }
        let expected = Drift {
            looks: 3,
            corrected_looks: 2,
            last_bytes: 5,
            most_bytes: 7,
            most_stamp: 10,
            total_bytes: 12,
        };
        assert_eq!(drift, expected);
    }
}
