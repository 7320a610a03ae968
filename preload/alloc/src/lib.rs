//! A global allocator that tells fragtrace what another one does.
//!
//! The tracer hooks the C library's malloc, and allocators that are linked in under names that it
//! knows. What is left are those that the compiler inlines, as those written in Rust, and
//! programs without symbols. For these, wrap the allocator:
//!
//! ```
//! use fragtrace_alloc::Traced;
//! use std::alloc::System;
//!
//! #[global_allocator]
//! static ALLOCATOR: Traced<System> = Traced::new(System);
//!
//! let words: Vec<String> = (0..10).map(|number| number.to_string()).collect();
//! assert_eq!(words.len(), 10);
//! ```
//!
//! Without the tracer in the process each call takes one branch, always the same way. With it,
//! blocks that go are told before they are gone, and blocks that come when they are there. An
//! allocator that the tracer sees by itself is noticed at the first block: then the wrapper keeps
//! silent, and no block is on record twice.
//!
//! What the allocator within takes from malloc, to cut it up, would be on record beside the
//! blocks cut from it: so do not wrap allocators that stand on malloc.
//!
//! With the feature `embedded` the recorder itself is linked in, for programs that are linked
//! statically. It records where `FRAGTRACE_OUT` says, and nothing where that is not set. On wasm32
//! (without threads) that feature keeps the trace in linear memory, from the first block on, for
//! whoever runs the module to save.
#![no_std]

#[cfg(all(feature = "embedded", unix))]
mod embedded;
#[cfg(all(feature = "embedded", target_arch = "wasm32", not(target_feature = "atomics")))]
mod linear;
#[cfg(all(feature = "embedded", target_arch = "wasm32", not(target_feature = "atomics")))]
use linear as embedded;
mod pool;
mod tracer;

pub use pool::Pool;

use core::alloc::{GlobalAlloc, Layout};
use tracer::{TRACER, ZEROED};

/// An allocator whose blocks fragtrace gets to know.
#[derive(Debug)]
pub struct Traced<A> {
    allocator: A,
}

impl<A> Traced<A> {
    /// Wraps an allocator that does not stand on malloc.
    pub const fn new(allocator: A) -> Self {
        Traced { allocator }
    }
}

impl<A: GlobalAlloc> Traced<A> {
    /// The allocator's call, and what it gave told.
    ///
    /// # Safety
    /// As of the call.
    #[cold]
    unsafe fn acquire(
        &self,
        layout: Layout,
        flags: u32,
        call: unsafe fn(&A, Layout) -> *mut u8,
    ) -> *mut u8 {
        TRACER.tell_of_new(layout.size(), layout.align(), flags, || {
            // SAFETY: by the caller.
            unsafe { call(&self.allocator, layout) }
        })
    }
}

// SAFETY: the allocator within does all the work, with the arguments as they came.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Traced<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller.
        unsafe {
            if TRACER.is_silent() {
                return self.allocator.alloc(layout);
            }
            self.acquire(layout, 0, A::alloc)
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller.
        unsafe {
            if TRACER.is_silent() {
                return self.allocator.alloc_zeroed(layout);
            }
            self.acquire(layout, ZEROED, A::alloc_zeroed)
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller.
        let call = || unsafe { self.allocator.dealloc(block, layout) };
        if TRACER.is_silent() { call() } else { TRACER.tell_of_end(block, call) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        // SAFETY: by the caller.
        let call = || unsafe { self.allocator.realloc(block, layout, new_bytes) };
        if TRACER.is_silent() {
            return call();
        }
        TRACER.tell_of_move(block, (layout.size(), new_bytes, layout.align()), call)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::alloc::System;

    #[test]
    fn without_a_tracer_the_allocator_works_as_ever() {
        let traced = Traced::new(System);
        let layout = Layout::from_size_align(100, 64).expect("a layout");
        // SAFETY: blocks are used within their bounds and ended once.
        unsafe {
            let block = traced.alloc_zeroed(layout);
            assert_eq!((block as usize % 64, *block.add(99)), (0, 0));
            block.write(7);
            let moved = traced.realloc(block, layout, 10_000);
            assert_eq!(moved.read(), 7);
            traced.dealloc(moved, Layout::from_size_align(10_000, 64).expect("a layout"));
        }
        assert!(TRACER.is_silent());
    }
}
