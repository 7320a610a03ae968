//! mimalloc (mimalloc.h, versions 1.7 to 3). `mi_heap_destroy` ends all blocks of a heap without a call
//! for each: they stay live on record.

use super::{List, Names, Statistics};
use crate::call::{Call, Operation};

const STANDARD: &[Call] = &[
    Call::acquire("mi_malloc", 0),
    Call::acquire("mi_malloc_small", 0),
    Call::acquire("mi_zalloc", 0).zeroed(),
    Call::acquire("mi_zalloc_small", 0).zeroed(),
    Call::acquire_array("mi_calloc", 0, 1).zeroed(),
    Call::acquire_array("mi_mallocn", 0, 1),
    Call::resize("mi_realloc", 0, 1),
    Call::resize("mi_reallocf", 0, 1).null_means(Operation::MoveOrRelease(0)),
    Call::resize_array("mi_reallocn", 0, 1, 2),
    Call::resize_array("mi_reallocarray", 0, 1, 2),
    Call::resize("mi_rezalloc", 0, 1).zeroed(),
    Call::resize_array("mi_recalloc", 0, 1, 2).zeroed(),
    Call::resize("mi_expand", 0, 1).null_means(Operation::MoveOrKeep(0)),
    Call::acquire_text("mi_strdup"),
    Call::acquire_text("mi_strndup"),
    Call::release("mi_free", 0),
    Call::release("mi_free_size", 0),
    Call::release("mi_free_size_aligned", 0),
    Call::release("mi_free_aligned", 0),
    Call::release("mi_cfree", 0),
    Call::release("mi_free_small", 0),
];

const ALIGNED: &[Call] = &[
    Call::acquire("mi_malloc_aligned", 0).aligned(1),
    Call::acquire("mi_malloc_aligned_at", 0).aligned(1),
    Call::acquire("mi_zalloc_aligned", 0).aligned(1).zeroed(),
    Call::acquire("mi_zalloc_aligned_at", 0).aligned(1).zeroed(),
    Call::acquire_array("mi_calloc_aligned", 0, 1).aligned(2).zeroed(),
    Call::acquire_array("mi_calloc_aligned_at", 0, 1).aligned(2).zeroed(),
    Call::resize("mi_realloc_aligned", 0, 1).aligned(2),
    Call::resize("mi_realloc_aligned_at", 0, 1).aligned(2),
    Call::resize("mi_rezalloc_aligned", 0, 1).aligned(2).zeroed(),
    Call::resize("mi_rezalloc_aligned_at", 0, 1).aligned(2).zeroed(),
    Call::resize_array("mi_recalloc_aligned", 0, 1, 2).aligned(3).zeroed(),
    Call::resize_array("mi_recalloc_aligned_at", 0, 1, 2).aligned(3).zeroed(),
    Call::acquire_into("mi_posix_memalign", 0, 1, 2),
    Call::acquire("mi_memalign", 1).aligned(0),
    Call::acquire("mi_aligned_alloc", 1).aligned(0),
    Call::acquire("mi_valloc", 0).page_aligned(),
    Call::acquire("mi_pvalloc", 0).page_aligned(),
];

