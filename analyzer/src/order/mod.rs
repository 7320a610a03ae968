//! Putting events in order: from chunks to one sequence over all threads.
//!
//! Each lane's chunks hold its events in order; lanes are merged by stamp. Of each lane a few
//! events are decoded ahead, so memory goes with the number of lanes, not with the length of the
//! trace.
//!
//! The order is that of the stamps, which two threads may take in the wrong order by up to
//! a few microseconds. Certain is only each lane's own order, and that the events of one
//! address alternate: the replay makes use of that.

mod brief;
mod decode;
mod event;
mod heads;
mod merge;

pub use brief::{Batch, Brief};
pub use event::{Action, Event, Note, Rare};
pub use merge::Events;

use crate::read::Trace;
use fragtrace_format::Stamp;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Batches that may wait for the consumer.
const BATCHES_AHEAD: usize = 4;

/// All events of a trace in order, in batches.
pub fn events(trace: &Trace) -> Events<'_> {
    Events::new(trace, None)
}

/// What putting events in order found out by the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Bytes of chunks that hold events.
    pub event_bytes: u64,
    /// Chunks with damage, in words, with offsets.
    pub damage: Vec<String>,
}

/// Hands all events to `consume`, in batches: behind a stamp only, but for some that come up to there.
/// Ends when `consume` does. With processors to spare beside `others` threads, another one decodes and
/// merges the next events meanwhile.
pub fn consume<R>(
    trace: &Trace,
    behind: Option<Stamp>,
    others: usize,
    consume: impl FnOnce(&mut dyn Iterator<Item = Batch>) -> R,
) -> (R, Told) {
    if thread::available_parallelism().map_or(1, usize::from) <= others {
        let mut events = Events::new(trace, behind);
        let result = consume(&mut events);
        return (result, events.told());
    }
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        let producer = scope.spawn(move || {
            let mut events = Events::new(trace, behind);
            for batch in events.by_ref() {
                // The consumer has seen enough.
                if sender.send(batch).is_err() {
                    break;
                }
            }
            events.told()
        });
        let mut batches = receiver.into_iter();
        let result = consume(&mut batches);
        drop(batches);
        (result, producer.join().unwrap_or_default())
    })
}

/// Hands all events to `each`, batch by batch, in the same way. Ends early when `each` returns false.
pub fn for_each_batch(trace: &Trace, mut each: impl FnMut(&Batch) -> bool) -> Told {
    let all = |batches: &mut dyn Iterator<Item = Batch>| {
        for batch in batches {
            if !each(&batch) {
                break;
            }
        }
    };
    consume(trace, None, 1, all).1
}
