//! rpmalloc (rpmalloc.h, versions 1.4 and 2).

use super::{List, Names};
use crate::call::Call;

const CALLS: &[Call] = &[
    Call::acquire("rpmalloc", 0),
    Call::acquire("rpzalloc", 0).zeroed(),
    Call::acquire_array("rpcalloc", 0, 1).zeroed(),
    Call::resize("rprealloc", 0, 1),
    Call::resize("rpaligned_realloc", 0, 2).aligned(1),
    Call::acquire("rpaligned_alloc", 1).aligned(0),
    Call::acquire("rpaligned_zalloc", 1).aligned(0).zeroed(),
    Call::acquire_array("rpaligned_calloc", 1, 2).aligned(0).zeroed(),
    Call::acquire("rpmemalign", 1).aligned(0),
    Call::acquire_into("rpposix_memalign", 0, 1, 2),
    Call::release("rpfree", 0),
];

/// rpmalloc's names.
pub const NAMES: Names = Names {
    allocator: "rpmalloc",
    shown: "rpmalloc",
    code: &["rp", "_rpmalloc"],
    tell_tale: &["rpmalloc", "rpaligned_alloc"],
    any_prefix: false,
    lists: &[List::own(CALLS)],
    alone: &[],
    usable_size: &["rpmalloc_usable_size"],
    statistics: None,
};
