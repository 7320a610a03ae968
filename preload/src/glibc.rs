//! Which versions of glibc are known: what the rest of the tracer says of blocks and heaps (size words
//! in front of blocks, arenas' heaps) holds for these, and of others looks alone tell.

use core::ffi::CStr;

/// Versions whose layout of a block's header is known: unchanged since 2.17 at least.
pub(crate) fn is_known(version: &CStr) -> bool {
    let Some(minor) = version.to_bytes().strip_prefix(b"2.") else { return false };
    let minor = minor
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0u32, |value, digit| value * 10 + (digit - b'0') as u32);
    (17..=43).contains(&minor)
}
