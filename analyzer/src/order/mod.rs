//! Putting events in order: from chunks to one sequence over all threads.
//!
//! Each lane's chunks hold its events in order; lanes are merged by stamp. Of each lane a few
//! events are decoded ahead, so memory goes with the number of lanes, not with the length of the
//! trace.
//!
//! The order is that of the stamps, which two threads may take in the wrong order by up to
//! a few microseconds. Certain is only each lane's own order, and that the events of one
//! address alternate: the replay makes use of that.

mod decode;
mod event;
mod heads;
mod merge;

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

/// Hands all events to `each`, batch by batch, while another thread decodes and merges the
/// next ones. Ends early when `each` returns false.
pub fn for_each_batch(trace: &Trace, mut each: impl FnMut(&[Event]) -> bool) -> Told {
    through(trace, None, Some, |batch| each(&batch))
}

/// Hands all events to `each` as `stage` makes them, which runs on the thread that decodes and
/// merges, a few batches ahead. Ends early when `stage` returns nothing or `each` returns false.
/// `behind`: most of the events up to that stamp are left out, the rest comes first.
pub fn through<T: Send>(
    trace: &Trace,
    behind: Option<Stamp>,
    mut stage: impl FnMut(Vec<Event>) -> Option<T> + Send,
    mut each: impl FnMut(T) -> bool,
) -> Told {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        let producer = scope.spawn(move || {
            let mut events = Events::new(trace, behind);
            for batch in events.by_ref() {
                // The consumer has seen enough.
                let Some(staged) = stage(batch) else { break };
                if sender.send(staged).is_err() {
                    break;
                }
            }
            events.told()
        });
        for staged in &receiver {
            if !each(staged) {
                break;
            }
        }
        drop(receiver);
        producer.join().unwrap_or_default()
    })
}
