//! Asking the kernel which pages are in memory: by PAGEMAP_SCAN, or, before Linux 6.7, by reading a
//! word a page.

use super::{PAGE, TILE_BYTES};
use crate::sys;
use core::ops::Range;
use fragtrace_format::pages::TILE_PAGES;
use libc::c_int;

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
pub(in crate::look) struct PageRegion {
    pub(super) start: u64,
    pub(super) end: u64,
    categories: u64,
}

impl PageRegion {
    pub(super) fn is_huge(&self) -> bool {
        self.categories & IS_HUGE != 0
    }
}

const PAGEMAP_SCAN: usize = 0xc060_6610;
const IS_PRESENT: u64 = 1 << 3;
const IS_ZERO: u64 = 1 << 5;
const IS_HUGE: u64 = 1 << 6;
/// Pages in memory after which the kernel comes back: some 60 µs. A range may have all of its
/// pages in memory, or none, which takes a thousandth of the time.
const MOST_PAGES: u64 = 4 * TILE_PAGES;
/// Bit of an entry of /proc/self/pagemap.
const PRESENT: u64 = 1 << 63;

/// Hands the first regions of a range whose pages are in memory to `each`. Up to where that is all.
///
/// # Errors
/// What the kernel says: ENOTTY or EINVAL where it does not know the call.
pub(super) fn scan(
    fd: c_int,
    range: &Range<u64>,
    regions: &mut [PageRegion],
    each: impl FnMut(&PageRegion),
) -> Result<u64, c_int> {
    let mut argument = ScanArgument {
        size: size_of::<ScanArgument>() as u64,
        flags: 0,
        start: range.start,
        end: range.end,
        walk_end: 0,
        vec: regions.as_mut_ptr() as u64,
        vec_len: regions.len() as u64,
        max_pages: MOST_PAGES,
        category_inverted: IS_ZERO,
        category_mask: IS_PRESENT | IS_ZERO,
        category_anyof_mask: 0,
        return_mask: IS_PRESENT | IS_HUGE,
    };
    // SAFETY: the kernel reads and writes the argument, and at most so many regions.
    let found = unsafe { sys::control(fd, PAGEMAP_SCAN, (&raw mut argument) as usize) }?;
    regions.iter().take(found).for_each(each);
    Ok(argument.walk_end)
}

/// The same of a range's first tile. The shared zero page is in memory here.
///
/// # Errors
/// What the kernel says.
pub(super) fn read(
    fd: c_int,
    range: &Range<u64>,
    mut each: impl FnMut(&PageRegion),
) -> Result<u64, c_int> {
    let end = (range.start / TILE_BYTES + 1).saturating_mul(TILE_BYTES).min(range.end);
    let mut words = [0; TILE_PAGES as usize];
    let words = &mut words[..((end - range.start) / PAGE) as usize];
    sys::read_words(fd, words, range.start / PAGE * 8)?;
    for (page, word) in words.iter().enumerate() {
        if word & PRESENT != 0 {
            let start = range.start + page as u64 * PAGE;
            each(&PageRegion { start, end: start + PAGE, categories: 0 });
        }
    }
    Ok(end)
}
