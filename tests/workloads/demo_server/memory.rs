//! The process's resident set, as the kernel counts it, and the way to give it back.

use std::ffi::c_int;

#[cfg(target_env = "gnu")]
// SAFETY: glibc's malloc_trim(3) takes any padding and may be called by any thread at any time.
unsafe extern "C" {
    safe fn malloc_trim(pad: usize) -> c_int;
}

/// Asks glibc to return every page, of every arena, on which nothing is allocated. Whatever is
/// resident afterwards is held by live blocks. Other libraries have no such call.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    malloc_trim(0);
}

/// RSS in MiB from /proc/self/statm (field 2, in pages); 0 where there is no /proc.
pub fn resident_mib() -> f64 {
    const PAGE_BYTES: f64 = 4096.0;
    let pages: f64 = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split(' ').nth(1)?.parse().ok())
        .unwrap_or(0.0);
    pages * PAGE_BYTES / f64::from(1 << 20)
}
