//! Replaying a trace with stops at given times.
//!
//! Blocks are matched with their releases on another thread than the heap is kept on, a few batches
//! ahead; where there are processors for three, events are put in order on one more. So what is seen on
//! the way is the heap; at a stop at which the live blocks are to be seen too, the first thread waits for
//! the second and lends them out.

use super::progress::Pass;
use crate::order::{self, Batch, Brief, Event, Told};
use crate::read::Trace;
use crate::replay::{Change, Changes, Heap, Matching, Replay};
use fragtrace_format::Stamp;
use std::num::NonZero;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// What an event needs to be matched is fetched so many events ahead: early enough for it to come, and so
/// late that it is still there.
const FORESEEN: usize = 16;
/// So many changes are applied at a time, where nobody has to see what is between.
const MOST_PASSED: usize = 64;
/// The threads that have a half of the replay each.
const HALVES: usize = 2;
/// Steps that may wait for the heap.
const STEPS_AHEAD: usize = 4;

/// Whoever watches the heap while events are replayed.
pub(super) trait Watch<'t> {
    /// Sees it before each event, with the changes at hand, from the first one of that event on; and behind
    /// the last, or where it is not known what comes next, with none.
    fn before(&mut self, _ahead: &[Change], _heap: &mut Heap<'t>) {}
    /// The live bytes with which it has nothing to see of the heap, as long as nothing else changes but
    /// what blocks cover. Whoever sees events says which these are.
    fn calm(&self, _heap: &Heap<'t>) -> Range<u64> {
        0..u64::MAX
    }
    /// Sees it behind some events in a row that it had nothing to see of, with the stamp of the last.
    fn passed(&mut self, _last: Stamp, _heap: &Heap<'t>) {}
    /// Sees what happened, some events at a time; before a stop at which the blocks are to be seen, all that
    /// did.
    fn applied(&mut self, _changes: &Changes) {}
    /// Sees it at a stop, by number: all events up to it have been applied, and no later one.
    fn at_stop(&mut self, _stop: usize, _heap: &mut Heap<'t>) {}
    /// The same at a stop at which the blocks are to be seen.
    fn at_stop_with_blocks(&mut self, _stop: usize, _replay: &mut Replay<'t>) {}
}

/// At which stops the live blocks are to be seen: the two halves of the replay wait for each other there.
#[derive(Debug, Clone, Copy)]
pub(super) struct WithBlocks {
    /// At every one with a number that is a multiple of this.
    pub every: Option<NonZero<usize>>,
    /// At this one.
    pub one: Option<usize>,
}

impl WithBlocks {
    pub const NONE: WithBlocks = WithBlocks { every: None, one: None };
    pub const ALL: WithBlocks = WithBlocks { every: Some(NonZero::<usize>::MIN), one: None };

    /// The first of them that is not before `from`.
    fn next(self, from: usize) -> Option<usize> {
        let every = self.every.map(|every| from.next_multiple_of(every.get()));
        let one = self.one.filter(|one| *one >= from);
        every.into_iter().chain(one).min()
    }
}

/// Where a replay ends: nothing behind is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// With the trace.
    End,
    /// Behind this stamp.
    Stamp(Stamp),
    /// After so many events.
    Events(u64),
}

/// What part of a trace is replayed, and where it stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'s> {
    /// Times that rise, in nanoseconds since the start.
    pub stops_ns: &'s [u64],
    pub with_blocks: WithBlocks,
    /// The number of the stop that the replay is at; `None`: at the beginning.
    pub from: Option<usize>,
    pub until: Until,
}

impl<'s> Section<'s> {
    /// The whole trace.
    pub fn whole(stops_ns: &'s [u64], with_blocks: WithBlocks) -> Section<'s> {
        Section { stops_ns, with_blocks, from: None, until: Until::End }
    }

    /// From the beginning, without a stop.
    fn until(until: Until) -> Section<'static> {
        Section { until, ..Section::whole(&[], WithBlocks::NONE) }
    }
}

/// A section, in stamps.
struct Way {
    /// The stops that are not beyond its end.
    stops: Vec<Stamp>,
    with_blocks: WithBlocks,
    from: Option<usize>,
    until: Until,
}

impl Way {
    fn new(trace: &Trace, section: Section<'_>) -> Way {
        let Section { stops_ns, with_blocks, from, until } = section;
        let clock = trace.clock();
        let mut stops: Vec<Stamp> =
            stops_ns.iter().map(|time_ns| clock.stamp_at(*time_ns)).collect();
        if let Until::Stamp(until) = until {
            stops.truncate(stops.partition_point(|stop| *stop <= until));
        }
        Way { stops, with_blocks, from, until }
    }

    /// Where the replay is when it begins.
    fn behind(&self) -> Option<Stamp> {
        self.from.and_then(|stop| self.stops.get(stop)).copied()
    }

    /// The first stop to come.
    fn first(&self) -> usize {
        self.from.map_or(0, |stop| stop + 1)
    }

    /// The next stop, from one on, at which the blocks are to be seen.
    fn next_with_blocks(&self, from: usize) -> Option<(usize, Stamp)> {
        let next = self.with_blocks.next(from)?;
        self.stops.get(next).map(|stop| (next, *stop))
    }

    /// What of a batch, before which there were so many events, is to be replayed, and whether more
    /// is to come.
    fn part_of<'e>(&self, batch: &'e [Brief], before: u64) -> (&'e [Brief], bool) {
        let first = |behind| batch.partition_point(|event: &Brief| event.stamp() <= behind);
        let events = &batch[self.behind().map_or(0, first)..];
        let end = match self.until {
            Until::End => None,
            Until::Stamp(until) => position_behind(events, until),
            Until::Events(count) => {
                usize::try_from(count - before).ok().filter(|end| *end <= events.len())
            }
        };
        (&events[..end.unwrap_or(events.len())], end.is_none())
    }
}

