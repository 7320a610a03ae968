//! FRAGTRACE_KEEP: of the traces of one name in one directory only the newest stay.
//!
//! For services that restart. Whoever begins a trace removes the oldest ones that the same
//! pattern and executable could have made, so that no more than so many are left, its own
//! included. Careful: what is no trace stays, what is a link stays, and so does the trace of
//! a process that may still run. Processes of another machine, or of another namespace of
//! process numbers, cannot be seen to run: their traces need another directory, or `%h`.

use crate::file::{self, Names};
use crate::sys;
use core::mem::offset_of;
use fragtrace_format::header::{ClockPair, End, Header, MAGIC};
use libc::c_int;

/// Traces that are considered, and readings of the directory: bounds for the work at start.
/// What is beyond goes when the next processes start.
const MOST_TRACES: usize = 1024;
const MOST_READINGS: usize = 64;
const NAME_BYTES: usize = 256;
const ENTRIES_BYTES: usize = 32 << 10;

/// A trace of our name that was there before. All zero: none.
#[derive(Clone, Copy)]
#[repr(C)]
struct Trace {
    start_unix_ns: u64,
    /// Not 0: it may go.
    removable: u64,
    /// Ended by a zero byte.
    name: [u8; NAME_BYTES],
}

/// What a search needs, in scratch memory. All zero is empty.
#[repr(C, align(8))]
struct Search {
    traces: [Trace; MOST_TRACES],
    entries: [u8; ENTRIES_BYTES],
}

/// Removes the oldest traces beside the one at `path`, which is being begun: at most `keep`
/// are left with it. `pattern` made its name out of `names`.
pub(crate) fn remove_oldest(path: &[u8], pattern: &[u8], names: &Names<'_>, keep: u64) {
    let (start, bytes) = file::scratch();
    if keep == 0 || bytes < size_of::<Search>() {
        return;
    }
    let Some(directory) = open_directory(path) else { return };
    // SAFETY: scratch memory is mapped, aligned to pages and zero before its first use, and the
    // recorder has not begun: nobody else uses it. Any bytes are a value of each field.
    let search = unsafe { &mut *(start as *mut Search) };
    let pattern = pattern.rsplit(|byte| *byte == b'/').next().unwrap_or(pattern);
    let count = list(directory, search, |name| could_be(pattern, names, name));
    let traces = &mut search.traces[..count];
    for _ in keep..=count as u64 {
        let removable = traces.iter_mut().filter(|trace| trace.removable != 0);
        let Some(oldest) = removable.min_by_key(|trace| trace.start_unix_ns) else { break };
        sys::unlink_at(directory, &oldest.name);
        oldest.removable = 0;
    }
    sys::close(directory);
}

/// The directory of a file, by its absolute path.
fn open_directory(path: &[u8]) -> Option<c_int> {
    let mut directory = crate::text::Text::<{ crate::config::PATH_ROOM }>::new();
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    directory.push(&path[..=slash]);
    sys::open(directory.c_str(), libc::O_RDONLY | libc::O_DIRECTORY, 0).ok()
}

/// Lists the traces in a directory whose names are `wanted`; how many.
fn list(directory: c_int, search: &mut Search, wanted: impl Fn(&[u8]) -> bool) -> usize {
    let mut count = 0;
    for _ in 0..MOST_READINGS {
        let Ok(len @ 1..) = sys::read_directory(directory, &mut search.entries) else { break };
        let mut entries = &search.entries[..len];
        while let Some((name, rest)) = next_entry(entries) {
            entries = rest;
            if count < MOST_TRACES && name.len() < NAME_BYTES && wanted(name) {
                let trace = &mut search.traces[count];
                trace.name = [0; NAME_BYTES];
                trace.name[..name.len()].copy_from_slice(name);
                count += examine(directory, trace) as usize;
            }
        }
    }
    count
}

