//! Which pages are in memory, as the last scan of each found.
//!
//! Scans tell what changed since the scan before; a page's state holds from the scan of its
//! range until the next one, or until it is known to have gone: unmapped, or given back.

use crate::read::Look;
use fragtrace_format::Stamp;
use fragtrace_format::pages::{TILE_PAGES, TilePages, Tiles};
use fragtrace_format::record::LookCause;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::ops::Range;

/// The pages of the process that are in memory.
#[derive(Debug, Clone)]
pub struct Residency {
    page_bytes: u64,
    /// Tiles as scans told them last: those of the process itself, and those of another one.
    told: [FxHashMap<u64, TilePages>; 2],
    /// Pages in memory, by tile. None is empty.
    tiles: BTreeMap<u64, [u64; 8]>,
    /// Ranges that were scanned, by start: their ends, and when.
    scanned: BTreeMap<u64, (u64, Stamp)>,
    /// All of the memory was scanned at least once.
    complete: bool,
    /// Counts changes of what was scanned, and when.
    version: u64,
}

impl Residency {
    pub fn new(page_bytes: u64) -> Residency {
        Residency {
            page_bytes,
            told: Default::default(),
            tiles: BTreeMap::new(),
            scanned: BTreeMap::new(),
            complete: false,
            version: 1,
        }
    }

    /// Whether nothing was scanned.
    pub fn is_empty(&self) -> bool {
        self.scanned.is_empty()
    }

    /// Whether all of the process's memory was scanned at least once.
    pub fn is_known(&self) -> bool {
        self.complete
    }

