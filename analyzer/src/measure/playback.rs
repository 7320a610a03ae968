//! Replaying a trace with stops: at given times, or after given events.

use crate::order::{self, Told};
use crate::read::Trace;
use crate::replay::Replay;
use fragtrace_format::Stamp;

/// Replays the whole trace and stops at each of `times_ns`, which rise: then all events up
/// to that time have been applied, and no later one.
pub(super) fn stop_at_times<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    mut each_event: impl FnMut(&Replay<'t>),
    mut at_stop: impl FnMut(usize, &mut Replay<'t>),
) -> (Replay<'t>, Told) {
    let clock = trace.clock();
    let stops: Vec<Stamp> = times_ns.iter().map(|time_ns| clock.stamp_at(*time_ns)).collect();
    let mut replay = Replay::new(trace);
    let mut next = 0;
    let told = order::for_each_batch(trace, |events| {
        for event in events {
            while let Some(stop) = stops.get(next)
                && event.stamp > *stop
            {
                replay.catch_up(*stop);
                at_stop(next, &mut replay);
                next += 1;
            }
            replay.apply(event);
            each_event(&replay);
        }
        true
    });
    for (index, stop) in stops.iter().enumerate().skip(next) {
        replay.catch_up(*stop);
        at_stop(index, &mut replay);
    }
    replay.finish();
    (replay, told)
}

/// Replays until each of `counts` events have been applied; the counts rise.
pub(super) fn stop_after_events<'t>(
    trace: &'t Trace,
    counts: &[u64],
    mut at_stop: impl FnMut(usize, Stamp, &mut Replay<'t>),
) {
    let mut replay = Replay::new(trace);
    let mut applied = 0;
    let mut next = 0;
    order::for_each_batch(trace, |events| {
        for event in events {
            replay.apply(event);
            applied += 1;
            while counts.get(next) == Some(&applied) {
                at_stop(next, event.stamp, &mut replay);
                next += 1;
            }
            if next == counts.len() {
                return false;
            }
        }
        true
    });
}