/// With a heap as the first argument.
const HEAPS: &[Call] = &[
    Call::acquire("mi_heap_malloc", 1),
    Call::acquire("mi_heap_malloc_small", 1),
    Call::acquire("mi_heap_zalloc", 1).zeroed(),
    Call::acquire("mi_heap_zalloc_small", 1).zeroed(),
    Call::acquire_array("mi_heap_calloc", 1, 2).zeroed(),
    Call::acquire_array("mi_heap_mallocn", 1, 2),
    Call::resize("mi_heap_realloc", 1, 2),
    Call::resize("mi_heap_reallocf", 1, 2).null_means(Operation::MoveOrRelease(1)),
    Call::resize_array("mi_heap_reallocn", 1, 2, 3),
    Call::resize("mi_heap_rezalloc", 1, 2).zeroed(),
    Call::resize_array("mi_heap_recalloc", 1, 2, 3).zeroed(),
    Call::acquire_text("mi_heap_strdup"),
    Call::acquire_text("mi_heap_strndup"),
    Call::acquire("mi_heap_malloc_aligned", 1).aligned(2),
    Call::acquire("mi_heap_malloc_aligned_at", 1).aligned(2),
    Call::acquire("mi_heap_zalloc_aligned", 1).aligned(2).zeroed(),
    Call::acquire("mi_heap_zalloc_aligned_at", 1).aligned(2).zeroed(),
    Call::acquire_array("mi_heap_calloc_aligned", 1, 2).aligned(3).zeroed(),
    Call::acquire_array("mi_heap_calloc_aligned_at", 1, 2).aligned(3).zeroed(),
    Call::resize("mi_heap_realloc_aligned", 1, 2).aligned(3),
    Call::resize("mi_heap_realloc_aligned_at", 1, 2).aligned(3),
    Call::resize("mi_heap_rezalloc_aligned", 1, 2).aligned(3).zeroed(),
    Call::resize("mi_heap_rezalloc_aligned_at", 1, 2).aligned(3).zeroed(),
    Call::resize_array("mi_heap_recalloc_aligned", 1, 2, 3).aligned(4).zeroed(),
    Call::resize_array("mi_heap_recalloc_aligned_at", 1, 2, 3).aligned(4).zeroed(),
    Call::acquire("mi_heap_alloc_new", 1),
    Call::acquire_array("mi_heap_alloc_new_n", 1, 2),
    // A heap is a block of mimalloc's own.
    Call::inside("mi_heap_new"),
    Call::inside("mi_heap_new_ex"),
    Call::inside("mi_heap_new_in_arena"),
    Call::inside("mi_heap_delete"),
    Call::inside("mi_heap_destroy"),
];

/// Since version 3: with a thread's part of a heap as the first argument, and those that tell how large
/// the block is.
const SINCE_3: &[Call] = &[
    Call::acquire("mi_theap_malloc", 1),
    Call::acquire("mi_theap_malloc_small", 1),
    Call::acquire("mi_theap_zalloc", 1).zeroed(),
    Call::acquire("mi_theap_zalloc_small", 1).zeroed(),
    Call::acquire_array("mi_theap_calloc", 1, 2).zeroed(),
    Call::acquire("mi_theap_malloc_aligned", 1).aligned(2),
    Call::resize("mi_theap_realloc", 1, 2),
    Call::acquire("mi_umalloc", 0),
    Call::acquire("mi_umalloc_small", 0),
    Call::acquire("mi_uzalloc_small", 0).zeroed(),
    Call::acquire_array("mi_ucalloc", 0, 1).zeroed(),
    Call::acquire("mi_umalloc_aligned", 0).aligned(1),
    Call::acquire("mi_uzalloc_aligned", 0).aligned(1).zeroed(),
    Call::resize("mi_urealloc", 0, 1),
    Call::release("mi_ufree", 0),
];

/// What its C++ operators call.
const OPERATORS: &[Call] = &[
    Call::acquire_or_throw("mi_new", 0),
    Call::acquire_or_throw("mi_new_nothrow", 0),
    Call::acquire_or_throw("mi_new_aligned", 0).aligned(1),
    Call::acquire_or_throw("mi_new_aligned_nothrow", 0).aligned(1),
    Call::acquire_array("mi_new_n", 0, 1),
    Call::resize("mi_new_realloc", 0, 1),
    Call::resize_array("mi_new_reallocn", 0, 1, 2),
];

/// mimalloc's names.
pub const NAMES: Names = Names {
    allocator: "mimalloc",
    shown: "mi_malloc",
    code: &["mi_", "_mi_"],
    tell_tale: &["mi_malloc", "mi_malloc_aligned", "mi_free"],
    any_prefix: false,
    lists: &[
        List::own(STANDARD),
        List::own(ALIGNED),
        List::own(HEAPS),
        List::own(SINCE_3),
        List::own(OPERATORS),
    ],
    alone: &[],
    usable_size: &["mi_usable_size", "mi_malloc_usable_size"],
    statistics: Some(Statistics::ProcessInfo),
};