    /// Another number whenever other ranges were scanned, or at other times.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn tile_bytes(&self) -> u64 {
        self.page_bytes * TILE_PAGES
    }

    /// Takes in what a look found.
    pub fn take(&mut self, look: &Look) {
        let by = usize::from(look.cause == LookCause::Outside);
        if look.afresh {
            self.told[by].clear();
        }
        for scan in &look.scans {
            let first = scan.range.start / self.tile_bytes();
            self.told[by].extend(Tiles::new(&scan.tiles, first));
            self.copy_told(by, &scan.range);
            self.carve_scanned(&scan.range);
            self.scanned.insert(scan.range.start, (scan.range.end, look.stamp));
            self.version += 1;
        }
        self.complete |= look.scans_end;
    }

    /// From now on the pages of a range are as they were told last.
    fn copy_told(&mut self, by: usize, range: &Range<u64>) {
        self.forget_pages(range);
        let told = &self.told[by];
        // Ranges may be far larger than what is known of them.
        let tiles = self.tiles_of(range);
        let mut found: Vec<u64> = match tiles.end - tiles.start {
            count if count < told.len() as u64 => tiles.collect(),
            _ => told.keys().copied().filter(|tile| tiles.contains(tile)).collect(),
        };
        found.retain(|tile| told.get(tile).is_some_and(|told| !told.is_empty()));
        for tile in found {
            let told = self.told[by][&tile].resident;
            let pages = self.pages_of(tile, range);
            let now = self.tiles.entry(tile).or_default();
            for (word, (now, told)) in now.iter_mut().zip(told).enumerate() {
                *now |= told & mask(word as u64, &pages);
            }
        }
        self.drop_empty(range);
    }

    /// The tiles that have a part in a range.
    fn tiles_of(&self, range: &Range<u64>) -> Range<u64> {
        range.start / self.tile_bytes()..range.end.div_ceil(self.tile_bytes())
    }

    /// The pages of a tile that lie in a range.
    fn pages_of(&self, tile: u64, range: &Range<u64>) -> Range<u64> {
        let start = tile * self.tile_bytes();
        let page = |address: u64| (address.saturating_sub(start) / self.page_bytes).min(TILE_PAGES);
        page(range.start)..page(range.end.next_multiple_of(self.page_bytes))
    }

    fn forget_pages(&mut self, range: &Range<u64>) {
        let (tile_bytes, page_bytes) = (self.tile_bytes(), self.page_bytes);
        for (tile, now) in self.tiles.range_mut(range.start / tile_bytes..) {
            let start = tile * tile_bytes;
            if start >= range.end {
                break;
            }
            let page = |address: u64| (address.saturating_sub(start) / page_bytes).min(TILE_PAGES);
            let pages = page(range.start)..page(range.end);
            for (word, now) in now.iter_mut().enumerate() {
                *now &= !mask(word as u64, &pages);
            }
        }
        self.drop_empty(range);
    }

    fn drop_empty(&mut self, range: &Range<u64>) {
        let empty: Vec<u64> = self
            .tiles
            .range(self.tiles_of(range))
            .filter(|(_, pages)| **pages == [0; 8])
            .map(|(tile, _)| *tile)
            .collect();
        for tile in empty {
            self.tiles.remove(&tile);
        }
    }

    fn carve_scanned(&mut self, range: &Range<u64>) {
        let from = self.scanned.range(..=range.start).next_back();
        let from =
            from.filter(|(_, (end, _))| *end > range.start).map_or(range.start, |(at, _)| *at);
        let parts: Vec<(u64, (u64, Stamp))> =
            self.scanned.range(from..range.end).map(|(start, part)| (*start, *part)).collect();
        for (start, (end, stamp)) in parts {
            self.version += 1;
            self.scanned.remove(&start);
            if start < range.start {
                self.scanned.insert(start, (range.start, stamp));
            }
            if end > range.end {
                self.scanned.insert(range.end, (end, stamp));
            }
        }
    }

    /// Pages of a range went back to the kernel.
    pub fn forget(&mut self, range: &Range<u64>) {
        if range.start < range.end {
            self.forget_pages(range);
        }
    }

    /// The mapping of a range is gone: what comes there later was not scanned.
    pub fn unmap(&mut self, range: &Range<u64>) {
        if range.start < range.end {
            self.forget_pages(range);
            self.carve_scanned(range);
        }
    }

    /// The parts of a range that were scanned.
    pub fn scanned_in(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let first = self.scanned.range(..range.start).next_back();
        let first = first.filter(|(_, (end, _))| *end > range.start);
        let rest = self.scanned.range(range.clone());
        let parts = first.into_iter().chain(rest);
        parts.map(|(start, (end, _))| *start.max(&range.start)..*end.min(&range.end)).collect()
    }

    /// When the part of a range was scanned of which that was longest ago; `None`: none was.
    pub fn oldest_scan(&self, range: &Range<u64>) -> Option<Stamp> {
        let first = self.scanned.range(..range.start).next_back();
        let first = first.filter(|(_, (end, _))| *end > range.start);
        let rest = self.scanned.range(range.clone());
        first.into_iter().chain(rest).map(|(_, (_, stamp))| *stamp).min()
    }

    /// Calls `each` with runs of pages that are in memory, or are not, over a range.
    pub fn for_each_run(&self, range: &Range<u64>, mut each: impl FnMut(Range<u64>, bool)) {
        let mut run = range.start..range.start;
        let mut resident = false;
        let mut push = |to: u64, is: bool| {
            if is != resident {
                if run.start < run.end {
                    each(run.clone(), resident);
                }
                (run.start, resident) = (run.end, is);
            }
            run.end = to;
        };
        for (tile, pages) in self.tiles.range(self.tiles_of(range)) {
            let start = tile * self.tile_bytes();
            push(start.max(range.start), false);
            let part = self.pages_of(*tile, range);
            let mut at = part.start;
            while at < part.end {
                let word = pages[at as usize / 64] >> (at % 64);
                let is = word & 1 != 0;
                let same = if is { word.trailing_ones() } else { word.trailing_zeros() };
                at = (at + u64::from(same).min(64 - at % 64)).min(part.end);
                push((start + at * self.page_bytes).min(range.end), is);
            }
        }
        push(range.end, false);
        if run.start < run.end {
            each(run, resident);
        }
    }
}

/// The bits of word `word` of a tile that stand for pages of a range.
fn mask(word: u64, pages: &Range<u64>) -> u64 {
    let from = pages.start.clamp(word * 64, word * 64 + 64) - word * 64;
    let to = pages.end.clamp(word * 64, word * 64 + 64) - word * 64;
    if from >= to { 0 } else { u64::MAX << from & u64::MAX >> (64 - to) }
}
