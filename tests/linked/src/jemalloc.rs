//! What jemalloc says of itself.

use crate::tell_figure;
use std::ffi::CStr;
use std::ptr::null_mut;

const NAMES: [&CStr; 4] =
    [c"stats.allocated", c"stats.active", c"stats.resident", c"stats.retained"];

/// Tells its figures of this moment.
pub fn own_figures(when: &CStr) {
    for name in NAMES {
        tell_figure(when, name, statistic(name) as u64);
    }
}

/// One of its figures, as of now.
pub fn statistic(name: &CStr) -> usize {
    let mut epoch = 1u64;
    let (place, bytes) = ((&raw mut epoch).cast(), size_of_val(&epoch));
    // SAFETY: a 64 bit number, as the manual says.
    let error = unsafe {
        tikv_jemalloc_sys::mallctl(c"epoch".as_ptr(), null_mut(), null_mut(), place, bytes)
    };
    assert_eq!(error, 0, "jemalloc refused to count");
    let (mut figure, mut bytes) = (0usize, size_of::<usize>());
    let place = (&raw mut figure).cast();
    // SAFETY: a number of the size of a pointer, as the manual says.
    let error =
        unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), place, &raw mut bytes, null_mut(), 0) };
    assert_eq!(error, 0, "jemalloc was built without statistics");
    figure
}
