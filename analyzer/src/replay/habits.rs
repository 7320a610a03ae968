//! How the program uses its allocator, as far as diagnoses ask: what comes and goes in the same
//! size again and again, what moves up by realloc, and who frees whose blocks. Numbers of stacks and addresses only; what they are called
//! is for later stages.

use super::stretches::Stretches;
use super::{Block, Who};
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::hint::select_unpredictable;
use std::ops::Range;

const _: () = assert!(ARENA_HEAP_BYTES.is_power_of_two());

/// Of what a block leaves behind when it moves, less is not followed up.
const LEAST_RUNG_BYTES: u64 = 512;
/// Frees are counted by stretches of the address space: the heaps of glibc's arenas, or, where nothing
/// tells whose pages are whose, stretches that an allocator is likely to give to one thread.
const STRETCH_SHIFT: u32 = 20;
/// So many places that blocks moved away from are kept in mind.
const MOST_RUNGS: usize = 1 << 20;

/// What blocks of one call stack do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turnover {
    /// The size most of them have, if most have one.
    pub size: u64,
    /// Blocks of that size, at least: those of others are taken off.
    pub allocs: u64,
    /// How many were live at once, at the most.
    pub most_live: u32,
    live: u32,
    /// Bytes that were live at once, at the most: in heaps, not in mappings of their own.
    pub most_live_bytes: u64,
    live_bytes: u64,
}

/// A place that realloc moved a block away from, to a higher size.
#[derive(Debug, Clone)]
struct Rung {
    extent: Range<u64>,
    birth: Stamp,
    next: (u64, Stamp),
}

/// A block that realloc left where it was, again and again: the stamps of its first birth there and of
/// its last.
#[derive(Debug, Clone, Copy)]
struct Stay {
    first: Stamp,
    last: Stamp,
}

/// Frees of blocks in one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Bytes freed.
    pub bytes: u64,
    /// Of these, by another thread than the one that acquired them.
    pub crossed_bytes: u64,
    /// The last of these.
    pub crossed_last: Stamp,
}

/// Blocks of one stack and stretch that another thread freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crossed {
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The thread that freed the last one.
    pub freed_by: u32,
    /// The thread that acquired it.
    pub acquired_by: u32,
    /// A moment at which the stack was there.
    pub birth: Stamp,
}

/// All of it, up to the last event.
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// By number of the stack.
    turnover: Vec<(Turnover, Stamp)>,
    most: u32,
    /// See [`STRETCH_SHIFT`].
    stretch_shift: u32,
    rungs: FxHashMap<u64, Rung>,
    stays: FxHashMap<u64, Stay>,
    freed: Stretches<Freed>,
    crossed: FxHashMap<(u64, u32), Crossed>,
}

impl Habits {
    /// `most`: the highest number that a stack of this trace can have.
    pub fn new(most: u32, glibc: bool) -> Habits {
        let stretch_shift = if glibc { ARENA_HEAP_BYTES.ilog2() } else { STRETCH_SHIFT };
        Habits { most, stretch_shift, ..Habits::default() }
    }

    /// Bytes of a stretch for which frees are counted together.
    pub fn stretch_bytes(&self) -> u64 {
        1 << self.stretch_shift
    }

    /// What was until now is another process's; the blocks are still there.
    pub(super) fn begin_anew(&mut self) {
        for (turnover, _) in &mut self.turnover {
            let (most_live, most_live_bytes) = (turnover.live, turnover.live_bytes);
            *turnover = Turnover { allocs: 0, most_live, most_live_bytes, ..*turnover };
        }
        self.freed.clear();
        self.crossed.clear();
    }

    /// A call returned this block.
    #[inline(always)]
    pub(super) fn acquired(&mut self, block: &Block, realloc: bool) {
        let Some(index) = self.index(block.stack) else { return };
        if index >= self.turnover.len() {
            self.turnover.resize((index + 1).next_power_of_two(), Default::default());
        }
        let (turnover, birth) = &mut self.turnover[index];
        *birth = block.birth;
        turnover.live += 1;
        turnover.most_live = turnover.most_live.max(turnover.live);
        // A mapping of its own goes back with its block.
        turnover.live_bytes += if block.own_mapping { 0 } else { block.size };
        turnover.most_live_bytes = turnover.most_live_bytes.max(turnover.live_bytes);
        if realloc {
            return;
        }
        let is_of_size = (turnover.size == block.size) | (turnover.allocs == 0);
        turnover.size = select_unpredictable(is_of_size, block.size, turnover.size);
        turnover.allocs = turnover.allocs + 2 * u64::from(is_of_size) - 1;
    }

