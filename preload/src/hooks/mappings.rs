//! mmap and its family, as programs and allocators other than glibc's call it.
//!
//! These run inside allocators, with their locks held: they record, and do nothing else.

use crate::next::NEXT;
use crate::start::is_allocators;
use core::ffi::{c_int, c_void};
use fragtrace_recorder as recorder;
use recorder::Cold;

/// `heap`: the allocator calls.
fn mapped(
    (at, bytes): (*mut c_void, usize),
    protection: c_int,
    flags: c_int,
    heap: bool,
    call: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    // A fixed mapping replaces what stands there: its pages are gone before the call is.
    let replaces = flags & libc::MAP_FIXED != 0;
    if replaces {
        recorder::cold(&Cold::Unmap { address: at as u64, bytes: bytes as u64 });
    }
    let mapping = call();
    if mapping != libc::MAP_FAILED {
        recorder::cold(&Cold::Map {
            address: mapping as u64,
            bytes: bytes as u64,
            protection: protection as u32,
            flags: flags as u32,
            file: flags & libc::MAP_ANONYMOUS == 0,
            heap,
        });
    } else if replaces {
        recorder::cold(&Cold::Undo { address: at as u64 });
    }
    mapping
}

/// Defines mmap by its two names: entries that hand over the address that they return to.
#[cfg(target_arch = "x86_64")]
macro_rules! mmaps {
    ($($name:ident => $to:ident;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            at: *mut c_void,
            bytes: usize,
            protection: c_int,
            flags: c_int,
            fd: c_int,
            offset: i64,
        ) -> *mut c_void {
            core::arch::naked_asm!(
                ".cfi_startproc",
                // A seventh argument is on the stack, which this aligns as calls want it.
                "push qword ptr [rsp]",
                ".cfi_adjust_cfa_offset 8",
                "call {to}",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_endproc",
                to = sym $to,
            )
        }
        mmap_to!($name, $to);
    )*};
}

/// Elsewhere the caller is not known: its mappings are heap once blocks lie in them.
#[cfg(not(target_arch = "x86_64"))]
macro_rules! mmaps {
    ($($name:ident => $to:ident;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            at: *mut c_void,
            bytes: usize,
            protection: c_int,
            flags: c_int,
            fd: c_int,
            offset: i64,
        ) -> *mut c_void {
            // SAFETY: by the caller.
            unsafe { $to(at, bytes, protection, flags, fd, offset, 0) }
        }
        mmap_to!($name, $to);
    )*};
}

macro_rules! mmap_to {
    ($name:ident, $to:ident) => {
        unsafe extern "C" fn $to(
            at: *mut c_void,
            bytes: usize,
            protection: c_int,
            flags: c_int,
            fd: c_int,
            offset: i64,
            caller: usize,
        ) -> *mut c_void {
            // An allocator that is linked in has no object of its own, but its calls are known.
            let heap = is_allocators(caller) || recorder::in_call(recorder::stack_pointer());
            mapped((at, bytes), protection, flags, heap, || {
                // SAFETY: by the caller.
                unsafe { NEXT.$name(at, bytes, protection, flags, fd, offset) }
            })
        }
    };
}

mmaps! {
    mmap => mmap_from;
    mmap64 => mmap64_from;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(at: *mut c_void, bytes: usize) -> c_int {
    recorder::cold(&Cold::Unmap { address: at as u64, bytes: bytes as u64 });
    // SAFETY: by the caller.
    let result = unsafe { NEXT.munmap(at, bytes) };
    if result != 0 {
        recorder::cold(&Cold::Undo { address: at as u64 });
    }
    result
}

/// In C the last argument is there only with MREMAP_FIXED; passing it on is harmless.
#[unsafe(no_mangle)]
unsafe extern "C" fn mremap(
    at: *mut c_void,
    bytes: usize,
    new_bytes: usize,
    flags: c_int,
    new_at: *mut c_void,
) -> *mut c_void {
    let (address, old, new) = (at as u64, bytes as u64, new_bytes as u64);
    recorder::cold(&Cold::Remap { address, bytes: old, new_bytes: new });
    // SAFETY: by the caller.
    let mapping = unsafe { NEXT.mremap(at, bytes, new_bytes, flags, new_at) };
    if mapping == libc::MAP_FAILED {
        recorder::cold(&Cold::Undo { address: at as u64 });
    } else {
        recorder::cold(&Cold::Remapped { address: mapping as u64, bytes: new });
    }
    mapping
}

fn advised(at: *mut c_void, bytes: usize, advice: c_int, result: c_int) -> c_int {
    if result == 0 {
        recorder::cold(&Cold::Advise {
            address: at as u64,
            bytes: bytes as u64,
            advice: advice as u32,
        });
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int {
    // SAFETY: by the caller.
    advised(at, bytes, advice, unsafe { NEXT.madvise(at, bytes, advice) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int {
    // SAFETY: by the caller.
    let result = unsafe { NEXT.posix_madvise(at, bytes, advice) };
    // POSIX_MADV_DONTNEED (4) is a hint that glibc ignores, unlike madvise's.
    if advice == libc::POSIX_MADV_DONTNEED { result } else { advised(at, bytes, advice, result) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mprotect(at: *mut c_void, bytes: usize, protection: c_int) -> c_int {
    // SAFETY: by the caller.
    let result = unsafe { NEXT.mprotect(at, bytes, protection) };
    if result == 0 {
        recorder::cold(&Cold::Protect {
            address: at as u64,
            bytes: bytes as u64,
            protection: protection as u32,
        });
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn brk(end: *mut c_void) -> c_int {
    // SAFETY: by the caller.
    let result = unsafe { NEXT.brk(end) };
    if result == 0 {
        recorder::cold(&Cold::Brk { end: end as u64 });
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sbrk(step: isize) -> *mut c_void {
    // SAFETY: by the caller.
    let before = unsafe { NEXT.sbrk(step) };
    if step != 0 && before as usize != usize::MAX {
        recorder::cold(&Cold::Brk { end: (before as u64).wrapping_add_signed(step as i64) });
    }
    before
}
