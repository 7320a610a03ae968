//! Which part of a large block the program has written to, as far as looks tell.
//!
//! A block is taken to be written as a whole, unless a scan of its pages finds some that are not
//! in memory: then so many pages as were found are written, from its start. More of them at a
//! later look are written then. Pages that other blocks have parts of say nothing.

use crate::read::Look;
use crate::replay::AddressSpace;
use fragtrace_shootout_driver::script::{TO_THE_END, TOUCH_UNIT};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// From this size on, a block has pages of its own: blocks below are written as a whole.
pub(super) const LARGE_BYTES: u64 = 2 * TOUCH_UNIT;

/// A block of which it is not known whether all of it was written.
#[derive(Debug, Clone, Copy)]
struct Open {
    address: u64,
    bytes: u64,
    /// Written before, in units.
    from: u32,
    /// Where in the script its written part is told; `None`: not written out yet.
    place: Option<u64>,
    /// Units that were found to be written.
    written: Option<u32>,
}

/// What a look tells of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// What the script says at this place is to be this part.
    Part { place: u64, from: u32, to: u32 },
    /// More of the block of this slot is written now.
    More { slot: u32, bytes: u64, from: u32, to: u32 },
}

/// The large blocks that are not known to be written as a whole.
#[derive(Debug, Default)]
pub(super) struct Touched {
    open: FxHashMap<u32, Open>,
}

impl Touched {
    /// A large block is there, at an address of the recorded program; `from`: the units of it that
    /// had been written before.
    pub fn begin(&mut self, slot: u32, address: u64, bytes: u64, from: u32) {
        self.open.insert(slot, Open { address, bytes, from, place: None, written: None });
    }

    /// Where the part of a step about a slot is told. The last one before the next look is that of the
    /// block that is in the slot then.
    pub fn placed(&mut self, slot: u32, place: u64) {
        if let Some(open) = self.open.get_mut(&slot) {
            open.place = Some(place);
        }
    }

    /// The block is gone.
    pub fn end(&mut self, slot: u32) {
        self.open.remove(&slot);
    }

    /// Takes in what a look found, in order of slots.
    pub fn look(&mut self, look: &Look, space: &AddressSpace) -> Vec<Finding> {
        let scanned = joined(look);
        let mut findings = Vec::new();
        let mut settled = Vec::new();
        for (slot, open) in &mut self.open {
            let own = own_units(open.address, open.bytes);
            if open.place.is_none() || !covers(&scanned, &own) {
                continue;
            }
            let mut found = 0;
            space.for_each_stretch(own.clone(), |stretch| {
                found += u64::from(stretch.resident) * stretch.bytes;
            });
            let whole = found >= own.end - own.start;
            let to = if whole { TO_THE_END } else { (found / TOUCH_UNIT) as u32 };
            match (open.place, open.written) {
                (Some(place), None) if !whole => {
                    findings.push(Finding::Part { place, from: open.from, to: to.max(open.from) });
                }
                (_, Some(before)) if to > before => {
                    findings.push(Finding::More {
                        slot: *slot,
                        bytes: open.bytes,
                        from: before,
                        to,
                    });
                }
                _ => {}
            }
            let written = open.written.unwrap_or(0).max(to).max(open.from);
            open.written = Some(written);
            if whole {
                settled.push(*slot);
            }
        }
        for slot in settled {
            self.open.remove(&slot);
        }
        findings.sort_unstable_by_key(|finding| match *finding {
            Finding::Part { place, .. } => (0, place),
            Finding::More { slot, .. } => (1, u64::from(slot)),
        });
        findings
    }
}

/// The pages that a block has for itself, as addresses.
fn own_units(address: u64, bytes: u64) -> Range<u64> {
    let start = address.next_multiple_of(TOUCH_UNIT);
    start..(address.saturating_add(bytes) & !(TOUCH_UNIT - 1)).max(start)
}

/// What a look has scanned, as ranges that do not touch, rising.
fn joined(look: &Look) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = look.scans.iter().map(|scan| scan.range.clone()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Whether a range lies in one of `ranges`, which rise.
fn covers(ranges: &[Range<u64>], wanted: &Range<u64>) -> bool {
    let behind = ranges.partition_point(|range| range.start <= wanted.start);
    behind.checked_sub(1).is_some_and(|last| ranges[last].end >= wanted.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_shared_with_others_are_not_the_blocks_own() {
        assert_eq!(own_units(0x1010, 0x3000), 0x2000..0x4000);
        assert_eq!(own_units(0x1000, 0x2000), 0x1000..0x3000);
        assert_eq!(own_units(0x1010, 0x100), 0x2000..0x2000);
    }

    #[test]
    fn only_a_scan_of_all_of_it_counts() {
        let ranges = [0x1000..0x5000, 0x8000..0x9000];
        assert!(covers(&ranges, &(0x2000..0x5000)));
        assert!(!covers(&ranges, &(0x4000..0x6000)));
        assert!(!covers(&ranges, &(0x0..0x1000)));
        assert!(covers(&ranges, &(0x8000..0x9000)));
    }
}
