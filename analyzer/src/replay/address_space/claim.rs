//! Inferring regions from blocks: where a block lies, there is heap.
//!
//! Of glibc it is known how heaps are laid out (malloc/malloc.c and arena.c, 2.10 to 2.42):
//! the main arena grows by brk, others live in heaps of 64 MiB at addresses that are
//! multiples of that, reserved without access and made accessible from the start on. Of
//! other allocators nothing is assumed: the mapping that the kernel showed there counts, or
//! the block's own pages until the next look.

use super::region::{Kind, Region};
use super::{AddressSpace, MAX_ADDRESS};
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use crate::read::Mapping;
use fragtrace_format::event::half;
use std::ops::Range;

/// A block this far behind the known end of brk still is in the brk heap: another thread
/// moved the end, and has not said so yet.
const BRK_SLACK_BYTES: u64 = 64 << 20;

/// glibc takes blocks from a heap's low end up. What lies below the first one is its own:
/// in an arena heap heap_info (32 bytes, from 2.35 on 48) and malloc_state (about 2,200),
/// in every heap the first thread's tcache_perthread_struct (592 bytes from 2.26 on, 656
/// from 2.30 on). More than two pages can only mean that the first blocks were not seen.
const MAX_HEAD_BYTES: u64 = 8 << 10;

impl AddressSpace {
    /// Sees to it that all pages of a block lie in accessible heap.
    pub(super) fn claim(&mut self, pages: &Range<u64>, extent: &Range<u64>) {
        let mut at = pages.start;
        while at < pages.end {
            match self.regions.at(at) {
                Some((_, region)) if region.kind == Kind::Mapping => {
                    for range in self.regions.adopt(at) {
                        self.copy_scanned(&range);
                    }
                }
                Some((_, region)) => {
                    if !region.accessible {
                        self.regions.set_access(&(at..region.end.min(pages.end)), true);
                    }
                    at = region.end;
                }
                None => {
                    let next = self.regions.next_from(at).map_or(u64::MAX, |(start, _)| start);
                    let gap = at..next.min(pages.end);
                    at = gap.end;
                    self.infer(&gap, extent);
                    self.copy_scanned(&gap);
                }
            }
        }
    }

    /// Makes a region around pages of which nothing is known.
    fn infer(&mut self, pages: &Range<u64>, extent: &Range<u64>) {
        if self.glibc && self.brk.is_none() && half(pages.start) == 0 {
            // glibc moves brk at its first block, so a first look may have found none. The
            // kernel puts it behind the program, far from where it puts mappings.
            self.brk = Some(pages.clone());
        }
        if self.brk.as_ref().is_some_and(|brk| {
            pages.start >= brk.start && pages.start < brk.end.saturating_add(BRK_SLACK_BYTES)
        }) {
            self.infer_brk(pages, extent);
        } else if self.arena_heaps {
            self.infer_arena(pages, extent);
        } else {
            self.infer_segment(pages);
        }
    }

    fn infer_brk(&mut self, pages: &Range<u64>, extent: &Range<u64>) {
        let Some(brk) = self.brk.as_mut() else { return };
        brk.end = brk.end.max(pages.end);
        let brk = brk.clone();
        let mapping = self.regions.new_mapping();
        let region = Region { end: brk.end, kind: Kind::Brk, accessible: true, mapping };
        self.regions.put(brk.start, region);
        if self.glibc && !std::mem::replace(&mut self.brk_begun, true) {
            self.arenas.has_main = true;
            self.copy_scanned(&brk);
            self.set_head(brk.start, extent.start);
        }
    }

