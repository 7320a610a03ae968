//! The server on wee_alloc, which only its wrapper tells of.

use fragtrace_alloc::Traced;
use fragtrace_linked_tests::{Counted, run};
use wee_alloc::WeeAlloc;

/// Nobody knows.
///
/// # Safety
/// None is needed.
unsafe fn usable_size(_: *const u8) -> usize {
    0
}

#[global_allocator]
static ALLOCATOR: Counted<Traced<WeeAlloc<'static>>> =
    Counted::new(Traced::new(WeeAlloc::INIT), usable_size);

fn main() {
    run();
}
