//! What a script does about a block, call by call: where it is kept decides what becomes of it.

use super::Compiler;
use crate::shootout::schedule::Step;
use crate::shootout::touched::LARGE_BYTES;
use fragtrace_shootout_driver::script::{Large, Op, TO_THE_END, large_value, part_word, word};
use std::io::{self, Write};

/// How a block is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Allocator,
    Pool,
    /// Kept when freed: capacity in bytes.
    Kept(u64),
}

/// A live block of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    slot: u32,
    thread: u32,
    bytes: u64,
    home: Home,
}

/// A call that returned a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) address: u64,
    pub(super) bytes: u64,
    pub(super) align_log2: u8,
    pub(super) zeroed: bool,
    pub(super) stack: u32,
    pub(super) thread: u32,
}

impl<W: Write> Compiler<'_, '_, W> {
    /// A new block.
    pub(super) fn acquire(&mut self, call: Call) -> io::Result<Block> {
        if self.options.reused.contains(&call.stack) {
            return self.acquire_kept(call);
        }
        let slot = self.slots.take(self.stand_ins.of(call.thread))?;
        let pooled = self.options.pooled.contains(&call.stack) && call.align_log2 == 0;
        if let Some(bytes) = u32::try_from(call.bytes).ok().filter(|_| pooled) {
            let stand_in = self.stand_ins.of(call.thread);
            self.schedule.push(Step::short(stand_in, Op::PoolMalloc, slot, bytes))?;
            return Ok(Block { slot, thread: call.thread, bytes: call.bytes, home: Home::Pool });
        }
        let what = if call.zeroed { Large::Calloc } else { Large::Malloc };
        self.call(slot, what, &call, 0)?;
        Ok(Block { slot, thread: call.thread, bytes: call.bytes, home: Home::Allocator })
    }

    /// A call that is to return a block, of which `from` units were written before.
    fn call(&mut self, slot: u32, what: Large, call: &Call, from: u32) -> io::Result<()> {
        let stand_in = self.stand_ins.of(call.thread);
        let short = match what {
            Large::Malloc => Op::Malloc,
            Large::Calloc => Op::Calloc,
            Large::Realloc | Large::Touch => Op::Realloc,
        };
        let plain = call.align_log2 == 0 && call.bytes < LARGE_BYTES;
        if let Some(bytes) = u32::try_from(call.bytes).ok().filter(|_| plain) {
            return self.schedule.push(Step::short(stand_in, short, slot, bytes));
        }
        if call.bytes >= LARGE_BYTES {
            self.touched.begin(slot, call.address, call.bytes, from);
        }
        let value = large_value(what, call.align_log2);
        let words = [word(Op::Large, slot, value), call.bytes, part_word(from, TO_THE_END)];
        self.schedule.push(Step { stand_in, slot, words, count: 3 })
    }

    /// A block that becomes another one, where the recorded program's did.
    pub(super) fn reallocate(&mut self, old: Block, call: Call) -> io::Result<Block> {
        match old.home {
            Home::Allocator => {
                self.touched.end(old.slot);
                let from = (old.bytes.min(call.bytes) / 4096).min(u64::from(u32::MAX - 1)) as u32;
                self.call(old.slot, Large::Realloc, &Call { align_log2: 0, ..call }, from)?;
                Ok(Block { bytes: call.bytes, thread: call.thread, ..old })
            }
            Home::Kept(capacity) if capacity >= call.bytes => {
                Ok(Block { bytes: call.bytes, thread: call.thread, ..old })
            }
            Home::Pool | Home::Kept(_) => {
                let new = self.acquire(call)?;
                self.release(old, call.thread)?;
                Ok(new)
            }
        }
    }

    /// A buffer that was kept, if one is large enough; else the largest makes place for a new one.
    fn acquire_kept(&mut self, call: Call) -> io::Result<Block> {
        let capacity = |block: &Block| match block.home {
            Home::Kept(capacity) => capacity,
            Home::Allocator | Home::Pool => 0,
        };
        if let Some(fits) = self.kept.iter().rposition(|block| capacity(block) >= call.bytes) {
            let block = self.kept.remove(fits);
            return Ok(Block { bytes: call.bytes, thread: call.thread, ..block });
        }
        let largest = (0..self.kept.len()).max_by_key(|index| capacity(&self.kept[*index]));
        if let Some(largest) = largest {
            let block = self.kept.remove(largest);
            self.free(&block, call.thread)?;
        }
        let slot = self.slots.take(self.stand_ins.of(call.thread))?;
        let what = if call.zeroed { Large::Calloc } else { Large::Malloc };
        self.call(slot, what, &call, 0)?;
        let Call { bytes, thread, .. } = call;
        Ok(Block { slot, thread, bytes, home: Home::Kept(bytes) })
    }

    /// The end of a block, as far as the program knows.
    pub(super) fn release(&mut self, block: Block, thread: u32) -> io::Result<()> {
        if let Home::Kept(_) = block.home {
            // The next one lies elsewhere in the recorded program.
            self.touched.end(block.slot);
            self.kept.push(block);
            return Ok(());
        }
        self.free(&block, thread)
    }

    fn free(&mut self, block: &Block, thread: u32) -> io::Result<()> {
        self.touched.end(block.slot);
        let thread = if self.options.same_thread_free { block.thread } else { thread };
        let stand_in = self.stand_ins.of(thread);
        let step = match (block.home, u32::try_from(block.bytes)) {
            (Home::Pool, Ok(bytes)) => Step::short(stand_in, Op::PoolFree, block.slot, bytes),
            _ => Step::short(stand_in, Op::Free, block.slot, 0),
        };
        self.slots.give_back(block.slot);
        self.schedule.push(step)
    }
}
