//! The whole trace in numbers: counts, the peaks, the end, and the course between.
//!
//! One pass, in which the heap is evaluated at evenly spread moments and at the peaks. Little is evaluated
//! anew each time, as sums are kept up to date.

use super::moment::{self, end_ns, start_ns};
use super::peaks::{Peak, Peaks};
use super::playback::{Section, Until, Watch, WithBlocks, play};
use super::teardown::late_from_ns;
use super::trace_facts::facts;
use super::{Analysis, Latency, State, TraceFacts};
use crate::order::Told;
use crate::read::Trace;
use crate::replay::{Change, Changes, Heap, Replay};
use fragtrace_format::Stamp;
use std::num::NonZero;
use std::ops::Range;

/// Moments of the series, but for the two peaks.
pub(super) const SAMPLES: u64 = 1000;
/// Between two moments lies at least this time: stamps are hardly finer.
const LEAST_STEP_NS: u64 = 1000;

/// What was measured on the way, up to some moment.
#[derive(Debug, Clone)]
struct Course<'t> {
    trace: &'t Trace,
    /// The moments of the series.
    times_ns: Vec<u64>,
    series: Vec<State>,
    peaks: Peaks,
}

impl<'t> Course<'t> {
    fn new(trace: &'t Trace) -> Course<'t> {
        let times_ns = sample_times(start_ns(trace), end_ns(trace));
        let series = Vec::with_capacity(times_ns.len() + 3);
        let peaks = Peaks::new(trace.window_start());
        Course { trace, times_ns, series, peaks }
    }

    /// The measures, with the heap as it is at the end or at another moment.
    fn finish(self, replay: &mut Replay<'t>, told: &Told, end_ns: u64) -> Analysis {
        let Course { trace, mut series, mut peaks, .. } = self;
        peaks.watch_footprint(trace, trace.clock().stamp_at(end_ns), &mut replay.heap);
        let end = moment::state(&mut replay.heap, trace.clock(), end_ns);
        let steps = peaks.take_steps(trace, &replay.heap);
        // Without any event the heap is the same throughout.
        let peak_events = peaks.live.state.is_some().then_some(peaks.live.events);
        let peak = peaks.live.state.unwrap_or_else(|| end.clone());
        let peak_footprint = peaks.footprint.state.unwrap_or_else(|| end.clone());
        series.extend([peak.clone(), peak_footprint.clone(), end.clone()]);
        series.sort_by_key(|state: &State| state.time_ns);
        series.dedup();
        let mut damage = trace.damage().to_vec();
        damage.extend(told.damage.iter().cloned());
        let latency = Latency::of(trace, replay.timed_calls());
        let trace = TraceFacts { duration_ns: end_ns, ..facts(trace, replay, told) };
        Analysis { trace, peak, peak_events, peak_footprint, end, series, latency, steps, damage }
    }
}

/// An analysis as it was before the last part of the trace: what came then can be measured as if it
/// had ended earlier, without all that went before.
#[derive(Debug)]
pub struct Checkpoint<'t> {
    course: Course<'t>,
    replay: Replay<'t>,
    /// The number of its moment.
    stop: usize,
}

/// With more blocks than this, a copy takes too much memory: 100 MB.
const MOST_COPIED_BLOCKS: u64 = 1 << 20;

/// Whoever sees the heap too at the moments of the series that are evenly spread.
pub(super) trait Observe<'t> {
    /// Sees it at one of them, with its time.
    fn heap(&mut self, _time_ns: u64, _heap: &Heap<'t>) {}
    /// Sees what happens to blocks, some events at a time; before it sees the blocks, all that did.
    fn changes(&mut self, _changes: &Changes) {}
    /// The same with the blocks, if they are to be seen; with the number of the moment.
    fn blocks(&mut self, _number: usize, _time_ns: u64, _replay: &Replay<'t>) {}
}

/// Nobody.
impl Observe<'_> for () {}

/// An analysis under way.
struct Pass<'t, O> {
    course: Course<'t>,
    observer: O,
    /// The moment to be copied.
    copied: Option<usize>,
    checkpoint: Option<Checkpoint<'t>>,
}

impl<'t, O: Observe<'t>> Watch<'t> for Pass<'t, O> {
    #[inline]
    fn before(&mut self, ahead: &[Change], heap: &mut Heap<'t>) {
        self.course.peaks.watch(self.course.trace, ahead, heap);
    }

    fn calm(&self, heap: &Heap<'t>) -> Range<u64> {
        self.course.peaks.calm_with(heap)
    }

    fn passed(&mut self, last: Stamp, heap: &Heap<'t>) {
        self.course.peaks.pass(last, heap);
    }

    fn applied(&mut self, changes: &Changes) {
        self.course.peaks.applied();
        self.observer.changes(changes);
    }

    fn at_stop(&mut self, stop: usize, heap: &mut Heap<'t>) {
        let Course { trace, times_ns, series, peaks } = &mut self.course;
        peaks.watch_footprint(trace, trace.clock().stamp_at(times_ns[stop]), heap);
        series.push(moment::state(heap, trace.clock(), times_ns[stop]));
        self.observer.heap(times_ns[stop], heap);
    }

    fn at_stop_with_blocks(&mut self, stop: usize, replay: &mut Replay<'t>) {
        self.at_stop(stop, &mut replay.heap);
        self.observer.blocks(stop, self.course.times_ns[stop], replay);
        if self.copied == Some(stop) && replay.blocks().count() <= MOST_COPIED_BLOCKS {
            let (course, replay) = (self.course.clone(), replay.clone());
            self.checkpoint = Some(Checkpoint { course, replay, stop });
        }
    }
}

