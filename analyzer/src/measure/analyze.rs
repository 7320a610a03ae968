//! The whole trace in numbers: counts, the peaks, the end, and the course between.
//!
//! Two passes. The first samples the heap at evenly spread moments and notes after which
//! event most was live, and most held. The second goes as far as the later of the two and
//! takes the full figures there: a peak may last for one event only, and evaluating the
//! heap at each new maximum of a growing one would cost more than replaying it again.

use super::moment::{self, end_ns};
use super::playback::{stop_after_events, stop_at_times};
use super::{Analysis, State, TraceFacts};
use crate::order::Told;
use crate::read::Trace;
use crate::replay::Replay;

/// Moments of the series, but for the two peaks.
const SAMPLES: u64 = 1000;
/// Between two moments lies at least this time: stamps are hardly finer.
const LEAST_STEP_NS: u64 = 1000;

/// The greatest value of something, and after how many events it came.
#[derive(Debug, Clone, Copy, Default)]
struct Greatest {
    value: u64,
    events: u64,
}

impl Greatest {
    #[inline]
    fn note(&mut self, value: u64, events: u64) {
        if value > self.value {
            *self = Greatest { value, events };
        }
    }
}

/// Replays the trace and takes its measures.
pub fn analyze(trace: &Trace) -> Analysis {
    let times_ns = sample_times(end_ns(trace));
    let mut series = Vec::with_capacity(times_ns.len() + 2);
    let (mut live, mut footprint) = (Greatest::default(), Greatest::default());
    let mut events = 0;
    let (mut replay, told) = stop_at_times(
        trace,
        &times_ns,
        |replay| {
            events += 1;
            live.note(replay.blocks().live_bytes(), events);
            footprint.note(replay.space().footprint_bytes(), events);
        },
        |index, replay| series.push(moment::state(replay, times_ns[index])),
    );
    let end = moment::state(&mut replay, end_ns(trace));
    let (peak, peak_footprint) = peaks(trace, live, footprint, &end);
    series.extend([peak.clone(), peak_footprint.clone(), end.clone()]);
    series.sort_by_key(|state: &State| state.time_ns);
    series.dedup();
    let mut damage = trace.damage().to_vec();
    damage.extend(told.damage.iter().cloned());
    Analysis { trace: facts(trace, &replay, &told), peak, peak_footprint, end, series, damage }
}

/// When most was live, in nanoseconds since the start.
pub(super) fn peak_time_ns(trace: &Trace) -> u64 {
    let mut live = Greatest::default();
    let mut events = 0;
    stop_at_times(
        trace,
        &[],
        |replay| {
            events += 1;
            live.note(replay.blocks().live_bytes(), events);
        },
        |_, _| {},
    );
    let mut time_ns = 0;
    stop_after_events(trace, &[live.events], |_, stamp, _| time_ns = trace.clock().time_ns(stamp));
    time_ns
}

/// Moments spread evenly from the start to the end, which is left out.
fn sample_times(end_ns: u64) -> Vec<u64> {
    let samples = (end_ns / LEAST_STEP_NS).min(SAMPLES);
    (0..samples)
        .map(|index| (u128::from(end_ns) * u128::from(index) / u128::from(samples)) as u64)
        .collect()
}

/// The states when live bytes, and when the footprint, were greatest.
fn peaks(trace: &Trace, live: Greatest, footprint: Greatest, end: &State) -> (State, State) {
    let mut counts = vec![live.events, footprint.events];
    counts.sort_unstable();
    counts.dedup();
    counts.retain(|events| *events > 0);
    let mut states = Vec::new();
    stop_after_events(trace, &counts, |_, stamp, replay| {
        states.push(moment::state(replay, trace.clock().time_ns(stamp)));
    });
    let find = |greatest: Greatest| {
        let at = counts.iter().position(|events| *events == greatest.events);
        // Without any event the heap is the same throughout.
        at.and_then(|at| states.get(at)).unwrap_or(end).clone()
    };
    (find(live), find(footprint))
}

fn facts(trace: &Trace, replay: &Replay<'_>, told: &Told) -> TraceFacts {
    let (header, process, counts) = (trace.header(), trace.process(), replay.counts());
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let moved = |looks: &[crate::read::Look]| looks[0].brk_end != looks[1].brk_end;
    TraceFacts {
        pid: header.pid,
        exe: known(&process.exe),
        command: known(
            &process.arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        ),
        host: known(&process.host),
        kernel: known(&process.kernel),
        libc: known(&process.libc),
        allocator: known(&process.allocator),
        allocator_env: process.allocator_env.clone(),
        tracer_version: known(&process.tracer_version),
        page_size: process.page_bytes,
        start_unix_ns: trace.clock().start_unix_ns(),
        duration_ns: end_ns(trace),
        window_start_ns: 0,
        end: trace.ending().to_string(),
        clean_exit: trace.ending().is_clean(),
        cgroup_limit_bytes: process.cgroup_limit_bytes,
        ring_bytes: header.ring_bytes,
        wrapped: header.base_stamp != 0,
        threads: header.threads,
        events: counts.events,
        allocs: counts.allocs,
        frees: counts.frees,
        reallocs: counts.reallocs,
        mmaps: counts.mmaps,
        munmaps: counts.munmaps,
        mremaps: counts.mremaps,
        madvises: counts.madvises,
        brk_changes: counts.brk_changes
            + trace.looks().windows(2).filter(|pair| moved(pair)).count() as u64,
        dropped_events: header.dropped_events,
        order_anomalies: counts.order_anomalies,
        unknown_frees: counts.unknown_frees,
        bytes_per_event: (counts.events > 0)
            .then(|| told.event_bytes as f64 / counts.events as f64),
        tracer_cost_ns: trace.clock().duration_ns(header.slow_path_stamps),
        looks: header.looks,
    }
}

/// A word of a command line as a shell would need it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

const _: () = assert!(SAMPLES + 3 <= 2000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_evenly() {
        assert!(sample_times(0).is_empty());
        assert_eq!(sample_times(3000), [0, 1000, 2000]);
        let times = sample_times(10_000_000_000);
        assert_eq!(times.len(), 1000);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000_000));
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("--port=80"), "--port=80");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
