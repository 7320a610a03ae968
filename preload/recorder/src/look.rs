//! Looks: readings of the kernel's view of the process, taken now and then by whichever
//! thread finds that one is due.
//!
//! A look is never waited for: one thread takes it, the others go on. The time to the next
//! grows with the cost of the last, so that looks stay below 1 % of run time.

use crate::config::Config;
use crate::sync::TryLock;
use crate::text::{decimal, find, hexadecimal, valid_utf8};
use crate::{clock, file, fold, lane, process, ring, sys};
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicU64, AtomicUsize};
use fragtrace_format::header::{Area, HEADER_BYTES, control};
use fragtrace_format::record::{self, FRAME_BYTES, Look, LookCause, Mapping};

/// Looks cost at most this share of run time.
const COST_SHARE: u64 = 100;
/// A look stops its thread for at most about this long, but for the last one.
const MAX_COST_NS: u64 = 1_000_000;
/// Looks have 1/16 of the ring's size, and room for a few in any case.
const RING_SHARE: u64 = 16;
const MIN_AREA: u64 = 256 << 10;
const FIRST_GROWTH: u64 = 32 << 10;
const GROWTH: u64 = 256 << 10;

static LOCK: TryLock = TryLock::new();
/// Stamp from which the next look is due; `u64::MAX` = none is.
static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);
static INTERVAL_NS: AtomicU64 = AtomicU64::new(0);
/// Bytes of the area: its bound, its room in the file, and what is used of that.
static BOUND: AtomicU64 = AtomicU64::new(0);
static ROOM: AtomicU64 = AtomicU64::new(0);
static USED: AtomicU64 = AtomicU64::new(0);
/// Hash of the mappings last written, so that the same ones are not written again.
static LAST_MAPPINGS: AtomicU64 = AtomicU64::new(0);
/// What the last reading of smaps_rollup cost, and when it was.
static ROLLUP_COST: AtomicU64 = AtomicU64::new(0);
static ROLLUP_TIME: AtomicU64 = AtomicU64::new(0);
static SCRATCH_TOUCHED: AtomicUsize = AtomicUsize::new(0);
static IMAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
static CURRENT_BRK: AtomicUsize = AtomicUsize::new(0);

/// Makes room for the first looks. False: there is none.
pub(crate) fn reserve(ring_bytes: u64) -> bool {
    BOUND.store((ring_bytes / RING_SHARE).max(MIN_AREA), Relaxed);
    grow(FIRST_GROWTH)
}

fn grow(bytes: u64) -> bool {
    let room = ROOM.load(Relaxed);
    if room + bytes > BOUND.load(Relaxed) {
        return false;
    }
    file::grow(Area::Looks, || bytes, |bytes| ROOM.store(room + bytes, Relaxed)) == Some(true)
}

/// What looks need to know of the process beyond the kernel.
pub(crate) fn know(image_bytes: usize, current_brk: Option<*const usize>) {
    IMAGE_BYTES.store(image_bytes, Relaxed);
    CURRENT_BRK.store(current_brk.map_or(0, |at| at as usize), Relaxed);
}

/// Takes the first look and sets when the next is due.
pub(crate) fn start(config: &Config) {
    INTERVAL_NS.store(config.look_ms * 1_000_000, Relaxed);
    take(LookCause::Start);
}

/// Takes a look when one is due. Called between events, outside the allocator.
pub(crate) fn if_due() {
    if clock::stamp() >= NEXT.load(Relaxed) {
        take(LookCause::Due);
    } else if file::header().control.load(Relaxed) & control::LOOK_NOW != 0 {
        file::header().control.fetch_and(!control::LOOK_NOW, Relaxed);
        take(LookCause::Asked);
    }
}

/// Takes the last look.
pub(crate) fn take_last() {
    take(LookCause::Exit);
}

