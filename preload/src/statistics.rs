//! What an allocator says of itself, in its own words: jemalloc's mallctl, mimalloc's
//! mi_process_info.
//!
//! When it is safe to ask is the recorder's business (its look/view.rs).

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use fragtrace_linked::names::Statistics;
use fragtrace_recorder::{Figure, MAX_FIGURES};

type Figures = [Figure<'static>; MAX_FIGURES];
type Mallctl =
    unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *const c_void, usize) -> c_int;
type ProcessInfo = unsafe extern "C" fn(
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
);

/// The function that is asked.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// What asks the function at this address.
///
/// # Safety
/// It is the allocator's of that name.
pub(crate) unsafe fn asking(
    statistics: Statistics,
    function: usize,
) -> unsafe fn(&mut Figures) -> usize {
    ASKED.store(function, Relaxed);
    match statistics {
        Statistics::Mallctl => ask_mallctl,
        Statistics::ProcessInfo => ask_process_info,
    }
}

/// Calls something that may change errno, and changes it back.
fn keeping_errno<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: the C library's function takes nothing and points to this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; it is this thread's for as long as this runs.
    let before = unsafe { *errno };
    let result = call();
    // SAFETY: as above.
    unsafe { *errno = before };
    result
}

/// The names, in the order of the manual. They are of the last epoch, so that comes first.
const JEMALLOC: [&CStr; MAX_FIGURES] = [
    c"stats.allocated",
    c"stats.active",
    c"stats.metadata",
    c"stats.resident",
    c"stats.mapped",
    c"stats.retained",
];

/// # Safety
/// `ASKED` is jemalloc's mallctl, and this thread holds none of jemalloc's locks.
unsafe fn ask_mallctl(figures: &mut Figures) -> usize {
    // SAFETY: by the caller.
    let mallctl = unsafe { core::mem::transmute::<usize, Mallctl>(ASKED.load(Relaxed)) };
    let mut count = 0;
    keeping_errno(|| {
        let epoch = 1u64;
        // SAFETY: "epoch" is a 64 bit number that may be written only.
        let refused = unsafe {
            mallctl(c"epoch".as_ptr(), null_mut(), null_mut(), (&raw const epoch).cast(), 8)
        };
        for name in JEMALLOC.iter().filter(|_| refused == 0) {
            let (mut bytes, mut length) = (0usize, size_of::<usize>());
            let place = (&raw mut bytes).cast();
            // SAFETY: these are numbers of the size of a pointer, if they are there.
            let error = unsafe { mallctl(name.as_ptr(), place, &raw mut length, null(), 0) };
            if error == 0 && length == size_of::<usize>() {
                figures[count] =
                    Figure { name: name.to_str().unwrap_or_default(), bytes: bytes as u64 };
                count += 1;
            }
        }
    });
    count
}

/// # Safety
/// `ASKED` is mimalloc's mi_process_info.
unsafe fn ask_process_info(figures: &mut Figures) -> usize {
    // SAFETY: by the caller.
    let info = unsafe { core::mem::transmute::<usize, ProcessInfo>(ASKED.load(Relaxed)) };
    let (mut current, mut peak) = (0usize, 0usize);
    let none = null_mut;
    keeping_errno(|| {
        // SAFETY: it leaves out what is null. Times and faults are not asked for; its resident
        // bytes are the kernel's.
        unsafe { info(none(), none(), none(), none(), none(), &mut current, &mut peak, none()) }
    });
    figures[0] = Figure { name: "current_commit", bytes: current as u64 };
    figures[1] = Figure { name: "peak_commit", bytes: peak as u64 };
    2
}
