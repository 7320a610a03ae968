//! Whose turn it is: steps of threads that ran at the same time are put together.
//!
//! A change of turns costs the driver microseconds. Events of two threads that are closer than the
//! recorded clock is told have no order that matters to an allocator, but for those of one block.
//! So steps are gathered for that long, and written thread by thread, each in its own order. A
//! step on a block that another thread had meanwhile ends the gathering.
//!
//! Where stand-ins run [freely](super::apart) there are no turns: each one's steps are gathered to
//! pieces, which lead from one to the next.

use super::apart::Apart;
use fragtrace_shootout_driver::script::{Large, Op, clock_word, large, large_value, value, word};
use rustc_hash::FxHashMap;
use std::io::{self, Write};

/// So many steps are gathered at most.
const MOST_GATHERED: usize = 1024;
const MOST_GATHERED_APART: usize = 64 << 10;

/// A step of one stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub stand_in: u32,
    pub slot: u32,
    pub words: [u64; 3],
    /// How many of the words there are.
    pub count: u8,
}

/// Where a step of three words was written: for which slot, the how manieth of all steps it is, and
/// where its last word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    number: u64,
    pub slot: u32,
    pub place: u64,
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
    /// With the how manieth of all it is.
    gathered: Vec<(u64, Step)>,
    /// Steps so far.
    steps: u64,
    /// Which stand-in had a slot last, of those gathered.
    had: FxHashMap<u32, u32>,
    /// Since this was taken.
    placed: Vec<Placed>,
    /// Stand-ins run freely.
    apart: Option<Apart>,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub words: u64,
    /// Where the directory of stand-ins begins that run freely; 0: they take turns.
    pub directory: u64,
    /// Words to be replaced, by their place in bytes.
    pub patches: Vec<(u64, u64)>,
}

impl<W: Write> Schedule<W> {
    /// `words`: what stands in front of the steps; `free`: stand-ins run freely.
    pub fn new(out: W, words: u64, free: bool) -> Schedule<W> {
        let apart = free.then(|| {
            let mut apart = Apart::default();
            apart.begins(0, words);
            apart
        });
        Schedule {
            out,
            words,
            turn: 0,
            gathered: Vec::new(),
            steps: 0,
            had: FxHashMap::default(),
            placed: Vec::new(),
            apart,
        }
    }

    /// Adds a step.
    pub fn push(&mut self, step: Step) -> io::Result<()> {
        if let Some(apart) = &mut self.apart {
            let before = apart.before(&step);
            for step in before.into_iter().flatten() {
                self.gather(step);
            }
            self.gather(step);
            let is_enough = self.gathered.len() >= MOST_GATHERED_APART;
            return if is_enough { self.flush() } else { Ok(()) };
        }
        if self.gathered.is_empty() && step.stand_in == self.turn {
            self.steps += 1;
            return self.write(self.steps, &step);
        }
        let other = self.had.insert(step.slot, step.stand_in);
        if other.is_some_and(|other| other != step.stand_in) || self.gathered.len() == MOST_GATHERED
        {
            self.flush()?;
            self.had.insert(step.slot, step.stand_in);
        }
        self.gather(step);
        Ok(())
    }

    fn gather(&mut self, step: Step) {
        self.steps += 1;
        self.gathered.push((self.steps, step));
    }

    /// It is so late in the recorded program.
    pub fn tell_time(&mut self, now_ns: u64) -> io::Result<()> {
        match &mut self.apart {
            None => self.push_alone(clock_word(now_ns)),
            Some(apart) => {
                apart.tell_time(now_ns);
                Ok(())
            }
        }
    }

    /// More of a block is written, by whoever had it last.
    pub fn touch(&mut self, slot: u32, bytes: u64, part: u64) -> io::Result<()> {
        let words = [word(Op::Large, slot, large_value(Large::Touch, 0)), bytes, part];
        if let Some(apart) = &self.apart {
            let stand_in = apart.holder(slot);
            return self.push(Step { stand_in, slot, words, count: 3 });
        }
        words.into_iter().try_for_each(|word| self.push_alone(word))
    }

