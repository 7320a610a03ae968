//! Fetching memory ahead of its use: with a large heap nearly every event misses the caches, and what is
//! begun sixteen events ahead has come by then.

const LINE_BYTES: usize = 64;

/// Begins to fetch the cache line that a value begins in, and waits for nothing.
#[inline(always)]
pub(super) fn fetch<T>(value: &T) {
    fetch_at(std::ptr::from_ref(value).cast());
}

/// The same of all cache lines of a value that begins with one.
#[inline(always)]
pub(super) fn fetch_all<T>(value: &T) {
    let begin: *const u8 = std::ptr::from_ref(value).cast();
    (0..size_of::<T>()).step_by(LINE_BYTES).for_each(|at| fetch_at(begin.wrapping_add(at)));
}

#[inline(always)]
#[allow(unsafe_code)]
fn fetch_at(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint, whatever the address is: it changes nothing, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(place);
}
