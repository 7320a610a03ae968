//! Whose turn it is: steps of threads that ran at the same time are put together.
//!
//! A change of turns costs the driver microseconds. Events of two threads that are closer than the
//! recorded clock is told have no order that matters to an allocator, but for those of one block.
//! So steps are gathered for that long, and written thread by thread, each in its own order. A
//! step on a block that another thread had meanwhile ends the gathering.

use fragtrace_shootout_driver::script::{Op, word};
use rustc_hash::FxHashMap;
use std::io::{self, Write};

/// So many steps are gathered at most.
const MOST_GATHERED: usize = 1024;

/// A step of one stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub stand_in: u32,
    pub slot: u32,
    pub words: [u64; 3],
    /// How many of the words there are.
    pub count: u8,
}

impl Step {
    /// A step of one word.
    pub fn short(stand_in: u32, op: Op, slot: u32, value: u32) -> Step {
        Step { stand_in, slot, words: [word(op, slot, value), 0, 0], count: 1 }
    }
}

/// Gathers steps, and writes them.
#[derive(Debug)]
pub(super) struct Schedule<W> {
    out: W,
    /// Words written so far.
    words: u64,
    /// Whose turn it is.
    turn: u32,
    gathered: Vec<Step>,
    /// Which stand-in had a slot last, of those gathered.
    had: FxHashMap<u32, u32>,
    /// Where the last step of each slot with three words was written, since this was taken.
    placed: Vec<(u32, u64)>,
}

impl<W: Write> Schedule<W> {
    /// `words`: what stands in front of the steps.
    pub fn new(out: W, words: u64) -> Schedule<W> {
        Schedule {
            out,
            words,
            turn: 0,
            gathered: Vec::new(),
            had: FxHashMap::default(),
            placed: Vec::new(),
        }
    }

    /// Adds a step.
    pub fn push(&mut self, step: Step) -> io::Result<()> {
        if self.gathered.is_empty() && step.stand_in == self.turn {
            return self.write(&step);
        }
        let other = self.had.insert(step.slot, step.stand_in);
        if other.is_some_and(|other| other != step.stand_in) || self.gathered.len() == MOST_GATHERED
        {
            self.flush()?;
            self.had.insert(step.slot, step.stand_in);
        }
        self.gathered.push(step);
        Ok(())
    }

    /// Writes what is gathered: first the steps of whose turn it is.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let turn = self.turn;
        // Stable: each stand-in keeps its order.
        gathered.sort_by_key(|step| (step.stand_in != turn, step.stand_in));
        for step in &gathered {
            self.turn_to(step.stand_in)?;
            self.write(step)?;
        }
        gathered.clear();
        self.gathered = gathered;
        self.had.clear();
        Ok(())
    }

    fn turn_to(&mut self, stand_in: u32) -> io::Result<()> {
        if self.turn != stand_in {
            self.turn = stand_in;
            self.word(word(Op::Turn, 0, stand_in))?;
        }
        Ok(())
    }

    fn write(&mut self, step: &Step) -> io::Result<()> {
        if step.count == 3 {
            self.placed.push((step.slot, (self.words + 2) * 8));
        }
        for word in &step.words[..step.count.into()] {
            self.word(*word)?;
        }
        Ok(())
    }

    fn word(&mut self, word: u64) -> io::Result<()> {
        self.words += 1;
        self.out.write_all(&word.to_le_bytes())
    }

    /// A step of nobody in particular, behind all before it.
    pub fn push_alone(&mut self, word: u64) -> io::Result<()> {
        self.flush()?;
        self.word(word)
    }

    /// A stand-in ends, not the first.
    pub fn end(&mut self, stand_in: u32) -> io::Result<()> {
        self.flush()?;
        // Libc gives back what it has for a thread on the one that joins it.
        self.turn_to(0)?;
        self.word(word(Op::End, 0, stand_in))
    }

    /// Where in the file the last words of steps of three stand, by slot, since this was asked
    /// last.
    pub fn take_placed(&mut self) -> std::vec::Drain<'_, (u32, u64)> {
        self.placed.drain(..)
    }

    /// Writes all that is left; the words written in all, and where they went.
    pub fn finish(mut self) -> io::Result<(u64, W)> {
        self.push_alone(word(Op::Done, 0, 0))?;
        self.out.flush()?;
        Ok((self.words, self.out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fragtrace_shootout_driver::script::{op, slot, value};

    fn said(bytes: &[u8]) -> Vec<(Op, u32, u32)> {
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        words.map(|word| (op(word).unwrap(), slot(word), value(word))).collect()
    }

    #[test]
    fn steps_of_one_thread_are_put_together() {
        let mut schedule = Schedule::new(Vec::new(), 0);
        for (stand_in, slot) in [(1, 10), (0, 11), (1, 12), (0, 13)] {
            schedule.push(Step::short(stand_in, Op::Malloc, slot, 8)).unwrap();
        }
        let (words, bytes) = schedule.finish().unwrap();
        let expected = [
            (Op::Malloc, 11, 8),
            (Op::Malloc, 13, 8),
            (Op::Turn, 0, 1),
            (Op::Malloc, 10, 8),
            (Op::Malloc, 12, 8),
            (Op::Done, 0, 0),
        ];
        assert_eq!(said(&bytes), expected);
        assert_eq!(words, 6);
    }

    #[test]
    fn a_block_that_changes_hands_keeps_its_order() {
        let mut schedule = Schedule::new(Vec::new(), 0);
        schedule.push(Step::short(1, Op::Malloc, 5, 8)).unwrap();
        schedule.push(Step::short(0, Op::Free, 5, 0)).unwrap();
        schedule.push(Step::short(1, Op::Malloc, 6, 8)).unwrap();
        schedule.end(1).unwrap();
        let (_, bytes) = schedule.finish().unwrap();
        let expected = [
            (Op::Turn, 0, 1),
            (Op::Malloc, 5, 8),
            (Op::Malloc, 6, 8),
            (Op::Turn, 0, 0),
            (Op::Free, 5, 0),
            (Op::End, 0, 1),
            (Op::Done, 0, 0),
        ];
        assert_eq!(said(&bytes), expected);
    }
}
