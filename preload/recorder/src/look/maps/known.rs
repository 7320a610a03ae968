//! A mapping as it was told: where it lies, whether its pages may be heap, and a hash of all else.

use fragtrace_format::record::Mapping;

/// Heaps of glibc's secondary arenas begin at multiples of this, and are as large (HEAP_MAX_SIZE).
pub(in crate::look) const HEAP_BYTES: u64 = 64 << 20;

pub(super) const SHARED: u8 = 8;
/// Bit of `Mapping::permissions`.
pub(crate) const READ: u8 = 1;
/// See [`READ`].
pub(crate) const EXECUTE: u8 = 4;
const ACCESS: u8 = 7;

/// A mapping as it was told.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(in crate::look) struct Known {
    pub(in crate::look) start: u64,
    pub(in crate::look) end: u64,
    pub(super) hash: u32,
    /// Of a heap of a secondary arena, where the arena's first heap begins, as it was told: in units
    /// of [`HEAP_BYTES`], 0 = it was not.
    pub(super) first_heap: u32,
    /// Whether its pages may be heap: private, without a file, accessible, no stack of main.
    pub(in crate::look) may_be_heap: bool,
    /// Whether it may be executed.
    is_code: bool,
}

impl Known {
    pub(super) fn as_told(mapping: &Mapping<'_>) -> Known {
        Known {
            start: mapping.start,
            end: mapping.start + mapping.bytes,
            hash: hash(mapping),
            first_heap: 0,
            may_be_heap: may_be_heap(mapping),
            is_code: mapping.permissions & EXECUTE != 0,
        }
    }

    /// Whether an arena's heap may begin with it.
    pub(in crate::look) fn may_begin_a_heap(&self) -> bool {
        self.may_be_heap && self.start.is_multiple_of(HEAP_BYTES)
    }

    /// Whether it was told to be a heap of another arena, or not of any.
    pub(in crate::look) fn is_new(&self, first_heap: u64) -> bool {
        u64::from(self.first_heap) != first_heap / HEAP_BYTES
    }

    /// It was told.
    pub(in crate::look) fn told_first_heap(&mut self, first_heap: u64) {
        self.first_heap = (first_heap / HEAP_BYTES) as u32;
    }

    /// Its part in the sum over code.
    pub(super) fn code(&self) -> u32 {
        if self.is_code { self.hash } else { 0 }
    }
}

fn may_be_heap(mapping: &Mapping<'_>) -> bool {
    mapping.inode == 0
        && mapping.permissions & SHARED == 0
        && mapping.permissions & ACCESS != 0
        && (!mapping.name.starts_with('[')
            || mapping.name == "[heap]"
            || mapping.name.starts_with("[anon:"))
}

/// FNV-1a with 64 bits, eight bytes a step, folded to 32.
fn hash(mapping: &Mapping<'_>) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |word: u64| {
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    };
    add(mapping.start);
    add(mapping.bytes);
    add(mapping.permissions.into());
    add(mapping.file_offset);
    add(mapping.inode);
    for chunk in mapping.name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        add(u64::from_le_bytes(word));
    }
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
impl Known {
    pub(in crate::look) fn of(range: core::ops::Range<u64>) -> Known {
        Known { start: range.start, end: range.end, may_be_heap: true, ..Known::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::mapping;
    use super::*;

    #[test]
    fn only_memory_of_the_process_alone_may_be_heap() {
        let may = |line: &[u8]| mapping(line).is_some_and(|mapping| may_be_heap(&mapping));
        assert!(may(b"1000-2000 rw-p 00000000 00:00 0 "));
        assert!(may(b"1000-2000 rw-p 00000000 00:00 0                  [heap]"));
        assert!(!may(b"1000-2000 rw-p 00000000 00:00 0                  [stack]"));
        assert!(!may(b"1000-2000 ---p 00000000 00:00 0 "));
        assert!(!may(b"1000-2000 rw-s 00000000 00:01 0 "));
        assert!(!may(b"1000-2000 rw-p 00001000 fe:01 1234    /usr/lib/a b.so"));
    }
}
