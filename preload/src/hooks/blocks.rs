//! malloc and its family.
//!
//! Releases are on record before the real call, acquisitions after it: so a block is never
//! on record twice, however threads interleave.

use super::entry::entries;
use crate::next::NEXT;
use crate::start::{
    block_of_second, free_in_front, libc_is_glibc, malloc_is_glibc, malloc_is_musl,
    realloc_is_the_programs,
};
use core::ffi::{c_int, c_void};
use fragtrace_recorder as recorder;
use recorder::{Acquire, Caller, Cold, Flags};

/// A block came from plain malloc.
#[inline(always)]
fn acquired(block: *mut c_void, size: usize, caller: Caller) {
    if malloc_is_glibc() {
        acquired_from_glibc(block, size, Flags::NONE, caller);
    } else {
        acquired_elsewhere(block, size, caller);
    }
}

/// A block came from glibc's allocator. The one copy of what is written out where it stands.
#[inline(never)]
fn acquired_from_glibc(block: *mut c_void, size: usize, flags: Flags, caller: Caller) {
    // SAFETY: by the caller: glibc's allocator has just returned it.
    unsafe { recorder::acquire_glibc(block as usize, size, flags, caller) };
}

/// Apart, so that the path of the usual allocator is short.
#[inline(never)]
fn acquired_elsewhere(block: *mut c_void, size: usize, caller: Caller) {
    match block_of_second(block as usize, size) {
        None => recorder::acquire(block as usize, size, caller),
        Some(known) => recorder::acquire_with(&known, caller),
    }
}

/// A block came from something that says more than its size.
#[inline(always)]
fn acquired_with(block: *mut c_void, size: usize, flags: Flags, alignment: usize, caller: Caller) {
    if malloc_is_glibc() && alignment == 0 {
        acquired_from_glibc(block, size, flags, caller);
    } else {
        acquired_with_more(block, size, flags, alignment, caller);
    }
}

#[inline(never)]
fn acquired_with_more(
    block: *mut c_void,
    size: usize,
    flags: Flags,
    alignment: usize,
    caller: Caller,
) {
    // Alignments that every block has are no news.
    let align_log2 = if alignment > 16 { alignment.ilog2() as u8 } else { 0 };
    let address = block as usize;
    let plain = block_of_second(address, size).unwrap_or_else(|| recorder::block(address, size));
    recorder::acquire_with(&Acquire { flags, align_log2, ..plain }, caller);
}

/// Calls something that may call the allocator's other functions by name.
#[inline(always)]
fn compound<R>(call: impl FnOnce() -> R) -> R {
    let begun = recorder::begin_compound();
    let result = call();
    recorder::end_compound(begun);
    result
}

/// On x86-64 it is [`by_hand`](super::by_hand).
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: by the caller.
    let block = unsafe { NEXT.malloc(size) };
    if !block.is_null() {
        acquired_from(block, size, 0, 0);
    }
    block
}

/// A block came from malloc, called with these registers.
pub(super) extern "C" fn acquired_from(block: *mut c_void, size: usize, sp: usize, bp: usize) {
    acquired(block, size, Caller { sp, bp });
}

entries! {
    calloc(count: usize, size: usize) -> *mut c_void => calloc_from, "rdx", "rcx";
    realloc(block: *mut c_void, size: usize) -> *mut c_void => realloc_from, "rdx", "rcx";
    reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void
        => reallocarray_from, "rcx", "r8";
    posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int
        => posix_memalign_from, "rcx", "r8";
    aligned_alloc(alignment: usize, size: usize) -> *mut c_void
        => aligned_alloc_from, "rdx", "rcx";
    memalign(alignment: usize, size: usize) -> *mut c_void => memalign_from, "rdx", "rcx";
    valloc(size: usize) -> *mut c_void => valloc_from, "rsi", "rdx";
    pvalloc(size: usize) -> *mut c_void => pvalloc_from, "rsi", "rdx";
}

/// As [`malloc`].
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if !block.is_null() {
        released_by(block);
    }
    // SAFETY: by the caller.
    unsafe { NEXT.free(block) }
}

/// A block goes by free.
pub(super) extern "C" fn released_by(block: *mut c_void) {
    recorder::release(block as usize);
}

/// A block of musl's of this size has a mapping of its own, fresh and so zero, in its older malloc
/// (from 224 KiB on) as in its present one (mallocng, from 128 KiB on).
const MUSLS_OWN_MAPPING: usize = 1 << 20;

/// musl's calloc trusts its malloc to know what is zero already, but not one that was replaced: then
/// it reads all of a block, page by page (src/malloc/calloc.c). Where that goes on and on, malloc is
/// asked directly, as calloc does by itself without us.
fn is_zero_as_it_comes(count: usize, size: usize) -> bool {
    malloc_is_musl() && count.checked_mul(size).is_some_and(|bytes| bytes >= MUSLS_OWN_MAPPING)
}

unsafe extern "C" fn calloc_from(count: usize, size: usize, sp: usize, bp: usize) -> *mut c_void {
    let block = if is_zero_as_it_comes(count, size) {
        // SAFETY: by the caller.
        unsafe { NEXT.malloc(count * size) }
    } else {
        // SAFETY: by the caller.
        compound(|| unsafe { NEXT.calloc(count, size) })
    };
    if !block.is_null() {
        // A block that exists has a size that does not overflow.
        acquired_with(block, count.wrapping_mul(size), Flags::ZEROED, 0, Caller { sp, bp });
    }
    block
}

