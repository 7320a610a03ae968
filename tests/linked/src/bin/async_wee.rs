//! The server on wee_alloc, which only its wrapper tells of.

use fragtrace_alloc::Traced;
use fragtrace_linked_tests::{Counted, run};
use wee_alloc::WeeAlloc;

#[global_allocator]
static ALLOCATOR: Counted<Traced<WeeAlloc<'static>>> =
    Counted::of_silent(Traced::new(WeeAlloc::INIT));

fn main() {
    run();
}
