//! The trace file: made once, grown by segments, mapped where it is in nobody's way.
//!
//! The descriptor is never kept, as programs close and reuse numbers that they think are
//! theirs: each growth opens the path anew and checks that it is still the same file. Room
//! is reserved before it is mapped, so touching it can fail no more (SIGBUS otherwise).
//!
//! All of the tracer's mappings lie at fixed places far below the area where the kernel
//! puts those of the program, so the program's own addresses do not depend on them.

use crate::config::{Config, PATH_ROOM};
use crate::sync::TryLock;
use crate::sys;
use crate::text::Text;
use core::cell::UnsafeCell;
use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering};
use fragtrace_format::header::{Area, HEADER_BYTES, Header, limit};
use libc::c_int;

/// Room for the description, mapped together with the header.
pub(crate) const DESCRIPTION_BYTES: usize = 16 << 10;

// Places relative to the base. The ring is at most 1 TiB, or twice the lanes.
const SCRATCH_AT: usize = 1 << 20;
const SCRATCH_BYTES: usize = 4 << 20;
const LANES_AT: usize = 16 << 20;
const LOOKS_AT: usize = 1 << 30;
/// Memory of the folder's own, in no file.
const FOLD_AT: usize = 2 << 30;
const REGIONS_AT: usize = 3 << 30;
const LINKS_AT: usize = 4 << 30;
/// Memory of the looks' own, in no file.
const MAPS_AT: usize = 5 << 30;
const PAGES_AT: usize = 6 << 30;
const THREADS_AT: usize = 7 << 30;
const CLASSES_AT: usize = (7 << 30) + (512 << 20);
const STACKS_AT: usize = 8 << 30;
const MODULES_AT: usize = 9 << 30;
/// Memory of those who walk stacks, in no file.
const LAST_AT: usize = 10 << 30;
const RULES_AT: usize = 11 << 30;
const LOADED_AT: usize = 12 << 30;
/// Up to 2.3 GiB.
const INDEX_AT: usize = 16 << 30;
const EVENTS_AT: usize = 1 << 37;
const BASE_AT: usize = 2 << 40;
const LEAVES_AT: usize = 3 << 40;

/// Address space from the base on in which nothing else is expected.
const SPAN: u64 = 1 << 42;

/// Bases to try, 4 TiB apart: between the heap of programs at fixed addresses and that of
/// position-independent ones.
const BASES: [usize; 4] = [0x1800_0000_0000, 0x1c00_0000_0000, 0x2000_0000_0000, 0x1400_0000_0000];

/// What only a holder of [`GROWING`] may touch.
struct Growth {
    path: Text<PATH_ROOM>,
    identity: (u64, u64),
    file_bytes: u64,
    events_bytes: u64,
    looks_bytes: u64,
    base_bytes: u64,
    regions_bytes: u64,
    threads_bytes: u64,
    classes_bytes: u64,
    stacks_bytes: u64,
    modules_bytes: u64,
    /// Area and bytes of the file's last segment.
    last: Area,
    last_bytes: u64,
}

impl Growth {
    fn area_bytes(&mut self, area: Area) -> &mut u64 {
        match area {
            Area::Events => &mut self.events_bytes,
            Area::Base => &mut self.base_bytes,
            Area::Regions => &mut self.regions_bytes,
            Area::Threads => &mut self.threads_bytes,
            Area::Classes => &mut self.classes_bytes,
            Area::Stacks => &mut self.stacks_bytes,
            Area::Modules => &mut self.modules_bytes,
            _ => &mut self.looks_bytes,
        }
    }
}

struct Guarded(UnsafeCell<Growth>);

// SAFETY: reached only through `growth`, under the lock, or before other threads can.
unsafe impl Sync for Guarded {}

static BASE: AtomicUsize = AtomicUsize::new(0);
static GROWING: TryLock = TryLock::new();
static GROWTH: Guarded = Guarded(UnsafeCell::new(Growth {
    path: Text::new(),
    identity: (0, 0),
    file_bytes: 0,
    events_bytes: 0,
    looks_bytes: 0,
    base_bytes: 0,
    regions_bytes: 0,
    threads_bytes: 0,
    classes_bytes: 0,
    stacks_bytes: 0,
    modules_bytes: 0,
    last: Area::Description,
    last_bytes: 0,
}));

