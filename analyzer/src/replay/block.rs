//! Blocks, and where the allocator puts them.

use super::entry::Entry;
use crate::allocators::glibc;
use crate::order::Note;
use crate::read::Classes;
use crate::replay::address_space::{GRANULE_BYTES, MAX_ADDRESS};
use fragtrace_format::Stamp;
use fragtrace_format::record::UsableRule;
use std::ops::Range;

/// A live block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What the program asked for, in bytes.
    pub size: u64,
    /// Bytes that the program may use; `None` = not known.
    pub usable: Option<u64>,
    /// The addresses that it takes from others: with its header, and slop at its end.
    pub extent: Range<u64>,
    /// When it was acquired.
    pub birth: Stamp,
    /// The thread that acquired it, by index.
    pub thread: u32,
    /// Its call stack, 0 = not known.
    pub stack: u32,
    /// Whether the extent is a mapping that goes when the block goes.
    pub own_mapping: bool,
}

impl Block {
    /// Bytes of the extent that the program cannot use: the allocator's header.
    pub fn overhead_bytes(&self) -> u64 {
        let bytes = self.extent.end - self.extent.start;
        self.usable.map_or(0, |usable| bytes.saturating_sub(usable))
    }
}

/// How blocks of one allocator lie in memory.
#[derive(Debug, Clone)]
pub struct Layout {
    rule: UsableRule,
    page_bytes: u64,
    classes: Classes,
}

/// What a layout makes of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub usable: Option<u64>,
    pub extent: Range<u64>,
    pub own_mapping: bool,
}

impl Layout {
    /// The layout of an allocator by its rule.
    pub fn new(rule: UsableRule, page_bytes: u64, classes: Classes) -> Layout {
        Layout { rule, page_bytes, classes }
    }

    /// Whether usable sizes, headers and heaps are those of glibc.
    pub fn is_glibc(&self) -> bool {
        self.rule == UsableRule::Glibc
    }

    /// Whether it is known where blocks end: by the rule of their sizes, or as each was asked.
    pub fn knows_extents(&self) -> bool {
        self.rule != UsableRule::Unknown
    }

    /// Where a block lies. Never beyond [`MAX_ADDRESS`]: what damage puts there is empty.
    #[inline]
    pub fn place(&self, address: u64, size: u64, align_log2: u8, note: Option<&Note>) -> Place {
        if self.rule == UsableRule::Glibc && note.is_none() {
            // The short way: a plain block in a heap.
            let usable = glibc_usable(size);
            let start = address.wrapping_sub(glibc::HEADER_BYTES);
            let extent = start..start.wrapping_add(usable + glibc::HEADER_BYTES);
            return Place { usable: Some(usable), extent: sound(extent), own_mapping: false };
        }
        self.place_with_note(address, size, align_log2, note)
    }

    /// A plain block in a heap of glibc, as it is kept. `None`: it is none, or not known to be.
    #[inline]
    pub(super) fn entry(&self, address: u64, size: u32, who: (Stamp, u32, u32)) -> Option<Entry> {
        /// So far from the end of the address space that each block ends before that.
        const LAST: u64 = MAX_ADDRESS - (1 << 33);
        const HEADER: u32 = glibc::HEADER_BYTES as u32;
        let is_sound = address.is_multiple_of(GRANULE_BYTES) && (4096..LAST).contains(&address);
        (is_sound && self.is_glibc()).then(|| {
            let slop = glibc::usable(size.into()) - u64::from(size);
            Entry::in_heap(address, who, (size, slop as u32, HEADER))
        })
    }

    fn place_with_note(
        &self,
        address: u64,
        size: u64,
        align_log2: u8,
        note: Option<&Note>,
    ) -> Place {
        let said = note.and_then(|note| note.usable).filter(|usable| *usable < MAX_ADDRESS);
        let usable = match self.rule {
            UsableRule::Glibc => Some(said.unwrap_or_else(|| glibc_usable(size))),
            UsableRule::ByClass if align_log2 == 0 => said.or_else(|| self.classes.usable(size)),
            UsableRule::ByClass | UsableRule::Unknown => said,
        };
        if let Some(offset) = note.and_then(|note| note.mapped_offset) {
            let end = address.saturating_add(usable.unwrap_or(size));
            let page = self.page_bytes;
            let start = address.saturating_sub(offset) & !(page - 1);
            let end = end.min(MAX_ADDRESS).next_multiple_of(page);
            return Place { usable, extent: sound(start..end), own_mapping: true };
        }
        // A block of another allocator, or in a pool, has no header of glibc's.
        let of_glibc = self.rule == UsableRule::Glibc && note.is_none_or(|note| note.pool == 0);
        let extent = match usable {
            Some(usable) if of_glibc => {
                let start = address.wrapping_sub(glibc::HEADER_BYTES);
                start..start.saturating_add(usable + glibc::HEADER_BYTES)
            }
            _ => {
                let bytes = usable.unwrap_or(size).min(MAX_ADDRESS);
                address..address.saturating_add(bytes.next_multiple_of(GRANULE_BYTES))
            }
        };
        Place { usable, extent: sound(extent), own_mapping: false }
    }
}

