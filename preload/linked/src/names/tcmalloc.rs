//! tcmalloc of gperftools, under the names of its own that stand beside the usual ones
//! (gperftools/tcmalloc.h).

use super::{List, Names, operators, standard};
use crate::call::Call;

const CALLS: &[Call] = &[
    Call::acquire("tc_malloc", 0),
    Call::acquire_array("tc_calloc", 0, 1).zeroed(),
    Call::resize("tc_realloc", 0, 1),
    Call::acquire("tc_memalign", 1).aligned(0),
    Call::acquire_into("tc_posix_memalign", 0, 1, 2),
    Call::acquire("tc_valloc", 0).page_aligned(),
    Call::acquire("tc_pvalloc", 0).page_aligned(),
    Call::acquire("tc_malloc_skip_new_handler", 0),
    Call::acquire_or_throw("tc_new", 0),
    Call::acquire_or_throw("tc_new_nothrow", 0),
    Call::acquire_or_throw("tc_newarray", 0),
    Call::acquire_or_throw("tc_newarray_nothrow", 0),
    Call::acquire_or_throw("tc_new_aligned", 0).aligned(1),
    Call::acquire_or_throw("tc_new_aligned_nothrow", 0).aligned(1),
    Call::acquire_or_throw("tc_newarray_aligned", 0).aligned(1),
    Call::acquire_or_throw("tc_newarray_aligned_nothrow", 0).aligned(1),
    Call::release("tc_free", 0),
    Call::release("tc_cfree", 0),
    Call::release("tc_free_sized", 0),
    Call::release("tc_delete", 0),
    Call::release("tc_delete_sized", 0),
    Call::release("tc_delete_nothrow", 0),
    Call::release("tc_deletearray", 0),
    Call::release("tc_deletearray_sized", 0),
    Call::release("tc_deletearray_nothrow", 0),
    Call::release("tc_delete_aligned", 0),
    Call::release("tc_delete_sized_aligned", 0),
    Call::release("tc_delete_aligned_nothrow", 0),
    Call::release("tc_deletearray_aligned", 0),
    Call::release("tc_deletearray_sized_aligned", 0),
    Call::release("tc_deletearray_aligned_nothrow", 0),
];

/// tcmalloc's names.
pub const NAMES: Names = Names {
    allocator: "tcmalloc",
    shown: "tc_malloc",
    code: &["tc_", "_ZN8tcmalloc"],
    tell_tale: &["tc_malloc", "tc_new"],
    any_prefix: false,
    lists: &[List::own(CALLS), standard::FAMILY, operators::OPERATORS],
    alone: &[],
    usable_size: &["tc_malloc_size", "malloc_usable_size"],
    statistics: None,
};