/// The first event that is later.
fn position_behind(events: &[Brief], stamp: Stamp) -> Option<usize> {
    let position = events.partition_point(|event| event.stamp() <= stamp);
    (position < events.len()).then_some(position)
}

/// What the thread that matches blocks hands over.
enum Step<'t> {
    /// What some events mean, and how many they are.
    Changes(Changes, usize),
    /// The live blocks at a stop, lent out.
    Blocks(usize, Box<Matching<'t>>),
}

/// Where steps go, and where blocks come back.
struct Steps<'t> {
    sender: SyncSender<Step<'t>>,
    returned: Receiver<Box<Matching<'t>>>,
}

impl<'t> Steps<'t> {
    /// Matches blocks with their releases over a section, and hands over what that means. `None`:
    /// nobody takes it any more.
    fn take(
        &self,
        mut matching: Box<Matching<'t>>,
        batches: &mut dyn Iterator<Item = Batch>,
        way: &Way,
    ) -> Option<Box<Matching<'t>>> {
        let mut stop = way.next_with_blocks(way.first());
        let mut taken = 0;
        for batch in batches {
            let (mut events, goes_on) = way.part_of(batch.briefs(), taken);
            taken += events.len() as u64;
            while let Some((index, at)) = stop
                && let Some(behind) = position_behind(events, at)
            {
                self.hand_over(&mut matching, &events[..behind], &batch)?;
                matching = self.lend(matching, index, at)?;
                stop = way.next_with_blocks(index + 1);
                events = &events[behind..];
            }
            self.hand_over(&mut matching, events, &batch)?;
            if !goes_on {
                break;
            }
        }
        while let Some((index, at)) = stop {
            matching = self.lend(matching, index, at)?;
            stop = way.next_with_blocks(index + 1);
        }
        Some(matching)
    }

    fn hand_over(
        &self,
        matching: &mut Matching<'t>,
        events: &[Brief],
        batch: &Batch,
    ) -> Option<()> {
        if events.is_empty() {
            return Some(());
        }
        let mut changes = Changes::with_capacity(events.len() + events.len() / 16);
        for (index, event) in events.iter().enumerate() {
            if let Some(later) = events.get(index + FORESEEN) {
                matching.foresee(later);
            }
            matching.apply(event, batch, &mut changes);
        }
        self.sender.send(Step::Changes(changes, events.len())).ok()
    }

    fn lend(
        &self,
        mut matching: Box<Matching<'t>>,
        stop: usize,
        at: Stamp,
    ) -> Option<Box<Matching<'t>>> {
        matching.show(at);
        self.sender.send(Step::Blocks(stop, matching)).ok()?;
        self.returned.recv().ok()
    }
}