    /// A block is gone: freed or reallocated.
    #[inline(always)]
    pub(super) fn gone(&mut self, who: Who, address: u64, block: &Block, realloc: bool) {
        if let Some(index) = self.index(block.stack)
            && let Some((turnover, _)) = self.turnover.get_mut(index)
        {
            // Those that were there from the beginning were not counted.
            turnover.live = turnover.live.saturating_sub(1);
            if !block.own_mapping {
                turnover.live_bytes = turnover.live_bytes.saturating_sub(block.size);
            }
        }
        if realloc || block.own_mapping {
            return;
        }
        let stretch = address >> self.stretch_shift;
        let freed = self.freed.of(stretch);
        freed.bytes += block.size;
        if block.thread != who.thread {
            freed.crossed_bytes += block.size;
            freed.crossed_last = who.stamp;
            let key = (stretch, block.stack);
            self.crossed(key, who.thread, (block.size, block.thread, block.birth));
        }
    }

    /// A thread freed a block of another one.
    #[inline(never)]
    fn crossed(
        &mut self,
        key: (u64, u32),
        freed_by: u32,
        (size, acquired_by, birth): (u64, u32, Stamp),
    ) {
        let crossed = self.crossed.entry(key).or_default();
        crossed.blocks += 1;
        crossed.bytes += size;
        (crossed.freed_by, crossed.acquired_by) = (freed_by, acquired_by);
        crossed.birth = birth;
    }

    /// realloc made `old`, at `address`, larger, and moved it to `next`.
    pub(super) fn moved_up(&mut self, address: u64, old: &Block, next: (u64, Stamp)) {
        let bytes = old.extent.end - old.extent.start;
        let room = self.rungs.len() < MOST_RUNGS || self.rungs.contains_key(&address);
        if !old.own_mapping && bytes >= LEAST_RUNG_BYTES && room {
            let (extent, birth) = (old.extent.clone(), old.birth);
            self.rungs.insert(address, Rung { extent, birth, next });
        }
    }

    /// realloc left `old` at `address`; it counts as born at `birth` now.
    pub(super) fn stayed(&mut self, address: u64, old: &Block, birth: Stamp) {
        let bytes = old.extent.end - old.extent.start;
        let room = self.stays.len() < MOST_RUNGS || self.stays.contains_key(&address);
        if bytes >= LEAST_RUNG_BYTES && room {
            let stay = self.stays.entry(address).or_insert(Stay { first: old.birth, last: birth });
            if stay.last != old.birth {
                stay.first = old.birth;
            }
            stay.last = birth;
        }
    }

    /// The block that came to this address then, as it was born last.
    fn as_it_stayed(&self, (address, birth): (u64, Stamp)) -> (u64, Stamp) {
        let stay = self.stays.get(&address).filter(|stay| stay.first == birth);
        (address, stay.map_or(birth, |stay| stay.last))
    }

    fn index(&self, stack: u32) -> Option<usize> {
        (stack <= self.most).then_some(stack as usize)
    }

    /// Stacks that had more live once than they have now: by how much, and a moment at which each was
    /// there.
    pub fn fallen(&self) -> impl Iterator<Item = (u32, u64, Stamp)> {
        let each = self.turnover.iter().enumerate();
        let fallen = each.map(|(stack, (of, birth))| {
            (stack as u32, of.most_live_bytes.saturating_sub(of.live_bytes), *birth)
        });
        fallen.filter(|(_, bytes, _)| *bytes > 0)
    }

    /// Stacks whose blocks have a size in common, and a moment at which each was there.
    pub fn turnover(&self) -> impl Iterator<Item = (u32, Turnover, Stamp)> {
        let each = self.turnover.iter().enumerate().filter(|(_, (of, _))| of.allocs > 0);
        each.map(|(stack, (of, birth))| (stack as u32, *of, *birth))
    }

    /// What was freed in the stretch that this address lies in.
    pub fn freed_in(&self, address: u64) -> Freed {
        self.freed.get(address >> self.stretch_shift).copied().unwrap_or_default()
    }

