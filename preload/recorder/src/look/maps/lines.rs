//! The list of mappings as text: /proc/self/maps, line by line.

use super::known::SHARED;
use crate::sys;
use crate::text::{decimal, hexadecimal, valid_utf8};
use fragtrace_format::record::Mapping;

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
