//! The clock behind stamps: the processor's counter where it can be trusted.

use crate::arch::{CLOCK, CLOCK_SHIFT, counter_is_usable, ticks};
use crate::sys;
use core::sync::atomic::{AtomicBool, Ordering};
use fragtrace_format::header::ClockKind;

static USE_KERNEL: AtomicBool = AtomicBool::new(false);

/// Decides, once, before the first stamp.
pub(crate) fn choose() {
    USE_KERNEL.store(!counter_is_usable(), Ordering::Relaxed);
}

/// What the header says of the clock: its kind, and how far readings are shifted.
pub(crate) fn kind() -> (ClockKind, u32) {
    let kind = if USE_KERNEL.load(Ordering::Relaxed) { ClockKind::Monotonic } else { CLOCK };
    (kind, CLOCK_SHIFT)
}

/// Now, by the processor's counter. Right only where [`by_counter`] says so.
#[inline(always)]
pub(crate) fn counter_stamp() -> u64 {
    ticks() >> CLOCK_SHIFT
}

/// Whether the processor's counter is the clock.
pub(crate) fn by_counter() -> bool {
    !USE_KERNEL.load(Ordering::Relaxed)
}

/// The clock itself, not shifted: for what takes less than a few units of the trace.
pub(crate) fn reading() -> u64 {
    if by_counter() { ticks() } else { sys::clock_ns(libc::CLOCK_MONOTONIC) }
}

/// Now, in units of the trace.
pub(crate) fn stamp() -> u64 {
    #[cfg(test)]
    if let now @ 1.. = TESTS_CLOCK.load(Ordering::Relaxed) {
        return now;
    }
    if by_counter() { counter_stamp() } else { sys::clock_ns(libc::CLOCK_MONOTONIC) >> CLOCK_SHIFT }
}

/// The time in a test; 0 = the true one.
#[cfg(test)]
pub(crate) static TESTS_CLOCK: core::sync::atomic::AtomicU64 =
    core::sync::atomic::AtomicU64::new(0);