fn with_growth<R>(work: impl FnOnce(&mut Growth) -> R) -> Option<R> {
    let _held = GROWING.try_take()?;
    // SAFETY: the lock is held, by this thread, and `work` does not take it again.
    Some(work(unsafe { &mut *GROWTH.0.get() }))
}

/// The header in mapped memory.
pub(crate) fn header() -> &'static Header {
    let base = BASE.load(Ordering::Relaxed);
    debug_assert_ne!(base, 0);
    // SAFETY: `create` mapped the header there, zeroed and never unmapped; all fields are
    // atomics, so sharing them with every thread is sound.
    unsafe { &*(base as *const Header) }
}

/// Where an area that grows is mapped, its segments end to end.
pub(crate) fn area_start(area: Area) -> usize {
    BASE.load(Ordering::Relaxed)
        + match area {
            Area::Events => EVENTS_AT,
            Area::Base => BASE_AT,
            Area::Regions => REGIONS_AT,
            Area::Threads => THREADS_AT,
            Area::Classes => CLASSES_AT,
            Area::Stacks => STACKS_AT,
            Area::Modules => MODULES_AT,
            _ => LOOKS_AT,
        }
}

/// Memory of the recorder's own, in no file: address space that is mapped as it is needed.
#[derive(Clone, Copy)]
pub(crate) enum Private {
    /// 1 GiB.
    Fold,
    /// 1 GiB.
    Links,
    /// 1 TiB.
    Leaves,
    /// 1 GiB.
    Maps,
    /// 1 GiB.
    Pages,
    /// 1 GiB: the last stacks of lanes.
    Last,
    /// 1 GiB: unwind rules.
    Rules,
    /// 1 GiB: loaded objects.
    Modules,
    /// 7 GiB and more: the index of the stack table.
    Stacks,
}

/// Where private memory is, or will be.
pub(crate) fn private_start(what: Private) -> usize {
    BASE.load(Ordering::Relaxed)
        + match what {
            Private::Fold => FOLD_AT,
            Private::Links => LINKS_AT,
            Private::Leaves => LEAVES_AT,
            Private::Maps => MAPS_AT,
            Private::Pages => PAGES_AT,
            Private::Last => LAST_AT,
            Private::Rules => RULES_AT,
            Private::Modules => LOADED_AT,
            Private::Stacks => INDEX_AT,
        }
}

/// Maps zeroed memory that no child of fork inherits. False: there is none.
pub(crate) fn map_private(address: usize, bytes: usize) -> bool {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    if sys::map(address, bytes, access, flags, None).is_err() {
        return false;
    }
    undumped(address, bytes);
    let _ = sys::advise(address, bytes, libc::MADV_WIPEONFORK);
    true
}

/// Whether an address lies where the recorder maps its own.
pub(crate) fn is_ours(address: u64) -> bool {
    let base = BASE.load(Ordering::Relaxed) as u64;
    (base..base + SPAN).contains(&address)
}

/// Where lanes are mapped.
pub(crate) fn lanes_start() -> usize {
    BASE.load(Ordering::Relaxed) + LANES_AT
}

/// The description's bytes.
pub(crate) fn description_start() -> usize {
    BASE.load(Ordering::Relaxed) + HEADER_BYTES
}

/// Scratch memory that is not in the file: for one user at a time.
pub(crate) fn scratch() -> (usize, usize) {
    (BASE.load(Ordering::Relaxed) + SCRATCH_AT, SCRATCH_BYTES)
}

/// Reserves `bytes` of the file from `offset` on, by writing where the file system cannot.
fn reserve(fd: c_int, offset: u64, bytes: u64) -> Result<(), u64> {
    // Beyond the limit a signal would kill the program.
    if offset + bytes > sys::file_size_limit() {
        return Err(limit::FILE_SIZE);
    }
    match sys::allocate(fd, offset, bytes) {
        Ok(()) => return Ok(()),
        Err(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => {}
        Err(_) => return Err(limit::DISK_FULL),
    }
    static ZEROS: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < bytes {
        let step = (bytes - done).min(ZEROS.len() as u64) as usize;
        match sys::pwrite(fd, &ZEROS[..step], offset + done) {
            Ok(written) if written > 0 => done += written as u64,
            Err(libc::EINTR) => {}
            _ => return Err(limit::DISK_FULL),
        }
    }
    Ok(())
}

/// Creates a file that was not there: the path, or the path with the next free number.
fn create_new(path: &mut Text<PATH_ROOM>) -> Result<c_int, c_int> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let bare = path.bytes().len();
    for number in 1..100_000 {
        match sys::open(path.c_str(), flags, 0o600) {
            Err(libc::EEXIST) => {
                path.truncate(bare);
                let _ = write!(path, ".{number}");
            }
            result => return result,
        }
    }
    Err(libc::EEXIST)
}

