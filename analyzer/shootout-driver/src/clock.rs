//! The clock that the allocator sees.
//!
//! The executable's `clock_gettime` stands before libc's for every library in the process, so an
//! allocator that purges by time asks here. Where the script runs without waiting, it is shown the
//! recorded time: it stands still between two steps of the script that tell it, and jumps where
//! the program paused. In any other process, and as long as no script runs, it is the kernel's.

use crate::kernel::real_ns;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static SHOWN: AtomicBool = AtomicBool::new(false);
/// What has passed of the recorded time.
static ELAPSED_NS: AtomicU64 = AtomicU64::new(0);
/// The kernel's clocks when the script began.
static MONOTONIC_START_NS: AtomicU64 = AtomicU64::new(0);
static REAL_START_NS: AtomicU64 = AtomicU64::new(0);

/// From now on the recorded time is shown.
pub fn begin() {
    MONOTONIC_START_NS.store(real_ns(libc::CLOCK_MONOTONIC), Relaxed);
    REAL_START_NS.store(real_ns(libc::CLOCK_REALTIME), Relaxed);
    SHOWN.store(true, Relaxed);
}

/// So much of the recorded time has passed.
pub fn advance(elapsed_ns: u64) {
    ELAPSED_NS.store(elapsed_ns, Relaxed);
}

/// Stands before libc's.
///
/// # Safety
/// As libc's: `into` is null or may be written.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, into: *mut libc::timespec) -> i32 {
    let start_ns = match clock {
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => &MONOTONIC_START_NS,
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => &REAL_START_NS,
        // Time of the processor: no pause is in it.
        _ => return ask_kernel(clock, into),
    };
    if !SHOWN.load(Relaxed) || into.is_null() {
        return ask_kernel(clock, into);
    }
    let now_ns = start_ns.load(Relaxed) + ELAPSED_NS.load(Relaxed);
    // SAFETY: by the caller.
    unsafe {
        (*into).tv_sec = (now_ns / 1_000_000_000) as libc::time_t;
        (*into).tv_nsec = (now_ns % 1_000_000_000) as libc::c_long;
    }
    0
}

#[cfg(target_env = "gnu")]
fn ask_kernel(clock: libc::clockid_t, into: *mut libc::timespec) -> i32 {
    // SAFETY: the kernel checks both, and libc's wrapper sets errno as its own function would.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, into) as i32 }
}
