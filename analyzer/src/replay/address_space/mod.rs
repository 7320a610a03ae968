//! The address space of the process: regions, in them pages, on them the extents of blocks.
//!
//! What hooks saw (mmap, munmap, madvise, brk) are facts. What allocators do behind the
//! hooks is [inferred](claim) from where blocks appear, and [looks](kernel) at the kernel's
//! mappings correct it; by how much is counted as drift.

mod arenas;
mod claim;
mod drift;
mod kernel;
mod oldest;
mod region;
mod residency;
mod space;
mod territory;

pub use drift::Drift;
pub use kernel::{Purpose, Removed};
pub use region::{Kind, Region};
pub use space::{BUCKETS, Fullness, GRANULE_BYTES, Gaps, MAX_ADDRESS, Stretch, TILE_BYTES};
pub use territory::Territory;

use crate::read::Mapping;
use arenas::Arenas;
use fragtrace_format::Stamp;
use oldest::OldestScan;
use region::Regions;
use residency::Residency;
use space::Space;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Growth of the high-water mark while a hole would have held the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GrowthDespiteFit {
    /// How often.
    pub count: u64,
    /// By how many bytes in all.
    pub bytes: u64,
    /// Bytes of the holes that would have held the block, when these were most: one hole may be there for
    /// all of the growth, and would have spared no more than itself. Looked at from time to time only, and
    /// while at least half of what the heap ever used is free.
    pub beside_bytes: u64,
}

/// Holes that growth did not take are looked at whenever it became greater by this part.
const LOOKED_PART: u64 = 16;

/// What placing a block changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placed {
    /// Pages that came back to the footprint.
    pub refilled_bytes: u64,
    /// Growth of the high-water mark although a hole would have held the block.
    pub despite_fit_bytes: u64,
}

/// The address space of the traced process at one moment.
#[derive(Debug, Clone)]
pub struct AddressSpace {
    space: Space,
    regions: Regions,
    /// Whether heaps are those of glibc.
    glibc: bool,
    /// Whether it is known where other arenas than the main one have theirs.
    arena_heaps: bool,
    page_bytes: u64,
    /// The brk segment, as far as it is known.
    brk: Option<Range<u64>>,
    /// Whether a block was seen there.
    brk_begun: bool,
    /// The mappings of the last look.
    seen: Arc<[Mapping]>,
    /// The state of the regions when they were last corrected by those.
    corrected: u64,
    /// What the allocator keeps at the start of its heaps: start and length.
    heads: BTreeMap<u64, u64>,
    head_bytes: u64,
    arenas: Arenas,
    territory: Territory,
    residency: Residency,
    oldest_scan: OldestScan,
    /// Whether pages of the process may be swapped out.
    swapping: bool,
    growth: GrowthDespiteFit,
    /// At so many bytes of it holes are looked at.
    growth_look: u64,
    drift: Drift,
    /// Blocks that lie over others, and whether they have mappings of their own.
    over: Vec<(Range<u64>, bool)>,
}

/// More blocks than this lie over others only where the trace says nonsense.
const MOST_OVER: usize = 64;

impl AddressSpace {
    /// An empty address space. `glibc`: whether heaps are those of glibc, and `arena_heaps`:
    /// also those of its secondary arenas. `page_bytes`: a power of two from 4 to 256 KiB.
    pub fn new(glibc: bool, arena_heaps: bool, page_bytes: u64) -> AddressSpace {
        AddressSpace {
            space: Space::new(page_bytes),
            regions: Regions::default(),
            glibc,
            arena_heaps: glibc && arena_heaps,
            page_bytes,
            brk: None,
            brk_begun: false,
            seen: Arc::from([]),
            corrected: 0,
            heads: BTreeMap::new(),
            head_bytes: 0,
            arenas: Arenas::default(),
            territory: Territory::default(),
            residency: Residency::new(page_bytes),
            oldest_scan: OldestScan::default(),
            swapping: true,
            growth: GrowthDespiteFit::default(),
            growth_look: 0,
            drift: Drift::default(),
            over: Vec::new(),
        }
    }

    /// A block lies there now. Placing it once more changes nothing.
    pub fn place(&mut self, extent: &Range<u64>, own_mapping: bool) -> Placed {
        if extent.is_empty() {
            return Placed::default();
        }
        if !own_mapping && self.flip(extent.start, extent.end, true) {
            return Placed::default();
        }
        let covered = self.space.covered_bytes();
        let (held, ever) = (self.space.footprint_bytes(), self.space.high_water_bytes());
        let despite_fit = self.growth.bytes;
        let pages = self.pages_around(extent);
        let grown = self.space.never_used_bytes_in(pages.clone());
        if grown > 0 {
            self.note_growth(extent.end - extent.start, grown);
        }
        if own_mapping {
            let mapping = self.regions.new_mapping();
            let (end, kind) = (pages.end, Kind::MappedBlock);
            self.regions.put(pages.start, Region { end, kind, accessible: true, mapping });
        } else {
            self.claim(&pages, extent);
        }
        if grown > 0 {
            let kind = self.regions.at(pages.start).map_or(Kind::Segment, |(_, r)| r.kind);
            self.territory.add(pages, kind);
        }
        self.space.cover(extent.clone());
        let grown = self.space.footprint_bytes() - held;
        let fresh = self.space.covered_bytes() - covered;
        if fresh < extent.end - extent.start && !self.over.contains(&(extent.clone(), own_mapping))
        {
            self.shrink_head(extent);
            self.note_over(extent.clone(), own_mapping);
        }
        Placed {
            refilled_bytes: grown.saturating_sub(self.space.high_water_bytes() - ever),
            despite_fit_bytes: self.growth.bytes - despite_fit,
        }
    }

