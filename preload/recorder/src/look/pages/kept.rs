//! Tiles as they were told last, so that only those that changed are told again: 72 bytes for each
//! 2 MiB of address space that ever had pages in memory.

use super::tiling::mask;
use super::{PAGE, TILE_BYTES};
use crate::file::{self, Private};
use crate::sys;
use core::ops::Range;
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};

/// Tiles that can be kept: 8 TiB of heap.
const SLOTS: usize = 1 << 22;
const TABLE_BYTES: usize = SLOTS * size_of::<Slot>();
const MAX_PROBES: usize = 64;

/// A tile as it was told last. All zero: free.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    /// Number of the tile, and bits: 1 taken, 2 huge pages.
    key: u64,
    resident: [u64; 8],
}

/// The table of them.
pub(super) struct Kept {
    begun: bool,
    taken: u64,
}

impl Kept {
    pub(super) const NEW: Kept = Kept { begun: false, taken: 0 };

    /// Makes the table. False: there is no memory.
    pub(super) fn begin(&mut self) -> bool {
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
        (self.taken * size_of::<Slot>() as u64).next_multiple_of(PAGE)
    }

    /// Whether the page at an address was told to be in memory.
    pub(super) fn has(&mut self, address: u64) -> bool {
        let (tile, page) = (address / TILE_BYTES, address / PAGE % TILE_PAGES);
        let slot = if self.begun { self.slot(tile) } else { None };
        slot.is_some_and(|slot| {
            slot.key >> 2 == tile && slot.resident[page as usize / 64] >> (page % 64) & 1 != 0
        })
    }

    /// No tile was told.
    pub(super) fn forget(&mut self) {
        if self.taken > 0 {
            let start = file::private_start(Private::Pages);
            // Private memory reads as zeros afterwards.
            let _ = sys::advise(start, TABLE_BYTES, libc::MADV_DONTNEED);
            self.taken = 0;
        }
    }

    /// Tells a tile's pages in a range, if they changed. False: there is no room.
    pub(super) fn tell(
        &mut self,
        range: Range<u64>,
        found: &TilePages,
        writer: &mut TileWriter<'_>,
    ) -> bool {
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
        self.taken += u64::from(slot.key == 0);
        *slot = Slot { key: tile << 2 | u64::from(now.huge) << 1 | 1, resident: now.resident };
        true
    }
}