fn take(cause: LookCause) {
    if !process::recording() || sys::forbidden() {
        return;
    }
    let Some(_held) = LOCK.try_take() else { return };
    let begun = clock::stamp();
    let begun_ns = sys::clock_ns(libc::CLOCK_MONOTONIC);
    let header = file::header();
    if write(cause, begun, begun_ns) {
        header.looks.fetch_add(1, Relaxed);
    } else {
        header.dropped_looks.fetch_add(1, Relaxed);
    }
    process::note_clock();
    let cost = clock::stamp().saturating_sub(begun);
    let cost_ns = sys::clock_ns(libc::CLOCK_MONOTONIC).saturating_sub(begun_ns);
    header.slow_path_stamps.fetch_add(cost, Relaxed);
    let interval_ns = INTERVAL_NS.load(Relaxed);
    if interval_ns == 0 {
        return;
    }
    // Stamps and nanoseconds of this very look give the unit.
    let wait_ns = interval_ns.max(cost_ns * COST_SHARE);
    let wait = (wait_ns as u128 * cost.max(1) as u128 / cost_ns.max(1) as u128) as u64;
    NEXT.store(begun.saturating_add(wait), Relaxed);
}

/// Room for a look's text and record: the scratch memory, the lock held.
fn scratch() -> &'static mut [u8] {
    let (start, bytes) = file::scratch();
    // SAFETY: `file` mapped it for good, and only the holder of LOCK comes here.
    unsafe { core::slice::from_raw_parts_mut(start as *mut u8, bytes) }
}

fn write(cause: LookCause, now: u64, monotonic_ns: u64) -> bool {
    let (text, out) = scratch().split_at_mut(file::scratch().1 / 2);
    let mut look = Look { stamp: now, monotonic_ns, cause, ..Look::default() };
    read_status(text, &mut look);
    read_rollup(text, &mut look);
    look.brk_end = current_brk();
    look.tracer_resident = resident_bytes();
    let text_len = sys::read_file(b"/proc/self/maps\0", text).unwrap_or(0);
    // A list that is cut would tell that what is missing was unmapped.
    let whole = text_len < text.len();
    // Cut at a whole line, should there be more than the scratch memory holds.
    let text_len = text[..text_len].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = &text[..text_len];
    let hash = hash(text);
    let known = !whole || LAST_MAPPINGS.load(Relaxed) == hash;
    look.mappings = if known { 0 } else { mappings(text).count() as u32 };
    look.cost_stamps = clock::stamp().saturating_sub(now);
    let Some(mut len) = record::encode(&look, &mut out[FRAME_BYTES..]) else { return false };
    if !known {
        for mapping in mappings(text) {
            match record::encode(&mapping, &mut out[FRAME_BYTES + len..]) {
                Some(more) => len += more,
                None => return false,
            }
        }
    }
    SCRATCH_TOUCHED
        .fetch_max(text_len.next_multiple_of(4096) + len.next_multiple_of(4096), Relaxed);
    let written = append(&mut out[..record::framed_bytes(len)], len);
    if written && whole {
        LAST_MAPPINGS.store(hash, Relaxed);
    }
    written
}

/// Appends a record to the area: payload first, its frame last.
fn append(framed: &mut [u8], payload_len: usize) -> bool {
    framed[FRAME_BYTES + payload_len..].fill(0);
    let used = USED.load(Relaxed);
    // One frame more than needed, so that the area always ends in an empty one.
    let needed = used + (framed.len() + FRAME_BYTES) as u64;
    while needed > ROOM.load(Relaxed) {
        let missing = needed - ROOM.load(Relaxed);
        if !grow(missing.next_multiple_of(GROWTH)) && !grow(missing.next_multiple_of(4096)) {
            return false;
        }
    }
    let at = file::area_start(Area::Looks) + used as usize;
    let frame = record::frame(&framed[FRAME_BYTES..FRAME_BYTES + payload_len]);
    // SAFETY: the area is mapped up to ROOM, and the lock makes us its only writer; frames
    // are multiples of 8 bytes, so the frame's word is aligned.
    unsafe {
        let payload = (at + FRAME_BYTES) as *mut u8;
        let from = framed.as_ptr().add(FRAME_BYTES);
        core::ptr::copy_nonoverlapping(from, payload, framed.len() - FRAME_BYTES);
        (*(at as *const AtomicU64)).store(frame.to_le(), Release);
    }
    USED.store(used + framed.len() as u64, Relaxed);
    true
}