    /// A block without a mapping of its own comes, or goes, if nothing else changes by that: so do most.
    /// False: nothing was done.
    #[inline(always)]
    pub fn flip(&mut self, start: u64, end: u64, comes: bool) -> bool {
        if self.space.is_unsettled() {
            self.settle();
        }
        self.space.flip(start, end, comes, !self.over.is_empty())
    }

    #[cold]
    fn settle(&mut self) {
        for extent in self.space.settle() {
            self.note_over(extent, false);
        }
    }

    /// A block at an address, with so many bytes, will come or go.
    #[inline(always)]
    pub fn foresee(&self, address: u64, bytes: u32) {
        self.space.foresee(address, bytes);
    }

    /// The blocks that were there when the kept events begin are placed. What others before
    /// them touched is known from scans of pages. Where there was none, a heap of glibc is
    /// taken to be touched up to the last block, as such heaps grow from one end; and wherever
    /// there was one or not, blocks are taken to have been up to there.
    pub fn begin(&mut self) {
        let heaps: Vec<(Range<u64>, Kind)> = self
            .regions
            .iter()
            .filter(|(_, region)| self.glibc && matches!(region.kind, Kind::Brk | Kind::Arena))
            .map(|(start, region)| (start..region.end, region.kind))
            .collect();
        for (heap, kind) in heaps {
            let mut end = heap.start;
            self.space.for_each_stretch(heap.clone(), |stretch| {
                if stretch.live_bytes > 0 {
                    end = (stretch.start + stretch.bytes).min(heap.end);
                }
            });
            let used = heap.start..end;
            self.space.mark_used(used.clone());
            if self.residency.oldest_scan(&used).is_none() {
                self.space.touch(used.clone());
            }
            self.territory.add(used, kind);
        }
        (self.growth, self.growth_look) = (GrowthDespiteFit::default(), 0);
        self.drift = Drift::default();
    }

    fn note_growth(&mut self, wanted_bytes: u64, grown_bytes: u64) {
        // Most growth happens while little is free: no need to look at holes then.
        let free = self.space.free_bytes_about();
        if free < wanted_bytes {
            return;
        }
        if self.space.has_hole(wanted_bytes) {
            self.growth.count += 1;
            self.growth.bytes += grown_bytes;
            let is_half = free >= self.space.high_water_bytes() / 2;
            if is_half && self.growth.bytes >= self.growth_look {
                self.growth_look = self.growth.bytes + self.growth.bytes / LOOKED_PART;
                let beside = self.bytes_of_holes(wanted_bytes);
                self.growth.beside_bytes = self.growth.beside_bytes.max(beside);
            }
        }
    }

    /// Bytes of the holes that have so many at least.
    fn bytes_of_holes(&mut self, least: u64) -> u64 {
        self.space.refresh();
        let mut bytes = 0;
        self.space.for_each_hole(|hole| {
            let len = hole.end - hole.start;
            bytes += if len >= least { len } else { 0 };
        });
        bytes
    }

    /// No block lies there any more, but for those that came before it went.
    pub fn remove(&mut self, extent: &Range<u64>, own_mapping: bool) {
        self.space.uncover(extent.clone());
        if own_mapping {
            self.space.give_back(extent.clone());
            self.regions.carve(extent);
            self.forget_residency(&self.pages_around(extent));
        }
        if !self.over.is_empty() {
            self.cover_again(extent, own_mapping);
        }
    }

    #[cold]
    fn cover_again(&mut self, gone: &Range<u64>, own_mapping: bool) {
        self.over.retain(|over| *over != (gone.clone(), own_mapping));
        for (extent, own_mapping) in self.over.clone() {
            if extent.start < gone.end && gone.start < extent.end {
                self.place(&extent, own_mapping);
            }
        }
    }

    /// A block came over the extent of one that is still there.
    #[cold]
    fn note_over(&mut self, extent: Range<u64>, own_mapping: bool) {
        self.space.guard(extent.clone());
        if self.over.len() == MOST_OVER {
            self.over.remove(0);
        }
        self.over.push((extent, own_mapping));
    }

    /// Brings sums up to date.
    pub fn refresh(&mut self) {
        self.space.refresh();
    }

    fn pages_around(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start & !(self.page_bytes - 1);
        start..range.end.next_multiple_of(self.page_bytes).min(MAX_ADDRESS)
    }

