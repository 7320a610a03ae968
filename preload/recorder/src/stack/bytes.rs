//! Reading DWARF data: every step is checked against the end, so that damaged data ends in
//! `None` and never in a read beyond.

/// Pointer encodings (LSB core specification, DWARF extensions).
pub(super) const OMITTED: u8 = 0xff;
pub(super) const DATA_RELATIVE_4: u8 = 0x3b;
const PC_RELATIVE: u8 = 0x10;
const DATA_RELATIVE: u8 = 0x30;
const INDIRECT: u8 = 0x80;

/// A place in bytes that are mapped at a known address.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    /// From the first byte of the mapping up to where reading must end.
    bytes: &'a [u8],
    /// Address of the first byte.
    base: u64,
    at: usize,
}

impl<'a> Reader<'a> {
    /// All of `bytes`, which lie at `base`.
    pub(super) fn new(bytes: &'a [u8], base: u64) -> Self {
        Reader { bytes, base, at: 0 }
    }

    /// The same bytes, from an address on.
    pub(super) fn from(&self, address: u64) -> Option<Self> {
        let at = usize::try_from(address.checked_sub(self.base)?).ok()?;
        (at <= self.bytes.len()).then_some(Reader { at, ..*self })
    }

    /// The address of the next byte.
    pub(super) fn address(&self) -> u64 {
        self.base.wrapping_add(self.at as u64)
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes, which are skipped.
    pub(super) fn take(&mut self, len: u64) -> Option<Reader<'a>> {
        let end = self.at.checked_add(usize::try_from(len).ok()?)?;
        let part = Reader { bytes: self.bytes.get(..end)?, ..*self };
        self.at = end;
        Some(part)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(array)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned number in groups of seven bits; what does not fit in 64 is lost.
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        self.leb128().map(|(value, _, _)| value)
    }

    /// A signed one.
    pub(super) fn signed(&mut self) -> Option<i64> {
        let (value, bits, last) = self.leb128()?;
        let extends = last & 0x40 != 0 && bits < 64;
        Some((value | if extends { u64::MAX << bits } else { 0 }) as i64)
    }

    fn leb128(&mut self) -> Option<(u64, u32, u8)> {
        let mut value = 0;
        let mut bits = 0;
        loop {
            let byte = self.u8()?;
            if bits < 64 {
                value |= u64::from(byte & 0x7f) << bits;
            }
            bits += 7;
            if byte & 0x80 == 0 {
                return Some((value, bits, byte));
            }
            if bits > 140 {
                return None;
            }
        }
    }

    /// A text, without the zero that ends it.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let len = rest.iter().position(|byte| *byte == 0)?;
        self.at += len + 1;
        Some(&rest[..len])
    }

    /// A pointer as `encoding` says; `data` is what data-relative ones count from.
    pub(super) fn pointer(&mut self, encoding: u8, data: u64) -> Option<u64> {
        let from = match encoding & 0x70 {
            0 => 0,
            PC_RELATIVE => self.address(),
            DATA_RELATIVE => data,
            _ => return None,
        };
        if encoding & INDIRECT != 0 {
            return None;
        }
        Some(from.wrapping_add(self.value(encoding)?))
    }

    /// The number of a pointer, not yet counted from anywhere.
    pub(super) fn value(&mut self, encoding: u8) -> Option<u64> {
        Some(match encoding & 0x0f {
            0x0 | 0x4 | 0xc => self.u64()?,
            0x1 => self.unsigned()?,
            0x2 => self.u16()?.into(),
            0x3 => self.u32()?.into(),
            0x9 => self.signed()? as u64,
            0xa => self.u16()? as i16 as u64,
            0xb => self.u32()? as i32 as u64,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_groups_of_seven_bits() {
        // Examples of the DWARF 5 standard, appendix C.
        for (bytes, value) in
            [(&[2u8][..], 2), (&[0x7f], 127), (&[0x80, 1], 128), (&[0x39 | 0x80, 0x64], 12857)]
        {
            assert_eq!(Reader::new(bytes, 0).unsigned(), Some(value));
        }
        for (bytes, value) in [
            (&[2u8][..], 2),
            (&[0x7e], -2),
            (&[0xff, 0], 127),
            (&[0x81, 0x7f], -127),
            (&[0x80, 0x7f], -128),
        ] {
            assert_eq!(Reader::new(bytes, 0).signed(), Some(value));
        }
        assert_eq!(Reader::new(&[0x80; 200], 0).unsigned(), None);
        assert_eq!(Reader::new(&[0x80], 0).unsigned(), None);
    }

    #[test]
    fn pointers_count_from_where_they_stand() {
        let bytes = (-16i32).to_le_bytes();
        assert_eq!(Reader::new(&bytes, 0x1000).pointer(0x1b, 0), Some(0xff0));
        assert_eq!(Reader::new(&bytes, 0x1000).pointer(DATA_RELATIVE_4, 0x2000), Some(0x1ff0));
        assert_eq!(Reader::new(&bytes, 0x1000).pointer(0x9b, 0), None, "indirect");
    }
}
