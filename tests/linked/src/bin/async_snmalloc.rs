//! The server on snmalloc.

use fragtrace_linked_tests::{Counted, run};
use snmalloc_rs::SnMalloc;

/// # Safety
/// The block is live.
unsafe fn usable_size(block: *const u8) -> usize {
    SnMalloc::new().usable_size(block).unwrap_or(0)
}

#[global_allocator]
static ALLOCATOR: Counted<SnMalloc> = Counted::new(SnMalloc, usable_size);

fn main() {
    run();
}
