//! The description: what a reader must know of the process and the machine.

use crate::config::{Config, Environment};
use crate::text::{self, Text, find};
use crate::{file, sys};
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use fragtrace_format::record::{self, Description, FRAME_BYTES, Limits, Unseen, UsableRule};

/// What the layer above knows of the libraries in the process.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// "glibc 2.36", "musl", …
    pub libc: &'a str,
    /// Path of the object whose malloc is called.
    pub allocator: &'a str,
    /// What allocators are not seen, and why: a line each.
    pub unseen: &'a str,
    /// How usable size follows from requested size.
    pub usable_rule: UsableRule,
    /// Whether that allocator may call its own public functions from inside others.
    pub may_nest: bool,
    /// Bytes of the object that the recorder is part of, as mapped.
    pub image_bytes: usize,
}

/// Parts of names of variables that steer allocators.
const ALLOCATOR_VARIABLES: [&[u8]; 10] = [
    b"MALLOC",
    b"GLIBC_TUNABLES",
    b"JEMALLOC",
    b"TCMALLOC",
    b"MIMALLOC",
    b"SNMALLOC",
    b"RPMALLOC",
    b"SCUDO",
    b"HEAPPROFILE",
    b"PYTHONPERFSUPPORT",
];

/// Longest command line that is kept.
const COMMAND_ROOM: usize = 4096;

/// `stack_depth`: what there will be, whatever was asked for.
pub(crate) fn write(
    facts: &Facts<'_>,
    config: &Config,
    stack_depth: u32,
    environment: Environment,
) {
    let mut exe = Text::<1024>::new();
    executable_path(&mut exe);
    let mut command = [0; COMMAND_ROOM];
    let command_len = sys::read_file(b"/proc/self/cmdline\0", &mut command).unwrap_or(0);
    let machine = sys::machine();
    let mut kernel = Text::<256>::new();
    kernel.push(c_bytes(&machine.release));
    kernel.push(b" ");
    kernel.push(c_bytes(&machine.version));
    let mut variables = Text::<1024>::new();
    for entry in environment.entries() {
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or(b"");
        if ALLOCATOR_VARIABLES.iter().any(|part| find(name, part).is_some()) {
            variables.push(entry);
            variables.push(b"\0");
        }
    }
    let mut huge = [0; 64];
    let huge_len =
        sys::read_file(b"/sys/kernel/mm/transparent_hugepage/enabled\0", &mut huge).unwrap_or(0);
    let description = Description {
        exe: exe.as_str(),
        command: &command[..command_len],
        host: text::valid_utf8(c_bytes(&machine.nodename)),
        kernel: kernel.as_str(),
        libc: facts.libc,
        allocator: facts.allocator,
        allocator_env: variables.bytes(),
        transparent_huge_pages: text::valid_utf8(in_brackets(&huge[..huge_len])),
        cgroup_limit_bytes: cgroup_limit(),
        page_bytes: 4096,
        tracer_version: env!("CARGO_PKG_VERSION"),
        ring_asked_bytes: config.ring_bytes,
        look_ms: config.look_ms,
        stack_depth,
        usable_rule: facts.usable_rule,
        parent_pid: sys::parent_id(),
    };
    // SAFETY: `file` mapped this much behind the header; only this function writes there.
    let area = unsafe {
        core::slice::from_raw_parts_mut(
            file::description_start() as *mut u8,
            file::DESCRIPTION_BYTES,
        )
    };
    let used = describe_with(area, |payload| record::encode(&description, payload));
    let unseen = Unseen { allocators: facts.unseen };
    let limits = Limits { max_map_count: max_map_count() };
    describe_with(&mut area[used..], |payload| {
        let len = record::encode(&unseen, payload)?;
        Some(len + record::encode(&limits, &mut payload[len..])?)
    });
}

/// Writes a record and its frame; the bytes that they take.
fn describe_with(area: &mut [u8], encode: impl FnOnce(&mut [u8]) -> Option<usize>) -> usize {
    let Some((frame, payload)) = area.split_at_mut_checked(FRAME_BYTES) else { return 0 };
    let Some(len) = encode(payload) else { return 0 };
    frame.copy_from_slice(&record::frame(&payload[..len]).to_le_bytes());
    record::framed_bytes(len)
}

fn max_map_count() -> Option<u64> {
    let mut value = [0; 32];
    let len = sys::read_file(b"/proc/sys/vm/max_map_count\0", &mut value).ok()?;
    text::decimal(&value[..len]).map(|(count, _)| count)
}

