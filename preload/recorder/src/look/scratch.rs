//! The memory in which a look is put together.

use super::pages::PageRegion;
use crate::file;

/// The scratch memory, cut up for a look. The lock is held.
pub(super) struct Scratch {
    pub(super) text: &'static mut [u8],
    pub(super) regions: &'static mut [PageRegion],
    pub(super) tiles: &'static mut [u8],
    pub(super) out: &'static mut [u8],
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        const TEXT_BYTES: usize = 64 << 10;
        const REGIONS: usize = 512;
        const REGION_BYTES: usize = REGIONS * size_of::<PageRegion>();
        const TILE_BYTES: usize = 512 << 10;
        const TILES_AT: usize = TEXT_BYTES + REGION_BYTES;
        const OUT_AT: usize = TILES_AT + TILE_BYTES;
        let (start, bytes) = file::scratch();
        let part = |at: usize, bytes: usize| {
            // SAFETY: `file` mapped the scratch memory for good; the parts do not overlap, and
            // only the holder of LOCK makes them, once a look.
            unsafe { core::slice::from_raw_parts_mut((start + at) as *mut u8, bytes) }
        };
        // SAFETY: likewise; the part is aligned, and any bytes are regions.
        let regions = unsafe {
            core::slice::from_raw_parts_mut((start + TEXT_BYTES) as *mut PageRegion, REGIONS)
        };
        Scratch {
            text: part(0, TEXT_BYTES),
            regions,
            tiles: part(TILES_AT, TILE_BYTES),
            out: part(OUT_AT, bytes - OUT_AT),
        }
    }
}
