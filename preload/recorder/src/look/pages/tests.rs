//! What scans tell against what the test itself did.

extern crate std;
use super::*;
use fragtrace_format::pages::{TilePages, Tiles};
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
        let mut at = piece.start;
        let result = loop {
            let reached = kernel::scan(fd, &(at..piece.end), &mut regions, |region| {
                let pages = (region.start - start) / PAGE..(region.end - start) / PAGE;
                found[pages.start as usize..pages.end as usize].fill(true);
            });
            match reached {
                Ok(reached) if reached < piece.end => at = reached,
                result => break result,
            }
        };
        sys::close(fd);
        match result {
            Ok(_) => assert_eq!(found, resident),
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

/// What was told is kept at one place: one test goes through all.
#[test]
fn scans_tell_what_changed_in_the_time_they_have() {
    let mut pages = Pages::NEW;
    what_changed_and_no_more(&mut pages);
    a_large_heap_behind_many_small_mappings(&mut pages);
}

fn what_changed_and_no_more(pages: &mut Pages) {
    let in_range = |known: &std::collections::BTreeMap<u64, TilePages>, start: u64, count| {
        let resident = |page: u64| {
            let pages = known.get(&(page / TILE_PAGES)).copied().unwrap_or_default();
            pages.resident[(page % TILE_PAGES / 64) as usize] >> (page % 64) & 1 != 0
        };
        (0..count).map(|page| resident(start / PAGE + page)).collect::<Vec<bool>>()
    };
    let scan_until = |deadline_ns, pages: &mut Pages, mapping: &Known| {
        let mut regions = [PageRegion::default(); 100];
        let (mut tiles, mut out) = (vec![0; 4096], vec![0; 4096]);
        let mut room = Room { regions: &mut regions, tiles: &mut tiles, out: &mut out };
        let mappings = [core::slice::from_ref(mapping), &[]];
        let (scans, bytes) = pages.scan(mappings, &mut room, deadline_ns);
        assert_eq!(scans, 1);
        out.truncate(bytes);
        out
    };
    let scan_all = |pages: &mut Pages, mapping: &Known| {
        let told = scan_until(u64::MAX, pages, mapping);
        assert_eq!(pages.cursor(), 0, "the whole range was scanned");
        told
    };
    with_memory(|start, resident| {
        let count = resident.len() as u64;
        let mapping = Known::of(start..start + count * PAGE);
        let mut known = Default::default();
        assert!(take_in(&mut known, &scan_all(pages, &mapping)) >= 3);
        if pages.source() == PageSource::Scan {
            assert_eq!(in_range(&known, start, count), resident);
        }
        assert_eq!(take_in(&mut known, &scan_all(pages, &mapping)), 0, "nothing changed");
        // SAFETY: a page of the test's own buffer, which is zeroed by it.
        unsafe { libc::madvise(start as *mut _, PAGE as usize, libc::MADV_DONTNEED) };
        assert_eq!(take_in(&mut known, &scan_all(pages, &mapping)), 1);
        assert!(!in_range(&known, start, count)[0]);
        pages.forget();
        let mut anew = Default::default();
        take_in(&mut anew, &scan_all(pages, &mapping));
        assert_eq!(in_range(&anew, start, count), in_range(&known, start, count));
        // A scan that has no time goes on by a tile at least, and all of them tell the same.
        pages.forget();
        let (mut in_pieces, mut scans) = (Default::default(), 0);
        while scans == 0 || pages.cursor() > 0 {
            take_in(&mut in_pieces, &scan_until(0, pages, &mapping));
            scans += 1;
        }
        assert!(scans > 1, "all at once");
        assert_eq!(in_range(&in_pieces, start, count), in_range(&known, start, count));
        // The older way tells the same, and pages that were only read as well.
        pages.forget();
        pages.source = PageSource::Pagemap;
        let mut older = Default::default();
        take_in(&mut older, &scan_all(pages, &mapping));
        let older = in_range(&older, start, count);
        assert!((1..resident.len()).all(|page| older[page] >= resident[page]));
        assert!(!older[0] && !older[2]);
    });
}

/// However quick all before it was, a scan whose time is over goes over little of a full heap.
fn a_large_heap_behind_many_small_mappings(pages: &mut Pages) {
    const BYTES: u64 = 32 << 20;
    let heap = vec![1u8; BYTES as usize];
    let start = (heap.as_ptr() as u64).next_multiple_of(PAGE);
    let small: Vec<Known> =
        (0..100).map(|at| Known::of(start + at * PAGE..start + (at + 1) * PAGE)).collect();
    let large = Known::of(start..start + BYTES - PAGE);
    let mut regions = [PageRegion::default(); 512];
    let (mut tiles, mut out) = (vec![0; 8192], vec![0; 65536]);
    let mut room = Room { regions: &mut regions, tiles: &mut tiles, out: &mut out };
    for _ in 0..10 {
        let (scans, _) = pages.scan([small.as_slice(), &[]], &mut room, u64::MAX);
        assert_eq!((scans, pages.cursor()), (100, 0), "the list was scanned");
    }
    pages.scan([core::slice::from_ref(&large), &[]], &mut room, 0);
    let scanned = pages.cursor().checked_sub(start);
    assert!(scanned.is_some_and(|bytes| bytes > 0 && bytes < BYTES / 2), "{scanned:?} bytes");
}
