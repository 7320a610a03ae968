//! The file of a child of fork: a copy of its parent's, mapped in its place.
//!
//! The child still has its parent's file mapped, and the parent goes on writing there. What was
//! written before the fork does not change until it is folded, so the copy is good if no fold
//! was under way meanwhile. The parent's folds wait for it; a thread of the parent's waits only
//! where the ring has no chunk left, and not for long. [`crate::inherit`] sorts out what is
//! newer than the fork.

use super::grow::reserve;
use super::names::expand;
use super::places::{GROWING_AREAS, of_area};
use super::{
    AREAS, BASE, DESCRIPTION_BYTES, GROWING, GROWTH, Growth, Names, Private, area_start,
    create_new, header, undumped, with_growth,
};
use crate::{clock, sys};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::fence;
use fragtrace_format::header::{Area, HEADER_BYTES, MAGIC};
use libc::c_int;

/// How long the parent's folds wait, should the child die while it copies: on most machines
/// about a second.
const LONGEST_COPY: u64 = 1 << 26;
/// How often it is waited, 100 µs each, for a fold under way to end: its thread may not be
/// running.
const PATIENCE: u32 = 2000;
/// How often a copy is tried.
const TRIES: u32 = 4;

/// Makes a file beside the parent's, named by `pattern`, with what the parent has in its own, of
/// its events so many bytes, and maps it where that was mapped. `None`: there is none.
/// `Some(false)`: what it has of events and blocks is of no use. Nothing else may touch the
/// recorder's memory meanwhile.
pub(crate) fn inherit(pattern: &[u8], names: &Names<'_>, events_bytes: u64) -> Option<bool> {
    // Held by a thread that is not there any more, maybe.
    GROWING.leave();
    // SAFETY: by the caller, nobody else is here.
    let growth = unsafe { &mut *GROWTH.0.get() };
    let parents = header();
    let until = clock::stamp() + LONGEST_COPY;
    parents.fork.copied_until.fetch_max(until, Relaxed);
    let parents_file = growth.open();
    let directory = growth.path.bytes().iter().rposition(|byte| *byte == b'/');
    growth.path.truncate(directory.map_or(0, |slash| slash + 1));
    expand(pattern, names, &mut growth.path);
    let fd = (!growth.path.cut).then(|| create_new(&mut growth.path).ok()).flatten();
    let filled = fd.map(|fd| fill(fd, parents_file, growth, events_bytes));
    // Unless another child came later, and still copies.
    let _ = parents.fork.copied_until.compare_exchange(until, 0, Relaxed, Relaxed);
    if let Some(parents_file) = parents_file {
        growth.close(parents_file);
    }
    let (fd, filled) = fd.zip(filled)?;
    let made = filled.and_then(|whole| {
        // Wiped by the fork, and mapped anew when it is needed.
        for (what, bytes) in Private::ALL {
            sys::unmap(BASE.load(Relaxed) + what.place(), bytes);
        }
        unmap(growth);
        sys::map_afresh();
        map_own(fd, growth).map(|()| whole)
    });
    finish(fd, growth, made.is_ok());
    made.ok()
}

/// Makes the file of this process again, which was removed: under its name, with all that is in
/// memory. False: that is lost, and nothing of it is mapped any more. Nobody else may touch the
/// recorder's memory meanwhile.
pub(crate) fn make_again(events_bytes: u64) -> bool {
    let made = with_growth(|growth| {
        let Ok(fd) = create_new(&mut growth.path) else { return false };
        let made = fill(fd, None, growth, events_bytes).is_ok_and(|_| {
            unmap(growth);
            map_own(fd, growth).is_ok()
        });
        finish(fd, growth, made);
        made
    });
    if made == Some(true) {
        header().magic.store(u64::from_le_bytes(MAGIC), Release);
    }
    made == Some(true)
}

fn finish(fd: c_int, growth: &Growth, made: bool) {
    sys::close(fd);
    if !made {
        sys::unlink(growth.path.c_str());
    }
}

/// Maps what the parent's file, if that could be opened, has grown by since the fork. False: it
/// cannot be reached.
fn catch_up(growth: &mut Growth, parents_file: Option<c_int>) -> bool {
    let mut seen = [0; AREAS];
    for segment in header().segments().filter(|segment| GROWING_AREAS.contains(&segment.area)) {
        let offset = seen[segment.area as usize];
        let end = offset + segment.bytes;
        seen[segment.area as usize] = end;
        // Of a segment that became longer, the beginning is there.
        let from = offset.max(*growth.area_bytes(segment.area));
        if from >= end {
            continue;
        }
        let Some(fd) = parents_file else { return false };
        let (at, bytes) = (area_start(segment.area) + from as usize, (end - from) as usize);
        // Some of it may have been on its way to be mapped when the fork came.
        sys::unmap(at, bytes);
        let place = Some((fd, segment.file_offset + from - offset));
        if sys::map(at, bytes, libc::PROT_READ, libc::MAP_SHARED, place).is_err() {
            return false;
        }
        *growth.area_bytes(segment.area) = end;
    }
    true
}

