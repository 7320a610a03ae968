//! What a live block is: what was asked for, and what the allocator's own notes add to that.

use super::Lane;
use super::hand_out::lane_here;
use crate::arch::stack_pointer;
use crate::classes::{self, UsableSize};
use crate::process;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::event::Acquire;
use fragtrace_format::record::UsableRule;

/// No allocator takes so many blocks to answer one question.
const MOST_UNASKED: u32 = 64;
/// No block is larger: address spaces are not.
const MOST_BLOCK_BYTES: usize = 1 << 47;

/// Size word of glibc's chunk for a request (malloc/malloc.c, request2size).
#[inline(always)]
pub(super) const fn glibc_chunk(size: usize) -> usize {
    let chunk = size.wrapping_add(8 + 15) & !15;
    if chunk < 32 { 32 } else { chunk }
}

const OWN_MAPPING: usize = 2;

/// The size word of a block of glibc's: its chunk's bytes, and [`OWN_MAPPING`] if it has one.
///
/// # Safety
/// It is a live one.
#[inline(always)]
pub(super) unsafe fn glibc_word(address: usize) -> usize {
    // SAFETY: a live block has its size word 8 bytes before it (malloc/malloc.c, "chunk").
    let word = unsafe { *((address - 8) as *const usize) };
    // Bits: 1 previous in use, 2 own mapping, 4 not the main arena.
    word & !5
}

/// Whether a size word says no more than the chunk's bytes, and as many as there can be: what a
/// program writes there by mistake may be anything.
#[inline(always)]
pub(super) const fn is_glibc_chunk(word: usize) -> bool {
    const LEAST: usize = 32;
    const BOUND: usize = 1 << 47;
    word & OWN_MAPPING == 0 && word.wrapping_sub(LEAST) < BOUND
}

/// A live block as the event path knows it, and what the allocator's own notes add to that.
#[must_use]
pub fn block(address: usize, size: usize) -> Acquire {
    if size > MOST_BLOCK_BYTES {
        return wrapped_block(address);
    }
    let mut block = bare_block(address, size);
    match process::usable_rule() {
        // SAFETY: the block is live, and malloc is glibc's: `process` looked.
        UsableRule::Glibc => unsafe { add_glibc_notes(&mut block, address) },
        // Where it cannot be told, what was asked for counts.
        UsableRule::ByClass => {
            // SAFETY: the block is live, and of the allocator that is asked.
            block.usable = unsafe { ask(address, size) }.or(Some(size as u64));
        }
        UsableRule::Unknown => {}
    }
    block
}

/// What may be used of a live block of the main allocator.
///
/// # Safety
/// It is one.
unsafe fn ask(address: usize, size: usize) -> Option<u64> {
    // SAFETY: by the caller.
    classes::whom_to_ask().and_then(|ask| unsafe { usable_bytes(ask, address, size) })
}

/// What may be used of a live block, as its allocator says. `None`: it is being asked already,
/// further up this stack (tcmalloc takes blocks when it is asked for the first time), or it does
/// not know yet, and says too little.
///
/// # Safety
/// The block is live, and of the allocator that is asked.
#[must_use]
pub unsafe fn usable_bytes(ask: UsableSize, address: usize, size: usize) -> Option<u64> {
    let lane = if process::ready() { lane_here() } else { None };
    let sp = stack_pointer();
    if lane.is_some_and(|lane| is_asked(lane, sp)) {
        return None;
    }
    if let Some(lane) = lane {
        lane.asking.store(sp, Relaxed);
    }
    // SAFETY: by the caller.
    let usable = unsafe { ask(address as *mut core::ffi::c_void) };
    if let Some(lane) = lane {
        lane.asking.store(0, Relaxed);
    }
    (usable >= size).then_some(usable as u64)
}

/// Whether the question that the thread last asked is under way, further up this stack, and not one
/// that a handler, or an exception, jumped out of.
fn is_asked(lane: &Lane, sp: usize) -> bool {
    let asking = lane.asking.load(Relaxed);
    if asking == 0 || sp >= asking {
        lane.unasked.store(0, Relaxed);
        return false;
    }
    // Events that come deeper than the frame that is gone do not tell by their stack pointer.
    lane.unasked.store(lane.unasked.load(Relaxed) + 1, Relaxed);
    lane.unasked.load(Relaxed) < MOST_UNASKED
}

/// A live block, and no more than that.
#[must_use]
pub fn bare_block(address: usize, size: usize) -> Acquire {
    Acquire { address: address as u64, size: size as u64, ..Acquire::default() }
}

/// A live block of glibc's where usable bytes do not go by glibc's rule.
///
/// # Safety
/// It is one, of a glibc whose headers are known.
#[must_use]
pub unsafe fn glibc_block(address: usize, size: usize) -> Acquire {
    let mut block = bare_block(address, size);
    block.usable = Some(glibc_chunk(size) as u64 - 8);
    // SAFETY: by the caller.
    unsafe { add_glibc_notes(&mut block, address) };
    block
}

/// A block that is smaller than what was asked for: an allocator rounded the size up (pvalloc of
/// gperftools 2.10 does) and did not see that it went round. What it gave counts as asked for.
fn wrapped_block(address: usize) -> Acquire {
    let usable = match process::usable_rule() {
        // SAFETY: the block is live, and of the allocator that is asked.
        UsableRule::ByClass => unsafe { ask(address, 0) },
        UsableRule::Glibc | UsableRule::Unknown => None,
    };
    let size = usable.unwrap_or_default();
    Acquire { address: address as u64, size, usable, ..Acquire::default() }
}

/// Adds what glibc's size word says beyond what the requested size predicts.
///
/// # Safety
/// `address` is a live block of glibc's allocator.
unsafe fn add_glibc_notes(block: &mut Acquire, address: usize) {
    // SAFETY: by the caller.
    let word = unsafe { glibc_word(address) };
    let chunk = word & !OWN_MAPPING;
    if word & OWN_MAPPING != 0 {
        // SAFETY: the word before is a chunk's as well.
        let before = unsafe { *((address - 16) as *const usize) };
        block.usable = Some((chunk as u64).saturating_sub(16));
        // From the start of the mapping to the chunk, and its header.
        block.mapped_offset = Some(before as u64 + 16);
    } else if chunk != glibc_chunk(block.size as usize) {
        block.usable = Some((chunk as u64).saturating_sub(8));
    }
}

/// A block from plain malloc: its class says what may be used of it, once that is learnt.
pub(super) fn plain_block(address: usize, size: usize) -> Acquire {
    if process::usable_rule() != UsableRule::ByClass {
        return block(address, size);
    }
    if classes::is_known(size) {
        return bare_block(address, size);
    }
    // SAFETY: as in `block`.
    let answer = unsafe { ask(address, size) };
    if let Some(usable) = answer
        && process::recording()
    {
        classes::learn(size, usable);
    }
    Acquire { usable: answer.or(Some(size as u64)), ..bare_block(address, size) }
}
