//! The tensors' service on wee_alloc with the recorder linked in: to be linked statically.

use fragtrace_alloc::Traced;
use fragtrace_linked_tests::Counted;
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
    fragtrace_linked_tests::tensors::serve();
}