    /// Bytes that blocks and the heads of heaps cover.
    pub fn covered_bytes(&self) -> u64 {
        self.space.covered_bytes()
    }

    /// Whether all pages of a range are in the footprint.
    pub fn is_touched(&self, range: Range<u64>) -> bool {
        self.space.is_touched(range)
    }

    /// Heap pages that were touched and not given back, in bytes.
    pub fn footprint_bytes(&self) -> u64 {
        self.space.footprint_bytes()
    }

    /// Bytes of the footprint that neither blocks nor heads of heaps cover.
    pub fn free_bytes(&self) -> u64 {
        self.space.free_bytes()
    }

    /// Pages that ever held a block, in bytes.
    pub fn high_water_bytes(&self) -> u64 {
        self.space.high_water_bytes()
    }

    /// Growth of the high-water mark while a hole would have held the block.
    pub fn growth_despite_fit(&self) -> GrowthDespiteFit {
        self.growth
    }

    /// Bytes of heap regions, inaccessible parts included.
    pub fn reserved_bytes(&self) -> u64 {
        self.regions.reserved_bytes()
    }

    /// Bytes of heap regions that are accessible.
    pub fn mapped_bytes(&self) -> u64 {
        self.regions.mapped_bytes()
    }

    /// What the allocator keeps at the start of its heaps, in bytes.
    pub fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// What the allocator keeps at the start of its heaps, in order of address.
    pub fn heads(&self) -> impl Iterator<Item = Range<u64>> {
        self.heads.iter().map(|(start, bytes)| *start..start + bytes)
    }

    /// Arenas that ever held a block: the main one, and others. A heap of which no look has read
    /// yet whose it is counts as one.
    pub fn arena_count(&self) -> Option<u64> {
        self.arena_heaps.then(|| self.arenas.count())
    }

    /// The first heap of the arena that a heap is of, by where it begins; `None`: no look has read it.
    pub fn first_heap_of(&self, heap: u64) -> Option<u64> {
        self.arenas.of(heap)
    }

    /// By how much looks corrected what had been inferred.
    pub fn drift(&self) -> &Drift {
        &self.drift
    }

    /// What is known of the holes together, brought up to date.
    pub fn gaps(&mut self) -> Gaps {
        self.refresh();
        self.space.gaps()
    }

    /// Heap pages that scans found in memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.space.resident_bytes()
    }

    /// The same, and when the one of them was scanned of which
    /// that was longest ago; `None`: not all of the memory was scanned yet.
    pub fn residency(&self) -> Option<(u64, Stamp)> {
        let oldest = oldest::oldest_of_all(&self.regions, &self.residency);
        Some((self.resident_bytes(), oldest.filter(|_| self.residency.is_known())?))
    }

    /// The same, in short time where little changed since it was asked for last.
    pub fn residency_now(&mut self) -> Option<(u64, Stamp)> {
        if !self.residency.is_known() {
            return None;
        }
        let oldest = self.oldest_scan.find(&mut self.regions, &self.residency)?;
        Some((self.resident_bytes(), oldest))
    }

    /// How full pages in memory are, brought up to date; `None`: they are larger than tiles.
    pub fn fullness(&mut self) -> Option<Fullness> {
        self.refresh();
        (self.page_bytes == TILE_BYTES).then(|| self.space.fullness())
    }

    /// Calls `each` with every hole, in order of address.
    pub fn for_each_hole(&self, each: impl FnMut(Range<u64>)) {
        self.space.for_each_hole(each);
    }

    /// Calls `each` with the stretches of a range, in order of address.
    pub fn for_each_stretch(&self, range: Range<u64>, each: impl FnMut(Stretch)) {
        self.space.for_each_stretch(range, each);
    }

    /// Calls `each` with all stretches that are in the footprint or ever held a block, in order of
    /// address.
    pub fn for_each_used_stretch(&self, mut each: impl FnMut(Stretch)) {
        self.space.for_each_stretch(0..MAX_ADDRESS, |stretch| {
            if stretch.touched || stretch.ever {
                each(stretch);
            }
        });
    }

    /// What the region at an address is.
    pub fn kind_at(&self, address: u64) -> Option<Kind> {
        self.regions.at(address).map(|(_, region)| region.kind)
    }

    /// The regions of heap, in order of address; one may be in pieces.
    pub fn heap_regions(&self) -> impl Iterator<Item = (Range<u64>, Kind)> {
        let heap = self.regions.iter().filter(|(_, region)| region.kind.is_heap());
        heap.map(|(start, region)| (start..region.end, region.kind))
    }

    /// Those of them, or pieces, that the program may access.
    pub fn accessible_heap_of_kind(&self) -> impl Iterator<Item = (Range<u64>, Kind)> {
        let heap = self.regions.iter();
        let heap = heap.filter(|(_, region)| region.kind.is_heap() && region.accessible);
        heap.map(|(start, region)| (start..region.end, region.kind))
    }

    /// Where blocks ever lay, by kind of region.
    pub fn territory(&self) -> &Territory {
        &self.territory
    }
}