/// Removes the file of a child that has nothing to tell. False: it may not.
pub(crate) fn remove() -> bool {
    with_growth(|growth| sys::unlink(growth.path.c_str())) == Some(true)
}

/// Where in the file each area that is not empty goes.
fn layout(growth: &Growth) -> impl Iterator<Item = (Area, u64, u64)> + use<> {
    let sizes = growth.area_bytes;
    let mut offset = (HEADER_BYTES + DESCRIPTION_BYTES) as u64;
    GROWING_AREAS.into_iter().filter_map(move |area| {
        let (bytes, at) = (sizes[area as usize], offset);
        offset += bytes;
        (bytes > 0).then_some((area, at, bytes))
    })
}

/// Copies what the parent has. Whether no fold came in between, and all of it could be reached.
fn fill(
    fd: c_int,
    parents_file: Option<c_int>,
    growth: &mut Growth,
    events_bytes: u64,
) -> Result<bool, c_int> {
    let parents = header();
    for attempt in 0..TRIES {
        let folds = settled();
        // Not before: the last fold may have made the table larger than it was at the fork. The
        // next one will only after that, and is found out below.
        let reached = catch_up(growth, parents_file);
        if attempt > 0 {
            // What the try before wrote has another place now, if an area grew.
            sys::truncate(fd, 0)?;
        }
        let end = layout(growth).map(|(_, at, bytes)| at + bytes).last();
        let head = (HEADER_BYTES + DESCRIPTION_BYTES) as u64;
        reserve(fd, 0, (end.unwrap_or(head), 0), &mut 0).map_err(|_| libc::ENOSPC)?;
        copy(fd, growth, events_bytes)?;
        fence(Acquire);
        let behind = (parents.folds.load(Relaxed), parents.folding.load(Relaxed));
        if !reached || folds.is_some_and(|folds| behind == (folds, folds)) {
            return Ok(reached);
        }
    }
    Ok(false)
}

/// The number of folds, when none is under way.
fn settled() -> Option<u64> {
    let parents = header();
    for _ in 0..PATIENCE {
        let folds = parents.folds.load(Acquire);
        if parents.folding.load(Acquire) == folds {
            return Some(folds);
        }
        sys::sleep_us(100);
    }
    None
}

fn copy(fd: c_int, growth: &Growth, events_bytes: u64) -> Result<(), c_int> {
    // What makes it a trace is written when all else is there.
    let magic = MAGIC.len();
    let base = BASE.load(Relaxed);
    let head = HEADER_BYTES + DESCRIPTION_BYTES - magic;
    sys::pwrite_from(fd, base + magic, head, magic as u64)?;
    for (area, at, bytes) in layout(growth) {
        let bytes = if area == Area::Events { bytes.min(events_bytes) } else { bytes };
        sys::pwrite_from(fd, area_start(area), bytes as usize, at)?;
    }
    Ok(())
}

fn unmap(growth: &Growth) {
    let base = BASE.load(Relaxed);
    sys::unmap(base, HEADER_BYTES + DESCRIPTION_BYTES);
    for (area, _, bytes) in layout(growth) {
        sys::unmap(base + of_area(area), bytes as usize);
    }
}

/// Maps a file that was filled, and remembers it.
fn map_own(fd: c_int, growth: &mut Growth) -> Result<(), c_int> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let map = |at: usize, bytes: usize, offset: u64| {
        let mapped = sys::map(at, bytes, access, libc::MAP_SHARED, Some((fd, offset)));
        undumped(at, bytes);
        mapped.map(|_| ())
    };
    let base = BASE.load(Relaxed);
    let head = HEADER_BYTES + DESCRIPTION_BYTES;
    map(base, head, 0)?;
    let header = header();
    header.segment_count.store(0, Release);
    header.add_segment(Area::Description, HEADER_BYTES as u64, DESCRIPTION_BYTES as u64);
    growth.file_bytes = head as u64;
    growth.aside_to = 0;
    growth.last = Some(Area::Description);
    for (area, at, bytes) in layout(growth) {
        map(base + of_area(area), bytes as usize, at)?;
        header.add_segment(area, at, bytes);
        (growth.file_bytes, growth.last, growth.last_bytes) = (at + bytes, Some(area), bytes);
        if area == Area::Events {
            growth.events_end = at + bytes;
        }
    }
    growth.identity = sys::identity(fd)?;
    Ok(())
}