/// The heap, as it follows.
struct Following<'w, 't, W> {
    heap: Heap<'t>,
    way: &'w Way,
    /// The stop that comes next, and its stamp, if there is one.
    next: usize,
    next_stop: Stamp,
    watch: &'w mut W,
    /// Nothing is watched before this stamp.
    watched_from: Stamp,
}

impl<'t, W: Watch<'t>> Following<'_, 't, W> {
    fn apply(&mut self, changes: &Changes) {
        let mut rest = changes.list();
        while !rest.is_empty() {
            let passed = self.pass(rest);
            rest = &rest[passed..];
            if passed < MOST_PASSED && !rest.is_empty() {
                self.apply_first(rest, changes);
                rest = &rest[1..];
            }
        }
    }

    /// Applies usual changes of which nobody sees anything; how many.
    fn pass(&mut self, rest: &[Change]) -> usize {
        if rest.first().is_none_or(|next| next.stamp < self.watched_from) {
            return 0;
        }
        let calm = self.watch.calm(&self.heap);
        let row = &rest[..rest.len().min(MOST_PASSED)];
        let row = match row.last() {
            Some(last) if last.stamp > self.next_stop => {
                &row[..row.partition_point(|change| change.stamp <= self.next_stop)]
            }
            _ => row,
        };
        let passed = self.heap.apply_calm(row, rest, calm);
        if let Some(last) = passed.checked_sub(1) {
            self.watch.passed(rest[last].stamp, &self.heap);
        }
        passed
    }

    fn apply_first(&mut self, rest: &[Change], changes: &Changes) {
        let change = &rest[0];
        if change.begins_event() {
            if change.stamp >= self.watched_from {
                self.watch.before(rest, &mut self.heap);
            }
            if change.stamp > self.next_stop {
                self.stop_before(change.stamp);
            }
        }
        self.heap.apply(change, changes);
    }

    /// Stops wherever an event of this stamp lies behind.
    #[inline(never)]
    fn stop_before(&mut self, stamp: Stamp) {
        while let Some(stop) = self.way.stops.get(self.next)
            && *stop < stamp
        {
            self.stop(*stop);
        }
    }

    fn stop(&mut self, at: Stamp) {
        self.heap.catch_up(at);
        self.watch.at_stop(self.next, &mut self.heap);
        self.go_to(self.next + 1);
    }

    /// Another stop comes next.
    fn go_to(&mut self, next: usize) {
        self.next = next;
        self.next_stop = self.way.stops.get(next).copied().unwrap_or(Stamp::MAX);
    }

    /// Stops where the blocks are to be seen, and before that where they are not.
    fn stop_with_blocks(mut self, stop: usize, matching: Matching<'t>) -> (Self, Matching<'t>) {
        self.watch.before(&[], &mut self.heap);
        for at in &self.way.stops[self.next..stop] {
            self.stop(*at);
        }
        self.heap.catch_up(self.way.stops[stop]);
        let mut replay = Replay::of(matching, self.heap);
        self.watch.at_stop_with_blocks(stop, &mut replay);
        let mut following = Following { heap: replay.heap, ..self };
        following.go_to(stop + 1);
        (following, replay.matching)
    }
}

/// Nothing is watched before this stamp: in a child of fork its parent's events come first.
fn watched_from(trace: &Trace) -> Stamp {
    if trace.fork().is_some() { trace.window_start() } else { Stamp::MIN }
}