/// The name of the first entry, and those behind it (man 2 getdents64: inode and offset of
/// 8 bytes each, length of 2, type of 1, the name ended by zero).
fn next_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME_AT: usize = 19;
    let bytes = u16::from_le_bytes(entries.get(16..18)?.try_into().ok()?) as usize;
    let name = entries.get(NAME_AT..bytes)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some((&name[..end], entries.get(bytes..)?))
}

/// Whether it is a trace; then notes when it began, and whether it may go.
fn examine(directory: c_int, trace: &mut Trace) -> bool {
    const BYTES: usize = offset_of!(Header, ring_bytes);
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let Ok(fd) = sys::open_at(directory, &trace.name, flags, 0) else { return false };
    let mut head = [0; BYTES];
    let whole = sys::is_regular(fd) && sys::read(fd, &mut head) == Ok(BYTES);
    sys::close(fd);
    if !whole || head[..MAGIC.len()] != MAGIC {
        return false;
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let realtime = offset_of!(Header, clock_start) + offset_of!(ClockPair, realtime_ns);
    trace.start_unix_ns = u64::from(word(realtime)) | u64::from(word(realtime + 4)) << 32;
    let pid = word(offset_of!(Header, pid));
    let open = End::from_word(word(offset_of!(Header, end))) == End::Open;
    // One that had our number is gone: in a container that may be every one before us.
    let runs = open && pid != sys::process_id() && sys::process_exists(pid);
    trace.removable = !runs as u64;
    true
}

/// Whether the pattern could have made this name for the same executable and host: only numbers
/// in the place of `%p` and `%t` differ, and the number at the end of a name that was taken.
///
/// A number takes all digits that there are. Patterns with a digit or another number right
/// behind one fit no name then, and nothing is removed.
fn could_be(pattern: &[u8], names: &Names<'_>, name: &[u8]) -> bool {
    let mut rest = Some(name);
    let mut pattern = pattern.iter();
    while let (Some(byte), Some(name)) = (pattern.next(), rest) {
        rest = if *byte != b'%' {
            name.strip_prefix(core::slice::from_ref(byte))
        } else {
            match pattern.next() {
                Some(b'p' | b't') => without_number(name),
                Some(b'e') => name.strip_prefix(names.exe),
                Some(b'h') => name.strip_prefix(names.host),
                Some(b'%') | None => name.strip_prefix(b"%"),
                Some(other) => name.strip_prefix(&[b'%', *other]),
            }
        };
    }
    match rest {
        Some([]) => true,
        Some([b'.', number @ ..]) => without_number(number) == Some(b""),
        _ => false,
    }
}

/// What is behind the digits at the start; `None`: there are none.
fn without_number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        let names = Names { pid: 42, exe: b"srv", host: b"box", start_unix_s: 7 };
        could_be(pattern, &names, name)
    }

    #[test]
    fn names_differ_only_in_their_numbers() {
        let pattern = b"fragtrace-%e.%p.ftr";
        for name in [&b"fragtrace-srv.1.ftr"[..], b"fragtrace-srv.4711.ftr.2"] {
            assert!(fits(pattern, name), "{name:?}");
        }
        for name in [
            &b"fragtrace-srv.ftr"[..],
            b"fragtrace-srv.x.ftr",
            b"fragtrace-srv2.1.ftr",
            b"fragtrace-other.1.ftr",
            b"fragtrace-srv.1.ftr.",
            b"fragtrace-srv.1.ftr.gz",
            b"fragtrace-srv.1.ftr.1.gz",
            b"fragtrace-srv.1.ft",
            b"old-fragtrace-srv.1.ftr",
            b"",
        ] {
            assert!(!fits(pattern, name), "{name:?}");
        }
    }

    #[test]
    fn every_sign_of_a_pattern_is_known() {
        assert!(fits(b"%h-%e-%t-%%-%x-%", b"box-srv-99-%-%x-%"));
        assert!(!fits(b"%h-%e-%t-%%-%x-%", b"boy-srv-99-%-%x-%"));
        assert!(fits(b"srv.ftr", b"srv.ftr.12"));
        // Two numbers in a row are not told apart.
        assert!(!fits(b"%t%p", b"1234"));
    }
}
