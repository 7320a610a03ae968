//! Which arenas of glibc there are, and of which of them each heap is.
//!
//! A secondary arena that outgrows its heap of 64 MiB gets another one, and from outside all of them
//! look alike. Looks read which is whose; of a heap that no look has seen yet it is not known.

use crate::allocators::glibc::ARENA_HEAP_BYTES;
use std::collections::{BTreeMap, BTreeSet};

/// Arenas that ever held a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Arenas {
    /// The main one did.
    pub has_main: bool,
    /// Heaps of others, by where they begin.
    heaps: BTreeSet<u64>,
    /// By heap, the first heap of its arena, as looks told it.
    told: BTreeMap<u64, u64>,
}

impl Arenas {
    /// There is a heap.
    pub fn add(&mut self, heap: u64) {
        self.heaps.insert(heap);
    }

    /// It was none.
    pub fn remove(&mut self, heap: u64) {
        self.heaps.remove(&heap);
        self.told.remove(&heap);
    }

    /// A look found it gone. Its arena is still there; but where it was not told, the heap was
    /// another one of an arena that is known by itself.
    pub fn lose(&mut self, heap: u64) {
        if !self.told.is_empty() && !self.told.contains_key(&heap) {
            self.heaps.remove(&heap);
        }
    }

    /// A look read whose it is.
    pub fn tell(&mut self, heap: u64, first: u64) {
        if heap.is_multiple_of(ARENA_HEAP_BYTES) && first.is_multiple_of(ARENA_HEAP_BYTES) {
            self.told.insert(heap, first);
        }
    }

    /// The first heap of the arena that a heap is of; `None`: it is not known.
    pub fn of(&self, heap: u64) -> Option<u64> {
        let first = *self.told.get(&heap)?;
        // An arena lies in its first heap, which is its own.
        (self.told.get(&first) == Some(&first)).then_some(first)
    }

    /// How many there are. A heap of which it is not known counts as one.
    pub fn count(&self) -> u64 {
        let of = self.heaps.iter().map(|heap| self.of(*heap).unwrap_or(*heap));
        u64::from(self.has_main) + of.collect::<BTreeSet<u64>>().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u64 = 0x7f00_0000_0000;

    #[test]
    fn heaps_of_one_arena_are_one_once_it_is_told() {
        let heap = |number: u64| ONE + number * ARENA_HEAP_BYTES;
        let mut arenas = Arenas { has_main: true, ..Arenas::default() };
        (0..4).for_each(|number| arenas.add(heap(number)));
        assert_eq!((arenas.count(), arenas.of(heap(0))), (5, None));
        for (number, first) in [(0, 0), (1, 0), (2, 2), (3, 9)] {
            arenas.tell(heap(number), heap(first));
        }
        assert_eq!((arenas.of(heap(1)), arenas.of(heap(2))), (Some(heap(0)), Some(heap(2))));
        assert_eq!(arenas.of(heap(3)), None, "no such arena is known");
        assert_eq!(arenas.count(), 4);
        arenas.tell(heap(3), heap(3));
        arenas.tell(heap(1), heap(2));
        assert_eq!(arenas.of(heap(1)), Some(heap(2)), "given back, and taken by another one");
        arenas.add(heap(4));
        arenas.lose(heap(4));
        arenas.lose(heap(1));
        assert_eq!(arenas.count(), 4, "a heap that came and went unseen is no arena");
    }
}
