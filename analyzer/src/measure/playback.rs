//! Replaying a trace with stops at given times.

use super::progress::Pass;
use crate::order::{self, Event, Told};
use crate::read::Trace;
use crate::replay::{Change, Changes, FORESEEN, Heap, Matching, Replay};
use fragtrace_format::Stamp;

/// Whoever watches the heap while events are replayed.
pub(super) trait Watch<'t> {
    /// Sees it before each event, with the first change that this leads to, and behind the last.
    fn before(&mut self, next: Option<&Change>, heap: &mut Heap<'t>);
    /// Sees it at a stop, by number: all events up to it have been applied, and no later one.
    fn at_stop(&mut self, stop: usize, heap: &mut Heap<'t>);
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

/// What there is between the stops of a section.
struct Way<'s> {
    stops: Vec<Stamp>,
    /// The stop that comes next.
    next: usize,
    section: Section<'s>,
    /// Nothing is watched before this stamp: in a child of fork its parent's events come first.
    watched_from: Stamp,
}

impl<'s> Way<'s> {
    fn new(trace: &Trace, section: Section<'s>) -> Way<'s> {
        let clock = trace.clock();
        let stops = section.stops_ns.iter().map(|time_ns| clock.stamp_at(*time_ns)).collect();
        let next = section.from.map_or(0, |stop| stop + 1);
        let forked = trace.fork().is_some();
        let watched_from = if forked { trace.window_start() } else { Stamp::MIN };
        Way { stops, next, section, watched_from }
    }

    /// Where the replay is when it begins.
    fn behind(&self) -> Option<Stamp> {
        self.section.from.map(|stop| self.stops[stop])
    }

    /// What of a batch is to be replayed, and whether more is to come.
    fn part_of<'e>(&self, batch: &'e [Event]) -> (&'e [Event], bool) {
        let first = |behind| batch.partition_point(|event: &Event| event.stamp <= behind);
        let events = &batch[self.behind().map_or(0, first)..];
        let past = |until| events.iter().position(|event| event.stamp > until);
        let end = self.section.until.and_then(past);
        (&events[..end.unwrap_or(events.len())], end.is_none())
    }

    /// The next stop, if an event of this stamp lies behind it.
    #[inline]
    fn passed_by(&mut self, stamp: Stamp) -> Option<(usize, Stamp)> {
        let stop = *self.stops.get(self.next)?;
        if stamp <= stop {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, stop))
    }

    /// The next stop, of those behind the last event.
    fn left(&mut self) -> Option<(usize, Stamp)> {
        let stop = *self.stops.get(self.next)?;
        if self.section.until.is_some_and(|until| stop > until) {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, stop))
    }
}

