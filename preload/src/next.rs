//! The one list of all functions that are hooked, and where their next definitions are.
//!
//! Each slot starts out at a stub that finds all next definitions, begins recording, and
//! calls on. So the event path has no check for "resolved yet?", and whatever is called
//! first, in whatever library's constructor, sets everything up.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

macro_rules! next {
    ($($name:ident($($arg:ident: $kind:ty),*) $(-> $result:ty)? = $missing:expr;)*) => {
        /// The next definition of each hooked function.
        #[allow(non_snake_case, reason = "slots bear the names of C functions")]
        // The first of them, which are called most, are a cache line of their own: they are written
        // when a call is to be timed.
        #[repr(C, align(64))]
        pub(crate) struct Next {
            $(pub(crate) $name: AtomicPtr<()>,)*
        }

        pub(crate) static NEXT: Next = Next { $($name: AtomicPtr::new(first::$name as *mut ()),)* };

        #[allow(non_snake_case, reason = "methods bear the names of C functions")]
        impl Next {
            $(
                /// Calls the next definition.
                ///
                /// # Safety
                /// As the function demands.
                #[allow(clippy::too_many_arguments, reason = "as many as the C function has")]
                #[inline(always)]
                pub(crate) unsafe fn $name(&self, $($arg: $kind),*) $(-> $result)? {
                    type Function = unsafe extern "C" fn($($kind),*) $(-> $result)?;
                    let next = self.$name.load(Ordering::Relaxed);
                    // SAFETY: a slot holds a function of its own type: the stub, the next
                    // definition, or the substitute.
                    let next = unsafe { core::mem::transmute::<*mut (), Function>(next) };
                    // SAFETY: by the caller.
                    unsafe { next($($arg),*) }
                }
            )*

            /// Sets each slot to what `find` returns for its name, or to its substitute.
            pub(crate) fn resolve(&self, mut find: impl FnMut(&CStr) -> Option<usize>) {
                $({
                    const NAME: &CStr = match CStr::from_bytes_with_nul(
                        concat!(stringify!($name), "\0").as_bytes(),
                    ) {
                        Ok(name) => name,
                        Err(_) => c"",
                    };
                    let found = find(NAME).map_or(missing::$name as *mut (), |at| at as *mut ());
                    self.$name.store(found, Ordering::Relaxed);
                })*
            }

            /// Whatever called the code at `from` calls that at `to` instead.
            pub(crate) fn rebind(&self, from: usize, to: usize) {
                $(if self.$name.load(Ordering::Relaxed) as usize == from {
                    self.$name.store(to as *mut (), Ordering::Relaxed);
                })*
            }
        }

        /// Stubs: what a slot holds before anything was called.
        mod first {
            #![allow(non_snake_case, reason = "they bear the names of C functions")]
            use super::*;
            $(pub(super) unsafe extern "C" fn $name($($arg: $kind),*) $(-> $result)? {
                crate::start::start();
                // SAFETY: by the caller.
                unsafe { NEXT.$name($($arg),*) }
            })*
        }

        /// Substitutes: what a slot holds where no library defines the function.
        mod missing {
            #![allow(unused_variables, non_snake_case, reason = "a substitute uses what it can")]
            use super::*;
            $(pub(super) unsafe extern "C" fn $name($($arg: $kind),*) $(-> $result)? {
                #[allow(unused_unsafe, reason = "some substitutes are plain values")]
                // SAFETY: by the caller.
                unsafe { $missing }
            })*
        }
    };
}

const PAGE: usize = 4096;

next! {
    // Blocks.
    malloc(size: usize) -> *mut c_void = null_mut();
    free(block: *mut c_void) = ();
    calloc(count: usize, size: usize) -> *mut c_void = null_mut();
    realloc(block: *mut c_void, size: usize) -> *mut c_void = null_mut();
    reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void =
        match count.checked_mul(size) {
            Some(bytes) => NEXT.realloc(block, bytes),
            None => null_mut(),
        };
    posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int = libc::ENOMEM;
    aligned_alloc(alignment: usize, size: usize) -> *mut c_void = null_mut();
    memalign(alignment: usize, size: usize) -> *mut c_void = NEXT.aligned_alloc(alignment, size);
    valloc(size: usize) -> *mut c_void = NEXT.memalign(PAGE, size);
    pvalloc(size: usize) -> *mut c_void = match size.checked_next_multiple_of(PAGE) {
        Some(bytes) => NEXT.memalign(PAGE, bytes),
        None => null_mut(),
    };
    cfree(block: *mut c_void) = NEXT.free(block);
    free_sized(block: *mut c_void, size: usize) = NEXT.free(block);
    free_aligned_sized(block: *mut c_void, alignment: usize, size: usize) =
        NEXT.free(block);
    malloc_usable_size(block: *mut c_void) -> usize = 0;
    // Mappings.
    mmap(at: *mut c_void, bytes: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64)
        -> *mut c_void = libc::MAP_FAILED;
    mmap64(at: *mut c_void, bytes: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64)
        -> *mut c_void = NEXT.mmap(at, bytes, protection, flags, fd, offset);
    munmap(at: *mut c_void, bytes: usize) -> c_int = -1;
    mremap(at: *mut c_void, bytes: usize, new_bytes: usize, flags: c_int, new_at: *mut c_void)
        -> *mut c_void = libc::MAP_FAILED;
    madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int = -1;
    posix_madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int =
        NEXT.madvise(at, bytes, advice);
    mprotect(at: *mut c_void, bytes: usize, protection: c_int) -> c_int = -1;
    brk(end: *mut c_void) -> c_int = -1;
    sbrk(step: isize) -> *mut c_void = usize::MAX as *mut c_void;
    // The process.
    prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int = -1;
    fork() -> c_int = -1;
    daemon(no_change: c_int, no_close: c_int) -> c_int = -1;
    setuid(user: c_uint) -> c_int = -1;
    seteuid(user: c_uint) -> c_int = -1;
    setreuid(real: c_uint, effective: c_uint) -> c_int = -1;
    setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int = -1;
    chroot(path: *const c_char) -> c_int = -1;
    setrlimit(resource: c_uint, limit: *const c_void) -> c_int = -1;
    setrlimit64(resource: c_uint, limit: *const c_void) -> c_int = NEXT.setrlimit(resource, limit);
    prlimit(process: c_int, resource: c_uint, limit: *const c_void, before: *mut c_void) -> c_int = -1;
    prlimit64(process: c_int, resource: c_uint, limit: *const c_void, before: *mut c_void) -> c_int =
        NEXT.prlimit(process, resource, limit, before);
    syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long = -1;
    _exit(status: c_int) = ();
    _Exit(status: c_int) = ();
    quick_exit(status: c_int) = ();
    execve(path: *const c_char, argv: *const c_void, envp: *const c_void) -> c_int = -1;
    execveat(at: c_int, path: *const c_char, argv: *const c_void, envp: *const c_void, flags: c_int)
        -> c_int = -1;
    fexecve(fd: c_int, argv: *const c_void, envp: *const c_void) -> c_int = -1;
    execv(path: *const c_char, argv: *const c_void) -> c_int = -1;
    execvp(file: *const c_char, argv: *const c_void) -> c_int = -1;
    execvpe(file: *const c_char, argv: *const c_void, envp: *const c_void) -> c_int = -1;
    // With a list of arguments of any length: the first that matter to a substitute.
    execl(path: *const c_char, arg: *const c_char) -> c_long = -1;
    execlp(file: *const c_char, arg: *const c_char) -> c_long = -1;
    execle(path: *const c_char, arg: *const c_char) -> c_long = -1;
}