/// Replays the trace and takes its measures.
pub fn analyze(trace: &Trace) -> Analysis {
    analyze_to_end(trace).0
}

/// Replays the trace and takes its measures; with the heap as it is in the end.
pub fn analyze_to_end(trace: &Trace) -> (Analysis, Replay<'_>) {
    let (analysis, replay, _) = pass(trace, None, WithBlocks::NONE, ());
    (analysis, replay)
}

/// The same; with a way back to before the process began to exit, if it did and that is cheap.
pub fn analyze_to_exit(trace: &Trace) -> (Analysis, Replay<'_>, Option<Checkpoint<'_>>) {
    pass(trace, exit_ns(trace), WithBlocks::NONE, ())
}

/// The same, observed; the heap is seen with its blocks at every so many moments, if that is said.
pub(super) fn analyze_observed<'t>(
    trace: &'t Trace,
    blocks_every: Option<NonZero<usize>>,
    observer: impl Observe<'t>,
) -> (Analysis, Replay<'t>, Option<Checkpoint<'t>>) {
    let with_blocks = WithBlocks { every: blocks_every, one: None };
    pass(trace, exit_ns(trace), with_blocks, observer)
}

/// From when on a process that ended may have been about to.
fn exit_ns(trace: &Trace) -> Option<u64> {
    trace.ending().is_clean().then(|| late_from_ns(start_ns(trace), end_ns(trace)))
}

/// `copied_ns`: the heap is kept as it was at the last moment of the series that is not later.
fn pass<'t>(
    trace: &'t Trace,
    copied_ns: Option<u64>,
    with_blocks: WithBlocks,
    observer: impl Observe<'t>,
) -> (Analysis, Replay<'t>, Option<Checkpoint<'t>>) {
    let course = Course::new(trace);
    let stops_ns = course.times_ns.clone();
    let copied = copied_ns.and_then(|copied_ns| {
        stops_ns.partition_point(|time_ns| *time_ns <= copied_ns).checked_sub(1)
    });
    let with_blocks = WithBlocks { one: copied, ..with_blocks };
    let mut pass = Pass { course, observer, copied, checkpoint: None };
    let section = Section::whole(&stops_ns, with_blocks);
    let (mut replay, told) = play(trace, Replay::new(trace), section, &mut pass);
    let analysis = pass.course.finish(&mut replay, &told, end_ns(trace));
    (analysis, replay, pass.checkpoint)
}

/// The measures as if the trace had ended at a moment, in nanoseconds since the start; from a
/// checkpoint on that is not later, if there is one.
pub fn analyze_until<'t>(
    trace: &'t Trace,
    until_ns: u64,
    checkpoint: Option<Checkpoint<'t>>,
) -> (Analysis, Replay<'t>) {
    let from = checkpoint.filter(|from| from.course.times_ns[from.stop] <= until_ns);
    let (course, replay, from) = match from {
        Some(Checkpoint { course, replay, stop }) => (course, replay, Some(stop)),
        None => (Course::new(trace), Replay::new(trace), None),
    };
    let mut pass = Pass { course, observer: (), copied: None, checkpoint: None };
    let stops_ns = pass.course.times_ns.clone();
    let until = Until::Stamp(trace.clock().stamp_at(until_ns));
    let section = Section { stops_ns: &stops_ns, with_blocks: WithBlocks::NONE, from, until };
    let (mut replay, told) = play(trace, replay, section, &mut pass);
    let mut analysis = pass.course.finish(&mut replay, &told, until_ns);
    // Bytes were counted of what was read: not all events from the beginning.
    analysis.trace.bytes_per_event = None;
    (analysis, replay)
}

/// When most was live, in nanoseconds since the start.
pub(super) fn peak_time_ns(trace: &Trace) -> u64 {
    struct MostLive {
        peak: Peak,
        last: Stamp,
    }

    impl Watch<'_> for MostLive {
        fn before(&mut self, ahead: &[Change], heap: &mut Heap<'_>) {
            self.peak.note(heap.live().bytes, self.last, heap.events());
            self.last = ahead.first().map_or(self.last, |next| next.stamp.max(self.last));
        }

        fn calm(&self, _: &Heap<'_>) -> Range<u64> {
            self.peak.unnoted()
        }

        fn passed(&mut self, last: Stamp, _: &Heap<'_>) {
            self.last = last.max(self.last);
        }
    }

    let last = trace.window_start();
    let mut most = MostLive { peak: Peak::new(last), last };
    play(trace, Replay::new(trace), Section::whole(&[], WithBlocks::NONE), &mut most);
    trace.clock().time_ns(most.peak.reached)
}

/// Moments spread evenly from the start to the end, which is left out.
fn sample_times(start_ns: u64, end_ns: u64) -> Vec<u64> {
    let length_ns = end_ns - start_ns;
    let samples = (length_ns / LEAST_STEP_NS).min(SAMPLES);
    let offset = |index| (u128::from(length_ns) * u128::from(index) / u128::from(samples)) as u64;
    (0..samples).map(|index| start_ns + offset(index)).collect()
}

const _: () = assert!(SAMPLES + 3 <= 2000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_evenly() {
        assert!(sample_times(0, 0).is_empty());
        assert_eq!(sample_times(0, 3000), [0, 1000, 2000]);
        assert_eq!(sample_times(7000, 9000), [7000, 8000]);
        let times = sample_times(0, 10_000_000_000);
        assert_eq!(times.len(), 1000);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000_000));
    }
}
