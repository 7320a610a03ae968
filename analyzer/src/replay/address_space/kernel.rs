//! What the kernel did: events of mappings, and looks at all of them.

use super::region::{Kind, Region};
use super::{AddressSpace, MAX_ADDRESS, claim};
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use crate::read::{Look, Mapping};
use std::ops::Range;
use std::sync::Arc;

/// What a mapping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A file is behind it.
    File,
    /// The allocator made it.
    Heap,
    /// Something of the program's own.
    Program,
}

/// What an unmapping took away, in case that the kernel refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    regions: Vec<(u64, Region)>,
    /// Pages of the footprint.
    touched: Vec<Range<u64>>,
}

impl AddressSpace {
    /// The pages that lie in a range of bytes, or have a part in it.
    fn clipped(&self, address: u64, bytes: u64) -> Range<u64> {
        let start = address.min(MAX_ADDRESS) & !(self.page_bytes - 1);
        let end = address.saturating_add(bytes).min(MAX_ADDRESS);
        start..end.next_multiple_of(self.page_bytes).max(start)
    }

    /// A mapping was made. What lay there before is gone, as with MAP_FIXED.
    pub fn map(&mut self, address: u64, bytes: u64, accessible: bool, purpose: Purpose) {
        let range = self.clipped(address, bytes);
        self.space.give_back(range.clone());
        self.forget_residency(&range);
        let before = self.regions.carve(&range);
        if purpose == Purpose::File || range.is_empty() {
            return;
        }
        // An allocator that maps anew inside its own segment makes heap available.
        let heap = before.iter().find(|(_, region)| region.kind == Kind::Segment);
        let (kind, mapping) = match heap {
            Some((_, region)) => (region.kind, region.mapping),
            None if purpose == Purpose::Heap => (Kind::Segment, self.regions.new_mapping()),
            None => (Kind::Mapping, self.regions.new_mapping()),
        };
        self.regions.put(range.start, Region { end: range.end, kind, accessible, mapping });
    }

    /// A range is unmapped.
    pub fn unmap(&mut self, address: u64, bytes: u64) -> Removed {
        let range = self.clipped(address, bytes);
        let mut touched: Vec<Range<u64>> = Vec::new();
        self.space.for_each_stretch(range.clone(), |stretch| {
            let end = stretch.start + stretch.bytes;
            match touched.last_mut() {
                _ if !stretch.touched => {}
                Some(last) if last.end == stretch.start => last.end = end,
                _ => touched.push(stretch.start..end),
            }
        });
        self.space.give_back(range.clone());
        self.forget_residency(&range);
        Removed { regions: self.regions.carve(&range), touched }
    }

    /// The kernel refused: all is as before.
    pub fn restore(&mut self, removed: Removed) {
        for (start, region) in removed.regions {
            self.regions.put(start, region);
        }
        for range in removed.touched {
            self.space.touch(range);
        }
    }

    /// A mapping that was removed is there again, elsewhere or with another size.
    pub fn map_again(&mut self, address: u64, bytes: u64, removed: Option<&Removed>) {
        let Some((removed, (from, before))) =
            removed.and_then(|removed| Some((removed, removed.regions.first()?)))
        else {
            let purpose = if removed.is_none() { Purpose::File } else { Purpose::Program };
            return self.map(address, bytes, true, purpose);
        };
        let range = self.clipped(address, bytes);
        self.space.give_back(range.clone());
        self.forget_residency(&range);
        self.regions.put(range.start, Region { end: range.end, ..*before });
        // Pages move with what they hold, as far as there is room for them.
        for touched in &removed.touched {
            let there = |at: u64| at.saturating_sub(*from).saturating_add(range.start);
            let part = there(touched.start)..there(touched.end).min(range.end);
            if part.start < part.end {
                self.space.touch(part);
            }
        }
    }

    /// Pages went back to the kernel; the mapping stays. `lazily`: when it needs them. madvise
    /// takes an address of a page, and rounds the length up (mm/madvise.c).
    pub fn give_back(&mut self, address: u64, bytes: u64, lazily: bool) {
        let range = self.clipped(address, bytes);
        self.space.give_back(range.clone());
        if !lazily {
            self.residency.forget(&range);
            self.space.set_resident(range, false);
        }
    }

    /// A range became accessible, or inaccessible.
    pub fn protect(&mut self, address: u64, bytes: u64, accessible: bool) {
        let range = self.clipped(address, bytes);
        self.regions.set_access(&range, accessible);
    }

