//! Which pages are in memory, found out piece by piece.
//!
//! A scan of a gigabyte takes the kernel milliseconds, and a look may not stop its thread for
//! so long: so each look goes on where the last one stopped, and begins anew when it came to
//! the end. Of what was found the tiles that changed are told; for that the last state of
//! each tile that ever had pages in memory is kept, 72 bytes for 2 MiB of address space.

use super::maps::Known;
use crate::file::{self, Private};
use crate::sys;
use core::ops::Range;
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};
use fragtrace_format::record::{self, PageSource, Scan};
use libc::c_int;

const PAGE: u64 = 4096;
const TILE_BYTES: u64 = TILE_PAGES * PAGE;

/// Address space that is scanned between two readings of the clock, at first and at most.
const FIRST_PIECE: u64 = 16 << 20;
const LAST_PIECE: u64 = 16 << 30;
/// A piece that takes less than this is followed by one of twice the size.
const QUICK_NS: u64 = 50_000;

/// Tiles that can be kept: 8 TiB of heap.
const SLOTS: usize = 1 << 22;
const TABLE_BYTES: usize = SLOTS * size_of::<Slot>();
const MAX_PROBES: usize = 64;

/// From linux/fs.h (6.7 on): `struct pm_scan_arg`, `struct page_region`, and the bits of
/// categories.
#[repr(C)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

const PAGEMAP_SCAN: usize = 0xc060_6610;
const IS_PRESENT: u64 = 1 << 3;
const IS_ZERO: u64 = 1 << 5;
const IS_HUGE: u64 = 1 << 6;
/// Bit of an entry of /proc/self/pagemap.
const PRESENT: u64 = 1 << 63;

/// The most that a scan's record takes beside its tiles.
const SCAN_BYTES: usize = 32;

/// A tile as it was told last. All zero: free.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    /// Number of the tile, and bits: 1 taken, 2 huge pages.
    key: u64,
    resident: [u64; 8],
}

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
    begun: bool,
    slots_taken: u64,
    /// Address from which the next look goes on.
    cursor: u64,
    piece_bytes: u64,
    source: PageSource,
}

impl Pages {
    pub(super) const NEW: Pages = Pages {
        begun: false,
        slots_taken: 0,
        cursor: 0,
        piece_bytes: FIRST_PIECE,
        source: PageSource::None,
    };

    fn begin(&mut self) -> bool {
        let start = file::private_start(Private::Pages);
        self.begun = self.begun || file::map_private(start, TABLE_BYTES);
        self.begun
    }

