//! The heap, simulated without a thought for speed: sets and maps of single pages and
//! blocks, every figure found by walking over all of them. What the replay is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A live block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub size: u64,
    pub usable: u64,
    pub extent: Range<u64>,
    pub own_mapping: bool,
}

impl Block {
    /// A block in a heap of glibc.
    pub fn glibc(address: u64, size: u64) -> Block {
        let usable = (size + 8).div_ceil(16) * 16 - 8;
        let usable = usable.max(24);
        Block { size, usable, extent: address - 8..address + usable, own_mapping: false }
    }

    /// A block with a mapping of its own, that glibc would make: header, block, whole pages.
    pub fn mapped(address: u64, size: u64, page: u64) -> Block {
        let start = address - 16;
        let end = start + (size + 16).div_ceil(page) * page;
        Block { size, usable: end - address, extent: start..end, own_mapping: true }
    }
}

/// The heap at one moment.
#[derive(Debug, Clone)]
pub struct Naive {
    pub page: u64,
    pub live: BTreeMap<u64, Block>,
    /// Ranges that blocks never get: what the allocator keeps at the start of heaps.
    pub heads: Vec<Range<u64>>,
    pub touched: BTreeSet<u64>,
    /// Pages in memory, as the last scan found.
    pub resident: BTreeSet<u64>,
    pub ever: BTreeSet<u64>,
    pub growth_despite_fit: (u64, u64),
}

impl Naive {
    pub fn new(page: u64) -> Naive {
        Naive {
            page,
            live: BTreeMap::new(),
            heads: Vec::new(),
            touched: BTreeSet::new(),
            resident: BTreeSet::new(),
            ever: BTreeSet::new(),
            growth_despite_fit: (0, 0),
        }
    }

    fn pages(&self, range: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
        range.start / self.page..range.end.div_ceil(self.page)
    }

    pub fn acquire(&mut self, address: u64, block: Block) {
        let fresh = self.pages(&block.extent).filter(|page| !self.ever.contains(page)).count();
        let bytes = block.extent.end - block.extent.start;
        if fresh > 0 && self.holes().iter().any(|hole| hole.end - hole.start >= bytes) {
            self.growth_despite_fit.0 += 1;
            self.growth_despite_fit.1 += fresh as u64 * self.page;
        }
        self.touch(&block.extent.clone());
        self.live.insert(address, block);
    }

    pub fn head(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.touch(&range);
            self.heads.push(range);
        }
    }

    fn touch(&mut self, range: &Range<u64>) {
        for page in self.pages(range) {
            self.touched.insert(page);
            self.ever.insert(page);
        }
    }

    pub fn release(&mut self, address: u64) {
        let block = self.live.remove(&address).expect("tests release live blocks");
        if block.own_mapping {
            self.give_back(&block.extent);
        }
    }

    /// The pages that lie wholly in the range are gone.
    pub fn give_back(&mut self, range: &Range<u64>) {
        for page in range.start.div_ceil(self.page)..range.end / self.page {
            self.touched.remove(&page);
            self.resident.remove(&page);
        }
    }

    pub fn live_bytes(&self) -> u64 {
        self.live.values().map(|block| block.size).sum()
    }

    pub fn usable_bytes(&self) -> u64 {
        self.live.values().map(|block| block.usable).sum()
    }

    /// What is covered, in order.
    fn covered(&self) -> Vec<Range<u64>> {
        let blocks = self.live.values().map(|block| block.extent.clone());
        let mut all: Vec<_> = blocks.chain(self.heads.iter().cloned()).collect();
        all.sort_by_key(|range| range.start);
        all
    }

    pub fn holes(&self) -> Vec<Range<u64>> {
        let mut free: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match free.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => free.push(range),
        };
        let covered = self.covered();
        for page in &self.touched {
            let (start, end) = (page * self.page, (page + 1) * self.page);
            let mut at = start;
            let first = covered.partition_point(|range| range.end <= start);
            for range in covered[first..].iter().take_while(|range| range.start < end) {
                add(at..range.start.max(at));
                at = range.end.min(end);
            }
            add(at..end);
        }
        free
    }

    fn live_on(&self, page: Range<u64>) -> u64 {
        let covered = self.covered();
        let first = covered.partition_point(|range| range.end <= page.start);
        covered[first..]
            .iter()
            .take_while(|range| range.start < page.end)
            .map(|range| range.end.min(page.end) - range.start.max(page.start))
            .sum()
    }

    /// A scan of a range of whole pages found these in memory, and no others. None that are
    /// there were not touched before, in this simulation.
    pub fn scan(&mut self, range: &Range<u64>, resident: &BTreeSet<u64>) {
        for page in self.pages(range) {
            if resident.contains(&page) {
                self.resident.insert(page);
            } else {
                self.resident.remove(&page);
                self.touched.remove(&page);
            }
        }
    }

    /// Resident pages: those on which nothing is live, those of which i to i + 1 sixteenths
    /// are, and the bytes that are not live on the latter.
    pub fn fullness(&self) -> (u64, [u64; 16], u64) {
        let (mut empty, mut buckets, mut waste) = (0, [0; 16], 0);
        for page in &self.resident {
            match self.live_on(page * self.page..(page + 1) * self.page) {
                0 => empty += 1,
                live => {
                    buckets[((live * 16).div_ceil(self.page) - 1) as usize] += 1;
                    waste += self.page - live;
                }
            }
        }
        (empty, buckets, waste)
    }
}
