//! What a wrapper of an allocator tells of its blocks: through the tracer's functions, or those of the
//! recorder that is linked in.

use crate::{Caller, WRAPPED, acquire_with, bare_block, release, release_with};
use fragtrace_format::event::{Acquire, Flags};

/// A block came. `bits`: of [`Flags`].
pub fn wrapped_acquired(block: usize, size: usize, align: usize, bits: u32, caller: Caller) {
    let align_log2 = if align > 16 { align.ilog2() as u8 } else { 0 };
    let flags = Flags::from_bits(bits);
    // What may be used of it is not known; what was asked for can.
    let usable = Some(size as u64);
    let known = Acquire { flags, align_log2, usable, pool: WRAPPED, ..bare_block(block, size) };
    acquire_with(&known, caller);
}

/// A block goes.
pub fn wrapped_released(block: usize, bits: u32) {
    match Flags::from_bits(bits) {
        Flags::NONE => release(block),
        flags => release_with(block, flags),
    }
}