/// Goes on with a replay over a section.
pub(super) fn play<'t>(
    trace: &'t Trace,
    replay: Replay<'t>,
    section: Section<'_>,
    watch: &mut impl Watch<'t>,
) -> (Replay<'t>, Told) {
    let way = &Way::new(trace, section);
    let Replay { matching, heap, .. } = replay;
    let watched_from = watched_from(trace);
    let mut following = Following { heap, way, next: 0, next_stop: 0, watch, watched_from };
    following.go_to(way.first());
    let pass = Pass::new(trace);
    let (matching, heap, told) = thread::scope(|scope| {
        let (sender, receiver) = sync_channel(STEPS_AHEAD);
        let (give_back, returned) = sync_channel(1);
        let ahead = scope.spawn(move || {
            let steps = Steps { sender, returned };
            order::consume(trace, way.behind(), HALVES, |batches| {
                steps.take(Box::new(matching), batches, way)
            })
        });
        for step in receiver {
            match step {
                Step::Changes(changes, events) => {
                    following.apply(&changes);
                    following.watch.applied(&changes);
                    if let Some(last) = changes.list().last() {
                        pass.note_events(events, last.stamp);
                    }
                }
                Step::Blocks(stop, lent) => {
                    let matching;
                    (following, matching) = following.stop_with_blocks(stop, *lent);
                    // Whoever lent it waits for it.
                    let _ = give_back.send(Box::new(matching));
                }
            }
        }
        drop(give_back);
        let (matching, told) = ahead.join().unwrap_or_else(|panic| resume_unwind(panic));
        following.watch.before(&[], &mut following.heap);
        following.stop_before(Stamp::MAX);
        (matching, following.heap, told)
    });
    let matching = matching.expect("whoever takes its steps is here");
    let mut replay = Replay::of(*matching, heap);
    match way.until {
        Until::Stamp(until) => replay.catch_up(until),
        Until::Events(_) => replay.heap.space_mut().refresh(),
        Until::End => replay.finish(),
    }
    (replay, told)
}

/// Replays the whole trace and stops at each of `times_ns`, which rise.
pub(super) fn stop_at_times<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    at_stop: impl FnMut(usize, &mut Replay<'t>),
) -> Replay<'t> {
    struct AtStop<F>(F);

    impl<'t, F: FnMut(usize, &mut Replay<'t>)> Watch<'t> for AtStop<F> {
        fn at_stop_with_blocks(&mut self, stop: usize, replay: &mut Replay<'t>) {
            self.0(stop, replay);
        }
    }

    let section = Section::whole(times_ns, WithBlocks::ALL);
    play(trace, Replay::new(trace), section, &mut AtStop(at_stop)).0
}

/// The same where only the heap is to be seen: nobody waits then.
pub(super) fn heap_at_times<'t>(
    trace: &'t Trace,
    times_ns: &[u64],
    at_stop: impl FnMut(usize, &Heap<'t>),
) {
    struct AtStop<F>(F);

    impl<'t, F: FnMut(usize, &Heap<'t>)> Watch<'t> for AtStop<F> {
        fn at_stop(&mut self, stop: usize, heap: &mut Heap<'t>) {
            self.0(stop, heap);
        }
    }

    let section = Section::whole(times_ns, WithBlocks::NONE);
    play(trace, Replay::new(trace), section, &mut AtStop(at_stop));
}

/// Goes through the whole trace; `between` sees the live blocks before each event, with that event.
pub(super) fn before_each_event<'t>(
    trace: &'t Trace,
    mut between: impl FnMut(&Event, &Matching<'t>),
) {
    let (mut matching, mut changes) = (Replay::new(trace).matching, Changes::default());
    let pass = Pass::new(trace);
    let from = watched_from(trace);
    order::for_each_batch(trace, |batch| {
        pass.note(batch);
        changes.clear();
        for (index, event) in batch.events().enumerate() {
            if let Some(later) = batch.briefs().get(index + FORESEEN) {
                matching.foresee(later);
            }
            if event.stamp >= from {
                between(&event, &matching);
            }
            matching.apply_event(&event, &mut changes);
        }
        true
    });
}

/// Sees nothing.
struct Nobody;

impl Watch<'_> for Nobody {}

/// The heap at a moment, in nanoseconds since the start: what comes later is not read.
pub fn heap_at(trace: &Trace, at_ns: u64) -> Replay<'_> {
    let until = Until::Stamp(trace.clock().stamp_at(at_ns));
    play(trace, Replay::new(trace), Section::until(until), &mut Nobody).0
}

/// The heap after so many events; `None`: after all of them.
pub(super) fn heap_after(trace: &Trace, events: Option<u64>) -> Replay<'_> {
    let until = events.map_or(Until::End, Until::Events);
    play(trace, Replay::new(trace), Section::until(until), &mut Nobody).0
}
