//! What pages can be coloured by: the site and the thread of a block, and the kind of its size.
//!
//! A walk over all live blocks is what a frame costs, so these three are one number a block, and
//! whoever wants one of them looks it up by that.

use super::super::kinds::size_kind;
use crate::replay::Block;
use rustc_hash::FxHashMap;

/// What blocks have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traits {
    /// The number of their site.
    pub site: u32,
    /// The number of their thread: these are counted without gaps.
    pub thread: u32,
    /// The kind of their size, from 1 on.
    pub size: u8,
}

/// All that were met so far.
#[derive(Debug, Default)]
pub(super) struct TraitsMet {
    numbers: FxHashMap<(u32, u32, u8), u32>,
    list: Vec<Traits>,
    thread_numbers: FxHashMap<u32, u32>,
    threads: Vec<u32>,
}

impl TraitsMet {
    /// The number of a block's traits, given its site.
    #[inline]
    pub(super) fn number(&mut self, site: u32, block: &Block) -> u32 {
        let size = size_kind(block.size);
        match self.numbers.get(&(site, block.thread, size)) {
            Some(number) => *number,
            None => self.add(site, block.thread, size),
        }
    }

    fn add(&mut self, site: u32, thread: u32, size: u8) -> u32 {
        let next = self.threads.len() as u32;
        let thread_number = *self.thread_numbers.entry(thread).or_insert(next);
        if thread_number == next {
            self.threads.push(thread);
        }
        let number = self.list.len() as u32;
        self.numbers.insert((site, thread, size), number);
        self.list.push(Traits { site, thread: thread_number, size });
        number
    }

    /// By number.
    pub(super) fn list(&self) -> &[Traits] {
        &self.list
    }

    /// Threads by their number.
    pub(super) fn threads(&self) -> &[u32] {
        &self.threads
    }
}
