//! The tensors' service on wee_alloc with the recorder linked in: to be linked statically.

use fragtrace_alloc::Traced;
use fragtrace_linked_tests::Counted;
use wee_alloc::WeeAlloc;

#[global_allocator]
static ALLOCATOR: Counted<Traced<WeeAlloc<'static>>> =
    Counted::of_silent(Traced::new(WeeAlloc::INIT));

fn main() {
    fragtrace_linked_tests::tensors::serve();
}