    fn slots(&mut self) -> &'static mut [Slot] {
        let start = file::private_start(Private::Pages);
        // SAFETY: mapped in `begin` for good, zeroed, which is a value; only the holder of the
        // look's lock comes here, and keeps none of it.
        unsafe { core::slice::from_raw_parts_mut(start as *mut Slot, SLOTS) }
    }

    /// The slot of a tile, or a free one for it. Neighbours are side by side.
    fn slot(&mut self, tile: u64) -> Option<&'static mut Slot> {
        let first = tile.wrapping_add((tile >> 22).wrapping_mul(0x9e37_79b9)) as usize;
        let slots = self.slots();
        let at = (0..MAX_PROBES)
            .map(|probe| first.wrapping_add(probe) % SLOTS)
            .find(|at| slots[*at].key == 0 || slots[*at].key >> 2 == tile)?;
        Some(&mut slots[at])
    }

    /// Bytes in our memory, about.
    pub(super) fn resident_bytes(&self) -> u64 {
        (self.slots_taken * size_of::<Slot>() as u64).next_multiple_of(4096)
    }

    /// Whether the last scan found the page at an address in memory.
    pub(super) fn has_in_memory(&mut self, address: u64) -> bool {
        let (tile, page) = (address / TILE_BYTES, address / PAGE % TILE_PAGES);
        let slot = if self.begun { self.slot(tile) } else { None };
        slot.is_some_and(|slot| {
            slot.key >> 2 == tile && slot.resident[page as usize / 64] >> (page % 64) & 1 != 0
        })
    }

    /// No tile was told.
    pub(super) fn forget(&mut self) {
        if self.slots_taken > 0 {
            let start = file::private_start(Private::Pages);
            // Private memory reads as zeros afterwards.
            let _ = sys::advise(start, TABLE_BYTES, libc::MADV_DONTNEED);
            self.slots_taken = 0;
        }
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
        if !self.begin() {
            return (0, 0);
        }
        let Ok(fd) = sys::open(b"/proc/self/pagemap\0", libc::O_RDONLY, 0) else { return (0, 0) };
        let (mut scans, mut bytes) = (0, 0);
        let from = core::mem::take(&mut self.cursor);
        let ahead = mappings.map(|part| &part[part.partition_point(|known| known.end <= from)..]);
        for mapping in ahead.into_iter().flatten().filter(|known| known.may_be_heap) {
            let range = mapping.start.max(from)..mapping.end;
            let left = (room.out.len() - bytes).saturating_sub(SCAN_BYTES).min(room.tiles.len());
            let tiles = &mut room.tiles[..left];
            let (reached, len) = self.scan_mapping(fd, &range, (room.regions, tiles), deadline_ns);
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

    /// Scans a range. How far it came, and how many bytes of tiles were written.
    fn scan_mapping(
        &mut self,
        fd: c_int,
        range: &Range<u64>,
        (regions, tiles): (&mut [PageRegion], &mut [u8]),
        deadline_ns: u64,
    ) -> (u64, usize) {
        let mut writer = TileWriter::new(tiles, range.start / TILE_BYTES);
        let mut at = range.start;
        let mut before_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        while at < range.end && before_ns < deadline_ns && writer.has_room() {
            // Up to the end of a tile, so that each is told once.
            let end = (at + self.piece_bytes) & !(TILE_BYTES - 1);
            let piece = at..end.min(range.end);
            let Some(reached) = self.scan_piece(fd, &piece, regions, &mut writer) else {
                return (at, writer.len());
            };
            let now_ns = sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
            let quick = now_ns - before_ns < QUICK_NS;
            self.piece_bytes =
                if quick { (self.piece_bytes * 2).min(LAST_PIECE) } else { FIRST_PIECE };
            before_ns = now_ns;
            at = reached;
            if reached < piece.end {
                break;
            }
        }
        (at, writer.len())
    }

    /// Scans a piece: how far it came. `None`: not at all.
    fn scan_piece(
        &mut self,
        fd: c_int,
        piece: &Range<u64>,
        regions: &mut [PageRegion],
        writer: &mut TileWriter<'_>,
    ) -> Option<u64> {
        if self.source != PageSource::Pagemap {
            let mut tiles = Tiling::new(piece);
            match scan_regions(fd, piece, regions, |region| tiles.add(region, self, writer)) {
                Ok(()) => {
                    self.source = PageSource::Scan;
                    return Some(tiles.finish(self, writer));
                }
                // Older kernels do not know the call.
                Err(libc::ENOTTY | libc::EINVAL) if self.source == PageSource::None => {
                    self.source = PageSource::Pagemap;
                }
                Err(_) => return None,
            }
        }
        self.read_piece(fd, piece, writer)
    }

    /// The same by reading a word a page.
    fn read_piece(
        &mut self,
        fd: c_int,
        piece: &Range<u64>,
        writer: &mut TileWriter<'_>,
    ) -> Option<u64> {
        let mut at = piece.start;
        while at < piece.end {
            let end = (at / TILE_BYTES + 1).saturating_mul(TILE_BYTES).min(piece.end);
            let mut words = [0; TILE_PAGES as usize];
            let words = &mut words[..((end - at) / PAGE) as usize];
            sys::read_words(fd, words, at / PAGE * 8).ok()?;
            let mut found = TilePages::default();
            for (page, word) in words.iter().enumerate() {
                let page = at / PAGE % TILE_PAGES + page as u64;
                found.resident[page as usize / 64] |= (word & PRESENT) >> 63 << (page % 64);
            }
            if !self.tell(at..end, &found, writer) {
                return Some(at);
            }
            at = end;
        }
        Some(at)
    }

    /// Tells a tile's pages in a range, if they changed. False: there is no room.
    fn tell(&mut self, range: Range<u64>, found: &TilePages, writer: &mut TileWriter<'_>) -> bool {
        let tile = range.start / TILE_BYTES;
        // Without a slot it is told each time.
        let Some(slot) = self.slot(tile) else { return writer.put(tile, found) };
        let mut now = TilePages { resident: slot.resident, huge: found.huge };
        let first = range.start / PAGE % TILE_PAGES;
        let pages = first..first + (range.end - range.start) / PAGE;
        for (word, (now, found)) in now.resident.iter_mut().zip(found.resident).enumerate() {
            let mask = mask(word as u64, &pages);
            *now = *now & !mask | found & mask;
        }
        if now.resident == slot.resident && now.huge == (slot.key & 2 != 0) {
            return true;
        }
        if !writer.put(tile, &now) {
            return false;
        }
        self.slots_taken += u64::from(slot.key == 0);
        *slot = Slot { key: tile << 2 | u64::from(now.huge) << 1 | 1, resident: now.resident };
        true
    }
}

/// The bits of word `word` of a tile that stand for pages of a range.
fn mask(word: u64, pages: &Range<u64>) -> u64 {
    let from = pages.start.clamp(word * 64, word * 64 + 64) - word * 64;
    let to = pages.end.clamp(word * 64, word * 64 + 64) - word * 64;
    if from >= to { 0 } else { u64::MAX << from & u64::MAX >> (64 - to) }
}

/// Cuts rising regions into tiles.
struct Tiling {
    piece: Range<u64>,
    /// Where the tile that is filled begins, or the piece.
    at: u64,
    tile: TilePages,
    /// There was no room for a tile: this is how far the scan came.
    stopped: bool,
}

impl Tiling {
    fn new(piece: &Range<u64>) -> Tiling {
        let (piece, at) = (piece.clone(), piece.start);
        Tiling { piece, at, tile: TilePages::default(), stopped: false }
    }

    fn tile_end(&self) -> u64 {
        (self.at / TILE_BYTES + 1).saturating_mul(TILE_BYTES).min(self.piece.end)
    }

    /// Tells tiles up to the one that holds an address.
    fn tell_up_to(&mut self, address: u64, pages: &mut Pages, writer: &mut TileWriter<'_>) {
        while !self.stopped && self.tile_end() <= address && self.at < self.piece.end {
            let end = self.tile_end();
            if pages.tell(self.at..end, &self.tile, writer) {
                (self.at, self.tile) = (end, TilePages::default());
            } else {
                self.stopped = true;
            }
        }
    }

    /// Adds a region. False: there is no room for more.
    fn add(&mut self, region: &PageRegion, pages: &mut Pages, writer: &mut TileWriter<'_>) -> bool {
        // With more regions than its buffer of 512 holds, Linux 6.18 was seen to tell one of
        // them twice, the second time behind those that follow it.
        let mut start = region.start.max(self.at);
        let region_end = region.end.min(self.piece.end);
        while start < region_end {
            self.tell_up_to(start, pages, writer);
            if self.stopped {
                return false;
            }
            let end = self.tile_end().min(region_end);
            let first = start / PAGE % TILE_PAGES;
            let range = first..first + (end - start) / PAGE;
            for (word, bits) in self.tile.resident.iter_mut().enumerate() {
                *bits |= mask(word as u64, &range);
            }
            self.tile.huge |= region.categories & IS_HUGE != 0;
            start = end;
        }
        true
    }

    /// How far the scan came, all being told.
    fn finish(mut self, pages: &mut Pages, writer: &mut TileWriter<'_>) -> u64 {
        let end = self.piece.end;
        self.tell_up_to(end, pages, writer);
        self.at
    }
}

/// Hands the regions of a piece whose pages are in memory to `each`, until it says false.
fn scan_regions(
    fd: c_int,
    piece: &Range<u64>,
    regions: &mut [PageRegion],
    mut each: impl FnMut(&PageRegion) -> bool,
) -> Result<(), c_int> {
    let mut start = piece.start;
    while start < piece.end {
        let mut argument = ScanArgument {
            size: size_of::<ScanArgument>() as u64,
            flags: 0,
            start,
            end: piece.end,
            walk_end: 0,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            max_pages: 0,
            category_inverted: IS_ZERO,
            category_mask: IS_PRESENT | IS_ZERO,
            category_anyof_mask: 0,
            return_mask: IS_PRESENT | IS_HUGE,
        };
        // SAFETY: the kernel reads and writes the argument, and at most so many regions.
        let found = unsafe { sys::control(fd, PAGEMAP_SCAN, (&raw mut argument) as usize) }?;
        if !regions.iter().take(found).all(&mut each) || argument.walk_end <= start {
            return Ok(());
        }
        start = argument.walk_end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use fragtrace_format::pages::Tiles;
    use std::vec;
    use std::vec::Vec;

    /// Every third page of a mapping of 5 MiB is written to, and some are only read.
    fn with_memory(test: impl FnOnce(u64, &[bool])) {
        let pages = 1280;
        let mut bytes = vec![0u8; (pages + 512) * PAGE as usize];
        let start = (bytes.as_ptr() as usize).next_multiple_of(PAGE as usize);
        let offset = start - bytes.as_ptr() as usize;
        // SAFETY: whole pages of a buffer that is all zeros, before and behind.
        unsafe {
            libc::madvise(start as *mut _, pages * PAGE as usize, libc::MADV_NOHUGEPAGE);
            libc::madvise(start as *mut _, pages * PAGE as usize, libc::MADV_DONTNEED);
        }
        let resident: Vec<bool> = (0..pages).map(|page| page % 3 == 0 && page < 1100).collect();
        for (page, resident) in resident.iter().enumerate() {
            let at = offset + page * PAGE as usize;
            if *resident {
                bytes[at] = 1;
            } else if page % 3 == 1 {
                std::hint::black_box(std::hint::black_box(&bytes)[at]);
            }
        }
        test(start as u64, &resident);
    }

    #[test]
    fn the_kernel_tells_regions_without_the_zero_page() {
        with_memory(|start, resident| {
            let fd = sys::open(b"/proc/self/pagemap\0", libc::O_RDONLY, 0).expect("our own");
            let piece = start..start + resident.len() as u64 * PAGE;
            // Few regions a call, so that many calls are needed.
            let mut regions = [PageRegion::default(); 7];
            let mut found = vec![false; resident.len()];
            let result = scan_regions(fd, &piece, &mut regions, |region| {
                let pages = (region.start - start) / PAGE..(region.end - start) / PAGE;
                found[pages.start as usize..pages.end as usize].fill(true);
                true
            });
            sys::close(fd);
            match result {
                Ok(()) => assert_eq!(found, resident),
                // Before Linux 6.7.
                Err(error) => assert!([libc::ENOTTY, libc::EINVAL].contains(&error)),
            }
        });
    }

    /// Takes in what a scan told: pages in memory, by address.
    fn take_in(known: &mut std::collections::BTreeMap<u64, TilePages>, mut told: &[u8]) -> usize {
        let mut tiles = 0;
        while !told.is_empty() {
            let (scan, len) = record::decode::<Scan<'_>>(told).expect("a scan");
            let first = scan.start / TILE_BYTES;
            for (tile, pages) in Tiles::new(scan.tiles, first) {
                known.insert(tile, pages);
                tiles += 1;
            }
            told = &told[len..];
        }
        tiles
    }

    #[test]
    fn scans_tell_what_changed_and_no_more() {
        let in_range = |known: &std::collections::BTreeMap<u64, TilePages>, start: u64, count| {
            let resident = |page: u64| {
                let pages = known.get(&(page / TILE_PAGES)).copied().unwrap_or_default();
                pages.resident[(page % TILE_PAGES / 64) as usize] >> (page % 64) & 1 != 0
            };
            (0..count).map(|page| resident(start / PAGE + page)).collect::<Vec<bool>>()
        };
        let scan_all = |pages: &mut Pages, mapping: &Known| {
            let mut regions = [PageRegion::default(); 100];
            let (mut tiles, mut out) = (vec![0; 4096], vec![0; 4096]);
            let mut room = Room { regions: &mut regions, tiles: &mut tiles, out: &mut out };
            let mappings = [core::slice::from_ref(mapping), &[]];
            let (scans, bytes) = pages.scan(mappings, &mut room, u64::MAX);
            assert_eq!((scans, pages.cursor()), (1, 0), "the whole range was scanned");
            out.truncate(bytes);
            out
        };
        with_memory(|start, resident| {
            let count = resident.len() as u64;
            let mapping = Known::of(start..start + count * PAGE);
            let mut pages = Pages::NEW;
            let mut known = Default::default();
            assert!(take_in(&mut known, &scan_all(&mut pages, &mapping)) >= 3);
            if pages.source() == PageSource::Scan {
                assert_eq!(in_range(&known, start, count), resident);
            }
            assert_eq!(take_in(&mut known, &scan_all(&mut pages, &mapping)), 0, "nothing changed");
            // SAFETY: a page of the test's own buffer, which is zeroed by it.
            unsafe { libc::madvise(start as *mut _, PAGE as usize, libc::MADV_DONTNEED) };
            assert_eq!(take_in(&mut known, &scan_all(&mut pages, &mapping)), 1);
            assert!(!in_range(&known, start, count)[0]);
            pages.forget();
            let mut anew = Default::default();
            take_in(&mut anew, &scan_all(&mut pages, &mapping));
            assert_eq!(in_range(&anew, start, count), in_range(&known, start, count));
            // The older way tells the same, and pages that were only read as well.
            pages.forget();
            pages.source = PageSource::Pagemap;
            let mut older = Default::default();
            take_in(&mut older, &scan_all(&mut pages, &mapping));
            let older = in_range(&older, start, count);
            assert!((1..resident.len()).all(|page| older[page] >= resident[page]));
            assert!(!older[0] && !older[2]);
        });
    }

    #[test]
    fn a_mask_has_the_pages_of_its_word() {
        assert_eq!(mask(0, &(0..64)), u64::MAX);
        assert_eq!(mask(1, &(0..64)), 0);
        assert_eq!(mask(1, &(60..66)), 3);
        assert_eq!(mask(0, &(60..66)), 15 << 60);
    }
}