/// Creates the file with room for header and description, and maps these. On success the
/// path may have got a number; on failure, whose errno is returned, it is as it was.
pub(crate) fn create(path: &mut Text<PATH_ROOM>) -> Result<(), c_int> {
    if path.cut {
        return Err(libc::ENAMETOOLONG);
    }
    let bare = path.bytes().len();
    let fd = create_new(path).inspect_err(|_| path.truncate(bare))?;
    let bytes = HEADER_BYTES + DESCRIPTION_BYTES;
    let made = reserve(fd, 0, bytes as u64).map_err(|_| libc::ENOSPC).and_then(|()| {
        let base = map_first(fd, bytes)?;
        BASE.store(base, Ordering::Release);
        sys::identity(fd)
    });
    sys::close(fd);
    let identity = made.inspect_err(|_| {
        sys::unlink(path.c_str());
        path.truncate(bare);
    })?;
    let set_up = with_growth(|growth| {
        growth.path.push(path.bytes());
        growth.identity = identity;
        growth.file_bytes = bytes as u64;
    });
    debug_assert!(set_up.is_some(), "nobody else knows the file yet");
    header().add_segment(Area::Description, HEADER_BYTES as u64, DESCRIPTION_BYTES as u64);
    Ok(())
}

/// Maps the file's beginning, and scratch memory, at the first base that is free.
fn map_first(fd: c_int, bytes: usize) -> Result<usize, c_int> {
    let shared = libc::MAP_SHARED;
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let mut last = libc::ENOMEM;
    for base in BASES {
        match sys::map(base, bytes, access, shared, Some((fd, 0))) {
            Ok(_) => {}
            Err(error) => {
                last = error;
                continue;
            }
        }
        match sys::map(base + SCRATCH_AT, SCRATCH_BYTES, access, private, None) {
            Ok(_) => {
                undumped(base, bytes);
                undumped(base + SCRATCH_AT, SCRATCH_BYTES);
                return Ok(base);
            }
            Err(error) => last = error,
        }
        sys::unmap(base, bytes);
    }
    Err(last)
}

/// Keeps a mapping out of core files, and ours from being inherited as huge pages.
fn undumped(address: usize, bytes: usize) {
    let _ = sys::advise(address, bytes, libc::MADV_DONTDUMP);
}

/// Grows an area by what `wanted` says, a multiple of the page size, and calls `publish` with
/// that; nobody else grows or cuts meanwhile. `None`: somebody is at it at this moment.
/// `Some(false)`: no more room, which the header then says.
pub(crate) fn grow(
    area: Area,
    wanted: impl FnOnce() -> u64,
    publish: impl FnOnce(u64),
) -> Option<bool> {
    with_growth(|growth| match wanted() {
        // Somebody else grew it since the caller looked.
        0 => true,
        bytes => grow_by(growth, area, bytes, publish),
    })
}

fn grow_by(growth: &mut Growth, area: Area, bytes: u64, publish: impl FnOnce(u64)) -> bool {
    match try_grow(growth, area, bytes) {
        Ok(()) => {
            publish(bytes);
            true
        }
        Err(limit) => {
            header().limits.fetch_or(limit, Ordering::Relaxed);
            false
        }
    }
}