/// Our own pages in the process's resident set: files and lanes as accounted for, the
/// library's image taken as wholly touched.
fn resident_bytes() -> u64 {
    let header_bytes = (HEADER_BYTES + file::DESCRIPTION_BYTES) as u64;
    let lanes = (lane::count() as u64 * 256).next_multiple_of(4096) + 4096;
    let looks = USED.load(Relaxed).next_multiple_of(4096);
    let scratch = SCRATCH_TOUCHED.load(Relaxed) as u64;
    header_bytes
        + lanes
        + looks
        + scratch
        + ring::resident_bytes()
        + fold::resident_bytes()
        + IMAGE_BYTES.load(Relaxed) as u64
}

fn current_brk() -> Option<u64> {
    let at = CURRENT_BRK.load(Relaxed);
    if at == 0 {
        return None;
    }
    // SAFETY: the address of glibc's `__curbrk`, a word that lives as long as libc.
    let end = unsafe { (at as *const usize).read_volatile() };
    (end != 0).then_some(end as u64)
}

/// FNV-1a with 64 bits, eight bytes a step.
fn hash(text: &[u8]) -> u64 {
    text.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}

/// The value in bytes of a line such as `VmSwap:   12 kB`.
fn kilobytes(text: &[u8], name: &[u8]) -> Option<u64> {
    let at = find(text, name)? + name.len();
    let rest = &text[at..];
    let start = rest.iter().position(u8::is_ascii_digit)?;
    decimal(&rest[start..]).map(|(value, _)| value << 10)
}

fn read_status(text: &mut [u8], look: &mut Look) {
    let Ok(len) = sys::read_file(b"/proc/self/status\0", text) else { return };
    let text = &text[..len];
    look.rss_peak = kilobytes(text, b"VmHWM:");
    look.rss_anon = kilobytes(text, b"RssAnon:");
    look.rss_file = kilobytes(text, b"RssFile:");
    look.rss_shmem = kilobytes(text, b"RssShmem:");
    look.swapped = kilobytes(text, b"VmSwap:");
}

/// smaps_rollup walks all page tables: 13 to 30 ms per GiB. So it is read when it is cheap,
/// seldom enough, or the process ends.
fn read_rollup(text: &mut [u8], look: &mut Look) {
    let begun_ns = look.monotonic_ns;
    let cost_ns = ROLLUP_COST.load(Relaxed);
    let due = begun_ns.saturating_sub(ROLLUP_TIME.load(Relaxed)) > cost_ns * COST_SHARE * 4;
    if look.cause != LookCause::Exit && (cost_ns > MAX_COST_NS / 2 || !due) {
        return;
    }
    let started_ns = sys::clock_ns(libc::CLOCK_MONOTONIC);
    let Ok(len) = sys::read_file(b"/proc/self/smaps_rollup\0", text) else { return };
    let text = &text[..len];
    look.lazyfree = kilobytes(text, b"LazyFree:");
    look.anon_huge = kilobytes(text, b"AnonHugePages:");
    ROLLUP_COST.store(sys::clock_ns(libc::CLOCK_MONOTONIC).saturating_sub(started_ns), Relaxed);
    ROLLUP_TIME.store(begun_ns, Relaxed);
}

/// The mappings in the text of /proc/self/maps, our own left out.
fn mappings(text: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    text.split(|byte| *byte == b'\n')
        .filter_map(mapping)
        .filter(|mapping| !file::is_ours(mapping.start))
}

/// One line: `start-end rwxp offset major:minor inode   name`.
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let (start, rest) = hexadecimal(line)?;
    let (end, rest) = hexadecimal(rest.strip_prefix(b"-")?)?;
    let flags = rest.get(1..5)?;
    let bit = |at: usize, letter: u8, bit: u8| if flags[at] == letter { bit } else { 0 };
    let permissions = bit(0, b'r', 1) | bit(1, b'w', 2) | bit(2, b'x', 4) | bit(3, b's', 8);
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
    use super::*;

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
    fn kilobytes_are_bytes() {
        assert_eq!(kilobytes(b"VmRSS:\t  12 kB\nVmSwap:\t 3 kB\n", b"VmSwap:"), Some(3072));
        assert_eq!(kilobytes(b"VmRSS:\t  12 kB\n", b"VmSwap:"), None);
    }
}
