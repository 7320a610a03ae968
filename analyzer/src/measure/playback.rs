//! Replaying a trace with stops at given times.

use super::progress::Pass;
use crate::order::{self, Event, Told};
use crate::read::Trace;
use crate::replay::{FORESEEN, Replay};
use fragtrace_format::Stamp;

/// Replays the whole trace and stops at each of `times_ns`, which rise: then all events up
/// to that time have been applied, and no later one. `between` sees the heap before each
/// event, with that event, and behind the last one.
pub(super) fn stop_at_times<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    between: impl FnMut(Option<&Event>, &mut Replay<'t>),
    at_stop: impl FnMut(usize, &mut Replay<'t>),
) -> (Replay<'t>, Told) {
    stop_until(trace, times_ns, None, between, at_stop)
}

/// The same; nothing behind `until` is read.
pub(super) fn stop_until<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    until: Option<Stamp>,
    mut between: impl FnMut(Option<&Event>, &mut Replay<'t>),
    mut at_stop: impl FnMut(usize, &mut Replay<'t>),
) -> (Replay<'t>, Told) {
    let clock = trace.clock();
    let stops: Vec<Stamp> = times_ns.iter().map(|time_ns| clock.stamp_at(*time_ns)).collect();
    let mut replay = Replay::new(trace);
    let mut next = 0;
    // In a child of fork its parent's events come first.
    let window_start = trace.window_start();
    let forked = trace.fork().is_some();
    let pass = Pass::new(trace);
    let told = order::for_each_batch(trace, |all| {
        pass.note(all);
        let past = until.and_then(|until| all.iter().position(|event| event.stamp > until));
        let events = &all[..past.unwrap_or(all.len())];
        for group in events.chunks(FORESEEN) {
            replay.foresee(group);
            for event in group {
                if !forked || event.stamp >= window_start {
                    between(Some(event), &mut replay);
                }
                while let Some(stop) = stops.get(next)
                    && event.stamp > *stop
                {
                    replay.catch_up(*stop);
                    at_stop(next, &mut replay);
                    next += 1;
                }
                replay.apply(event);
            }
        }
        past.is_none()
    });
    between(None, &mut replay);
    for (index, stop) in stops.iter().enumerate().skip(next) {
        replay.catch_up(*stop);
        at_stop(index, &mut replay);
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
