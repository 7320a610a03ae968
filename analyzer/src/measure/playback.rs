//! Replaying a trace with stops at given times.

use super::progress::Pass;
use crate::order::{self, Event, Told};
use crate::read::Trace;
use crate::replay::{FORESEEN, Replay};
use fragtrace_format::Stamp;

/// Whoever watches a replay.
pub(super) trait Watch<'t> {
    /// Sees the heap before each event, with that event, and behind the last one.
    fn before(&mut self, next: Option<&Event>, replay: &mut Replay<'t>);
    /// Sees it at a stop, by number: all events up to it have been applied, and no later one.
    fn at_stop(&mut self, stop: usize, replay: &mut Replay<'t>);
}

/// What part of a trace is replayed, and where it stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'s> {
    /// Times that rise, in nanoseconds since the start.
    pub stops_ns: &'s [u64],
    /// The number of the stop that the replay is at; `None`: at the beginning.
    pub from: Option<usize>,
    /// Nothing behind this is read.
    pub until: Option<Stamp>,
}

/// Replays the whole trace and stops at each of `times_ns`, which rise. `between` sees the heap
/// before each event, with that event, and behind the last one.
pub(super) fn stop_at_times<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    between: impl FnMut(Option<&Event>, &mut Replay<'t>),
    at_stop: impl FnMut(usize, &mut Replay<'t>),
) -> (Replay<'t>, Told) {
    struct Both<B, S>(B, S);

    impl<'t, B, S> Watch<'t> for Both<B, S>
    where
        B: FnMut(Option<&Event>, &mut Replay<'t>),
        S: FnMut(usize, &mut Replay<'t>),
    {
        fn before(&mut self, next: Option<&Event>, replay: &mut Replay<'t>) {
            self.0(next, replay);
        }

        fn at_stop(&mut self, stop: usize, replay: &mut Replay<'t>) {
            self.1(stop, replay);
        }
    }

    let section = Section { stops_ns: times_ns, from: None, until: None };
    play(trace, Replay::new(trace), section, &mut Both(between, at_stop))
}

/// Goes on with a replay over a section.
pub(super) fn play<'t>(
    trace: &'t Trace,
    mut replay: Replay<'t>,
    section: Section<'_>,
    watch: &mut impl Watch<'t>,
) -> (Replay<'t>, Told) {
    let Section { stops_ns, from, until } = section;
    let clock = trace.clock();
    let stops: Vec<Stamp> = stops_ns.iter().map(|time_ns| clock.stamp_at(*time_ns)).collect();
    let behind = from.map(|stop| stops[stop]);
    let mut next = from.map_or(0, |stop| stop + 1);
    // In a child of fork its parent's events come first.
    let window_start = trace.window_start();
    let forked = trace.fork().is_some();
    let pass = Pass::new(trace);
    let told = order::for_each_batch_behind(trace, behind, |all| {
        pass.note(all);
        let first = behind.map_or(0, |behind| all.partition_point(|event| event.stamp <= behind));
        let all = &all[first..];
        let past = until.and_then(|until| all.iter().position(|event| event.stamp > until));
        let events = &all[..past.unwrap_or(all.len())];
        for group in events.chunks(FORESEEN) {
            replay.foresee(group);
            for event in group {
                if !forked || event.stamp >= window_start {
                    watch.before(Some(event), &mut replay);
                }
                while let Some(stop) = stops.get(next)
                    && event.stamp > *stop
                {
                    replay.catch_up(*stop);
                    watch.at_stop(next, &mut replay);
                    next += 1;
                }
                replay.apply(event);
            }
        }
        past.is_none()
    });
    watch.before(None, &mut replay);
    for (index, stop) in stops.iter().enumerate().skip(next) {
        if until.is_some_and(|until| *stop > until) {
            break;
        }
        replay.catch_up(*stop);
        watch.at_stop(index, &mut replay);
    }
    match until {
        Some(until) => replay.catch_up(until),
        None => replay.finish(),
    }
    (replay, told)
}

/// The heap at a moment, in nanoseconds since the start: what comes later is not read.
pub fn heap_at(trace: &Trace, at_ns: u64) -> Replay<'_> {
    let stop = trace.clock().stamp_at(at_ns);
    let mut replay = Replay::new(trace);
    let pass = Pass::new(trace);
    order::for_each_batch(trace, |events| {
        pass.note(events);
        let past = events.iter().position(|event| event.stamp > stop).unwrap_or(events.len());
        for group in events[..past].chunks(FORESEEN) {
            replay.foresee(group);
            group.iter().for_each(|event| replay.apply(event));
        }
        past == events.len()
    });
    replay.catch_up(stop);
    replay
}

/// The heap at its peak: as it was when these live bytes, the most of all, were reached first.
pub(super) fn heap_at_peak(trace: &Trace, live_bytes: u64) -> Replay<'_> {
    let mut replay = Replay::new(trace);
    // In a child of fork its parent's events come first.
    let from = if trace.fork().is_some() { trace.window_start() } else { Stamp::MIN };
    order::for_each_batch(trace, |events| {
        for group in events.chunks(FORESEEN) {
            replay.foresee(group);
            for event in group {
                if event.stamp >= from && replay.blocks().live_bytes() == live_bytes {
                    return false;
                }
                replay.apply(event);
            }
        }
        true
    });
    replay
}
