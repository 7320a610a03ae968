//! libfragtrace.so: stands in front of the allocator and tells the recorder.
//!
//! Each hook calls the next definition of its own name (as RTLD_NEXT would find it) and
//! says what came of it: releases before the call, acquisitions after it. Nothing else
//! happens here. See docs/ARCHITECTURE.md for the invariants.
#![no_std]

mod elf;
mod glibc;
mod hooks;
mod linked;
mod next;
mod start;
mod statistics;
mod timed;

/// The tracer never allocates. But cargo builds both artifacts in one go, with one set of
/// features for what they share, and the analyzer's serde brings `alloc` into the link.
struct Never;

#[global_allocator]
static NEVER: Never = Never;

// SAFETY: refusing is always allowed.
unsafe impl core::alloc::GlobalAlloc for Never {
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}

/// There is no unwinding and nobody to tell: a tracer that has lost its mind must not go on
/// writing. No code here is meant to panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: an undefined instruction ends the process where it stands.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!("ud2", options(nomem, nostack))
        };
    }
}
