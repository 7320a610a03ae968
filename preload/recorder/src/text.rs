//! Text in fixed room, and numbers out of text: what std and alloc would give.

use core::fmt;

/// Text that grows in a buffer of its own and drops what does not fit.
#[derive(Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    /// Something did not fit.
    pub(crate) cut: bool,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const fn new() -> Self {
        Text { bytes: [0; N], len: 0, cut: false }
    }

    /// Adds bytes, as many as there is room for.
    pub fn push(&mut self, more: &[u8]) {
        // One byte stays zero, so that the text is a C string too.
        let room = N - 1 - self.len;
        let taken = more.len().min(room);
        self.cut |= taken < more.len();
        self.bytes[self.len..self.len + taken].copy_from_slice(&more[..taken]);
        self.len += taken;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes[len..self.len].fill(0);
        self.len = len;
    }

    /// What there is.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// With the zero at its end.
    pub fn c_str(&self) -> &[u8] {
        &self.bytes[..self.len + 1]
    }

    /// The text up to the first byte that is not UTF-8.
    pub fn as_str(&self) -> &str {
        valid_utf8(self.bytes())
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// The valid beginning of `bytes`.
pub(crate) fn valid_utf8(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    }
}

/// The position of `needle`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The decimal number at the start of `bytes`, and what is behind it.
pub(crate) fn decimal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    digits(bytes, 10)
}

/// The hexadecimal number at the start of `bytes`, and what is behind it.
pub(crate) fn hexadecimal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    digits(bytes, 16)
}

fn digits(bytes: &[u8], radix: u32) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    let mut count = 0;
    while let Some(digit) = bytes.get(count).and_then(|byte| (*byte as char).to_digit(radix)) {
        value = value.checked_mul(radix as u64)?.checked_add(digit as u64)?;
        count += 1;
    }
    (count > 0).then(|| (value, &bytes[count..]))
}

/// A size such as `64K`, `256M`, `1T`: suffixes count in 1024s.
pub(crate) fn size(bytes: &[u8]) -> Option<u64> {
    let (value, suffix) = decimal(bytes)?;
    let shift = match suffix {
        b"" => 0,
        b"K" | b"k" => 10,
        b"M" | b"m" => 20,
        b"G" | b"g" => 30,
        b"T" | b"t" => 40,
        _ => return None,
    };
    value.checked_shl(shift).filter(|shifted| shifted >> shift == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes_of_1024() {
        assert_eq!(size(b"64K"), Some(65536));
        assert_eq!(size(b"1T"), Some(1 << 40));
        assert_eq!(size(b"12"), Some(12));
        assert_eq!(size(b"banana"), None);
        assert_eq!(size(b"12X"), None);
        assert_eq!(size(b"99999999T"), None);
    }

    #[test]
    fn text_that_does_not_fit_is_cut_and_says_so() {
        let mut text = Text::<4>::new();
        text.push(b"abcdef");
        assert_eq!(text.bytes(), b"abc");
        assert!(text.cut);
        assert_eq!(text.c_str(), b"abc\0");
    }
}
