//! The trace file: made once, grown by segments, mapped where it is in nobody's way.
//!
//! The descriptor is never kept, as programs close and reuse numbers that they think are
//! theirs: each growth opens the path anew and checks that it is still the same file. Only a
//! process that is about to lose its way to the path keeps one, and checks that, too. Room
//! is reserved before it is mapped, so touching it can fail no more (SIGBUS otherwise).
//!
//! All of the tracer's mappings lie at fixed places far below the area where the kernel
//! puts those of the program, so the program's own addresses do not depend on them.

mod inherit;
mod names;
mod places;

pub(crate) use inherit::{inherit, make_again, remove};
pub(crate) use names::{DEFAULT_PATTERN, Names, path_in, pattern, wanted_path};
pub(crate) use places::{BASES, Private};

use crate::config::PATH_ROOM;
use crate::sync::TryLock;
use crate::sys;
use crate::text::Text;
use core::cell::UnsafeCell;
use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering};
use fragtrace_format::header::{Area, HEADER_BYTES, Header, limit};
use libc::c_int;
use places::{LANES_AT, SCRATCH_AT, SCRATCH_BYTES, SPAN};

/// Room for the description, mapped together with the header.
pub(crate) const DESCRIPTION_BYTES: usize = 16 << 10;

/// What only a holder of [`GROWING`] may touch.
struct Growth {
    path: Text<PATH_ROOM>,
    identity: (u64, u64),
    /// A descriptor that may be the file's still, or -1.
    kept: c_int,
    file_bytes: u64,
    /// Bytes of each area, by its number.
    area_bytes: [u64; AREAS],
    /// Area and bytes of the file's last segment.
    last: Area,
    last_bytes: u64,
}

/// Areas are numbered from 1.
const AREAS: usize = Area::OutsideLooks as usize + 1;

impl Growth {
    fn area_bytes(&mut self, area: Area) -> &mut u64 {
        &mut self.area_bytes[area as usize]
    }

    /// Opens the file: by its path, else by the descriptor that was kept. To be given to
    /// [`Growth::close`].
    fn open(&self) -> Option<c_int> {
        let is_it = |fd: &c_int| sys::identity(*fd) == Ok(self.identity);
        let is_it_or_closed = |fd: &c_int| {
            let same = is_it(fd);
            if !same {
                sys::close(*fd);
            }
            same
        };
        let opened = sys::open(self.path.c_str(), libc::O_RDWR | libc::O_NOFOLLOW, 0);
        // A number of our own before it is looked at: the program may close the other meanwhile.
        let number = || sys::duplicate(self.kept, 0);
        // Where there are no numbers left, that one can be closed but not be another file's: no
        // number from the limit on is given out.
        let beyond_limit = || sys::descriptor_limit() <= self.kept as u64 && is_it(&self.kept);
        opened
            .ok()
            .filter(is_it_or_closed)
            .or_else(|| number().ok().filter(is_it_or_closed))
            .or_else(|| (self.kept >= 0 && beyond_limit()).then_some(self.kept))
    }

    fn close(&self, fd: c_int) {
        if fd != self.kept {
            sys::close(fd);
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
    kept: -1,
    file_bytes: 0,
    area_bytes: [0; AREAS],
    last: Area::Description,
    last_bytes: 0,
}));

fn with_growth<R>(work: impl FnOnce(&mut Growth) -> R) -> Option<R> {
    let _held = GROWING.try_take_uninterrupted()?;
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
    BASE.load(Ordering::Relaxed) + places::of_area(area)
}

/// Bytes that an area has in the file, as far as this moment tells.
pub(crate) fn area_bytes(area: Area) -> u64 {
    with_growth(|growth| *growth.area_bytes(area)).unwrap_or(0)
}

