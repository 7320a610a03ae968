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

/// Whether it will give nothing more back by itself: it has no thread for that, or no unused page
/// that it has not given back.
pub fn is_quiet() -> bool {
    let mut has_thread = false;
    read(c"background_thread", &mut has_thread);
    // Of all arenas together (MALLCTL_ARENAS_ALL).
    !has_thread || statistic(c"stats.arenas.4096.pdirty") == 0
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
    let mut figure = 0usize;
    read(name, &mut figure);
    figure
}

/// Reads what is a `T` by the manual.
fn read<T>(name: &CStr, value: &mut T) {
    let mut bytes = size_of::<T>();
    let place = (&raw mut *value).cast();
    // SAFETY: it writes no more than so many bytes, and fails where that is another size than its.
    let error =
        unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), place, &raw mut bytes, null_mut(), 0) };
    assert_eq!(error, 0, "jemalloc does not tell {name:?}");
}
