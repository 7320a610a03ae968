//! The mappings of the process: read line by line, and told by what changed.
//!
//! The list that was told last is kept as starts and hashes, so that a look at a process with
//! thousands of mappings, of which one grew, takes a few dozen bytes.

use crate::file::{self, Private};
use crate::sys;
use crate::text::{decimal, hexadecimal, valid_utf8};
use fragtrace_format::record::{Mapping, MappingChange};

/// Longer lists are not told: twice what the kernel allows by default.
const MAX_MAPPINGS: usize = 1 << 17;
const LIST_BYTES: usize = MAX_MAPPINGS * size_of::<Known>();
const SHARED: u8 = 8;
/// Bit of `Mapping::permissions`.
pub(crate) const READ: u8 = 1;
/// See [`READ`].
pub(crate) const EXECUTE: u8 = 4;
const ACCESS: u8 = 7;

/// A mapping as it was told.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Known {
    pub(super) start: u64,
    pub(super) end: u64,
    hash: u32,
    /// Whether its pages may be heap: private, without a file, accessible, no stack of main.
    pub(super) may_be_heap: bool,
}

#[cfg(test)]
impl Known {
    pub(super) fn of(range: core::ops::Range<u64>) -> Known {
        Known { start: range.start, end: range.end, hash: 0, may_be_heap: true }
    }
}

/// The list told last, and the one that is being read.
pub(super) struct Maps {
    begun: bool,
    /// Hash of the executable mappings as read last, and as asked about last.
    code: u32,
    code_before: u32,
    /// Which of the two lists in memory was told.
    side: usize,
    told: usize,
    read: usize,
}

impl Maps {
    pub(super) const NEW: Maps =
        Maps { begun: false, code: 0, code_before: 0, side: 0, told: 0, read: 0 };

    fn begin(&mut self) -> bool {
        let start = file::private_start(Private::Maps);
        self.begun = self.begun || file::map_private(start, 2 * LIST_BYTES);
        self.begun
    }

    /// One of the two lists, as far as it is filled.
    fn list(&self, side: usize, count: usize) -> &'static mut [Known] {
        let start = file::private_start(Private::Maps) + side * LIST_BYTES;
        // SAFETY: mapped in `begin` for good, zeroed, which is a value; only the holder of the
        // look's lock comes here, and never has the same list twice.
        unsafe { core::slice::from_raw_parts_mut(start as *mut Known, count) }
    }

    /// Nothing was told.
    pub(super) fn forget(&mut self) {
        self.told = 0;
    }

    /// Reads the list and hands what changed since the one told to `visit`, which says false
    /// when it has no room. How many changes; `None`: the list is not known, or too long.
    pub(super) fn read(
        &mut self,
        text: &mut [u8],
        mut visit: impl FnMut(&MappingChange<'_>) -> bool,
    ) -> Option<u32> {
        self.read = 0;
        if !self.begin() {
            return None;
        }
        let told = self.list(self.side, self.told);
        let read = self.list(1 - self.side, MAX_MAPPINGS);
        let (mut old, mut count, mut changes, mut room) = (0, 0, 0u32, true);
        let mut code = 0u32;
        let mut tell = |change: &MappingChange<'_>| {
            changes += 1;
            room = room && visit(change);
        };
        let whole = for_each_line(b"/proc/self/maps\0", text, |line| {
            let Some(mapping) = mapping(line) else { return true };
            if file::is_ours(mapping.start) {
                return true;
            }
            while let Some(gone) = told.get(old).filter(|told| told.start < mapping.start) {
                tell(&MappingChange::Gone { start: gone.start });
                old += 1;
            }
            let hash = hash(line);
            if mapping.permissions & EXECUTE != 0 {
                code = (code ^ hash).wrapping_mul(0x0100_0193);
            }
            let before = told.get(old).filter(|told| told.start == mapping.start);
            old += usize::from(before.is_some());
            if before.is_none_or(|before| before.hash != hash) {
                tell(&MappingChange::There(mapping));
            }
            let Some(slot) = read.get_mut(count) else { return false };
            *slot = Known {
                start: mapping.start,
                end: mapping.start + mapping.bytes,
                hash,
                may_be_heap: may_be_heap(&mapping),
            };
            count += 1;
            true
        });
        if !whole || count == 0 {
            // A list that is cut would tell that what is missing was unmapped.
            return None;
        }
        self.code = code;
        for gone in &told[old..] {
            tell(&MappingChange::Gone { start: gone.start });
        }
        if room {
            self.read = count;
        }
        room.then_some(changes)
    }

    /// Whether other code is mapped than when this was asked before; the first time, no.
    pub(super) fn code_changed(&mut self) -> bool {
        let before = core::mem::replace(&mut self.code_before, self.code);
        before != 0 && before != self.code
    }

    /// The list that was read last.
    pub(super) fn last_read(&self) -> &'static [Known] {
        if self.begun { self.list(1 - self.side, self.read) } else { &[] }
    }

    /// What was read last is on record.
    pub(super) fn accept(&mut self) {
        if self.read > 0 {
            (self.side, self.told, self.read) = (1 - self.side, self.read, 0);
        }
    }

    /// Bytes in our memory, about.
    pub(super) fn resident_bytes(&self) -> u64 {
        2 * ((self.told * size_of::<Known>()) as u64).next_multiple_of(4096)
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

/// Hands the lines of a file to `each`, until that says false. False: not all were.
pub(crate) fn for_each_line(
    path: &[u8],
    buffer: &mut [u8],
    mut each: impl FnMut(&[u8]) -> bool,
) -> bool {
    let Ok(fd) = sys::open(path, libc::O_RDONLY, 0) else { return false };
    let mut held = 0;
    let whole = loop {
        match sys::read(fd, &mut buffer[held..]) {
            Ok(0) => break held == 0,
            Ok(more) => {
                held += more;
                let mut at = 0;
                let mut going = true;
                while let Some(len) = buffer[at..held].iter().position(|byte| *byte == b'\n') {
                    going = going && each(&buffer[at..at + len]);
                    at += len + 1;
                }
                buffer.copy_within(at..held, 0);
                held -= at;
                if !going || held == buffer.len() {
                    break false;
                }
            }
            Err(libc::EINTR) => {}
            Err(_) => break false,
        }
    };
    sys::close(fd);
    whole
}

/// FNV-1a with 64 bits, eight bytes a step, folded to 32.
fn hash(text: &[u8]) -> u32 {
    let hash = text.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    });
    (hash ^ hash >> 32) as u32
}

