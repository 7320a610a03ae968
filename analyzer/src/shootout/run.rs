//! What a shootout found: the figures of each run, and the sentence that follows from them.

use crate::measure::JohnstoneWilson;
use serde::Serialize;

/// Which thread makes which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Threads {
    /// The stand-in of the recorded one, in the recorded order.
    #[default]
    Recorded,
    /// One makes all calls.
    One,
    /// The stand-in of the recorded one, as fast as it can: order is kept only where a block
    /// changes hands.
    Free,
}

/// One allocator's figures, or those of the recorded program.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Run {
    /// The allocator.
    pub name: String,
    /// Its settings, as they were said.
    pub settings: String,
    /// What was different from the recorded run; `None`: nothing.
    pub change: Option<String>,
    /// Its library; `None`: the C library's own.
    pub library: Option<String>,
    /// The greatest resident set.
    pub peak_rss_bytes: Option<u64>,
    /// The resident set at the last look.
    pub end_rss_bytes: Option<u64>,
    /// The part of the two that is heap.
    pub peak_heap_bytes: Option<u64>,
    /// See `peak_heap_bytes`.
    pub end_heap_bytes: Option<u64>,
    /// The greatest accessible heap.
    pub peak_mapped_bytes: Option<u64>,
    /// The resident set when live bytes had fallen from their peak; `None`: they did not.
    pub after_drop_rss_bytes: Option<u64>,
    /// The same at the last moment before they rise again.
    pub after_decay_rss_bytes: Option<u64>,
    /// 1 − heap after the drop / peak heap.
    pub returned_ratio: Option<f64>,
    /// Mean of (heap − live) / live over time.
    pub mean_fragmentation_ratio: Option<f64>,
    /// The greatest of them.
    pub worst_fragmentation_ratio: Option<f64>,
    /// Johnstone and Wilson's four, of memory that is resident.
    pub johnstone_wilson: JohnstoneWilson,
    /// Calls of the allocator.
    pub calls: Option<u64>,
    /// Calls in a second of time in the allocator.
    pub calls_per_second: Option<u64>,
    /// Time in the allocator.
    pub alloc_time_ns: Option<u64>,
    /// Calls of all threads in a second of the run, with writing to the blocks; `None` where threads
    /// took turns.
    pub throughput_calls_per_second: Option<u64>,
    /// Time that the run took, with writing to the blocks.
    pub run_time_ns: Option<u64>,
    /// Page faults.
    pub faults: Option<u64>,
    /// System calls of the allocator's, by the program's threads.
    pub system_calls: Option<u64>,
    /// Why there are no figures, or not all.
    pub error: Option<String>,
    /// The resident set over time, for the picture: time and bytes.
    #[serde(skip)]
    pub curve: Vec<(u64, u64)>,
}

/// All runs of one trace.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Shootout {
    /// What the program had.
    pub recorded: Run,
    /// By how much running the recorded allocator again misses the recorded figures: the greater
    /// of the two errors of peak and end. `None`: it is not here.
    pub error_ratio: Option<f64>,
    /// The row of `allocators` that is the recorded one.
    pub reproduced: Option<usize>,
    /// How threads were run.
    pub threads: Threads,
    /// Processors that they had; `None`: it is not known.
    pub processors: Option<u64>,
    /// Where the ring went round, when the first event was that is left and was run again, in
    /// nanoseconds since the start.
    pub kept_from_ns: Option<u64>,
    /// What was tried.
    pub allocators: Vec<Run>,
    /// What follows.
    pub verdict: String,
    /// Allocators that are not here, and how they come.
    pub missing: Vec<String>,
}

impl Shootout {
    /// Says what follows from the runs.
    pub fn conclude(&mut self) {
        let again = self.reproduced.and_then(|index| self.allocators.get(index));
        let again = again.filter(|_| self.threads == Threads::Recorded);
        self.error_ratio = again.and_then(|run| run.error_beside(&self.recorded));
        self.verdict = match self.threads {
            Threads::Free => super::contention::verdict(self),
            Threads::Recorded | Threads::One => super::verdict::verdict(self),
        };
    }
}

impl Run {
    /// As results show it: with its settings.
    pub fn shown(&self) -> String {
        let settings = self.settings.replace('+', " ");
        let words = [Some(self.name.clone()), Some(settings), self.change.clone()];
        let words: Vec<String> =
            words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }

    /// By how much this run misses another one's peak and last resident set: the greater of both.
    fn error_beside(&self, other: &Run) -> Option<f64> {
        let error = |ours: Option<u64>, theirs: Option<u64>| {
            let (ours, theirs) = (ours?, theirs.filter(|theirs| *theirs > 0)?);
            Some(ours.abs_diff(theirs) as f64 / theirs as f64)
        };
        let peak = error(self.peak_rss_bytes, other.peak_rss_bytes)?;
        Some(peak.max(error(self.end_rss_bytes, other.end_rss_bytes)?))
    }
}
