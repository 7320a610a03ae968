//! FRAGTRACE_CHILDREN=off: takes the tracer out of the environment that children inherit.
//!
//! The strings and the array that hold the environment are edited where they stand, so
//! nothing is allocated and whoever keeps a pointer to them keeps a valid one.

use crate::text::find;
use core::ffi::{CStr, c_char};

const LIBRARY: &[u8] = b"libfragtrace";

/// Removes FRAGTRACE_* variables, and ourselves from LD_PRELOAD.
///
/// # Safety
/// `environ` is null or points to writable strings and a null behind the last one, and no
/// other thread reads or writes them at this moment.
pub(crate) unsafe fn leave_out_tracer(environ: *const *const c_char) {
    if environ.is_null() {
        return;
    }
    let mut from = environ.cast_mut();
    let mut to = from;
    loop {
        // SAFETY: by the caller: entries up to a null, and `to` is never ahead of `from`.
        unsafe {
            let entry = *from;
            from = from.add(1);
            if entry.is_null() {
                *to = entry;
                return;
            }
            let text = CStr::from_ptr(entry).to_bytes();
            if text.starts_with(b"FRAGTRACE_") {
                continue;
            }
            if let Some(list) = text.strip_prefix(b"LD_PRELOAD=") {
                let (name, len) = (text.len() - list.len(), list.len());
                let start = entry.cast_mut().cast::<u8>().add(name);
                let kept = without_library(core::slice::from_raw_parts_mut(start, len));
                if kept == 0 {
                    continue;
                }
                *start.add(kept) = 0;
            }
            *to = entry;
            to = to.add(1);
        }
    }
}

/// Moves the parts of a preload list that are not ours to its front; the bytes they take.
fn without_library(list: &mut [u8]) -> usize {
    let is_separator = |byte: u8| byte == b':' || byte == b' ';
    let mut kept = 0;
    let mut at = 0;
    while at < list.len() {
        let end = list[at..]
            .iter()
            .position(|byte| is_separator(*byte))
            .map_or(list.len(), |len| at + len);
        if end > at && find(&list[at..end], LIBRARY).is_none() {
            if kept > 0 {
                list[kept] = b':';
                kept += 1;
            }
            list.copy_within(at..end, kept);
            kept += end - at;
        }
        at = end + 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(list: &[u8]) -> ([u8; 64], usize) {
        let mut bytes = [0; 64];
        bytes[..list.len()].copy_from_slice(list);
        let kept = without_library(&mut bytes[..list.len()]);
        (bytes, kept)
    }

    #[test]
    fn only_the_tracer_leaves_the_list() {
        for (list, wanted) in [
            (&b"/lib/libfragtrace.so"[..], &b""[..]),
            (b"/a/x.so:/lib/libfragtrace.so", b"/a/x.so"),
            (b"libfragtrace.so /b/y.so z.so", b"/b/y.so:z.so"),
            (b"x.so", b"x.so"),
        ] {
            let (bytes, kept) = without(list);
            assert_eq!(&bytes[..kept], wanted);
        }
    }
}
