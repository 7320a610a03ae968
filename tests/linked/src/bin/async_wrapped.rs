//! The server on an allocator that the tracer sees by itself, and that is wrapped all the same.

use fragtrace_alloc::Traced;
use fragtrace_linked_tests::{Counted, run};
use tikv_jemallocator::Jemalloc;

/// # Safety
/// The block is live.
unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: by the caller.
    unsafe { tikv_jemalloc_sys::malloc_usable_size(block.cast()) }
}

#[global_allocator]
static ALLOCATOR: Counted<Traced<Jemalloc>> = Counted::new(Traced::new(Jemalloc), usable_size);

fn main() {
    run();
}