/// Where private memory is, or will be.
pub(crate) fn private_start(what: Private) -> usize {
    BASE.load(Ordering::Relaxed) + what.place()
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

/// Reserves `bytes` of the file from `offset` on, by writing where the file system cannot. Not
/// where that leaves less than `beside` for others: so much is set aside behind the file's end,
/// where whatever grows next finds it. `written`: all of it will be written soon.
fn reserve(fd: c_int, offset: u64, bytes: u64, beside: u64, written: bool) -> Result<(), u64> {
    // Beyond the limit a signal would kill the program.
    if offset + bytes + beside > sys::file_size_limit() {
        return Err(limit::FILE_SIZE);
    }
    let aside = match beside {
        0 => Ok(()),
        _ => sys::set_aside(fd, offset, bytes + beside),
    };
    match aside.and_then(|()| sys::allocate(fd, offset, bytes)) {
        Ok(()) => {
            if written {
                // Only for speed.
                let _ = sys::write_zeros(fd, offset, bytes);
            }
            return Ok(());
        }
        // A sandbox may know it as little as a file system.
        Err(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM) => {}
        Err(_) => {
            if beside > 0 {
                // Some file systems keep what they found before they ran out: the program may
                // need it. The room for the table stays.
                let _ = sys::truncate(fd, offset).and_then(|()| sys::set_aside(fd, offset, beside));
            }
            return Err(limit::DISK_FULL);
        }
    }
    sys::write_zeros(fd, offset, bytes).map_err(|_| limit::DISK_FULL)
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
    let made = reserve(fd, 0, bytes as u64, 0, false).map_err(|_| libc::ENOSPC).and_then(|()| {
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

/// Room that an area leaves when it grows from so many bytes: a ring that took all could not go
/// round, as what it loses must find room in the table.
fn beside_ring(area: Area, bytes: u64) -> u64 {
    const SHARE: u64 = 4;
    const LEAST: u64 = 64 << 10;
    // Not more: a file system in memory fills what is asked for.
    const MOST: u64 = 256 << 10;
    if area == Area::Events && bytes > 0 { (bytes / SHARE).clamp(LEAST, MOST) } else { 0 }
}

fn try_grow(growth: &mut Growth, area: Area, bytes: u64) -> Result<(), u64> {
    if sys::forbidden() {
        return Err(limit::FILTER);
    }
    let fd = growth.open().ok_or(limit::PATH)?;
    let result = (|| {
        let offset = growth.file_bytes;
        reserve(
            fd,
            offset,
            bytes,
            beside_ring(area, *growth.area_bytes(area)),
            area == Area::Events,
        )?;
        let at = area_start(area) + *growth.area_bytes(area) as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        sys::map(at, bytes as usize, access, libc::MAP_SHARED, Some((fd, offset)))
            .map_err(|_| limit::MAPPING)?;
        undumped(at, bytes as usize);
        // Else the first touch reads ahead as far as the disk is set to: whole megabytes, in one
        // event. The pages come when they are needed, as all are written from front to back.
        let _ = sys::advise(at, bytes as usize, libc::MADV_RANDOM);
        let extended = header().extend_last_segment(area, offset, bytes);
        if !extended && !header().add_segment(area, offset, bytes) {
            // A full table: readers would not find what is written here.
            sys::unmap(at, bytes as usize);
            return Err(limit::MAPPING);
        }
        *growth.area_bytes(area) += bytes;
        growth.file_bytes = offset + bytes;
        growth.last = area;
        growth.last_bytes = bytes + if extended { growth.last_bytes } else { 0 };
        Ok(())
    })();
    growth.close(fd);
    result
}

/// Keeps a descriptor of the file, out of the way of the program's: its path is about to be out of
/// reach.
pub(crate) fn keep_open() {
    /// Where select(2) does not reach any more, and the kernel's table need not grow much.
    const OUT_OF_THE_WAY: u64 = 1023;
    with_growth(|growth| {
        if sys::identity(growth.kept) == Ok(growth.identity) {
            return;
        }
        let least = OUT_OF_THE_WAY.min(sys::descriptor_limit().saturating_sub(1));
        if let Some(fd) = growth.open() {
            growth.kept = sys::duplicate(fd, least as c_int).unwrap_or(-1);
            growth.close(fd);
        }
    });
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
        let Some(fd) = growth.open() else { return };
        let kept = withdraw().map_or(total, |used| used.next_multiple_of(4096));
        let spare = total.saturating_sub(kept).min(growth.last_bytes);
        if spare > 0 && header().shrink_last_segment(spare) {
            sys::unmap(area_start(area) + (total - spare) as usize, spare as usize);
            if sys::truncate(fd, growth.file_bytes - spare).is_ok() {
                growth.file_bytes -= spare;
            }
            growth.last_bytes -= spare;
            *growth.area_bytes(area) -= spare;
        }
        growth.close(fd);
    });
}
