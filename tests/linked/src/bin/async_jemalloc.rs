//! The server on tikv-jemallocator.

use fragtrace_linked_tests::{Counted, jemalloc, run_with};
use tikv_jemallocator::Jemalloc;

/// # Safety
/// The block is live.
unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: by the caller.
    unsafe { tikv_jemalloc_sys::malloc_usable_size(block.cast()) }
}

#[global_allocator]
static ALLOCATOR: Counted<Jemalloc> = Counted::new(Jemalloc, usable_size);

fn main() {
    run_with(jemalloc::own_figures, jemalloc::is_quiet);
}
