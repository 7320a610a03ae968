//! Fetching memory ahead of its use: with a large heap nearly every event misses the caches, and what is
//! begun sixteen events ahead has come by then.

/// Begins to fetch the cache line that a value begins in, and waits for nothing.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is that of a reference, and a prefetch is a hint that changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(value);
}