    /// Writes what is gathered: first the steps of whose turn it is.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let turn = self.turn;
        // Stable: each stand-in keeps its order.
        gathered.sort_by_key(|(_, step)| (step.stand_in != turn, step.stand_in));
        for (number, step) in &gathered {
            self.turn_to(step.stand_in)?;
            self.write(*number, step)?;
        }
        gathered.clear();
        self.gathered = gathered;
        self.had.clear();
        Ok(())
    }

    fn turn_to(&mut self, stand_in: u32) -> io::Result<()> {
        if self.turn == stand_in {
            return Ok(());
        }
        let last = std::mem::replace(&mut self.turn, stand_in);
        let Some(apart) = &mut self.apart else {
            return self.word(word(Op::Turn, 0, stand_in));
        };
        apart.ends(last, self.words);
        apart.begins(stand_in, self.words + 1);
        self.word(word(Op::Done, 0, 0))
    }

    fn write(&mut self, number: u64, step: &Step) -> io::Result<()> {
        let is_touch = matches!(large(value(step.words[0])), Some((Large::Touch, _)));
        if step.count == 3 && !is_touch {
            let place = (self.words + 2) * 8;
            self.placed.push(Placed { number, slot: step.slot, place });
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
        let end = word(Op::End, 0, stand_in);
        if self.apart.is_some() {
            self.gather(Step { stand_in, slot: 0, words: [end, 0, 0], count: 1 });
            return Ok(());
        }
        self.flush()?;
        // Libc gives back what it has for a thread on the one that joins it.
        self.turn_to(0)?;
        self.word(end)
    }

    /// Where in the file the last words of steps of three stand, in order of the steps, since this
    /// was asked last.
    pub fn take_placed(&mut self) -> Vec<Placed> {
        self.placed.sort_unstable();
        std::mem::take(&mut self.placed)
    }

    /// Writes all that is left; what was written, and where it went. `stand_ins`: how many there are.
    pub fn finish(mut self, stand_ins: u32) -> io::Result<(Written, W)> {
        self.push_alone(word(Op::Done, 0, 0))?;
        let (mut directory, mut patches) = (0, Vec::new());
        if let Some(mut apart) = self.apart.take() {
            directory = self.words;
            let places = apart.directory(stand_ins, directory - 1);
            places.into_iter().try_for_each(|place| self.word(place))?;
            patches = apart.patches();
        }
        self.out.flush()?;
        Ok((Written { words: self.words, directory, patches }, self.out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fragtrace_shootout_driver::script::{op, place, slot};

    fn said(bytes: &[u8]) -> Vec<(Op, u32, u32)> {
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        words.map(|word| (op(word).unwrap(), slot(word), value(word))).collect()
    }

    #[test]
    fn steps_of_one_thread_are_put_together() {
        let mut schedule = Schedule::new(Vec::new(), 0, false);
        for (stand_in, slot) in [(1, 10), (0, 11), (1, 12), (0, 13)] {
            schedule.push(Step::short(stand_in, Op::Malloc, slot, 8)).unwrap();
        }
        let (Written { words, directory, .. }, bytes) = schedule.finish(2).unwrap();
        assert_eq!(directory, 0);
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
        let mut schedule = Schedule::new(Vec::new(), 0, false);
        schedule.push(Step::short(1, Op::Malloc, 5, 8)).unwrap();
        schedule.push(Step::short(0, Op::Free, 5, 0)).unwrap();
        schedule.push(Step::short(1, Op::Malloc, 6, 8)).unwrap();
        schedule.end(1).unwrap();
        let (_, bytes) = schedule.finish(2).unwrap();
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

    /// Each one's steps as the driver comes by them, from its directory on.
    fn parts((written, out): &(Written, Vec<u8>), stand_ins: u64) -> Vec<Vec<(Op, u32, u32)>> {
        let mut words: Vec<u64> =
            out.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        for (place, word) in &written.patches {
            words[*place as usize / 8] = *word;
        }
        let steps_from = |mut at: usize| {
            let mut steps = Vec::new();
            loop {
                match op(words[at]).unwrap() {
                    Op::Done => return steps,
                    Op::Jump => at = place(words[at]) as usize,
                    known => {
                        steps.push((known, slot(words[at]), value(words[at])));
                        at += 1;
                    }
                }
            }
        };
        let first = |stand_in| words[(written.directory + stand_in) as usize] as usize;
        (0..stand_ins).map(|stand_in| steps_from(first(stand_in))).collect()
    }

    #[test]
    fn those_that_run_freely_wait_only_where_a_block_changes_hands() {
        let mut schedule = Schedule::new(Vec::new(), 0, true);
        schedule.push(Step::short(1, Op::Malloc, 5, 8)).unwrap();
        schedule.push(Step::short(0, Op::Malloc, 6, 8)).unwrap();
        schedule.push(Step::short(1, Op::Realloc, 5, 9)).unwrap();
        schedule.flush().unwrap();
        schedule.push(Step::short(0, Op::Free, 5, 0)).unwrap();
        schedule.push(Step::short(1, Op::Malloc, 7, 8)).unwrap();
        schedule.end(1).unwrap();
        schedule.push(Step::short(1, Op::Malloc, 5, 8)).unwrap();
        let written = schedule.finish(3).unwrap();
        let expected = [
            vec![(Op::Malloc, 6, 8), (Op::Await, 5, 3), (Op::Free, 5, 0)],
            vec![
                (Op::Malloc, 5, 8),
                (Op::Realloc, 5, 9),
                (Op::Malloc, 7, 8),
                (Op::End, 0, 1),
                (Op::Await, 5, 4),
                (Op::Malloc, 5, 8),
            ],
            vec![],
        ];
        assert_eq!(parts(&written, 3), expected);
    }
}
