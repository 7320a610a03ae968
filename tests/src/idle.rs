//! A library to compare the tracer with: any that is preloaded moves what mmap places.

use std::path::PathBuf;

use crate::elf::{Extent, extent};
use crate::programs::library;
use crate::tools::tracer;

fn idle(tls_bytes: u64, pad_bytes: u64) -> PathBuf {
    let sizes = [("TLS_BYTES", tls_bytes.to_string()), ("PAD_BYTES", pad_bytes.to_string())];
    library("idle", "libidle.so", &sizes)
}

/// A library that does nothing and takes as much address space and thread-local storage.
pub fn idle_like_the_tracer() -> PathBuf {
    let wanted = extent(&tracer());
    let smallest = extent(&idle(wanted.tls_bytes, 0));
    let mut pad_bytes = wanted.span_bytes.saturating_sub(smallest.span_bytes);
    let mut like = idle(wanted.tls_bytes, pad_bytes);
    // The linker's own alignment can cost a page.
    for _ in 0..2 {
        let excess = extent(&like).span_bytes.saturating_sub(wanted.span_bytes);
        pad_bytes = pad_bytes.saturating_sub(excess);
        like = idle(wanted.tls_bytes, pad_bytes);
    }
    let found: Extent = extent(&like);
    assert!(found == wanted, "the idle library is {found:?}, the tracer {wanted:?}");
    like
}
