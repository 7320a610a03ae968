//! The trace file: made once, grown by segments, mapped where it is in nobody's way.
//!
//! The descriptor is never kept, as programs close and reuse numbers that they think are
//! theirs: each growth opens the path anew and checks that it is still the same file. Only a
//! process that is about to lose its way to the path keeps one, and checks that, too. Room
//! is reserved before it is mapped, so touching it can fail no more (SIGBUS otherwise).
//!
//! All of the tracer's mappings lie at fixed places far below the area where the kernel
//! puts those of the program, so the program's own addresses do not depend on them.

mod grow;
mod inherit;
mod names;
mod places;

pub(crate) use grow::{Stride, cut_events, grow, grow_events, handed_out};
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
use fragtrace_format::header::{Area, HEADER_BYTES, Header};
use grow::reserve;
use libc::c_int;
use places::{LANES_AT, SCRATCH_AT, SCRATCH_BYTES, SPAN};

/// Room for the description, mapped together with the header.
pub(crate) const DESCRIPTION_BYTES: usize = 16 << 10;

/// What only a holder of [`GROWING`] may touch.
struct Growth {
    path: Text<PATH_ROOM>,
    identity: (u64, u64),
    /// A descriptor that may be the file's still.
    kept: Option<c_int>,
    file_bytes: u64,
    /// Up to where room is set aside for what the file will have.
    aside_to: u64,
    /// Bytes of each area, by its number.
    area_bytes: [u64; AREAS],
    /// Area and bytes of the file's last segment.
    last: Option<Area>,
    last_bytes: u64,
    /// Where the events area ends in the file, how many bytes before that nobody has yet, and up to
    /// where these are written.
    events_end: u64,
    events_ahead: u64,
    events_written_to: u64,
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
        let number = || self.kept.and_then(|kept| sys::duplicate(kept, 0).ok());
        // Where there are no numbers left, that one can be closed but not be another file's: no
        // number from the limit on is given out.
        let beyond_limit = |kept: &c_int| sys::descriptor_limit() <= *kept as u64 && is_it(kept);
        opened
            .ok()
            .filter(is_it_or_closed)
            .or_else(|| number().filter(is_it_or_closed))
            .or_else(|| self.kept.filter(beyond_limit))
    }

    fn close(&self, fd: c_int) {
        if Some(fd) != self.kept {
            sys::close(fd);
        }
    }
}

struct Guarded(UnsafeCell<Growth>);

// SAFETY: reached only through `growth`, under the lock, or before other threads can.
unsafe impl Sync for Guarded {}

static BASE: AtomicUsize = AtomicUsize::new(0);
static GROWING: TryLock = TryLock::new();
// All zero: its room for a path would stand in the library's file.
static GROWTH: Guarded = Guarded(UnsafeCell::new(Growth {
    path: Text::new(),
    identity: (0, 0),
    kept: None,
    file_bytes: 0,
    aside_to: 0,
    area_bytes: [0; AREAS],
    last: None,
    last_bytes: 0,
    events_end: 0,
    events_ahead: 0,
    events_written_to: 0,
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

/// Where that ends.
pub(crate) fn end_of_ours() -> u64 {
    BASE.load(Ordering::Relaxed) as u64 + SPAN
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
    let made = reserve(fd, 0, (bytes as u64, 0), &mut 0).map_err(|_| libc::ENOSPC).and_then(|_| {
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

/// Keeps a descriptor of the file, out of the way of the program's: its path is about to be out of
/// reach.
pub(crate) fn keep_open() {
    /// Where select(2) does not reach any more, and the kernel's table need not grow much.
    const OUT_OF_THE_WAY: u64 = 1023;
    with_growth(|growth| {
        if growth.kept.is_some_and(|kept| sys::identity(kept) == Ok(growth.identity)) {
            return;
        }
        let least = OUT_OF_THE_WAY.min(sys::descriptor_limit().saturating_sub(1));
        if let Some(fd) = growth.open() {
            growth.kept = sys::duplicate(fd, least as c_int).ok();
            growth.close(fd);
        }
    });
}
