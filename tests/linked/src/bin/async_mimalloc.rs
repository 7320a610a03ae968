//! The server on mimalloc.

use fragtrace_linked_tests::{Counted, run};
use mimalloc::MiMalloc;

/// # Safety
/// The block is live.
unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: by the caller.
    unsafe { libmimalloc_sys::mi_usable_size(block.cast()) }
}

#[global_allocator]
static ALLOCATOR: Counted<MiMalloc> = Counted::new(MiMalloc, usable_size);

fn main() {
    run();
}
