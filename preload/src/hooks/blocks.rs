//! malloc and its family.
//!
//! Releases are on record before the real call, acquisitions after it: so a block is never
//! on record twice, however threads interleave.

use crate::next::NEXT;
use crate::start::malloc_is_glibc;
use core::ffi::{c_int, c_void};
use fragtrace_recorder as recorder;
use recorder::{Acquire, Cold, Flags};

/// A block came from plain malloc.
#[inline(always)]
fn acquired(block: *mut c_void, size: usize) {
    if malloc_is_glibc() {
        // SAFETY: glibc's malloc has just returned it.
        unsafe { recorder::acquire_glibc(block as usize, size) }
    } else {
        recorder::acquire(block as usize, size);
    }
}

/// A block came from something that says more than its size.
fn acquired_with(block: *mut c_void, size: usize, flags: Flags, alignment: usize) {
    // Alignments that every block has are no news.
    let align_log2 = if alignment > 16 { alignment.ilog2() as u8 } else { 0 };
    let plain = recorder::block(block as usize, size);
    recorder::acquire_with(&Acquire { flags, align_log2, ..plain });
}

/// Calls something that may call the allocator's other functions by name.
#[inline(always)]
fn compound<R>(call: impl FnOnce() -> R) -> R {
    let begun = recorder::begin_compound();
    let result = call();
    recorder::end_compound(begun);
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    let block = unsafe { NEXT.malloc(size) };
    if !block.is_null() {
        acquired(block, size);
    }
    block
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if !block.is_null() {
        recorder::release(block as usize);
    }
    // SAFETY: by the caller.
    unsafe { NEXT.free(block) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    let block = compound(|| unsafe { NEXT.calloc(count, size) });
    if !block.is_null() {
        // A block that exists has a size that does not overflow.
        acquired_with(block, count.wrapping_mul(size), Flags::ZEROED, 0);
    }
    block
}

/// Both halves of a realloc of a block, and the call between them.
#[inline(always)]
fn reallocated(block: *mut c_void, size: usize, call: impl FnOnce() -> *mut c_void) -> *mut c_void {
    if block.is_null() {
        let fresh = compound(call);
        if !fresh.is_null() {
            acquired_with(fresh, size, Flags::NONE, 0);
        }
        return fresh;
    }
    recorder::release_with(block as usize, Flags::REALLOC);
    let moved = compound(call);
    if !moved.is_null() {
        acquired_with(moved, size, Flags::REALLOC, 0);
    } else if size == 0 {
        recorder::cold(&Cold::ReallocFreed { address: block as u64 });
    } else {
        let flags = Flags::REALLOC.with(Flags::AGAIN);
        recorder::acquire_with(&Acquire { address: block as u64, flags, ..Acquire::default() });
    }
    moved
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    reallocated(block, size, || unsafe { NEXT.realloc(block, size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // All that reallocarray adds is the check. glibc's calls realloc by name, so going
        // there directly also keeps the call from being counted twice.
        // SAFETY: by the caller.
        Some(bytes) => reallocated(block, bytes, || unsafe { NEXT.realloc(block, bytes) }),
        // Refused, with the errno of whoever refuses.
        // SAFETY: by the caller.
        None => unsafe { NEXT.reallocarray(block, count, size) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    // SAFETY: by the caller.
    let error = compound(|| unsafe { NEXT.posix_memalign(out, alignment, size) });
    if error == 0 {
        // SAFETY: after success the caller's pointer is set; null for size 0 in places.
        let block = unsafe { *out };
        if !block.is_null() {
            acquired_with(block, size, Flags::NONE, alignment);
        }
    }
    error
}

#[inline(always)]
fn aligned(size: usize, alignment: usize, call: impl FnOnce() -> *mut c_void) -> *mut c_void {
    let block = compound(call);
    if !block.is_null() {
        acquired_with(block, size, Flags::NONE, alignment);
    }
    block
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, alignment, || unsafe { NEXT.aligned_alloc(alignment, size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, alignment, || unsafe { NEXT.memalign(alignment, size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn valloc(size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, 4096, || unsafe { NEXT.valloc(size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pvalloc(size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, 4096, || unsafe { NEXT.pvalloc(size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    if !block.is_null() {
        recorder::release(block as usize);
    }
    // SAFETY: by the caller.
    unsafe { NEXT.cfree(block) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(block: *mut c_void, size: usize) {
    if !block.is_null() {
        recorder::release(block as usize);
    }
    // SAFETY: by the caller.
    unsafe { NEXT.free_sized(block, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(block: *mut c_void, alignment: usize, size: usize) {
    if !block.is_null() {
        recorder::release(block as usize);
    }
    // SAFETY: by the caller.
    unsafe { NEXT.free_aligned_sized(block, alignment, size) }
}

/// Says nothing to the recorder, but must ask the allocator that the block came from.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: by the caller.
    unsafe { NEXT.malloc_usable_size(block) }
}