    /// The brk segment ends there now.
    pub fn set_brk_end(&mut self, end: u64) {
        let end = end.min(MAX_ADDRESS).next_multiple_of(self.page_bytes);
        let before = self.brk.clone().unwrap_or(end..end);
        let brk = before.start.min(end)..end;
        if end < before.end {
            self.space.give_back(end..before.end);
            self.forget_residency(&(end..before.end));
            self.regions.carve(&(end..before.end));
        }
        self.brk = Some(brk.clone());
        if let Some((start, region)) = self.regions.at(brk.start)
            && region.kind == Kind::Brk
        {
            self.regions.put(start, Region { end, ..region });
        }
    }

    /// The kernel's own view: corrects what was inferred.
    pub fn look(&mut self, look: &Look) {
        self.drift.begin();
        if let Some(end) = look.brk_end {
            let known = self.brk.as_ref().map_or(end, |brk| brk.end);
            self.drift.add(known.abs_diff(end.next_multiple_of(self.page_bytes)));
            self.set_brk_end(end);
        }
        // Mappings that are as they were before say something new of regions that came since:
        // the look may have been in time for a heap, and its first block not.
        let whole = look.listed == Look::WHOLE;
        let seen = whole && Arc::ptr_eq(&look.mappings, &self.seen);
        let corrected = seen && self.corrected == self.regions.edits();
        if !look.mappings.is_empty() && !corrected {
            if whole {
                self.seen = look.mappings.clone();
            } else {
                self.see_part(look);
            }
            self.correct_regions(&look.listed);
            self.corrected = if whole { self.regions.edits() } else { u64::MAX };
        }
        if look.brk_end.is_some() || !look.mappings.is_empty() {
            self.drift.end(look.stamp);
        }
        for (heap, first) in &look.arena_heaps {
            self.arenas.tell(*heap, *first);
        }
        self.take_pages(look);
    }

    /// What scans of pages found, where there is heap.
    fn take_pages(&mut self, look: &Look) {
        self.residency.take(look);
        self.swapping = look.swapped != Some(0);
        for scan in &look.scans {
            for (start, region) in self.regions.within(&scan.range) {
                if region.kind.is_heap() {
                    let part = start.max(scan.range.start)..region.end.min(scan.range.end);
                    self.copy_scanned(&part);
                }
            }
        }
    }

    /// Where heap was scanned, pages in memory were touched. Those that are not were given
    /// back, or never touched: unless they are swapped out, which is not told one by one.
    pub(super) fn copy_scanned(&mut self, range: &Range<u64>) {
        let space = &mut self.space;
        for part in self.residency.scanned_in(range) {
            self.residency.for_each_run(&part, |run, resident| {
                space.set_resident(run.clone(), resident);
                if resident {
                    space.touch(run);
                } else if !self.swapping {
                    space.give_back(run);
                }
            });
        }
    }

    /// The pages of a range are not there any more.
    pub(super) fn forget_residency(&mut self, range: &Range<u64>) {
        if !self.residency.is_empty() {
            self.residency.unmap(range);
            self.space.set_resident(range.clone(), false);
        }
    }

    /// A look read a part of the list: what was seen elsewhere still holds.
    fn see_part(&mut self, look: &Look) {
        let Range { start, end } = look.listed;
        let from = self.seen.partition_point(|mapping| mapping.start < start);
        let to = self.seen.partition_point(|mapping| mapping.start < end).max(from);
        let (before, behind) = (&self.seen[..from], &self.seen[to..]);
        if before.last().is_none_or(|last| last.end <= start)
            && self.seen[from..to] == *look.mappings
        {
            return;
        }
        // What began below is none of the part's.
        let clipped =
            |mapping: &Mapping| Mapping { end: mapping.end.min(start), ..mapping.clone() };
        let before = before.iter().map(clipped);
        self.seen = before.chain(look.mappings.iter().chain(behind).cloned()).collect();
    }

    /// Corrects what lies in a part of the address space by the mappings seen there.
    fn correct_regions(&mut self, part: &Range<u64>) {
        let seen = self.seen.clone();
        let first = seen.partition_point(|mapping| mapping.start < part.start);
        let listed = seen[first..].iter().take_while(|mapping| mapping.start < part.end);
        if let Some(heap) = listed.clone().find(|mapping| &*mapping.name == "[heap]") {
            self.correct_brk_start(heap);
        }
        let known = self.regions.within(part);
        // An arena's heap is judged as a whole.
        let inside = |start: u64| start >= part.start && start + ARENA_HEAP_BYTES <= part.end;
        for (start, region) in &known {
            if region.kind == Kind::Arena && start % ARENA_HEAP_BYTES == 0 && inside(*start) {
                self.correct_arena(*start, &seen);
            }
        }
        self.correct_segments(part, &seen);
    }

