//! Which stand-in of the driver is which recorded thread.

use crate::read::Trace;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;

/// A thread that says that it ends may still free blocks, from destructors that run later.
const LINGERS_NS: u64 = 1_000_000;

/// The stand-ins of the threads that there are.
#[derive(Debug)]
pub(super) struct StandIns {
    one_thread: bool,
    by_thread: FxHashMap<u32, u32>,
    free: Vec<u32>,
    most: u32,
    threads: u64,
    /// The thread that went on in a child of fork, once it has events: its stand-in is that of
    /// the parent's first thread.
    forked: Option<u32>,
    /// Threads that end, and when that is to be believed.
    ending: Vec<(Stamp, u32)>,
    lingers: u64,
}

impl StandIns {
    pub fn new(trace: &Trace, one_thread: bool) -> StandIns {
        let forked = trace.fork().and_then(|fork| u32::try_from(fork.threads + 1).ok());
        StandIns {
            lingers: trace.clock().stamps_in(LINGERS_NS),
            ..StandIns::of_any(forked, one_thread)
        }
    }

    fn of_any(forked: Option<u32>, one_thread: bool) -> StandIns {
        StandIns {
            one_thread,
            by_thread: FxHashMap::default(),
            free: Vec::new(),
            most: 1,
            threads: 0,
            forked,
            ending: Vec::new(),
            lingers: 0,
        }
    }

    /// The stand-in of a thread that acts now. The first of all is the process's first thread.
    pub fn of(&mut self, thread: u32) -> u32 {
        if let Some(known) = self.by_thread.get(&thread) {
            return *known;
        }
        self.threads += 1;
        let stand_in = if self.one_thread || self.threads == 1 || self.forked == Some(thread) {
            0
        } else {
            self.free.pop().unwrap_or_else(|| {
                self.most += 1;
                self.most - 1
            })
        };
        self.by_thread.insert(thread, stand_in);
        stand_in
    }

    /// A lane says whose it is: when a thread begins, and when it ends. Whether it ends.
    pub fn told_of(&mut self, thread: u32, now: Stamp) -> bool {
        let begun = self.by_thread.get(&thread).is_some_and(|stand_in| *stand_in != 0);
        if begun && !self.ending.iter().any(|(_, ending)| *ending == thread) {
            self.ending.push((now.saturating_add(self.lingers), thread));
        }
        begun
    }

    /// A stand-in whose thread has ended by now.
    pub fn ended(&mut self, now: Stamp) -> Option<u32> {
        let ended = self.ending.iter().position(|(when, _)| *when < now)?;
        let (_, thread) = self.ending.remove(ended);
        let stand_in = self.by_thread.remove(&thread)?;
        self.free.push(stand_in);
        Some(stand_in)
    }

    /// Stand-ins that are there at once, at most.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Threads that had blocks.
    pub fn threads(&self) -> u64 {
        self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_there_for_one_thread_after_the_other() {
        let mut stand_ins = StandIns::of_any(None, false);
        assert_eq!([stand_ins.of(7), stand_ins.of(8), stand_ins.of(7)], [0, 1, 0]);
        // The lane of a thread that was not seen yet begins.
        stand_ins.told_of(9, 10);
        assert_eq!(stand_ins.ended(11), None);
        stand_ins.told_of(8, 20);
        assert_eq!(stand_ins.ended(20), None);
        assert_eq!(stand_ins.ended(21), Some(1));
        assert_eq!(stand_ins.of(9), 1);
        // The first thread ends with the process.
        stand_ins.told_of(7, 30);
        assert_eq!(stand_ins.ended(40), None);
        assert_eq!((stand_ins.most(), stand_ins.threads()), (2, 3));
    }

    #[test]
    fn one_thread_stands_for_all() {
        let mut stand_ins = StandIns::of_any(None, true);
        assert_eq!([stand_ins.of(7), stand_ins.of(8)], [0, 0]);
        assert_eq!(stand_ins.most(), 1);
    }

    #[test]
    fn a_child_of_fork_goes_on_as_the_first_thread() {
        let mut stand_ins = StandIns::of_any(Some(4), false);
        assert_eq!([stand_ins.of(1), stand_ins.of(2), stand_ins.of(4)], [0, 1, 0]);
    }
}
