//! Pools that the program told of, with what is live in them.
//!
//! They lie within blocks of the allocator or within mappings, which count as they always do: this
//! is beside the heap, and changes none of its figures.

use crate::read::Pool;
use fragtrace_format::Stamp;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// What is known of a pool.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// What the program asked for and has not given back.
    pub live_bytes: u64,
    /// The most that it ever was.
    pub peak_live_bytes: u64,
    /// Blocks that came, and that were given back.
    pub acquired: u64,
    /// Of those that were there when the pool was destroyed none is counted.
    pub released: u64,
    blocks: FxHashSet<u64>,
}

impl Contents {
    /// Blocks that are live.
    pub fn live_blocks(&self) -> u64 {
        self.blocks.len() as u64
    }
}

/// All pools.
#[derive(Debug, Clone)]
pub struct Pools<'t> {
    known: &'t [Pool],
    contents: BTreeMap<u32, Contents>,
    /// Live blocks: their pools and sizes.
    blocks: FxHashMap<u64, (u32, u64)>,
    /// Addresses whose release came before its acquisition: two threads, within microseconds.
    early: FxHashSet<u64>,
    /// Addresses that came again before the release of the block that was there.
    owed: FxHashSet<u64>,
    /// When pools were destroyed, rising, and how many of them are in the past.
    ends: Vec<(Stamp, u32)>,
    ended: usize,
}

impl<'t> Pools<'t> {
    pub(super) fn new(known: &'t [Pool]) -> Pools<'t> {
        let ends = known.iter().map(|pool| (pool.there.end, pool.number));
        let mut ends: Vec<_> = ends.filter(|(end, _)| *end != Stamp::MAX).collect();
        ends.sort_unstable();
        Pools {
            known,
            contents: BTreeMap::new(),
            blocks: FxHashMap::default(),
            early: FxHashSet::default(),
            owed: FxHashSet::default(),
            ends,
            ended: 0,
        }
    }

    /// A block came.
    pub(super) fn acquire(&mut self, now: Stamp, address: u64, (pool, size): (u32, u64)) {
        self.end_until(now);
        if let Some((before, bytes)) = self.blocks.remove(&address) {
            self.gone(address, before, bytes);
            self.owed.insert(address);
        }
        let contents = self.contents.entry(pool).or_default();
        contents.acquired += 1;
        if self.early.remove(&address) {
            contents.released += 1;
            return;
        }
        contents.live_bytes = contents.live_bytes.saturating_add(size);
        contents.peak_live_bytes = contents.peak_live_bytes.max(contents.live_bytes);
        contents.blocks.insert(address);
        self.blocks.insert(address, (pool, size));
    }

    /// A block goes.
    pub(super) fn release(&mut self, now: Stamp, address: u64) {
        self.end_until(now);
        if self.owed.remove(&address) {
            return;
        }
        match self.blocks.remove(&address) {
            Some((pool, bytes)) => self.gone(address, pool, bytes),
            None => _ = self.early.insert(address),
        }
    }

    fn gone(&mut self, address: u64, pool: u32, bytes: u64) {
        let contents = self.contents.entry(pool).or_default();
        contents.blocks.remove(&address);
        contents.live_bytes = contents.live_bytes.saturating_sub(bytes);
        contents.released += 1;
    }

    /// What was in pools that are destroyed is gone.
    pub(super) fn end_until(&mut self, now: Stamp) {
        while let Some((_, pool)) = self.ends.get(self.ended).filter(|(end, _)| *end <= now) {
            self.ended += 1;
            let contents = self.contents.entry(*pool).or_default();
            contents.live_bytes = 0;
            for address in std::mem::take(&mut contents.blocks) {
                self.blocks.remove(&address);
            }
        }
    }

    /// Each pool with what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&'t Pool, Contents)> {
        self.known
            .iter()
            .map(|pool| (pool, self.contents.get(&pool.number).cloned().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(number: u32, end: Stamp) -> Pool {
        let name = format!("pool {number}").into();
        Pool { number, name, addresses: 0x1000..0x2000, there: 1..end }
    }

    fn live(pools: &Pools<'_>) -> Vec<(u64, u64)> {
        pools.iter().map(|(_, contents)| (contents.live_blocks(), contents.live_bytes)).collect()
    }

    #[test]
    fn blocks_come_and_go_and_end_with_their_pool() {
        let known = [pool(2, 50), pool(3, Stamp::MAX)];
        let mut pools = Pools::new(&known);
        pools.acquire(10, 0x1000, (2, 100));
        pools.acquire(11, 0x1100, (2, 60));
        pools.acquire(12, 0x5000, (3, 7));
        pools.release(13, 0x1100);
        assert_eq!(live(&pools), [(1, 100), (1, 7)]);
        pools.end_until(50);
        assert_eq!(live(&pools), [(0, 0), (1, 7)]);
        let (_, first) = pools.iter().next().expect("a pool");
        assert_eq!((first.acquired, first.released, first.peak_live_bytes), (2, 1, 160));
    }

    #[test]
    fn two_threads_may_be_on_record_in_the_wrong_order() {
        let known = [pool(2, Stamp::MAX)];
        let mut pools = Pools::new(&known);
        pools.release(10, 0x1000);
        pools.acquire(11, 0x1000, (2, 8));
        assert_eq!(live(&pools), [(0, 0)]);
        pools.acquire(20, 0x1000, (2, 8));
        pools.acquire(21, 0x1000, (2, 9));
        pools.release(22, 0x1000);
        assert_eq!(live(&pools), [(1, 9)], "the release was the older one's");
    }
}