/// One line: `start-end rwxp offset major:minor inode   name`.
pub(crate) fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let (start, rest) = hexadecimal(line)?;
    let (end, rest) = hexadecimal(rest.strip_prefix(b"-")?)?;
    let flags = rest.get(1..5)?;
    let bit = |at: usize, letter: u8, bit: u8| if flags[at] == letter { bit } else { 0 };
    let permissions = bit(0, b'r', 1) | bit(1, b'w', 2) | bit(2, b'x', 4) | bit(3, b's', SHARED);
    let (file_offset, rest) = hexadecimal(rest.get(6..)?)?;
    let mut words = rest.get(1..)?.splitn(3, |byte| *byte == b' ');
    let _device = words.next()?;
    let (inode, _) = decimal(words.next()?)?;
    let name = words.next().unwrap_or(b"").trim_ascii_start();
    let bytes = end.checked_sub(start)?;
    Some(Mapping { start, bytes, permissions, file_offset, inode, name: valid_utf8(name) })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = b"7f0000-7f3000 r-xp 00001000 fe:01 1234    /usr/lib/a b.so";
        assert_eq!(
            mapping(line),
            Some(Mapping {
                start: 0x7f_0000,
                bytes: 0x3000,
                permissions: 5,
                file_offset: 0x1000,
                inode: 1234,
                name: "/usr/lib/a b.so",
            })
        );
        let anonymous = mapping(b"1000-2000 rw-p 00000000 00:00 0 ");
        assert_eq!(anonymous.map(|mapping| mapping.name), Some(""));
        assert_eq!(mapping(b"garbage"), None);
    }

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

    #[test]
    fn lines_are_whole_wherever_reading_stops() {
        let mut text = Vec::new();
        let mut small = [0; 300];
        assert!(for_each_line(b"/proc/self/maps\0", &mut small, |line| {
            text.push(line.to_vec());
            true
        }));
        assert!(text.len() > 10 && text.iter().all(|line| mapping(line).is_some()));
        assert!(!for_each_line(b"/proc/self/maps\0", &mut small, |_| false));
        assert!(!for_each_line(b"/nowhere\0", &mut small, |_| true));
    }
}