/// Replays the whole trace and stops at each of `times_ns`, which rise. `between` sees the heap
/// before each event, with that event, and behind the last one.
pub(super) fn stop_at_times<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    mut between: impl FnMut(Option<&Event>, &mut Replay<'t>),
    mut at_stop: impl FnMut(usize, &mut Replay<'t>),
) -> (Replay<'t>, Told) {
    let mut way = Way::new(trace, Section { stops_ns: times_ns, from: None, until: None });
    let mut replay = Replay::new(trace);
    let pass = Pass::new(trace);
    let told = order::for_each_batch(trace, |events| {
        pass.note(events);
        for group in events.chunks(FORESEEN) {
            replay.foresee(group);
            for event in group {
                if event.stamp >= way.watched_from {
                    between(Some(event), &mut replay);
                }
                while let Some((index, stop)) = way.passed_by(event.stamp) {
                    replay.catch_up(stop);
                    at_stop(index, &mut replay);
                }
                replay.apply(event);
            }
        }
        true
    });
    between(None, &mut replay);
    while let Some((index, stop)) = way.left() {
        replay.catch_up(stop);
        at_stop(index, &mut replay);
    }
    replay.finish();
    (replay, told)
}

/// Replays the whole trace, with someone who `observes` heap and live blocks at each stop, behind
/// whoever watches.
pub(super) fn play_observed<'t>(
    trace: &'t Trace,
    stops_ns: &[u64],
    watch: &mut impl Watch<'t>,
    mut observe: impl FnMut(usize, &Replay<'t>),
) -> (Replay<'t>, Told) {
    let mut way = Way::new(trace, Section { stops_ns, from: None, until: None });
    let mut replay = Replay::new(trace);
    let mut changes = Changes::default();
    let pass = Pass::new(trace);
    let told = order::for_each_batch(trace, |events| {
        pass.note(events);
        for group in events.chunks(FORESEEN) {
            replay.foresee(group);
            for event in group {
                while let Some((index, stop)) = way.passed_by(event.stamp) {
                    if event.stamp >= way.watched_from {
                        watch.before(None, &mut replay.heap);
                    }
                    replay.catch_up(stop);
                    watch.at_stop(index, &mut replay.heap);
                    observe(index, &replay);
                }
                changes.clear();
                replay.matching.apply(event, &mut changes);
                for change in changes.list() {
                    if change.begins_event() && change.stamp >= way.watched_from {
                        watch.before(Some(change), &mut replay.heap);
                    }
                    replay.heap.apply(change, &changes);
                }
            }
        }
        true
    });
    watch.before(None, &mut replay.heap);
    while let Some((index, stop)) = way.left() {
        replay.catch_up(stop);
        watch.at_stop(index, &mut replay.heap);
        observe(index, &replay);
    }
    replay.finish();
    (replay, told)
}

/// Goes on with a replay over a section. Blocks are matched with their releases on another thread
/// than the heap is kept on, so that is all that can be seen on the way; with the live blocks as
/// they were at a stop, if they are to be `copied` and are no more than so many.
pub(super) fn play<'t>(
    trace: &'t Trace,
    replay: Replay<'t>,
    section: Section<'_>,
    copied: Option<(usize, u64)>,
    watch: &mut impl Watch<'t>,
) -> (Replay<'t>, Told, Option<Matching<'t>>) {
    let mut way = Way::new(trace, section);
    let Replay { mut matching, mut heap, .. } = replay;
    let pass = Pass::new(trace);
    let mut copy_at = copied.map(|(stop, most)| (way.stops[stop], most));
    let (mut copy, behind) = (None, way.behind());
    let of_section = Way::new(trace, section);
    let told = order::through(
        trace,
        behind,
        |batch| {
            let (events, goes_on) = of_section.part_of(&batch);
            let mut changes = Changes::with_capacity(events.len() + events.len() / 16);
            for group in events.chunks(FORESEEN) {
                matching.foresee(group);
                for event in group {
                    if let Some((stop, most)) = copy_at.take_if(|(stop, _)| event.stamp > *stop) {
                        matching.catch_up(stop);
                        copy = small_copy(&matching, most);
                    }
                    matching.apply(event, &mut changes);
                }
            }
            (goes_on || !events.is_empty()).then_some((changes, events.len()))
        },
        |(changes, events)| {
            for group in changes.list().chunks(FORESEEN) {
                heap.foresee(group);
                for change in group {
                    if change.begins_event() {
                        if change.stamp >= way.watched_from {
                            watch.before(Some(change), &mut heap);
                        }
                        while let Some((index, stop)) = way.passed_by(change.stamp) {
                            heap.catch_up(stop);
                            watch.at_stop(index, &mut heap);
                        }
                    }
                    heap.apply(change, &changes);
                }
            }
            if let Some(last) = changes.list().last() {
                pass.note_events(events, last.stamp);
            }
            true
        },
    );
    watch.before(None, &mut heap);
    while let Some((index, stop)) = way.left() {
        heap.catch_up(stop);
        watch.at_stop(index, &mut heap);
    }
    if let Some((stop, most)) = copy_at {
        matching.catch_up(stop);
        copy = small_copy(&matching, most);
    }
    let mut replay = Replay::of(matching, heap);
    match section.until {
        Some(until) => replay.catch_up(until),
        None => replay.finish(),
    }
    (replay, told, copy)
}

/// A copy, if there are no more live blocks than so many.
fn small_copy<'t>(matching: &Matching<'t>, most: u64) -> Option<Matching<'t>> {
    (matching.blocks().count() <= most).then(|| matching.clone())
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
                if event.stamp >= from && replay.live().bytes == live_bytes {
                    return false;
                }
                replay.apply(event);
            }
        }
        true
    });
    replay
}
