//! How the program uses its allocator, as far as diagnoses ask: what comes and goes in the same
//! size again and again, what moves up by realloc, who frees whose blocks, and which pages are
//! given back only to be taken again. Numbers of stacks and addresses only; what they are called
//! is for later stages.

use super::{ARENA_HEAP_BYTES, Block};
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Of what a block leaves behind when it moves, less is not followed up.
const LEAST_RUNG_BYTES: u64 = 512;
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
}

/// A place that realloc moved a block away from, to a higher size.
#[derive(Debug, Clone)]
struct Rung {
    extent: Range<u64>,
    birth: Stamp,
    next: (u64, Stamp),
}

/// Frees of blocks in one 64 MiB heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Bytes freed.
    pub bytes: u64,
    /// Of these, by another thread than the one that acquired them.
    pub crossed_bytes: u64,
}

/// Blocks of one stack and heap that another thread freed.
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

/// Pages that blocks of one stack took: given back before, or never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// How much, each time counted.
    pub bytes: u64,
    /// How often.
    pub times: u64,
    /// A moment at which the stack was there.
    pub birth: Stamp,
}

impl Taken {
    fn add(&mut self, block: &Block, bytes: u64) {
        self.bytes += bytes;
        self.times += 1;
        self.birth = block.birth;
    }
}

/// All of it, up to the last event.
#[derive(Debug, Default)]
pub struct Habits {
    /// By number of the stack.
    turnover: Vec<(Turnover, Stamp)>,
    most: u32,
    rungs: FxHashMap<u64, Rung>,
    freed: FxHashMap<u64, Freed>,
    crossed: FxHashMap<(u64, u32), Crossed>,
    refilled: FxHashMap<u32, Taken>,
    grown: FxHashMap<u32, Taken>,
}

impl Habits {
    /// `most`: the highest number that a stack of this trace can have.
    pub fn new(most: u32) -> Habits {
        Habits { most, ..Habits::default() }
    }

    /// What was until now is another process's; the blocks are still there.
    pub(super) fn begin_anew(&mut self) {
        for (turnover, _) in &mut self.turnover {
            *turnover = Turnover { allocs: 0, most_live: turnover.live, ..*turnover };
        }
        self.freed.clear();
        self.crossed.clear();
        self.refilled.clear();
        self.grown.clear();
    }

    /// A call returned this block.
    #[inline]
    pub(super) fn acquired(&mut self, block: &Block, realloc: bool) {
        let Some(index) = self.index(block.stack) else { return };
        if index >= self.turnover.len() {
            self.turnover.resize((index + 1).next_power_of_two(), Default::default());
        }
        let (turnover, birth) = &mut self.turnover[index];
        *birth = block.birth;
        turnover.live += 1;
        turnover.most_live = turnover.most_live.max(turnover.live);
        if realloc {
            return;
        }
        if turnover.size == block.size || turnover.allocs == 0 {
            (turnover.size, turnover.allocs) = (block.size, turnover.allocs + 1);
        } else {
            turnover.allocs -= 1;
        }
    }

