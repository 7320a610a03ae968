//! What differs by processor: the stamp, the thread's own word, the system call.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod imp;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod imp;

pub use imp::stack_pointer;
pub(crate) use imp::{
    CLOCK, CLOCK_SHIFT, HAS_STACKS, bit_length, counter_is_usable, find_out, prefetch,
    set_thread_lane, set_thread_number, syscall, thread_lane, thread_number, thread_pointer, ticks,
};
