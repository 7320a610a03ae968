//! Which pages are in memory, found out piece by piece.
//!
//! A scan of a gigabyte takes the kernel milliseconds, and a look may not stop its thread for
//! so long: so each look goes on where the last one stopped, and begins anew when it came to
//! the end. Of what was found the tiles that changed are told.

mod kept;
mod kernel;
#[cfg(test)]
mod tests;
mod tiling;

pub(super) use kernel::PageRegion;

use super::maps::Known;
use crate::sys;
use core::ops::Range;
use fragtrace_format::pages::TILE_PAGES;
use fragtrace_format::record::{self, PageSource, Scan};
use kept::Kept;
use libc::c_int;
use tiling::Tiling;

const PAGE: u64 = 4096;
const TILE_BYTES: u64 = TILE_PAGES * PAGE;

/// Address space that the kernel is asked about at once, at first and at most: also where nothing
/// is in memory it goes over page tables, if pages were there once.
const FIRST_PIECE: u64 = 16 << 20;
const LAST_PIECE: u64 = 1 << 30;
/// A piece that takes less than this is followed by one of twice the size.
const QUICK_NS: u64 = 50_000;

/// The most that a scan's record takes beside its tiles.
const SCAN_BYTES: usize = 32;

/// What a scan needs to work with.
pub(super) struct Room<'a> {
    pub(super) regions: &'a mut [PageRegion],
    /// Tiles of one scan.
    pub(super) tiles: &'a mut [u8],
    /// Where scans go.
    pub(super) out: &'a mut [u8],
}

/// The state of a scan that goes on from look to look.
pub(super) struct Pages {
    kept: Kept,
    /// Address from which the next look goes on.
    cursor: u64,
    piece_bytes: u64,
    source: PageSource,
}

impl Pages {
    pub(super) const NEW: Pages =
        Pages { kept: Kept::NEW, cursor: 0, piece_bytes: FIRST_PIECE, source: PageSource::None };

    /// Bytes in our memory, about.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.kept.resident_bytes()
    }

    /// Whether the last scan found the page at an address in memory.
    pub(super) fn has_in_memory(&mut self, address: u64) -> bool {
        self.kept.has(address)
    }

    /// No tile was told.
    pub(super) fn forget(&mut self) {
        self.kept.forget();
    }

    /// How pages were found out in the last scan.
    pub(super) fn source(&self) -> PageSource {
        self.source
    }

    /// Where the next scan begins.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next scan begins there.
    pub(super) fn go_back(&mut self, cursor: u64) {
        self.cursor = cursor;
    }

    /// Scans mappings, a list in two parts, from where the last scan stopped, until the end of the
    /// list, or of the time. How many scans were written to `out`, and their bytes.
    pub(super) fn scan(
        &mut self,
        mappings: [&[Known]; 2],
        room: &mut Room<'_>,
        deadline_ns: u64,
    ) -> (u32, usize) {
        if !self.kept.begin() {
            return (0, 0);
        }
        let Ok(fd) = sys::open(b"/proc/self/pagemap\0", libc::O_RDONLY, 0) else { return (0, 0) };
        let (mut scans, mut bytes) = (0, 0);
        let mut time = Time::until(deadline_ns);
        let from = core::mem::take(&mut self.cursor);
        let ahead = mappings.map(|part| &part[part.partition_point(|known| known.end <= from)..]);
        for mapping in ahead.into_iter().flatten().filter(|known| known.may_be_heap) {
            let range = mapping.start.max(from)..mapping.end;
            let left = (room.out.len() - bytes).saturating_sub(SCAN_BYTES).min(room.tiles.len());
            let tiles = &mut room.tiles[..left];
            let (reached, len) = if scans > 0 && time.is_over() {
                (range.start, 0)
            } else {
                self.scan_mapping(fd, &range, (room.regions, tiles), &mut time)
            };
            if reached > range.start {
                let (start, tiles) = (range.start, &room.tiles[..len]);
                let scan = Scan { start, bytes: reached - start, tiles };
                bytes += record::encode(&scan, &mut room.out[bytes..]).unwrap_or(0);
                scans += 1;
            }
            if reached < range.end {
                self.cursor = reached;
                break;
            }
        }
        sys::close(fd);
        (scans, bytes)
    }

    /// Scans a range, at least a tile. How far it came, and how many bytes of tiles were written.
    fn scan_mapping(
        &mut self,
        fd: c_int,
        range: &Range<u64>,
        (regions, tiles): (&mut [PageRegion], &mut [u8]),
        time: &mut Time,
    ) -> (u64, usize) {
        let mut tiling = Tiling::new(range, &mut self.kept, tiles);
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(self.piece_bytes).min(range.end);
            let Some(reached) = ask(&mut self.source, fd, &(at..end), regions, &mut tiling) else {
                break;
            };
            if !tiling.come_to(reached) {
                break;
            }
            if time.pass() >= QUICK_NS {
                self.piece_bytes = FIRST_PIECE;
            } else if reached == at + self.piece_bytes {
                self.piece_bytes = (self.piece_bytes * 2).min(LAST_PIECE);
            }
            at = reached;
            // What was seen of a tile that is not complete is seen again.
            if time.is_over() && tiling.told() > range.start {
                break;
            }
        }
        (tiling.told(), tiling.len())
    }
}

/// Asks about the first pages of a range. How far that came, if it did.
fn ask(
    source: &mut PageSource,
    fd: c_int,
    range: &Range<u64>,
    regions: &mut [PageRegion],
    tiling: &mut Tiling<'_>,
) -> Option<u64> {
    if *source != PageSource::Pagemap {
        match kernel::scan(fd, range, regions, |region| tiling.add(region)) {
            Ok(reached) => {
                *source = PageSource::Scan;
                return (reached > range.start).then_some(reached);
            }
            // Older kernels do not know the call.
            Err(libc::ENOTTY | libc::EINVAL) if *source == PageSource::None => {
                *source = PageSource::Pagemap;
            }
            Err(_) => return None,
        }
    }
    kernel::read(fd, range, |region| tiling.add(region)).ok()
}

/// The time that a scan may take, of its thread's processor time.
struct Time {
    now_ns: u64,
    deadline_ns: u64,
}

impl Time {
    fn until(deadline_ns: u64) -> Time {
        Time { now_ns: sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID), deadline_ns }
    }

    /// How much went by since this was asked last.
    fn pass(&mut self) -> u64 {
        let now_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        now_ns - core::mem::replace(&mut self.now_ns, now_ns)
    }

    fn is_over(&self) -> bool {
        self.now_ns >= self.deadline_ns
    }
}
