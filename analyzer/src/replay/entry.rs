//! A live block as it is kept: 32 bytes, two in a cache line.

use super::address_space::GRANULE_BYTES;
use super::block::Block;
use fragtrace_format::Stamp;

/// A block and its address. Its extent reaches from `before` bytes in front of the block to
/// its last usable byte, or what was asked for if that is not known, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Entry {
    pub address: u64,
    birth: Stamp,
    size: u32,
    thread: u32,
    stack: u32,
    /// From the lowest bit: whether the extent is a [mapping](OWN_MAPPING) of its own; the bytes
    /// before the block; usable bytes beyond the size, or [`SLOP_UNKNOWN`].
    shape: u32,
}

const OWN_MAPPING: u32 = 1;
const BEFORE_SHIFT: u32 = 1;
const BEFORE_BITS: u32 = 5;
const SLOP_SHIFT: u32 = BEFORE_SHIFT + BEFORE_BITS;
const SLOP_UNKNOWN: u32 = u32::MAX >> SLOP_SHIFT;
/// The block is kept apart: no other has an unknown slop and a mapping of its own.
const APART: u32 = u32::MAX;
/// No block begins at the last byte there is.
const NOWHERE: u64 = u64::MAX;

impl Entry {
    /// No block.
    pub const NONE: Entry =
        Entry { address: NOWHERE, birth: 0, size: 0, thread: 0, stack: 0, shape: APART };

    /// Whether there is a block.
    #[inline]
    pub fn is_some(&self) -> bool {
        self.address != NOWHERE
    }

    /// Whether the block is kept apart.
    #[inline]
    pub fn is_apart(&self) -> bool {
        self.shape == APART
    }

    /// Its size, unless it is kept apart.
    #[inline]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Whether it is a block in a heap, and not kept apart.
    #[inline]
    pub fn is_in_heap(&self) -> bool {
        self.shape & OWN_MAPPING == 0
    }

    /// Where the extent begins and ends of a block that is not kept apart.
    #[inline(always)]
    pub fn extent(&self) -> (u64, u64) {
        let slop = self.shape >> SLOP_SHIFT;
        let slop = if slop == SLOP_UNKNOWN { 0 } else { slop };
        let end = end_of(self.address, u64::from(self.size) + u64::from(slop));
        (self.address.wrapping_sub(self.bytes_before()), end)
    }

    /// Usable bytes of a block that is not kept apart, and those of its extent that are not; `None`: it is
    /// not known which are.
    #[inline(always)]
    pub fn usable_and_overhead(&self) -> Option<(u64, u64)> {
        let slop = self.shape >> SLOP_SHIFT;
        let usable = u64::from(self.size) + u64::from(slop);
        let behind = self.address.wrapping_add(usable).wrapping_neg() % GRANULE_BYTES;
        (slop != SLOP_UNKNOWN).then_some((usable, self.bytes_before() + behind))
    }

    #[inline(always)]
    fn bytes_before(&self) -> u64 {
        u64::from(self.shape >> BEFORE_SHIFT & ((1 << BEFORE_BITS) - 1))
    }

    /// A block in little, or a sign that it must be kept apart.
    #[inline]
    pub fn pack(address: u64, block: &Block) -> Entry {
        let Block { size, usable, birth, thread, stack, own_mapping, .. } = *block;
        let slop = match usable {
            Some(usable) => usable.wrapping_sub(size),
            None => SLOP_UNKNOWN.into(),
        };
        let before = address.wrapping_sub(block.extent.start);
        let shape =
            u32::from(own_mapping) | (before as u32) << BEFORE_SHIFT | (slop as u32) << SLOP_SHIFT;
        let comes_back = size <= u64::from(u32::MAX)
            && slop < u64::from(SLOP_UNKNOWN) + u64::from(usable.is_none())
            && before < 1 << BEFORE_BITS
            && block.extent.end == end_of(address, usable.unwrap_or(size));
        let shape = if comes_back { shape } else { APART };
        Entry { address, birth, size: size as u32, thread, stack, shape }
    }

    /// A block that begins `before` bytes behind its extent's start, less than 32, and of which as many
    /// bytes as it says are usable beyond its size, less than 64 KiB. All are whole granules.
    #[inline]
    pub fn in_heap(
        address: u64,
        (birth, thread, stack): (Stamp, u32, u32),
        (size, slop, before): (u32, u32, u32),
    ) -> Entry {
        let shape = before << BEFORE_SHIFT | slop << SLOP_SHIFT;
        Entry { address, birth, size, thread, stack, shape }
    }

    /// The block, if it is not kept apart.
    #[inline]
    pub fn unpack(&self) -> Block {
        let size = u64::from(self.size);
        let slop = self.shape >> SLOP_SHIFT;
        let usable = (slop != SLOP_UNKNOWN).then(|| size + u64::from(slop));
        let end = end_of(self.address, usable.unwrap_or(size));
        Block {
            size,
            usable,
            extent: self.address.wrapping_sub(self.bytes_before())..end,
            birth: self.birth,
            thread: self.thread,
            stack: self.stack,
            own_mapping: self.shape & OWN_MAPPING != 0,
        }
    }
}

/// Where the extent of a block with so many bytes ends.
#[inline]
fn end_of(address: u64, bytes: u64) -> u64 {
    address.wrapping_add(bytes).wrapping_add(GRANULE_BYTES - 1) & !(GRANULE_BYTES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_entries_fill_a_cache_line() {
        assert_eq!((size_of::<Entry>(), align_of::<Entry>()), (32, 32));
    }

    #[test]
    fn usual_blocks_are_not_kept_apart() {
        let (size, usable) = (100, Some(104));
        let (birth, thread, stack) = (1, 2, 3);
        let extent = 0x1008..0x1078;
        let block = Block { size, usable, extent, birth, thread, stack, own_mapping: false };
        let comes_back = |address: u64, block: &Block| {
            let entry = Entry::pack(address, block);
            !entry.is_apart() && entry.unpack() == *block
        };
        assert!(comes_back(0x1010, &block));
        let (size, usable, extent) = (1 << 31, Some((1 << 31) + 0xff0), 0x8000..0x8000_9000);
        let mapped = Block { size, usable, extent, own_mapping: true, ..block.clone() };
        assert!(comes_back(0x8010, &mapped));
        assert!(comes_back(
            0x2000,
            &Block { usable: None, extent: 0x2000..0x2068, ..block.clone() }
        ));
        assert!(!comes_back(0x9010, &mapped), "far into its mapping");
    }
}
