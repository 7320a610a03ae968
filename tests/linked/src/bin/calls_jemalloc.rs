//! Each function of jemalloc's, so many times, beside Rust's own blocks from the C library.

use fragtrace_linked_tests::Tally;
use std::ptr::null_mut;
use tikv_jemalloc_sys as je;

/// A round. Of its blocks two stay: 170 bytes.
///
/// # Safety
/// None is needed: what is taken is given back once, or stays.
unsafe fn round(tally: &mut Tally) {
    // SAFETY: as the manual says, of blocks that are live.
    unsafe {
        let first = je::malloc(100);
        let first = je::realloc(first, 5000);
        let second = je::calloc(10, 30);
        let mut third = null_mut();
        assert_eq!(je::posix_memalign(&raw mut third, 64, 200), 0);
        let fourth = je::aligned_alloc(256, 512);
        let fifth = je::mallocx(1000, je::MALLOCX_LG_ALIGN(8) | je::MALLOCX_ZERO);
        let fifth = je::rallocx(fifth, 3000, 0);
        assert!(je::xallocx(fifth, 3000, 0, 0) >= 3000, "it has as many");
        let kept = je::malloc(100);
        assert!(je::xallocx(kept, 100_000, 0, 0) < 100_000, "its neighbours are in the way");
        let another = je::realloc(null_mut(), 70);
        assert!(je::sallocx(kept, 0) >= 100 && je::nallocx(70, 0) >= 70);
        assert!(je::malloc_usable_size(another) >= 70);
        je::free(first);
        je::dallocx(second, 0);
        je::sdallocx(third, 200, je::MALLOCX_LG_ALIGN(6));
        je::free(fourth);
        je::dallocx(fifth, je::MALLOCX_TCACHE_NONE);
        je::free(null_mut());
    }
    tally.add([7, 5, 4, 170]);
}

fn main() {
    // SAFETY: nothing is.
    Tally::of_rounds(|tally| unsafe { round(tally) });
}
