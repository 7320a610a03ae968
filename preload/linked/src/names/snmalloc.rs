//! snmalloc, as Rust's crate calls it and as its C interface does (override/rust.cc, malloc.cc).

use super::{List, Names};
use crate::call::Call;

const CALLS: &[Call] = &[
    Call::acquire("sn_rust_alloc", 1).aligned(0),
    Call::acquire("sn_rust_alloc_zeroed", 1).aligned(0).zeroed(),
    Call::resize("sn_rust_realloc", 0, 3).aligned(1),
    Call::release("sn_rust_dealloc", 0),
    Call::acquire("sn_malloc", 0),
    Call::acquire_array("sn_calloc", 0, 1).zeroed(),
    Call::resize("sn_realloc", 0, 1),
    Call::resize_array("sn_reallocarray", 0, 1, 2),
    Call::acquire("sn_memalign", 1).aligned(0),
    Call::acquire("sn_aligned_alloc", 1).aligned(0),
    Call::acquire_into("sn_posix_memalign", 0, 1, 2),
    Call::acquire("sn_valloc", 0).page_aligned(),
    Call::acquire("sn_pvalloc", 0).page_aligned(),
    Call::release("sn_free", 0),
    Call::release("sn_cfree", 0),
];

/// snmalloc's names.
pub const NAMES: Names = Names {
    allocator: "snmalloc",
    shown: "sn_*",
    code: &["sn_", "_ZN8snmalloc"],
    tell_tale: &["sn_rust_alloc", "sn_malloc"],
    any_prefix: false,
    lists: &[List::own(CALLS)],
    alone: &[],
    usable_size: &["sn_rust_usable_size", "sn_malloc_usable_size"],
    statistics: None,
};
