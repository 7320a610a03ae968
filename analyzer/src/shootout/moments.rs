//! When the kernel is asked about the driver: at the moments of the report's series, and at looks,
//! where the recorded program's own figures are known.

use crate::measure::{Analysis, State};
use crate::read::Trace;
use fragtrace_format::Stamp;

/// Looks that are compared with, at most.
const MOST_LOOKS: usize = 1000;

/// A moment of the trace, and what the recorded program had then.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Moment {
    /// Nanoseconds since the start.
    pub time_ns: u64,
    /// What was live.
    pub live_bytes: u64,
    /// The process's resident set without the tracer's, where a look was taken at this moment.
    pub rss_bytes: Option<u64>,
    /// What of the heap was in memory, as known then.
    pub heap_resident_bytes: Option<u64>,
    /// Resident set that is no heap: `None` where the heap was not scanned at this moment.
    pub other_bytes: Option<u64>,
    /// Its accessible heap.
    pub heap_mapped_bytes: Option<u64>,
    /// Its footprint.
    pub footprint_bytes: Option<u64>,
}

/// A moment that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Planned {
    pub stamp: Stamp,
    /// The look that was taken then.
    pub look: Option<usize>,
    /// Whether the kernel is to be asked.
    pub sampled: bool,
}

/// The moments of a trace, in order: all looks, and those of the series.
pub(super) fn plan(trace: &Trace, analysis: &Analysis) -> Vec<Planned> {
    let sample = |stamp| Planned { stamp, look: None, sampled: true };
    let stamp_of = |state: &State| trace.clock().stamp_at(state.time_ns);
    let mut planned: Vec<Planned> = analysis.series.iter().map(stamp_of).map(sample).collect();
    let from = trace.window_start();
    let since = trace.looks().iter().filter(|look| look.stamp >= from).count();
    let every = since.div_ceil(MOST_LOOKS).max(1);
    // Counted from the end, so that the last one is among them.
    planned.extend(trace.looks().iter().rev().enumerate().map(|(back, look)| Planned {
        stamp: look.stamp,
        look: Some(trace.looks().len() - 1 - back),
        sampled: look.stamp >= from && back % every == 0,
    }));
    planned.sort_unstable();
    planned.dedup();
    planned
}

/// How old residency may be to tell the heap's part of the resident set: the scans of a look may
/// be stamped a little before it.
const FRESH_NS: u64 = 1_000_000;

impl Moment {
    /// From the figures of the report.
    pub(super) fn of(state: &State, look: bool) -> Moment {
        let fresh = look && state.residency_age_ns.is_some_and(|age_ns| age_ns <= FRESH_NS);
        let other = state.rss_bytes.zip(state.heap_resident_bytes).filter(|_| fresh);
        Moment {
            time_ns: state.time_ns,
            live_bytes: state.live_bytes,
            rss_bytes: state.rss_bytes.filter(|_| look),
            heap_resident_bytes: state.heap_resident_bytes,
            other_bytes: other.map(|(rss, heap)| rss.saturating_sub(heap)),
            heap_mapped_bytes: state.heap_mapped_bytes,
            footprint_bytes: state.footprint_bytes,
        }
    }
}
