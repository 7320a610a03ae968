//! When the part of the heap was scanned of which that is longest ago.
//!
//! That is asked for at every new peak, and a heap that grows has one at every page. So it is
//! remembered, and only what became heap since, or is none any more, is looked at anew.

use super::region::{Change, Regions};
use super::residency::Residency;
use fragtrace_format::Stamp;
use std::ops::Range;

/// The oldest scan, as it was found last.
#[derive(Debug, Clone, Default)]
pub(super) struct OldestScan {
    oldest: Option<Stamp>,
    /// Version of the scans it was found in; 0: none was looked at.
    version: u64,
}

impl OldestScan {
    /// The oldest scan of all heap.
    pub fn find(&mut self, regions: &mut Regions, residency: &Residency) -> Option<Stamp> {
        let changes = regions.take_changes();
        let known = self.version == residency.version();
        let followed = known && changes.is_some_and(|changes| self.follow(&changes, residency));
        if !followed {
            self.oldest = oldest_of_all(regions, residency);
            self.version = residency.version();
        }
        self.oldest
    }

    /// Takes changes of the heap in. False: what was oldest may be gone.
    fn follow(&mut self, changes: &[Change], residency: &Residency) -> bool {
        for (range, added) in net(changes) {
            let Some(stamp) = residency.oldest_scan(&range) else { continue };
            if added {
                self.oldest = Some(self.oldest.map_or(stamp, |oldest| oldest.min(stamp)));
            } else if self.oldest.is_none_or(|oldest| stamp <= oldest) {
                return false;
            }
        }
        true
    }
}

/// The same, without anything remembered.
pub(super) fn oldest_of_all(regions: &Regions, residency: &Residency) -> Option<Stamp> {
    let heap = regions.iter().filter(|(_, region)| region.kind.is_heap());
    heap.filter_map(|(start, region)| residency.oldest_scan(&(start..region.end))).min()
}

/// What changes come to: ranges that are heap now and were not, and those that were. Regions do
/// not overlap, so at each address heap comes and goes in turn.
fn net(changes: &[Change]) -> Vec<(Range<u64>, bool)> {
    let sign = |added: bool| if added { 1 } else { -1 };
    let mut steps: Vec<(u64, i32)> = changes
        .iter()
        .flat_map(|Change { range, added }| {
            [(range.start, sign(*added)), (range.end, -sign(*added))]
        })
        .collect();
    steps.sort_unstable();
    let mut ranges = Vec::new();
    let (mut sum, mut from) = (0, 0);
    for (at, step) in steps {
        if sum != 0 && from < at {
            ranges.push((from..at, sum > 0));
        }
        (sum, from) = (sum + step, at);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_and_is_there_again_is_no_change() {
        let change = |range, added| Change { range, added };
        assert_eq!(net(&[change(10..20, false), change(10..30, true)]), [(20..30, true)]);
        assert_eq!(net(&[change(10..30, false), change(10..20, true)]), [(20..30, false)]);
        assert_eq!(net(&[change(10..30, true), change(10..30, false)]), []);
        assert_eq!(
            net(&[change(0..10, false), change(0..4, true), change(6..12, true)]),
            [(4..6, false), (10..12, true)]
        );
    }
}