/// What no process can have is as much as any can.
#[inline]
fn glibc_usable(size: u64) -> u64 {
    glibc::usable(size.min(MAX_ADDRESS))
}

/// An extent as the simulator takes it: whole granules, below the end of the address space.
#[inline]
fn sound(extent: Range<u64>) -> Range<u64> {
    let start = extent.start & !(GRANULE_BYTES - 1);
    if extent.end >= MAX_ADDRESS || start >= extent.end { 0..0 } else { start..extent.end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fragtrace_format::classes::Learnt;
    use fragtrace_format::event::WRAPPED;

    #[test]
    fn chunks_of_glibc_adjoin() {
        let layout = Layout::new(UsableRule::Glibc, 4096, Classes::default());
        let one = layout.place(0x1010, 24, 0, None);
        let next = layout.place(0x1030, 100, 0, None);
        assert_eq!(one.extent, 0x1008..0x1028);
        assert_eq!(next.extent, 0x1028..0x1098);
    }

    #[test]
    fn the_short_way_leads_to_the_same_block() {
        let layout = Layout::new(UsableRule::Glibc, 4096, Classes::default());
        for address in [0u64, 8, 4096, 0x5000, 0x5004, 0x7fff_ffff_f010, MAX_ADDRESS - 16] {
            for size in [0u32, 1, 24, 25, 40, 41, 4095, 1 << 20, u32::MAX - 7, u32::MAX] {
                let Place { usable, extent, own_mapping } =
                    layout.place(address, size.into(), 0, None);
                let size64 = size.into();
                let (birth, thread, stack) = (7, 8, 9);
                let block =
                    Block { size: size64, usable, extent, birth, thread, stack, own_mapping };
                if let Some(entry) = layout.entry(address, size, (birth, thread, stack)) {
                    assert_eq!(entry, Entry::pack(address, &block));
                    assert_eq!(entry.unpack(), block);
                } else {
                    assert!(address < 4096 || address % 8 != 0 || address > 1 << 56);
                }
            }
        }
    }

    #[test]
    fn a_block_that_a_wrapper_told_of_has_no_header() {
        let layout = Layout::new(UsableRule::Glibc, 4096, Classes::default());
        let note = Note { usable: Some(100), mapped_offset: None, pool: WRAPPED };
        let place = layout.place(0x5000, 100, 0, Some(&note));
        assert_eq!((place.extent, place.usable), (0x5000..0x5068, Some(100)));
    }

    #[test]
    fn a_block_with_its_own_mapping_takes_all_of_it() {
        let layout = Layout::new(UsableRule::Glibc, 4096, Classes::default());
        let note = Note { usable: Some(200_688), mapped_offset: Some(16), pool: 0 };
        let place = layout.place(0x7f00_0000_0010, 200_000, 0, Some(&note));
        assert_eq!(place.extent, 0x7f00_0000_0000..0x7f00_0003_1000);
        assert!(place.own_mapping);
    }

    #[test]
    fn a_class_is_known_but_not_of_aligned_blocks() {
        let mut classes = Classes::default();
        classes.learn(Learnt::Class { size: 100, usable: 112 });
        let layout = Layout::new(UsableRule::ByClass, 4096, classes);
        assert_eq!(layout.place(0x2000, 100, 0, None).usable, Some(112));
        assert_eq!(layout.place(0x3000, 100, 12, None).usable, None);
        let note = Note { usable: Some(128), mapped_offset: None, pool: 0 };
        assert_eq!(layout.place(0x3000, 100, 12, Some(&note)).usable, Some(128));
        assert_eq!(layout.place(0x2000, 100, 0, Some(&note)).usable, Some(128));
    }

    #[test]
    fn what_no_process_can_have_is_empty() {
        for rule in [UsableRule::Glibc, UsableRule::Unknown] {
            let layout = Layout::new(rule, 4096, Classes::default());
            for (address, size) in [(0, u64::MAX), (u64::MAX, 1), (1 << 57, 8), (8, u64::MAX)] {
                assert_eq!(layout.place(address, size, 0, None).extent, 0..0);
            }
        }
    }
}
