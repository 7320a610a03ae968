//! The tensors' service on the system's allocator.

fn main() {
    fragtrace_linked_tests::tensors::serve();
}
