//! jemalloc, under any prefix: `_rjem_` in Rust's crate, `je_` in many C builds, none in its own
//! shared library (jemalloc(3), "Standard API", "Non-standard API").

use super::{List, Names, Statistics, operators, standard};
use crate::call::Call;

const EXTENDED: &[Call] = &[
    Call::acquire("mallocx", 0).flags(1),
    Call::resize("rallocx", 0, 1).flags(2),
    Call::expand("xallocx", 0, 1),
    Call::release("dallocx", 0),
    Call::release("sdallocx", 0),
];

/// jemalloc's names.
pub const NAMES: Names = Names {
    allocator: "jemalloc",
    shown: "malloc",
    code: &[],
    tell_tale: &["mallocx", "sdallocx"],
    any_prefix: true,
    lists: &[standard::FAMILY, List::own(EXTENDED), operators::OPERATORS],
    alone: &["malloc", "calloc", "free", "mallocx", "dallocx", "sdallocx"],
    // No flag of sallocx's has a meaning, so it is asked as the other is.
    usable_size: &["malloc_usable_size", "sallocx"],
    statistics: Some(Statistics::Mallctl),
};
