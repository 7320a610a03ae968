//! What the trace says about the process as a whole: the `trace` object of the JSON.

use super::{Latency, State, Step};
use serde::Serialize;

/// Blocks that one thread acquired and another one freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct ThreadPair {
    /// Number of the thread that acquired them.
    pub acquired_by: u32,
    /// Number of the thread that freed them.
    pub freed_by: u32,
    /// How many.
    pub blocks: u64,
    /// What was asked for.
    pub bytes: u64,
}

/// The process, its recording and its counts. Counts are of the whole life of the process.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct TraceFacts {
    /// Process number.
    pub pid: u32,
    /// Path of the executable.
    pub exe: Option<String>,
    /// Command line, arguments joined by spaces, quoted as a shell would need.
    pub command: Option<String>,
    /// The machine's name.
    pub host: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// C library with its version.
    pub libc: Option<String>,
    /// Object whose malloc the program calls.
    pub allocator: Option<String>,
    /// Whose heap layout is known, so that events tell where its heaps are: "glibc". `None`: where
    /// the heap is follows from hooked calls, from where blocks lie, and from looks.
    pub heap_layout: Option<&'static str>,
    /// Allocators whose blocks are not in the trace, and why.
    pub unseen_allocators: Vec<String>,
    /// Environment variables that steer allocators, NAME=value.
    pub allocator_env: Vec<String>,
    /// Version of the tracer.
    pub tracer_version: Option<String>,
    /// Bytes of a page.
    pub page_size: u64,
    /// When recording began, wall-clock time.
    pub start_unix_ns: u64,
    /// From then to the last thing on record.
    pub duration_ns: u64,
    /// From when on events are kept, in nanoseconds since the start.
    pub window_start_ns: u64,
    /// The process that this one was forked by, where its trace goes on from that one's heap.
    pub forked_from: Option<u32>,
    /// When that was, in nanoseconds since the start, which is its parent's.
    pub forked_ns: Option<u64>,
    /// How the process ended: exit, _exit, signal N, exec, running or unknown.
    pub end: String,
    /// Whether the tracer saw the end.
    pub clean_exit: bool,
    /// Memory limit of the cgroup.
    pub cgroup_limit_bytes: Option<u64>,
    /// Bytes of the ring.
    pub ring_bytes: u64,
    /// Whether old events made room for new ones.
    pub wrapped: bool,
    /// The greatest live bytes before the window, as far as folding saw them.
    pub earlier_peak_live_bytes: Option<u64>,
    /// When that was.
    pub earlier_peak_live_ns: Option<u64>,
    /// The kernel's greatest resident set (VmHWM), the tracer's own pages included.
    pub rss_peak_bytes: Option<u64>,
    /// Threads seen.
    pub threads: u64,
    /// Events on record.
    pub events: u64,
    /// Calls that returned a new block.
    pub allocs: u64,
    /// Blocks that came by a wrapper of an allocator, while events are kept.
    pub wrapped_blocks: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Blocks reallocated.
    pub reallocs: u64,
    /// Mappings made.
    pub mmaps: u64,
    /// Ranges unmapped.
    pub munmaps: u64,
    /// Mappings moved or resized.
    pub mremaps: u64,
    /// Ranges advised on.
    pub madvises: u64,
    /// Times the end of the brk segment was seen to have moved.
    pub brk_changes: u64,
    /// Who freed blocks of whom, while events are kept: the pairs with most blocks.
    pub cross_thread_pairs: Vec<ThreadPair>,
    /// Events that found no room in the ring.
    pub dropped_events: u64,
    /// Acquisitions of a live address, or releases of a free one, that no order explains.
    pub order_anomalies: u64,
    /// Releases of addresses never seen to be acquired.
    pub unknown_frees: u64,
    /// Bytes of chunks used, per event.
    pub bytes_per_event: Option<f64>,
    /// Time the tracer spent off the event path (looks, chunks).
    pub tracer_cost_ns: u64,
    /// Looks at the kernel's view.
    pub looks: u64,
    /// How far the heap's extent, as events tell it, was from the kernel's mappings.
    pub drift: DriftFacts,
    /// Mappings of the process, and how many the kernel allows.
    pub mappings: MappingFacts,
}

impl TraceFacts {
    /// From the process's own beginning to the last thing on record: a child of fork begins later than
    /// the recording of its parent.
    pub fn own_time_ns(&self) -> u64 {
        self.duration_ns.saturating_sub(self.forked_ns.unwrap_or(0))
    }
}

/// What looks corrected of the heap's extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct DriftFacts {
    /// Looks that saw the kernel's mappings, since events are kept.
    pub looks: u64,
    /// Those of them that corrected something.
    pub corrected_looks: u64,
    /// The most that one of them added to the heap or took from it. `None`: there was none.
    pub most_bytes: Option<u64>,
    /// When that was.
    pub most_at_ns: Option<u64>,
    /// What they corrected in all.
    pub total_bytes: Option<u64>,
}

/// How many mappings the process had, beside how many it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct MappingFacts {
    /// The most that a look found, the tracer's left out. `None`: no look saw them.
    pub most: Option<u64>,
    /// When that was.
    pub most_at_ns: Option<u64>,
    /// The most that one look read of the list while the process ran: it stops a thread. `None`:
    /// there was no look between the first and the last.
    pub most_in_a_look: Option<u64>,
    /// vm.max_map_count of the machine: beyond it mmap, munmap and mprotect fail. Where the trace
    /// does not tell it, the kernel's default.
    pub limit: u64,
    /// Whether the trace tells it.
    pub limit_is_known: bool,
}

impl MappingFacts {
    /// What the kernel allows if nobody said otherwise (DEFAULT_MAX_MAP_COUNT, linux/mm.h).
    pub const DEFAULT_LIMIT: u64 = 65_530;

    /// Whether the most was so near the limit that the rest may not last: three quarters of it.
    pub fn is_near_limit(&self) -> bool {
        self.most.is_some_and(|most| most >= self.limit / 4 * 3)
    }
}

/// All that replaying a trace yields: what `report` shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Analysis {
    /// The process and its counts.
    pub trace: TraceFacts,
    /// When live bytes were greatest.
    pub peak: State,
    /// How many events led there. `None`: there was none, and it is the end.
    pub peak_events: Option<u64>,
    /// When the footprint was greatest.
    pub peak_footprint: State,
    /// At the end.
    pub end: State,
    /// At most 2,000 moments, evenly spread, the peaks among them.
    pub series: Vec<State>,
    /// How long the allocator took. `None`: no call was timed.
    pub latency: Option<Latency>,
    /// The steps in which the footprint grew for good, exact to the event.
    pub steps: Vec<Step>,
    /// What of the trace could not be made sense of, in words, with offsets.
    pub damage: Vec<String>,
}
