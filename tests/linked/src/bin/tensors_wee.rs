//! The tensors' service on wee_alloc.

use fragtrace_alloc::Traced;
use wee_alloc::WeeAlloc;

#[global_allocator]
static ALLOCATOR: Traced<WeeAlloc<'static>> = Traced::new(WeeAlloc::INIT);

fn main() {
    fragtrace_linked_tests::tensors::serve();
}