    fn correct_brk_start(&mut self, heap: &Mapping) {
        let Some(brk) = self.brk.as_mut() else {
            self.brk = Some(heap.start..heap.end);
            return;
        };
        if brk.start == heap.start || heap.start >= brk.end {
            return;
        }
        let before = std::mem::replace(&mut brk.start, heap.start);
        let end = brk.end;
        if let Some((start, region)) = self.regions.at(before)
            && region.kind == Kind::Brk
            && start == before
        {
            self.drift.add(before.abs_diff(heap.start));
            self.regions.carve(&(before..end));
            self.regions.put(heap.start, region);
        }
    }

    /// An arena's heap is accessible as far as the kernel says, or is gone.
    fn correct_arena(&mut self, start: u64, seen: &[Mapping]) {
        let heap = start..start + ARENA_HEAP_BYTES;
        let first = seen.partition_point(|mapping| mapping.end <= start);
        let mut accessible_end = start;
        let mut reserved_end = start;
        for mapping in &seen[first..] {
            if mapping.start > reserved_end || reserved_end >= heap.end {
                break;
            }
            reserved_end = mapping.end.min(heap.end);
            if mapping.accessible && mapping.start <= accessible_end {
                accessible_end = reserved_end;
            }
        }
        let known = self.regions.at(start).map_or(start, |(_, region)| region.end);
        let mapping = self.regions.at(start).map_or(claim::INFERRED, |(_, region)| region.mapping);
        // Blocks are facts: where one lives, there is heap.
        let beyond = accessible_end..known.max(accessible_end);
        if self.space.live_bytes_in(beyond.clone())
            > self.heads.get(&accessible_end).copied().unwrap_or(0)
        {
            return;
        }
        self.drift.add(known.abs_diff(accessible_end));
        self.space.give_back(beyond);
        self.regions.carve(&heap);
        if accessible_end == start {
            self.forget_heads(&heap);
            self.arenas.lose(start);
            return;
        }
        let kind = if reserved_end == heap.end { Kind::Arena } else { Kind::Segment };
        let region = Region { end: accessible_end, kind, accessible: true, mapping };
        self.regions.put(start, region);
        if kind == Kind::Arena {
            let rest = Region { end: heap.end, accessible: false, ..region };
            self.regions.put(accessible_end, rest);
        } else {
            // No arena has a heap that is not reserved whole: the main arena fell back.
            self.arenas.remove(start);
            self.arenas.has_main = true;
        }
    }

    /// Segments and mappings are where the kernel has mappings, and nowhere else.
    fn correct_segments(&mut self, part: &Range<u64>, seen: &[Mapping]) {
        let mut known = self.regions.within(part);
        known.retain(|(_, region)| matches!(region.kind, Kind::Segment | Kind::Mapping));
        for (start, region) in known {
            let (from, to) = (start.max(part.start), region.end.min(part.end));
            let mut at = from;
            let first = seen.partition_point(|mapping| mapping.end <= from);
            for mapping in seen[first..].iter().take_while(|mapping| mapping.start < to) {
                self.drop_unmapped(at..mapping.start);
                let here = mapping.start.max(from)..mapping.end.min(to);
                self.correct_access(&here, mapping.accessible, region);
                at = here.end;
            }
            self.drop_unmapped(at..to);
            if region.mapping == claim::INFERRED && part.contains(&start) {
                self.widen(start, seen);
            }
        }
    }

    fn drop_unmapped(&mut self, range: Range<u64>) {
        if range.start >= range.end || self.space.live_bytes_in(range.clone()) > 0 {
            return;
        }
        self.space.give_back(range.clone());
        self.forget_residency(&range);
        for (start, region) in self.regions.carve(&range) {
            if region.kind.is_heap() {
                self.drift.add(region.end - start);
            }
        }
    }

    fn correct_access(&mut self, part: &Range<u64>, accessible: bool, region: Region) {
        if accessible != region.accessible && self.space.live_bytes_in(part.clone()) == 0 {
            if region.kind.is_heap() {
                self.drift.add(part.end - part.start);
            }
            self.regions.set_access(part, accessible);
        }
    }

