//! What programs may call when they know of the tracer: for blocks that no hook sees.
//!
//! An allocator's wrapper (`fragtrace-alloc`) finds these by name. Like hooks, they hear of
//! blocks that go before they are gone, and of blocks that come when they are there.

use super::entry::entries;
use core::ffi::{CStr, c_char, c_void};
use fragtrace_recorder::{self as recorder, Caller};

/// A call of an allocator's begins in the frame that calls this: until `fragtrace_end`, which
/// takes what this returns, what it does with allocators that are hooked is its own business.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn fragtrace_begin() -> u32 {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "lea rdi, [rsp + 8]",
        "jmp {begin}",
        ".cfi_endproc",
        begin = sym begin,
    )
}

#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
extern "C" fn fragtrace_begin() -> u32 {
    0
}

#[cfg(target_arch = "x86_64")]
extern "C" fn begin(sp: usize) -> u32 {
    crate::start::start();
    recorder::begin_linked(sp).into()
}

#[unsafe(no_mangle)]
extern "C" fn fragtrace_end(begun: u32) {
    recorder::end_compound(begun != 0);
}

entries! {
    fragtrace_acquired(block: *mut c_void, size: usize, align: usize, bits: u32)
        => acquired_from, "r8", "r9";
}

unsafe extern "C" fn acquired_from(
    block: *mut c_void,
    size: usize,
    align: usize,
    bits: u32,
    sp: usize,
    bp: usize,
) {
    recorder::wrapped_acquired(block as usize, size, align, bits, Caller { sp, bp });
}

/// Whether the last event of this thread was about this block.
#[unsafe(no_mangle)]
extern "C" fn fragtrace_saw(block: *mut c_void) -> u32 {
    recorder::is_last(block as usize).into()
}

#[unsafe(no_mangle)]
extern "C" fn fragtrace_released(block: *mut c_void, bits: u32) {
    recorder::wrapped_released(block as usize, bits);
}

/// The name is copied, up to 64 bytes. Returns 0 where nothing is recorded.
///
/// # Safety
/// `name` is a C string, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn fragtrace_pool_created(
    name: *const c_char,
    start: *const c_void,
    bytes: usize,
) -> u32 {
    crate::start::start();
    // SAFETY: by the caller.
    let name = if name.is_null() { c"" } else { unsafe { CStr::from_ptr(name) } };
    recorder::pool_created(name.to_bytes(), start as usize, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn fragtrace_pool_destroyed(pool: u32) {
    recorder::pool_destroyed(pool);
}

entries! {
    fragtrace_pool_acquired(pool: u32, block: *mut c_void, size: usize)
        => pool_acquired_from, "rcx", "r8";
}

unsafe extern "C" fn pool_acquired_from(
    pool: u32,
    block: *mut c_void,
    size: usize,
    sp: usize,
    bp: usize,
) {
    recorder::pool_acquired(pool, block as usize, size, Caller { sp, bp });
}

#[unsafe(no_mangle)]
extern "C" fn fragtrace_pool_released(pool: u32, block: *mut c_void) {
    recorder::pool_released(pool, block as usize);
}
