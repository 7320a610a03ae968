//! Slots of the script: numbers for places in which the driver keeps blocks.

use fragtrace_shootout_driver::script::SLOT_BITS;
use std::collections::VecDeque;
use std::io;

/// A free slot waits for so many others to be free: one that changes hands at once would tie two
/// threads' steps together.
const WAITING: usize = 1024;
/// Stand-ins that run freely get slots of their own in rows of so many, so that they do not meet on
/// a cache line of the driver's.
const ROW: u32 = 64;

/// Gives out slots.
#[derive(Debug)]
pub(super) struct Slots {
    /// Whether each stand-in has its own.
    apart: bool,
    /// By stand-in; else there is one group for all.
    free: Vec<VecDeque<u32>>,
    /// What is left of each one's row.
    fresh: Vec<std::ops::Range<u32>>,
    /// Whose each row is.
    rows: Vec<u32>,
    count: u32,
}

impl Slots {
    pub fn new(apart: bool) -> Slots {
        Slots { apart, free: Vec::new(), fresh: Vec::new(), rows: Vec::new(), count: 0 }
    }

    /// A slot for a block that this stand-in acquires.
    ///
    /// # Errors
    /// When more blocks are live at once than there are slots.
    pub fn take(&mut self, stand_in: u32) -> io::Result<u32> {
        let group = if self.apart { stand_in } else { 0 };
        let index = group as usize;
        if self.free.len() <= index {
            self.free.resize(index + 1, VecDeque::new());
            self.fresh.resize(index + 1, 0..0);
        }
        if self.free[index].len() > WAITING
            && let Some(slot) = self.free[index].pop_front()
        {
            return Ok(slot);
        }
        if let Some(slot) = self.fresh[index].next() {
            return Ok(slot);
        }
        let row = if self.apart { ROW } else { 1 };
        if self.count > (1 << SLOT_BITS) - row {
            return Err(io::Error::other("more blocks are live at once than can be run again"));
        }
        if self.apart {
            self.rows.push(group);
        }
        let first = self.count;
        self.count += row;
        self.fresh[index] = first + 1..self.count;
        Ok(first)
    }

    /// A slot is free again, for whoever had it first.
    pub fn give_back(&mut self, slot: u32) {
        let group = self.rows.get((slot / ROW) as usize).copied().unwrap_or(0);
        self.free[group as usize].push_back(slot);
    }

    /// All that there are.
    pub fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_rests_before_it_is_used_again() {
        let mut slots = Slots::new(false);
        for expected in 0..=WAITING as u32 {
            assert_eq!(slots.take(expected % 3).expect("there are more"), expected);
            slots.give_back(expected);
        }
        assert_eq!(slots.take(0).expect("it rested"), 0);
        assert_eq!(slots.count(), WAITING as u32 + 1);
    }

    #[test]
    fn stand_ins_that_run_freely_have_rows_of_their_own() {
        let mut slots = Slots::new(true);
        let taken = [0, 1, 0, 1].map(|stand_in| slots.take(stand_in).expect("there are more"));
        assert_eq!(taken, [0, ROW, 1, ROW + 1]);
        slots.give_back(ROW);
        assert_eq!((slots.free[0].len(), slots.free[1].len()), (0, 1));
    }
}
