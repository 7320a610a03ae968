//! Calls of malloc_trim, which no hook sees: between two looks, free pages in the middle of
//! glibc's heaps are gone, and next to none are left. Nothing else in glibc does that: it gives
//! back only tops of heaps by itself.

use crate::replay::{AddressSpace, Kind};

/// Less than this says nothing.
const LEAST_BYTES: u64 = 64 << 10;
/// So much of what was free may be left: pages that are free by now, and those that thread caches
/// hold.
const LEFT_SHARE: u64 = 8;

/// Finds these calls.
#[derive(Debug)]
pub(super) struct Trims {
    glibc: bool,
}

impl Trims {
    pub fn new(glibc: bool) -> Trims {
        Trims { glibc }
    }

    /// Whether malloc_trim was called since the look before. `held_bytes`: the footprint before
    /// this look was taken in.
    pub fn look(&self, held_bytes: u64, space: &AddressSpace) -> bool {
        let lost_bytes = held_bytes.saturating_sub(space.footprint_bytes());
        if !self.glibc || lost_bytes < LEAST_BYTES {
            return false;
        }
        let (gone_bytes, left_bytes) = free_pages(space);
        gone_bytes >= lost_bytes / 2 && left_bytes <= lost_bytes / LEFT_SHARE
    }
}

/// Pages without a live byte below the last live block of each heap: those that are gone, and
/// those that are there.
fn free_pages(space: &AddressSpace) -> (u64, u64) {
    let (mut gone, mut left) = (0, 0);
    for (heap, kind) in space.heap_regions() {
        if !matches!(kind, Kind::Brk | Kind::Arena) {
            continue;
        }
        // What is seen since the last live block is not below one yet.
        let (mut gone_since, mut left_since) = (0, 0);
        space.for_each_stretch(heap, |stretch| {
            if stretch.live_bytes > 0 {
                gone += std::mem::take(&mut gone_since);
                left += std::mem::take(&mut left_since);
            } else if stretch.touched {
                left_since += stretch.bytes;
            } else if stretch.ever {
                gone_since += stretch.bytes;
            }
        });
    }
    (gone, left)
}
