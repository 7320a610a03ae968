//! malloc and its family, and C++'s operators: in executables that have a malloc of their own.
//!
//! The loader prefers the executable's to ours. Which allocator it is only its maker knows.

use super::{List, Names, Scope, operators};
use crate::call::Call;

const CALLS: &[Call] = &[
    Call::acquire("malloc", 0),
    Call::acquire_array("calloc", 0, 1).zeroed(),
    Call::resize("realloc", 0, 1),
    Call::resize_array("reallocarray", 0, 1, 2),
    Call::acquire_into("posix_memalign", 0, 1, 2),
    Call::acquire("aligned_alloc", 1).aligned(0),
    Call::acquire("memalign", 1).aligned(0),
    Call::acquire("valloc", 0).page_aligned(),
    Call::acquire("pvalloc", 0).page_aligned(),
    Call::release("free", 0),
    Call::release("cfree", 0),
    Call::release("free_sized", 0),
    Call::release("free_aligned_sized", 0),
];

/// What the C library has too.
pub(super) const FAMILY: List = List { scope: Scope::Standard, calls: CALLS };

/// An allocator under the usual names.
pub const NAMES: Names = Names {
    allocator: "an allocator",
    shown: "malloc",
    code: &[],
    tell_tale: &["malloc"],
    any_prefix: false,
    lists: &[FAMILY, operators::OPERATORS],
    alone: &[],
    usable_size: &["malloc_usable_size"],
    statistics: None,
};
