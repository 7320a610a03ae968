//! The server on mimalloc.

use fragtrace_linked_tests::{Counted, run_with, tell_figure};
use mimalloc::MiMalloc;
use std::ffi::CStr;
use std::ptr::null_mut;

/// # Safety
/// The block is live.
unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: by the caller.
    unsafe { libmimalloc_sys::mi_usable_size(block.cast()) }
}

#[global_allocator]
static ALLOCATOR: Counted<MiMalloc> = Counted::new(MiMalloc, usable_size);

/// Tells what mimalloc says of itself.
fn own_figures(when: &CStr) {
    let (mut current, mut peak) = (0, 0);
    let none = null_mut;
    // SAFETY: null is left out; the others are written.
    unsafe {
        libmimalloc_sys::mi_process_info(
            none(),
            none(),
            none(),
            none(),
            none(),
            &raw mut current,
            &raw mut peak,
            none(),
        );
    }
    tell_figure(when, c"current_commit", current as u64);
    tell_figure(when, c"peak_commit", peak as u64);
}

fn main() {
    run_with(own_figures, || true);
}
