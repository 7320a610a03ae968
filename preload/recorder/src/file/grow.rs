//! How the file grows, and is cut.

use super::{Growth, area_start, header, undumped, with_growth};
use crate::sys;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::header::{Area, limit};
use libc::c_int;

/// Reserves `bytes` of the file from `offset` on, by writing zeros where the file system cannot, and
/// whether that was so. Not where that leaves less than `beside` for others: so much is set aside
/// behind the file's end, where whatever grows next finds it. `aside_to`: up to where that was done.
pub(super) fn reserve(
    fd: c_int,
    offset: u64,
    (bytes, beside): (u64, u64),
    aside_to: &mut u64,
) -> Result<bool, u64> {
    // Beyond the limit a signal would kill the program.
    if offset + bytes + beside > sys::file_size_limit() {
        return Err(limit::FILE_SIZE);
    }
    let aside = match beside {
        0 => Ok(()),
        _ => set_aside(fd, offset, bytes + beside, aside_to),
    };
    match aside.and_then(|()| sys::allocate(fd, offset, bytes)) {
        Ok(()) => return Ok(false),
        // A sandbox may know it as little as a file system.
        Err(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM) => {}
        Err(_) => {
            if beside > 0 {
                // Some file systems keep what they found before they ran out: the program may
                // need it. The room for the table stays.
                let _ = sys::truncate(fd, offset).and_then(|()| sys::set_aside(fd, offset, beside));
                *aside_to = 0;
            }
            return Err(limit::DISK_FULL);
        }
    }
    sys::write_zeros(fd, offset, bytes).map(|()| true).map_err(|_| limit::DISK_FULL)
}

/// Sets room aside behind the file's end, if it is not there already.
fn set_aside(fd: c_int, offset: u64, bytes: u64, aside_to: &mut u64) -> Result<(), c_int> {
    if *aside_to < offset + bytes {
        sys::set_aside(fd, offset, bytes)?;
        *aside_to = offset + bytes;
    }
    Ok(())
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
        bytes => {
            let grown = extend(growth, area, bytes);
            if grown {
                publish(bytes);
            }
            grown
        }
    })
}

/// How the events area grows: by how many bytes of the file, and how many of these are handed out at
/// a time.
#[derive(Clone, Copy)]
pub(crate) struct Stride {
    pub(crate) mapped: u64,
    pub(crate) handed_out: u64,
}

/// Takes the next of the steps in which the events area grows, if `wanted` says so: room on the disk,
/// the same in the file, or where there is some that nobody has yet, a piece of that, which `publish`
/// hands out. So that nobody waits for all of them; `at_once`: somebody waits for the piece. `None`
/// and `Some(false)` as of [`grow`].
pub(crate) fn grow_events(
    stride: Stride,
    at_once: bool,
    wanted: impl FnOnce() -> bool,
    publish: impl FnOnce(u64),
) -> Option<bool> {
    with_growth(|growth| {
        if !wanted() {
            return true;
        }
        if growth.events_ahead == 0 {
            if !at_once && sets_room_aside(growth, stride.mapped) {
                return true;
            }
            if !extend(growth, Area::Events, stride.mapped) {
                return false;
            }
            if !at_once {
                return true;
            }
        }
        publish(next_piece(growth, stride.handed_out));
        true
    })
}

/// Sets aside what the events area will take when it grows by so much. False: that is done already, or
/// cannot be done, and who makes it grow finds out why.
fn sets_room_aside(growth: &mut Growth, bytes: u64) -> bool {
    let bytes = bytes + beside_ring(Area::Events, *growth.area_bytes(Area::Events));
    let offset = growth.file_bytes;
    if growth.aside_to >= offset + bytes
        || sys::forbidden()
        || offset + bytes > sys::file_size_limit()
    {
        return false;
    }
    let Some(fd) = growth.open() else { return false };
    let done = set_aside(fd, offset, bytes, &mut growth.aside_to).is_ok();
    growth.close(fd);
    done
}

/// At most so many of the bytes of the events area that nobody has yet, written with zeros: whole
/// folios of the page cache, which makes each of their pages cheaper than if it came alone.
fn next_piece(growth: &mut Growth, most: u64) -> u64 {
    let bytes = growth.events_ahead.min(most);
    let (end, handed_out_to) = (growth.events_end, growth.events_end - growth.events_ahead);
    growth.events_ahead -= bytes;
    // Where a piece before could not be written, there are events by now.
    let from = growth.events_written_to.max(handed_out_to);
    let to = (end - growth.events_ahead).next_multiple_of(sys::ZEROS_AT_ONCE).min(end);
    // Beyond the limit a signal would kill the program, which may have set it since.
    if from < to
        && to <= sys::file_size_limit()
        && !sys::forbidden()
        && let Some(fd) = growth.open()
    {
        // There is room in any case: this is only for speed.
        let _ = sys::write_zeros(fd, from, to - from);
        growth.events_written_to = to;
        growth.close(fd);
    }
    bytes
}

/// In a child of fork: so many bytes of the events area were handed out when its parent forked.
pub(crate) fn handed_out(bytes: u64) {
    with_growth(|growth| {
        growth.events_ahead = growth.area_bytes(Area::Events).saturating_sub(bytes);
        growth.events_written_to = growth.events_end - growth.events_ahead;
    });
}

/// Makes an area larger, or says in the header what is in the way.
fn extend(growth: &mut Growth, area: Area, bytes: u64) -> bool {
    let extended = try_extend(growth, area, bytes);
    if let Err(limit) = extended {
        header().limits.fetch_or(limit, Relaxed);
    }
    extended.is_ok()
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

fn try_extend(growth: &mut Growth, area: Area, bytes: u64) -> Result<(), u64> {
    if sys::forbidden() {
        return Err(limit::FILTER);
    }
    let fd = growth.open().ok_or(limit::PATH)?;
    let result = (|| {
        let offset = growth.file_bytes;
        let beside = beside_ring(area, *growth.area_bytes(area));
        let written = reserve(fd, offset, (bytes, beside), &mut growth.aside_to)?;
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
        if area == Area::Events {
            (growth.events_end, growth.events_ahead) = (offset + bytes, bytes);
            growth.events_written_to = if written { growth.events_end } else { offset };
        }
        growth.last = Some(area);
        growth.last_bytes = bytes + if extended { growth.last_bytes } else { 0 };
        Ok(())
    })();
    growth.close(fd);
    result
}

/// Cuts the file behind the used part of the events area, when its segment is the last. `withdraw`
/// says how many bytes of the area are in use, and from then on nobody touches the rest; `None` = not
/// now.
pub(crate) fn cut_events(withdraw: impl FnOnce() -> Option<u64>) {
    with_growth(|growth| {
        let area = Area::Events;
        let total = *growth.area_bytes(area);
        if growth.last != Some(area) {
            return;
        }
        let Some(fd) = growth.open() else { return };
        let kept = withdraw().map_or(total, |used| {
            growth.events_ahead = 0;
            used.next_multiple_of(4096)
        });
        let spare = total.saturating_sub(kept).min(growth.last_bytes);
        if spare > 0 && header().shrink_last_segment(spare) {
            sys::unmap(area_start(area) + (total - spare) as usize, spare as usize);
            if sys::truncate(fd, growth.file_bytes - spare).is_ok() {
                growth.file_bytes -= spare;
                growth.aside_to = 0;
            }
            growth.last_bytes -= spare;
            *growth.area_bytes(area) -= spare;
        }
        growth.close(fd);
    });
}