    fn infer_arena(&mut self, pages: &Range<u64>, extent: &Range<u64>) {
        let start = pages.start & !(ARENA_HEAP_BYTES - 1);
        let heap = start..start.saturating_add(ARENA_HEAP_BYTES).min(MAX_ADDRESS);
        if !self.regions.within(&heap).is_empty() || pages.end > heap.end {
            // Something else is there: the main arena, on a mapping because brk failed.
            self.arenas.has_main = true;
            return self.infer_segment(pages);
        }
        let mapping = self.regions.new_mapping();
        let kind = Kind::Arena;
        self.regions.put(start, Region { end: heap.end, kind, accessible: false, mapping });
        self.regions.set_access(&(start..pages.end), true);
        self.arenas.add(start);
        self.copy_scanned(&heap);
        self.set_head(start, extent.start);
    }

    /// The mapping that the last look saw there, or just the pages.
    fn infer_segment(&mut self, pages: &Range<u64>) {
        let above = self.regions.next_from(pages.start).map_or(u64::MAX, |(start, _)| start);
        let below = match self.regions.before(pages.start) {
            Some((start, region)) if region.end == pages.start && region.mapping == INFERRED => {
                // One more page of what was inferred before.
                return self.regions.put(start, Region { end: pages.end, ..region });
            }
            Some((_, region)) => region.end,
            None => 0,
        };
        let (bounds, kind, mapping) = match segment_at(&self.seen, pages.start) {
            Some(found) => {
                let kind = if &*found.name == "[heap]" { Kind::Brk } else { Kind::Segment };
                let bounds = found.start.max(below)..found.end.min(above).max(pages.end);
                (bounds, kind, self.regions.new_mapping())
            }
            None => (pages.clone(), Kind::Segment, INFERRED),
        };
        self.regions.put(bounds.start, Region { end: bounds.end, kind, accessible: true, mapping });
        self.copy_scanned(&bounds);
    }

    /// Marks what the allocator keeps below the first block of a heap as covered.
    fn set_head(&mut self, start: u64, first_extent: u64) {
        let bytes = first_extent.saturating_sub(start);
        if bytes == 0 || bytes > MAX_HEAD_BYTES || self.heads.contains_key(&start) {
            return;
        }
        self.heads.insert(start, bytes);
        self.head_bytes += bytes;
        let head = start..first_extent;
        self.space.cover(head.clone());
        self.space.guard(head);
    }

    /// A block lies below what was taken for a heap's first: the head is shorter.
    pub(super) fn shrink_head(&mut self, extent: &Range<u64>) {
        let Some((start, bytes)) = self.heads.range_mut(..=extent.start).next_back() else {
            return;
        };
        let end = *start + *bytes;
        if extent.start < end {
            *bytes = extent.start - *start;
            self.head_bytes -= end - extent.start;
            self.space.uncover(extent.end..end);
        }
    }

    /// A heap is gone, and its head with it.
    pub(super) fn forget_heads(&mut self, range: &Range<u64>) {
        let gone: Vec<(u64, u64)> =
            self.heads.range(range.clone()).map(|(start, bytes)| (*start, *bytes)).collect();
        for (start, bytes) in gone {
            self.heads.remove(&start);
            self.head_bytes -= bytes;
            self.space.uncover(start..start + bytes);
        }
    }
}

/// The mapping that is an allocator's own, as a block lies in it. Not the zeroed part of an
/// object, which follows the pages that its file has: musl's loader hands malloc what is left over
/// at the ends of those (ldso/dynlink.c of 1.2, `reclaim_gaps`), and no more of it is heap.
pub(super) fn segment_at(seen: &[Mapping], address: u64) -> Option<&Mapping> {
    let at = seen.partition_point(|mapping| mapping.end <= address);
    let found = seen.get(at).filter(|mapping| {
        mapping.start <= address && mapping.private_anonymous && mapping.accessible
    })?;
    let before = at.checked_sub(1).map(|before| &seen[before]);
    let of_object = before.is_some_and(|before| before.object_data && before.end == found.start);
    (!of_object).then_some(found)
}

/// The mapping of regions that were inferred page by page.
pub(super) const INFERRED: u64 = 0;