fn try_grow(growth: &mut Growth, area: Area, bytes: u64) -> Result<(), u64> {
    let flags = libc::O_RDWR | libc::O_NOFOLLOW;
    let fd = sys::open(growth.path.c_str(), flags, 0).map_err(|_| limit::MAPPING)?;
    let result = (|| {
        if sys::identity(fd) != Ok(growth.identity) {
            return Err(limit::MAPPING);
        }
        let offset = growth.file_bytes;
        reserve(fd, offset, bytes)?;
        let at = area_start(area) + *growth.area_bytes(area) as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        sys::map(at, bytes as usize, access, libc::MAP_SHARED, Some((fd, offset)))
            .map_err(|_| limit::MAPPING)?;
        undumped(at, bytes as usize);
        if !header().add_segment(area, offset, bytes) {
            // A full table: readers would not find what is written here.
            sys::unmap(at, bytes as usize);
            return Err(limit::MAPPING);
        }
        *growth.area_bytes(area) += bytes;
        growth.file_bytes = offset + bytes;
        growth.last = area;
        growth.last_bytes = bytes;
        Ok(())
    })();
    sys::close(fd);
    result
}

/// Cuts the file behind the used part of an area, when that area's segment is its last.
/// `withdraw` says how many bytes of the area are in use, and from then on nobody touches
/// the rest; `None` = not now.
pub(crate) fn cut(area: Area, withdraw: impl FnOnce() -> Option<u64>) {
    with_growth(|growth| {
        let total = *growth.area_bytes(area);
        if growth.last != area {
            return;
        }
        let flags = libc::O_RDWR | libc::O_NOFOLLOW;
        let Ok(fd) = sys::open(growth.path.c_str(), flags, 0) else { return };
        let used = if sys::identity(fd) == Ok(growth.identity) { withdraw() } else { None };
        let kept = used.map_or(total, |used| used.next_multiple_of(4096));
        let spare = total.saturating_sub(kept).min(growth.last_bytes);
        if spare > 0 && header().shrink_last_segment(spare) {
            sys::unmap(area_start(area) + (total - spare) as usize, spare as usize);
            if sys::truncate(fd, growth.file_bytes - spare).is_ok() {
                growth.file_bytes -= spare;
            }
            growth.last_bytes -= spare;
            *growth.area_bytes(area) -= spare;
        }
        sys::close(fd);
    });
}

/// The pattern of the path where the configuration names none.
pub(crate) const DEFAULT_PATTERN: &[u8] = b"fragtrace-%e.%p.ftr";

/// The pattern that the configuration asks for.
pub(crate) fn pattern(config: &Config) -> &[u8] {
    match config.out.bytes() {
        b"" => DEFAULT_PATTERN,
        pattern => pattern,
    }
}

/// The path that the configuration asks for, made absolute, its % signs replaced.
pub(crate) fn wanted_path(config: &Config, names: &Names<'_>) -> Text<PATH_ROOM> {
    let pattern = pattern(config);
    let mut path = Text::new();
    if pattern.first() != Some(&b'/') {
        let mut directory = [0; PATH_ROOM];
        if let Ok(len) = sys::current_directory(&mut directory) {
            path.push(&directory[..len]);
            path.push(b"/");
        }
    }
    expand(pattern, names, &mut path);
    path
}

/// The default name in another directory.
pub(crate) fn path_in(directory: &[u8], names: &Names<'_>) -> Text<PATH_ROOM> {
    let mut path = Text::new();
    path.push(directory);
    path.push(b"/");
    expand(DEFAULT_PATTERN, names, &mut path);
    path
}

/// What the % signs stand for.
pub(crate) struct Names<'a> {
    pub(crate) pid: u32,
    pub(crate) exe: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) start_unix_s: u64,
}

fn expand(pattern: &[u8], names: &Names<'_>, into: &mut Text<PATH_ROOM>) {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            into.push(&[*byte]);
            continue;
        }
        let _ = match bytes.next() {
            Some(b'p') => write!(into, "{}", names.pid),
            Some(b't') => write!(into, "{}", names.start_unix_s),
            Some(b'e') => {
                into.push(names.exe);
                Ok(())
            }
            Some(b'h') => {
                into.push(names.host);
                Ok(())
            }
            Some(b'%') | None => into.write_str("%"),
            Some(other) => {
                into.push(&[b'%', *other]);
                Ok(())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_replaced() {
        let names = Names { pid: 42, exe: b"redis", host: b"box", start_unix_s: 7 };
        let mut path = Text::new();
        expand(b"/t/%e.%p-%h-%t-%%-%x-%", &names, &mut path);
        assert_eq!(path.as_str(), "/t/redis.42-box-7-%-%x-%");
    }
}
