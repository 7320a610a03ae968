//! Since when there has been nothing in a hole: one more pass over the events, in which the
//! releases on the holes that are known by then are noted.

use super::playback::before_each_event;
use crate::order::Action;
use crate::read::Trace;
use fragtrace_format::Stamp;
use std::collections::BTreeMap;
use std::ops::Range;

/// When the last block on each of these ranges was released, up to a moment. None overlap.
/// `None`: no release is on record.
pub(super) fn last_releases(
    trace: &Trace,
    at_ns: u64,
    ranges: &[Range<u64>],
) -> Vec<Option<Stamp>> {
    let by_end: BTreeMap<u64, usize> =
        ranges.iter().enumerate().map(|(index, range)| (range.end, index)).collect();
    let mut last = vec![None; ranges.len()];
    let stop = trace.clock().stamp_at(at_ns);
    before_each_event(trace, |event, matching| {
        if event.stamp > stop {
            return;
        }
        let Action::Release { address, .. } = event.action else { return };
        let Some(block) = matching.blocks().get(address) else { return };
        for (_, index) in by_end.range(block.extent.start + 1..) {
            if ranges[*index].start >= block.extent.end {
                break;
            }
            last[*index] = last[*index].max(Some(event.stamp));
        }
    });
    last
}
