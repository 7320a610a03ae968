//! Where blocks come from: how often each call stack acquired one, and what threads are
//! called.

use rustc_hash::FxHashMap;

/// Acquisitions by call stack, and the names of threads.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// By number of the stack.
    allocs: Vec<u64>,
    /// No stack of the trace has a higher number.
    most: u32,
    names: FxHashMap<u32, Box<str>>,
}

impl Sources {
    /// `most`: the highest number that a stack of this trace can have.
    pub fn new(most: u32) -> Sources {
        Sources { most, ..Sources::default() }
    }

    /// A call returned a new block. What a damaged trace makes up is counted as not known.
    #[inline]
    pub fn count(&mut self, stack: u32) {
        let index = if stack > self.most { 0 } else { stack as usize };
        if index >= self.allocs.len() {
            self.allocs.resize((index + 1).next_power_of_two(), 0);
        }
        self.allocs[index] += 1;
    }

    /// Forgets all acquisitions but these.
    pub fn count_anew(&mut self, stacks: impl Iterator<Item = u32>) {
        self.allocs.clear();
        stacks.for_each(|stack| self.count(stack));
    }

    /// A thread's name, as far as it is known now.
    pub fn name(&mut self, thread: u32, name: &str) {
        if !name.is_empty() {
            self.names.insert(thread, name.into());
        }
    }

    /// The stacks that acquired blocks, with how many. 0 stands for those not known.
    pub fn allocs(&self) -> impl Iterator<Item = (u32, u64)> {
        let counts = self.allocs.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(stack, count)| (stack as u32, *count))
    }

    /// The name of a thread.
    pub fn thread_name(&self, thread: u32) -> Option<&str> {
        self.names.get(&thread).map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_that_no_trace_has_cost_no_memory() {
        let mut sources = Sources::new(5);
        for stack in [3, 3, 5, 6, u32::MAX] {
            sources.count(stack);
        }
        assert_eq!(sources.allocs().collect::<Vec<_>>(), [(0, 2), (3, 2), (5, 1)]);
        assert!(sources.allocs.len() <= 8);
    }
}