    /// A segment of which only pages with blocks were known is the whole mapping.
    fn widen(&mut self, start: u64, seen: &[Mapping]) {
        let Some((start, region)) = self.regions.at(start) else { return };
        let Some(mapping) = claim::segment_at(seen, start) else { return };
        let number = self.regions.new_mapping();
        let mut gap = mapping.start;
        let mut gaps = Vec::new();
        for (start, inside) in self.regions.within(&(mapping.start..mapping.end)) {
            gaps.push(gap..start);
            gap = inside.end;
            if inside.mapping == claim::INFERRED {
                self.regions.put(start, Region { mapping: number, ..inside });
            }
        }
        gaps.push(gap..mapping.end);
        for gap in gaps.into_iter().filter(|gap| gap.start < gap.end) {
            self.drift.add(gap.end - gap.start);
            self.regions.put(gap.start, Region { end: gap.end, mapping: number, ..region });
            self.copy_scanned(&gap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAP: u64 = 0x7f00_0000_0000;

    fn mapping(range: Range<u64>, accessible: bool) -> Mapping {
        Mapping {
            start: range.start,
            end: range.end,
            writable: accessible,
            accessible,
            private_anonymous: true,
            object_data: false,
            name: "".into(),
        }
    }

    /// Two of the four pages of an allocator's mapping were used.
    #[test]
    fn pages_go_with_their_mapping_where_it_is_moved_grown_or_shrunk() {
        const ELSEWHERE: u64 = HEAP + (1 << 30);
        for (to, pages, footprint_pages) in
            [(HEAP, 4, 2), (ELSEWHERE, 4, 2), (ELSEWHERE, 9, 2), (HEAP, 9, 2), (ELSEWHERE, 1, 1)]
        {
            let mut space = AddressSpace::new(false, false, 4096);
            space.map(HEAP, 4 * 4096, true, Purpose::Heap);
            space.place(&(HEAP..HEAP + 2 * 4096), false);
            space.remove(&(HEAP..HEAP + 2 * 4096), false);
            let removed = space.unmap(HEAP, 4 * 4096);
            assert_eq!((space.mapped_bytes(), space.footprint_bytes()), (0, 0));
            space.map_again(to, pages * 4096, Some(&removed));
            assert_eq!(space.mapped_bytes(), pages * 4096);
            assert_eq!(space.footprint_bytes(), footprint_pages * 4096, "{pages} at {to:#x}");
            assert_eq!(space.kind_at(to), Some(Kind::Segment));
        }
    }

    #[test]
    fn an_arena_that_was_seen_before_its_first_block_is_as_large_as_the_kernel_says() {
        let mut space = AddressSpace::new(true, true, 4096);
        let accessible = HEAP..HEAP + 0x2_1000;
        let rest = accessible.end..HEAP + ARENA_HEAP_BYTES;
        let mappings: Arc<[Mapping]> = [mapping(accessible, true), mapping(rest, false)].into();
        let look = Look { mappings, listed: Look::WHOLE, ..Look::default() };
        space.look(&look);
        space.place(&(HEAP + 0x8a8..HEAP + 0x8c8), false);
        assert_eq!(space.mapped_bytes(), 0x1000, "as far as blocks tell");
        space.look(&look);
        assert_eq!(space.mapped_bytes(), 0x2_1000);
        assert_eq!(space.drift().last_bytes, 0x2_0000, "and the look told the rest");
        space.look(&look);
        let drift = space.drift();
        assert_eq!((drift.looks, drift.corrected_looks, drift.last_bytes), (3, 1, 0));
    }

    /// Page by page, as such heaps do, and down again at once.
    #[test]
    fn an_arena_that_grew_and_was_trimmed_is_as_large_as_the_kernel_says() {
        let mut space = AddressSpace::new(true, true, 4096);
        let block = |page: u64| HEAP + page * 4096 + 0x8a8..HEAP + page * 4096 + 0x8c8;
        for page in 0..16 {
            space.place(&block(page), false);
        }
        assert_eq!((space.mapped_bytes(), space.footprint_bytes()), (16 * 4096, 16 * 4096));
        for page in 8..16 {
            space.remove(&block(page), false);
        }
        let end = HEAP + 9 * 4096;
        let mappings: Arc<[Mapping]> =
            [mapping(HEAP..end, true), mapping(end..HEAP + ARENA_HEAP_BYTES, false)].into();
        space.look(&Look { mappings, listed: Look::WHOLE, ..Look::default() });
        assert_eq!((space.mapped_bytes(), space.footprint_bytes()), (9 * 4096, 9 * 4096));
        assert_eq!(space.drift().last_bytes, 7 * 4096, "no more was wrong than that");
    }
}