    /// A block is gone: freed or reallocated.
    #[inline]
    pub(super) fn gone(&mut self, address: u64, block: &Block, by: u32, realloc: bool) {
        if let Some(index) = self.index(block.stack)
            && let Some((turnover, _)) = self.turnover.get_mut(index)
        {
            // Those that were there from the beginning were not counted.
            turnover.live = turnover.live.saturating_sub(1);
        }
        if realloc || block.own_mapping {
            return;
        }
        let freed = self.freed.entry(address / ARENA_HEAP_BYTES).or_default();
        freed.bytes += block.size;
        if block.thread != by {
            freed.crossed_bytes += block.size;
            let key = (address / ARENA_HEAP_BYTES, block.stack);
            let crossed = self.crossed.entry(key).or_default();
            crossed.blocks += 1;
            crossed.bytes += block.size;
            (crossed.freed_by, crossed.acquired_by) = (by, block.thread);
            crossed.birth = block.birth;
        }
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

    /// A block took pages that had held others, and had been given back.
    pub(super) fn refilled(&mut self, block: &Block, bytes: u64) {
        self.refilled.entry(block.stack).or_default().add(block, bytes);
    }

    /// A block took pages that were never used before, although a hole would have held it.
    pub(super) fn grew_despite_fit(&mut self, block: &Block, bytes: u64) {
        self.grown.entry(block.stack).or_default().add(block, bytes);
    }

    fn index(&self, stack: u32) -> Option<usize> {
        (stack <= self.most).then_some(stack as usize)
    }

    /// Stacks whose blocks have a size in common, and a moment at which each was there.
    pub fn turnover(&self) -> impl Iterator<Item = (u32, Turnover, Stamp)> {
        let each = self.turnover.iter().enumerate().filter(|(_, (of, _))| of.allocs > 0);
        each.map(|(stack, (of, birth))| (stack as u32, *of, *birth))
    }

    /// What was freed in the heap that begins at this address.
    pub fn freed_in(&self, heap: u64) -> Freed {
        self.freed.get(&(heap / ARENA_HEAP_BYTES)).copied().unwrap_or_default()
    }

    /// What other threads freed in the heap that begins at this address, by stack.
    pub fn crossed_in(&self, heap: u64) -> impl Iterator<Item = (u32, Crossed)> {
        let here =
            self.crossed.iter().filter(move |((number, _), _)| *number == heap / ARENA_HEAP_BYTES);
        here.map(|((_, stack), crossed)| (*stack, *crossed))
    }

    /// Pages given back and taken again, by stack.
    pub fn refills(&self) -> impl Iterator<Item = (u32, Taken)> {
        self.refilled.iter().map(|(stack, refilled)| (*stack, *refilled))
    }

    /// Pages taken that were never used before although a hole would have held the block, by stack.
    pub fn growth(&self) -> impl Iterator<Item = (u32, Taken)> {
        self.grown.iter().map(|(stack, taken)| (*stack, *taken))
    }

    /// The places that blocks moved away from on their way up, each with address and birth of
    /// the block that it led to.
    pub fn rungs(&self) -> impl Iterator<Item = (Range<u64>, (u64, Stamp))> {
        /// A block that doubles each time is as large as memory long before.
        const MOST_STEPS: usize = 10_000;
        self.rungs.values().map(|rung| {
            let mut next = rung.next;
            for _ in 0..MOST_STEPS {
                match self.rungs.get(&next.0).filter(|later| later.birth == next.1) {
                    Some(later) => next = later.next,
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

    fn block(size: u64, birth: Stamp, thread: u32) -> Block {
        let (usable, extent) = (Some(size), 4096..4096 + size);
        Block { size, usable, extent, birth, thread, stack: 1, own_mapping: false }
    }

    #[test]
    fn the_size_that_most_blocks_have_is_found_and_those_live_at_once() {
        let mut habits = Habits::new(5);
        for round in 0..10 {
            let size = if round == 3 { 7 } else { 64 };
            habits.acquired(&block(size, round, 0), false);
            habits.gone(4096, &block(size, round, 0), 0, false);
        }
        habits.acquired(&Block { stack: 6, ..block(1, 0, 0) }, false);
        let found: Vec<_> = habits.turnover().collect();
        let turnover = Turnover { size: 64, allocs: 8, most_live: 1, live: 0 };
        assert_eq!(found, [(1, turnover, 9)]);
    }

    #[test]
    fn rungs_lead_to_the_block_at_the_top() {
        let mut habits = Habits::new(5);
        habits.moved_up(0x1000, &block(600, 1, 0), (0x2000, 2));
        habits.moved_up(0x2000, &block(1200, 2, 0), (0x3000, 3));
        habits.moved_up(0x9000, &block(100, 2, 0), (0x3000, 3));
        let mut found: Vec<_> = habits.rungs().map(|(extent, top)| (extent.end, top)).collect();
        found.sort_unstable();
        assert_eq!(found, [(4096 + 600, (0x3000, 3)), (4096 + 1200, (0x3000, 3))]);
    }

    #[test]
    fn frees_by_other_threads_count_for_the_heap_they_lie_in() {
        let mut habits = Habits::new(5);
        habits.gone(ARENA_HEAP_BYTES + 64, &block(100, 1, 7), 7, false);
        habits.gone(ARENA_HEAP_BYTES + 64, &block(300, 2, 7), 8, false);
        assert_eq!(habits.freed_in(ARENA_HEAP_BYTES), Freed { bytes: 400, crossed_bytes: 300 });
        assert_eq!(habits.freed_in(2 * ARENA_HEAP_BYTES), Freed::default());
        let crossed: Vec<_> = habits.crossed_in(ARENA_HEAP_BYTES).collect();
        assert_eq!((crossed[0].1.bytes, crossed[0].1.freed_by), (300, 8));
    }
}
