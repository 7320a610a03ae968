//! How far the replays of this process are, for whoever shows it to people. Nothing that is
//! measured depends on it.

use crate::order::Batch;
use crate::read::Trace;
use fragtrace_format::Stamp;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

static EVENTS: AtomicU64 = AtomicU64::new(0);
static PASSES: AtomicU32 = AtomicU32::new(0);
static SHARE: AtomicU32 = AtomicU32::new(0);

/// A pass in parts of so many.
pub const WHOLE: u32 = 1000;

/// Where the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Events replayed, over all passes.
    pub events: u64,
    /// Passes over a trace that are done, in parts of [`WHOLE`], the one under way with its share.
    pub parts: u64,
}

/// How far it is now.
pub fn progress() -> Progress {
    let parts = u64::from(PASSES.load(Relaxed)) * u64::from(WHOLE) + u64::from(SHARE.load(Relaxed));
    Progress { events: EVENTS.load(Relaxed), parts }
}

/// One pass over a trace.
pub(super) struct Pass {
    /// First stamps of all chunks, rising: as chunks are of one size, their number tells the share.
    begins: Vec<Stamp>,
}

impl Pass {
    pub(super) fn new(trace: &Trace) -> Pass {
        let mut begins: Vec<Stamp> =
            trace.chunks().iter().map(|place| place.info.state.stamp).collect();
        begins.sort_unstable();
        Pass { begins }
    }

    /// A batch was replayed.
    pub(super) fn note(&self, batch: &Batch) {
        if let Some(last) = batch.briefs().last() {
            self.note_events(batch.len(), last.stamp());
        }
    }

    /// So many events were replayed, up to a stamp.
    pub(super) fn note_events(&self, count: usize, last: Stamp) {
        let begun = self.begins.partition_point(|begin| *begin <= last);
        EVENTS.fetch_add(count as u64, Relaxed);
        let share = begun.saturating_sub(1) * WHOLE as usize / self.begins.len().max(1);
        SHARE.store(share as u32, Relaxed);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        SHARE.store(0, Relaxed);
        PASSES.fetch_add(1, Relaxed);
    }
}
