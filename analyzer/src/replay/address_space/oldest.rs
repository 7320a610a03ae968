//! When the part of the heap was scanned of which that is longest ago.
//!
//! That is asked for at every new peak, and a heap that grows has one at every page. So it is
//! remembered, and only what became heap since, or is none any more, is looked at anew.

use super::region::{Change, Regions};
use super::residency::Residency;
use fragtrace_format::Stamp;

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
        for Change { range, added } in changes {
            let Some(stamp) = residency.oldest_scan(range) else { continue };
            if *added {
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