fn executable_path<const N: usize>(into: &mut Text<N>) {
    let mut path = [0; 1024];
    if let Ok(len) = sys::read_link(b"/proc/self/exe\0", &mut path) {
        into.push(&path[..len]);
    }
}

/// The last part of the executable's path, fit for a file name.
pub(crate) fn executable_name<const N: usize>(into: &mut Text<N>) {
    let mut path = Text::<1024>::new();
    executable_path(&mut path);
    match path.bytes().rsplit(|byte| *byte == b'/').next() {
        Some(name) if !name.is_empty() => into.push(name),
        _ => {
            let name = sys::thread_name();
            for byte in name.iter().take_while(|byte| **byte != 0) {
                into.push(&[if *byte == b'/' { b'_' } else { *byte }]);
            }
        }
    }
}

/// The bytes of a C string in a fixed array.
pub(crate) fn c_bytes(array: &[core::ffi::c_char]) -> &[u8] {
    let len = array.iter().position(|byte| *byte == 0).unwrap_or(array.len());
    // SAFETY: characters and bytes have the same layout.
    unsafe { core::slice::from_raw_parts(array.as_ptr().cast(), len) }
}

/// The word that stands in brackets: the kernel's way of showing a choice.
fn in_brackets(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| *byte == b'[').map_or(0, |at| at + 1);
    let end = line.iter().position(|byte| *byte == b']').unwrap_or(start);
    line.get(start..end).unwrap_or(b"")
}

/// The memory limit of the process's cgroup in bytes, version 2 or 1; read once.
pub(crate) fn cgroup_limit() -> Option<u64> {
    const NOT_READ: u64 = 0;
    const NONE: u64 = u64::MAX;
    static LIMIT: AtomicU64 = AtomicU64::new(NOT_READ);
    let mut limit = LIMIT.load(Ordering::Relaxed);
    if limit == NOT_READ {
        limit = read_cgroup_limit().unwrap_or(NONE);
        LIMIT.store(limit, Ordering::Relaxed);
    }
    (limit != NONE).then_some(limit)
}

fn read_cgroup_limit() -> Option<u64> {
    let mut groups = [0; 2048];
    let len = sys::read_file(b"/proc/self/cgroup\0", &mut groups).ok()?;
    let lines = groups[..len].split(|byte| *byte == b'\n');
    // hierarchy:controllers:path
    lines
        .filter_map(|line| {
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            match controllers {
                b"" => smallest_limit(b"/sys/fs/cgroup", path, b"memory.max"),
                b"memory" => {
                    smallest_limit(b"/sys/fs/cgroup/memory", path, b"memory.limit_in_bytes")
                }
                _ => None,
            }
        })
        .min()
}

/// The smallest limit from a group up to the root; inside a container the path may not be
/// visible, but the root then is the container's own group.
fn smallest_limit(root: &[u8], path: &[u8], file_name: &[u8]) -> Option<u64> {
    let mut smallest: Option<u64> = None;
    let mut path = path.strip_suffix(b"/").unwrap_or(path);
    loop {
        let mut name = Text::<512>::new();
        for part in [root, path, b"/", file_name] {
            name.push(part);
        }
        let mut value = [0; 32];
        if !name.cut
            && let Ok(len) = sys::read_file(name.c_str(), &mut value)
            && let Some((bytes, _)) = text::decimal(&value[..len])
            // Version 1 shows the greatest multiple of a page for "no limit".
            && bytes < 1 << 60
        {
            smallest = Some(smallest.map_or(bytes, |known| known.min(bytes)));
        }
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => path = &path[..slash],
            None => return smallest,
        }
    }
}

/// Whether the parent runs under the tracer too: then this process is a child, and silent.
pub(crate) fn parent_is_traced() -> bool {
    let mut path = Text::<64>::new();
    let _ = write!(path, "/proc/{}/maps", sys::parent_id());
    let Ok(fd) = sys::open(path.c_str(), libc::O_RDONLY, 0) else { return false };
    let mut buffer = [0; 2048];
    let mut kept = 0;
    let needle = b"libfragtrace.so";
    let found = loop {
        match sys::read(fd, &mut buffer[kept..]) {
            Ok(0) | Err(_) => break false,
            Ok(more) => {
                let len = kept + more;
                if find(&buffer[..len], needle).is_some() {
                    break true;
                }
                // The name may straddle two reads.
                kept = len.min(needle.len());
                buffer.copy_within(len - kept..len, 0);
            }
        }
    };
    sys::close(fd);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_word_stands_in_brackets() {
        assert_eq!(in_brackets(b"always [madvise] never\n"), b"madvise");
        assert_eq!(in_brackets(b""), b"");
    }
}
