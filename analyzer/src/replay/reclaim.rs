//! What glibc can have done with freed blocks, as far as sizes tell.
//!
//! Freed chunks of up to 128 bytes go to fast bins (malloc/malloc.c, DEFAULT_MXFAST), where
//! they still count as in use: their neighbours cannot be merged over them, and the top cannot
//! be trimmed below them. They are merged when a chunk of at least 1,024 bytes is asked for, or
//! when a free makes one of 64 KiB (FASTBIN_CONSOLIDATION_THRESHOLD). Counting over all arenas
//! together can only find too few: a large request in one arena leaves the others as they are.

use super::Block;
use fragtrace_format::Stamp;
use std::hint::select_unpredictable;

/// Usable bytes of the largest chunk that goes to a fast bin by default.
const MOST_FAST_USABLE: u64 = 120;
/// The least request that is sure to get past the thread cache and to merge fast chunks.
const LEAST_MERGING: u64 = 1033;
/// A free chunk of this size merges them too.
const LEAST_MERGED: u64 = 64 << 10;
/// Blocks of this size have mappings of their own, to begin with (DEFAULT_MMAP_THRESHOLD).
const LEAST_LARGE: u64 = 128 << 10;
/// Freed mappings of up to this size raise the thresholds (DEFAULT_MMAP_THRESHOLD_MAX).
const MOST_RAISING: u64 = 32 << 20;

/// Of frees and requests so far, what the state of the bins follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaim {
    /// Blocks of fast sizes that were freed since these were last merged, less those asked for.
    pub fast_chunks: u64,
    /// The largest block with its own mapping that was freed and could raise the thresholds.
    pub largest_mapped_freed: u64,
    /// The call stack that block was acquired at, and when.
    pub raised_by: (u32, Stamp),
    /// Blocks of 128 KiB and more that came from a heap after that, live now.
    pub large_bytes: u64,
    /// The most of these at once.
    pub most_large_bytes: u64,
}

impl Reclaim {
    #[inline]
    pub(super) fn acquired(&mut self, block: &Block) {
        let size = block.size;
        let fast = self.fast_chunks.saturating_sub(u64::from(size <= MOST_FAST_USABLE));
        self.fast_chunks = select_unpredictable(size >= LEAST_MERGING, 0, fast);
        if size >= LEAST_LARGE && !block.own_mapping && self.largest_mapped_freed > 0 {
            self.large_bytes += size;
            self.most_large_bytes = self.most_large_bytes.max(self.large_bytes);
        }
    }

    #[inline]
    pub(super) fn released(&mut self, block: &Block) {
        if block.size >= LEAST_LARGE && !block.own_mapping {
            self.large_bytes = self.large_bytes.saturating_sub(block.size);
        }
        let Some(usable) = block.usable else { return };
        if usable <= MOST_FAST_USABLE {
            self.fast_chunks += 1;
        } else if block.own_mapping {
            if usable <= MOST_RAISING && usable > self.largest_mapped_freed {
                self.largest_mapped_freed = usable;
                self.raised_by = (block.stack, block.birth);
            }
        } else if usable >= LEAST_MERGED {
            self.fast_chunks = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(usable: u64, own_mapping: bool) -> Block {
        let (size, usable) = (usable, Some(usable));
        Block { size, usable, extent: 0..0, birth: 0, thread: 0, stack: 0, own_mapping }
    }

    #[test]
    fn fast_chunks_stay_until_a_large_request_merges_them() {
        let mut reclaim = Reclaim::default();
        (0..10).for_each(|_| reclaim.released(&block(120, false)));
        reclaim.released(&block(136, false));
        reclaim.acquired(&block(64, false));
        assert_eq!(reclaim.fast_chunks, 9);
        reclaim.acquired(&block(1032, false));
        assert_eq!(reclaim.fast_chunks, 9, "the thread cache may serve that");
        reclaim.acquired(&block(1033, false));
        assert_eq!(reclaim.fast_chunks, 0);
        reclaim.released(&block(24, false));
        reclaim.released(&block(64 << 10, false));
        assert_eq!(reclaim.fast_chunks, 0, "a large free chunk merges them");
    }

    #[test]
    fn only_mappings_within_bounds_raise_the_thresholds() {
        let mut reclaim = Reclaim::default();
        reclaim.released(&block(1 << 20, false));
        reclaim.released(&block(33 << 20, true));
        assert_eq!(reclaim.largest_mapped_freed, 0);
        reclaim.released(&block(3 << 20, true));
        reclaim.released(&block(2 << 20, true));
        assert_eq!(reclaim.largest_mapped_freed, 3 << 20);
    }

    #[test]
    fn large_blocks_from_a_heap_count_once_a_threshold_was_raised() {
        let mut reclaim = Reclaim::default();
        let large = block(LEAST_LARGE, false);
        reclaim.acquired(&large);
        reclaim.released(&block(1 << 20, true));
        reclaim.acquired(&large);
        reclaim.acquired(&large);
        reclaim.released(&large);
        reclaim.acquired(&block(LEAST_LARGE - 1, false));
        assert_eq!((reclaim.large_bytes, reclaim.most_large_bytes), (LEAST_LARGE, 2 * LEAST_LARGE));
    }
}
