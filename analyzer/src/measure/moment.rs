//! One moment: its [`State`], and how moments are named.

use super::analyze::peak_time_ns;
use super::{AllocatorSays, State};
use crate::read::{Clock, Trace};
use crate::replay::{Heap, TILE_BYTES};
use thiserror::Error;

/// A moment as a user names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TimeSpec {
    /// Nanoseconds since the start.
    Nanoseconds(u64),
    /// Percent of the recorded time.
    Percent(f64),
    /// When most was live.
    Peak,
    /// The end of the trace.
    End,
    /// Nanoseconds since 1970.
    Unix(u64),
}

/// Why a moment is none of this trace.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MomentError {
    /// It lies outside the recorded time.
    #[error(
        "that moment is not in the trace, which goes from {} to {:.3} s after its start\n\
         name one in between, or `peak`, `end`, `50%`",
        if *start_ns == 0 { "0".to_owned() } else { format!("{:.3} s", *start_ns as f64 / 1e9) },
        *end_ns as f64 / 1e9
    )]
    Outside {
        /// Nanoseconds from the start of the recording to the first event that is kept.
        start_ns: u64,
        /// Nanoseconds from the start to the end of the trace.
        end_ns: u64,
    },
}

/// Nanoseconds since the start of the moment that `spec` names.
///
/// # Errors
/// [`MomentError::Outside`]: nothing is on record of that moment.
pub fn resolve_time(trace: &Trace, spec: TimeSpec) -> Result<u64, MomentError> {
    let (start_ns, end_ns) = (start_ns(trace), end_ns(trace));
    let time_ns = match spec {
        TimeSpec::Nanoseconds(time_ns) => Some(time_ns),
        TimeSpec::Percent(percent) => {
            Some(start_ns + ((end_ns - start_ns) as f64 * percent / 100.0) as u64)
        }
        TimeSpec::Peak => Some(peak_time_ns(trace)),
        TimeSpec::End => Some(end_ns),
        TimeSpec::Unix(unix_ns) => unix_ns.checked_sub(trace.clock().start_unix_ns()),
    };
    time_ns
        .filter(|time_ns| (start_ns..=end_ns).contains(time_ns))
        .ok_or(MomentError::Outside { start_ns, end_ns })
}

/// From the start of the recording to the moment from which on events are kept.
pub(super) fn start_ns(trace: &Trace) -> u64 {
    trace.clock().time_ns(trace.window_start())
}

/// From the start of the recording to the last thing on record.
pub(super) fn end_ns(trace: &Trace) -> u64 {
    trace.clock().time_ns(trace.last_stamp())
}

/// All figures of the heap as it is now.
pub(crate) fn state(heap: &mut Heap<'_>, clock: &Clock, time_ns: u64) -> State {
    let (look, summed) = (heap.last_look(), heap.last_summed_look());
    let (live, cross_thread_frees) = (*heap.live(), heap.cross_thread_frees());
    let view = heap.allocator_view();
    // What other allocators keep for themselves is not known: it counts as free.
    let (extents_known, headers_known) = (heap.knows_extents(), heap.is_glibc());
    let any_hole_serves = heap.any_hole_serves();
    let space = heap.space_mut();
    let gaps = space.gaps();
    let free_bytes = extents_known.then(|| space.free_bytes());
    let growth = space.growth_despite_fit();
    let drift = *space.drift();
    let (heap_resident_bytes, oldest_scan) = space.residency_now().unzip();
    let fullness = if oldest_scan.is_some() { space.fullness() } else { None };
    let sum = |parts: &[Option<u64>]| parts.iter().copied().sum::<Option<u64>>();
    let region_count = look.and_then(|look| look.mapping_count);
    let tracer_resident_bytes = look.map(|look| look.tracer_resident);
    State {
        time_ns,
        live_bytes: live.bytes,
        live_blocks: live.blocks,
        usable_bytes: live.usable_bytes(),
        heap_reserved_bytes: Some(space.reserved_bytes()),
        heap_mapped_bytes: Some(space.mapped_bytes()),
        footprint_bytes: Some(space.footprint_bytes()),
        heap_resident_bytes,
        residency_age_ns: oldest_scan.map(|stamp| time_ns.saturating_sub(clock.time_ns(stamp))),
        rss_bytes: look.and_then(|look| {
            let all = sum(&[look.rss_anon, look.rss_file, look.rss_shmem])?;
            Some(all.saturating_sub(look.tracer_resident))
        }),
        tracer_resident_bytes,
        swapped_bytes: look.and_then(|look| look.swapped),
        lazyfree_bytes: summed.and_then(|look| look.lazyfree),
        huge_bytes: summed.and_then(|look| look.anon_huge),
        smaps_age_ns: summed.map(|look| time_ns.saturating_sub(clock.time_ns(look.stamp))),
        metadata_bytes: headers_known.then(|| live.overhead_bytes + space.head_bytes()),
        releasable_bytes: fullness.map(|fullness| fullness.empty_tiles * TILE_BYTES),
        free_bytes,
        hole_count: extents_known.then_some(gaps.count),
        largest_hole_bytes: extents_known.then_some(gaps.largest),
        external_index_ratio: free_bytes
            .filter(|free_bytes| *free_bytes > 0)
            .map(|free_bytes| 1.0 - gaps.largest as f64 / free_bytes as f64),
        fragmentation_ratio: heap_resident_bytes
            .filter(|_| live.bytes > 0)
            .map(|resident| (resident as f64 - live.bytes as f64) / live.bytes as f64),
        pinned_waste_bytes: fullness.map(|fullness| fullness.waste_bytes),
        page_live_histogram: fullness.map(|fullness| fullness.tiles),
        high_water_bytes: Some(space.high_water_bytes()),
        growth_despite_fit_bytes: any_hole_serves.then_some(growth.bytes),
        growth_despite_fit_count: any_hole_serves.then_some(growth.count),
        cross_thread_frees,
        arena_count: space.arena_count(),
        region_count: region_count.map(|(count, _)| count),
        region_count_age_ns: region_count
            .map(|(_, oldest)| time_ns.saturating_sub(clock.time_ns(oldest))),
        look_age_ns: look.map(|look| time_ns.saturating_sub(clock.time_ns(look.stamp))),
        drift_bytes: (drift.looks > 0).then_some(drift.last_bytes),
        allocator_view: view.map(|view| AllocatorSays {
            age_ns: time_ns.saturating_sub(clock.time_ns(view.stamp)),
            figures: view.clone(),
        }),
    }
}