/// The first half of a realloc. The one copy, again.
#[inline(never)]
fn moves(block: *mut c_void) {
    recorder::release_with(block as usize, Flags::REALLOC);
}

/// Both halves of a realloc of a block, and the call between them.
#[inline(always)]
fn reallocated(
    block: *mut c_void,
    size: usize,
    caller: Caller,
    call: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    if block.is_null() {
        let fresh = compound(call);
        if !fresh.is_null() {
            acquired_with(fresh, size, Flags::NONE, 0, caller);
        }
        return fresh;
    }
    moves(block);
    let moved = compound(call);
    if !moved.is_null() {
        acquired_with(moved, size, Flags::REALLOC, 0, caller);
    } else if size == 0 {
        recorder::cold(&Cold::ReallocFreed { address: block as u64 });
    } else {
        let flags = Flags::REALLOC.with(Flags::AGAIN);
        let again = Acquire { address: block as u64, flags, ..Acquire::default() };
        recorder::acquire_with(&again, caller);
    }
    moved
}

unsafe extern "C" fn realloc_from(
    block: *mut c_void,
    size: usize,
    sp: usize,
    bp: usize,
) -> *mut c_void {
    // SAFETY: by the caller.
    reallocated(block, size, Caller { sp, bp }, || unsafe { NEXT.realloc(block, size) })
}

unsafe extern "C" fn reallocarray_from(
    block: *mut c_void,
    count: usize,
    size: usize,
    sp: usize,
    bp: usize,
) -> *mut c_void {
    if realloc_is_the_programs() {
        // The C library's calls the program's own realloc, by name.
        // SAFETY: by the caller.
        return unsafe { NEXT.reallocarray(block, count, size) };
    }
    match count.checked_mul(size) {
        // All that glibc's adds is the check, and it calls realloc by name: going there directly
        // keeps the call from being counted twice. Others have an errno of their own.
        Some(bytes) => reallocated(block, bytes, Caller { sp, bp }, || match libc_is_glibc() {
            // SAFETY: by the caller.
            true => unsafe { NEXT.realloc(block, bytes) },
            // SAFETY: by the caller.
            false => unsafe { NEXT.reallocarray(block, count, size) },
        }),
        // Refused, with the errno of whoever refuses.
        // SAFETY: by the caller.
        None => unsafe { NEXT.reallocarray(block, count, size) },
    }
}

unsafe extern "C" fn posix_memalign_from(
    out: *mut *mut c_void,
    alignment: usize,
    size: usize,
    sp: usize,
    bp: usize,
) -> c_int {
    // SAFETY: by the caller.
    let error = compound(|| unsafe { NEXT.posix_memalign(out, alignment, size) });
    if error == 0 {
        // SAFETY: after success the caller's pointer is set; null for size 0 in places.
        let block = unsafe { *out };
        if !block.is_null() {
            acquired_with(block, size, Flags::NONE, alignment, Caller { sp, bp });
        }
    }
    error
}

#[inline(always)]
fn aligned(
    size: usize,
    alignment: usize,
    caller: Caller,
    call: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let block = compound(call);
    if !block.is_null() {
        acquired_with(block, size, Flags::NONE, alignment, caller);
    }
    block
}

unsafe extern "C" fn aligned_alloc_from(
    alignment: usize,
    size: usize,
    sp: usize,
    bp: usize,
) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, alignment, Caller { sp, bp }, || unsafe { NEXT.aligned_alloc(alignment, size) })
}

unsafe extern "C" fn memalign_from(
    alignment: usize,
    size: usize,
    sp: usize,
    bp: usize,
) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, alignment, Caller { sp, bp }, || unsafe { NEXT.memalign(alignment, size) })
}

unsafe extern "C" fn valloc_from(size: usize, sp: usize, bp: usize) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, 4096, Caller { sp, bp }, || unsafe { NEXT.valloc(size) })
}

unsafe extern "C" fn pvalloc_from(size: usize, sp: usize, bp: usize) -> *mut c_void {
    // SAFETY: by the caller.
    aligned(size, 4096, Caller { sp, bp }, || unsafe { NEXT.pvalloc(size) })
}

/// A block is released by one of the names that allocators may lack.
fn released(block: *mut c_void, call: impl FnOnce()) {
    if let Some(free) = free_in_front() {
        // SAFETY: by the caller, a block; and it can only be of that allocator.
        return unsafe { free(block) };
    }
    if !block.is_null() {
        recorder::release(block as usize);
    }
    call();
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    // SAFETY: by the caller.
    released(block, || unsafe { NEXT.cfree(block) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(block: *mut c_void, size: usize) {
    // SAFETY: by the caller.
    released(block, || unsafe { NEXT.free_sized(block, size) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(block: *mut c_void, alignment: usize, size: usize) {
    // SAFETY: by the caller.
    released(block, || unsafe { NEXT.free_aligned_sized(block, alignment, size) });
}

/// Says nothing to the recorder, but must ask the allocator that the block came from.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: by the caller.
    unsafe { NEXT.malloc_usable_size(block) }
}