    /// What other threads freed, with the start of the stretch that it was in, by stack.
    pub fn crossings(&self) -> impl Iterator<Item = (u64, u32, Crossed)> {
        let each = self.crossed.iter();
        each.map(|((number, stack), crossed)| (number << self.stretch_shift, *stack, *crossed))
    }

    /// The places that blocks moved away from on their way up, each with address and birth of
    /// the block that it led to.
    pub fn rungs(&self) -> impl Iterator<Item = (Range<u64>, (u64, Stamp))> {
        /// A block that doubles each time is as large as memory long before.
        const MOST_STEPS: usize = 10_000;
        self.rungs.values().map(|rung| {
            let mut next = self.as_it_stayed(rung.next);
            for _ in 0..MOST_STEPS {
                match self.rungs.get(&next.0).filter(|later| later.birth == next.1) {
                    Some(later) => next = self.as_it_stayed(later.next),
                    None => break,
                }
            }
            (rung.extent.clone(), next)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(stamp: Stamp, thread: u32) -> Who {
        Who { stamp, lane: 0, thread }
    }

    fn block(size: u64, birth: Stamp, thread: u32) -> Block {
        let (usable, extent) = (Some(size), 4096..4096 + size);
        Block { size, usable, extent, birth, thread, stack: 1, own_mapping: false }
    }

    #[test]
    fn the_size_that_most_blocks_have_is_found_and_those_live_at_once() {
        let mut habits = Habits::new(5, true);
        for round in 0..10 {
            let size = if round == 3 { 7 } else { 64 };
            habits.acquired(&block(size, round, 0), false);
            habits.gone(by(round, 0), 4096, &block(size, round, 0), false);
        }
        habits.acquired(&Block { stack: 6, ..block(1, 0, 0) }, false);
        let found: Vec<_> = habits.turnover().collect();
        let turnover = Turnover {
            size: 64,
            allocs: 8,
            most_live: 1,
            most_live_bytes: 64,
            ..Turnover::default()
        };
        assert_eq!(found, [(1, turnover, 9)]);
    }

    #[test]
    fn rungs_lead_to_the_block_at_the_top() {
        let mut habits = Habits::new(5, true);
        habits.moved_up(0x1000, &block(600, 1, 0), (0x2000, 2));
        habits.moved_up(0x2000, &block(1200, 2, 0), (0x3000, 3));
        habits.moved_up(0x9000, &block(100, 2, 0), (0x3000, 3));
        let mut found: Vec<_> = habits.rungs().map(|(extent, top)| (extent.end, top)).collect();
        found.sort_unstable();
        assert_eq!(found, [(4096 + 600, (0x3000, 3)), (4096 + 1200, (0x3000, 3))]);
    }

    #[test]
    fn rungs_lead_to_a_block_that_grew_where_it_lay_on_the_way_and_at_the_top() {
        let mut habits = Habits::new(5, true);
        habits.moved_up(0x1000, &block(600, 1, 0), (0x2000, 2));
        for birth in 2..5 {
            habits.stayed(0x2000, &block(1200, birth, 0), birth + 1);
        }
        habits.moved_up(0x2000, &block(1500, 5, 0), (0x3000, 6));
        habits.stayed(0x3000, &block(2000, 6, 0), 7);
        let found: Vec<_> = habits.rungs().map(|(_, top)| top).collect();
        assert_eq!(found, [(0x3000, 7); 2]);
    }

    #[test]
    fn frees_by_other_threads_count_for_the_heap_they_lie_in() {
        let mut habits = Habits::new(5, true);
        habits.gone(by(3, 7), ARENA_HEAP_BYTES + 64, &block(100, 1, 7), false);
        habits.gone(by(4, 8), ARENA_HEAP_BYTES + 64, &block(300, 2, 7), false);
        let expected = Freed { bytes: 400, crossed_bytes: 300, crossed_last: 4 };
        assert_eq!(habits.freed_in(ARENA_HEAP_BYTES), expected);
        assert_eq!(habits.freed_in(2 * ARENA_HEAP_BYTES), Freed::default());
        let crossed: Vec<_> = habits.crossings().collect();
        assert_eq!(crossed[0].0, ARENA_HEAP_BYTES);
        assert_eq!((crossed[0].2.bytes, crossed[0].2.freed_by), (300, 8));
    }
}
