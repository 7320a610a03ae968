//! Each family of mimalloc's functions, so many times, beside Rust's own blocks from the C library.

use fragtrace_linked_tests::Tally;
use libmimalloc_sys as mi;
use std::ffi::c_void;
use std::ptr::null_mut;

unsafe extern "C" {
    fn mi_umalloc(bytes: usize, usable: *mut usize) -> *mut c_void;
    fn mi_urealloc(
        block: *mut c_void,
        bytes: usize,
        before: *mut usize,
        after: *mut usize,
    ) -> *mut c_void;
    fn mi_ufree(block: *mut c_void, usable: *mut usize);
}

/// Plain, zeroed, sized: 60 bytes stay.
unsafe fn plain(tally: &mut Tally) {
    // SAFETY: as mimalloc.h says, of blocks that are live.
    unsafe {
        let moved = mi::mi_realloc(mi::mi_malloc(100), 5000);
        let zeroed = mi::mi_rezalloc(mi::mi_zalloc(300), 600);
        let array = mi::mi_recalloc(mi::mi_calloc(3, 50), 6, 50);
        let pair = mi::mi_reallocn(mi::mi_mallocn(2, 40), 4, 40);
        let small = mi::mi_reallocf(mi::mi_malloc_small(24), 48);
        let text = mi::mi_strdup(c"nineteen characters".as_ptr());
        let mut usable = 0;
        let told = mi_umalloc(500, &raw mut usable);
        let told = mi_urealloc(told, 900, &raw mut usable, null_mut());
        mi::mi_free(moved);
        mi::mi_free_size(zeroed, 600);
        mi::mi_cfree(array);
        mi::mi_free(pair);
        mi::mi_free_small(small);
        mi::mi_free(text.cast());
        mi_ufree(told, &raw mut usable);
        std::hint::black_box(mi::mi_zalloc_small(60));
    }
    tally.add([8, 7, 6, 60]);
}

/// With an alignment: 1000 bytes stay.
unsafe fn aligned(tally: &mut Tally) {
    // SAFETY: as above.
    unsafe {
        let first = mi::mi_realloc_aligned(mi::mi_malloc_aligned(100, 64), 3000, 64);
        let second = mi::mi_rezalloc_aligned(mi::mi_zalloc_aligned(200, 256), 900, 256);
        let third = mi::mi_malloc_aligned_at(400, 128, 16);
        mi::mi_free_aligned(first, 64);
        mi::mi_free_size_aligned(second, 900, 256);
        mi::mi_free(third);
        std::hint::black_box(mi::mi_zalloc_aligned(1000, 64));
    }
    tally.add([4, 3, 2, 1000]);
}

/// Of a heap of their own, which hands its blocks on when it ends: 700 bytes stay.
unsafe fn in_a_heap(tally: &mut Tally) {
    // SAFETY: as above; the heap is used by this thread alone.
    unsafe {
        let heap = mi::mi_heap_new();
        let first = mi::mi_heap_realloc(heap, mi::mi_heap_malloc(heap, 100), 5000);
        let second = mi::mi_heap_rezalloc(heap, mi::mi_heap_zalloc(heap, 300), 600);
        let third = mi::mi_heap_recalloc(heap, mi::mi_heap_calloc(heap, 3, 50), 6, 50);
        let small = mi::mi_heap_zalloc_small(heap, 40);
        let fourth = mi::mi_heap_malloc_aligned(heap, 200, 64);
        let fourth = mi::mi_heap_rezalloc_aligned(heap, fourth, 400, 64);
        let fifth = mi::mi_heap_recalloc_aligned(heap, null_mut(), 5, 60, 64);
        std::hint::black_box(mi::mi_heap_mallocn(heap, 7, 100));
        for block in [first, second, third, small, fourth, fifth] {
            mi::mi_free(block);
        }
        mi::mi_heap_delete(heap);
    }
    tally.add([7, 6, 4, 700]);
}

fn main() {
    // SAFETY: what is taken is given back once, or stays.
    Tally::of_rounds(|tally| unsafe {
        plain(tally);
        aligned(tally);
        in_a_heap(tally);
    });
}
