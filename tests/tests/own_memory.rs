//! What the tracer keeps in memory, by the kernel's own account of its mappings: closed chunks are
//! not there, and a thread costs its open chunk and little more.
#![forbid(unsafe_code)]

use std::fs;
use std::ops::Range;

use fragtrace_tests::programs::program;
use fragtrace_tests::run::{Signal, command};
use fragtrace_tests::traced::TracedRunning;

const KIB: u64 = 1 << 10;
/// All that the tracer maps lies here, where nobody else's mappings are.
const TRACER: Range<u64> = 0x1400_0000_0000..0x2400_0000_0000;
const CHUNK_BYTES: u64 = 64 * KIB;
/// Of each thread, beside its chunk.
const MOST_A_THREAD_BYTES: u64 = 16 * KIB;

/// Bytes of the tracer's mappings.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    /// Of the trace, all that is mapped, and what of it is in memory.
    trace_mapped: u64,
    trace_resident: u64,
    /// Memory that is in no file.
    private_resident: u64,
}

impl Own {
    fn resident(&self) -> u64 {
        self.trace_resident + self.private_resident
    }

    /// Of a running process, by /proc/PID/smaps.
    fn of(pid: u32) -> Self {
        let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process runs");
        let mut own = Self::default();
        let (mut is_ours, mut is_trace) = (false, false);
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            if !first.ends_with(':') {
                let start = first.split('-').next().expect("an address");
                let start = u64::from_str_radix(start, 16).expect("an address");
                (is_ours, is_trace) = (TRACER.contains(&start), line.ends_with(".ftr"));
                continue;
            }
            let mut kilobytes = || words.next().and_then(|value| value.parse::<u64>().ok());
            match first {
                "Size:" if is_ours && is_trace => {
                    own.trace_mapped += kilobytes().expect("a size") * KIB;
                }
                "Rss:" if is_ours => {
                    let bytes = kilobytes().expect("a size") * KIB;
                    *if is_trace { &mut own.trace_resident } else { &mut own.private_resident } +=
                        bytes;
                }
                _ => {}
            }
        }
        own
    }
}

/// The tracer's memory when so many threads have done so many pairs each.
fn with_threads(threads: u64, pairs: u64) -> Own {
    let mut busy = command(program("busy_threads"));
    busy.args([threads.to_string(), pairs.to_string()]);
    busy.envs([("FRAGTRACE_RING", "64M"), ("FRAGTRACE_LOOK_MS", "0")]);
    let mut traced = TracedRunning::start(busy);
    traced.running.wait_for("ready");
    let own = Own::of(traced.running.pid());
    traced.running.signal(Signal::KILL);
    traced.finish();
    own
}

#[test]
fn closed_chunks_are_not_in_memory() {
    // Some 8 bytes a pair, with stacks that change each time.
    let (few, many) = (with_threads(1, 20_000), with_threads(1, 2_000_000));
    let written = many.trace_mapped - few.trace_mapped;
    assert!(written > 100 * CHUNK_BYTES, "only {written} bytes more were written");
    let more = many.resident().saturating_sub(few.resident());
    assert!(more <= CHUNK_BYTES, "{written} bytes more on record, {more} more in memory: {many:?}");
}

#[test]
fn a_thread_costs_its_chunk_and_at_most_16_kib() {
    const THREADS: u64 = 40;
    // Each has a chunk that is all in memory: a full one, or nearly.
    let (one, all) = (with_threads(1, 30_000), with_threads(1 + THREADS, 30_000));
    let each = all.resident().saturating_sub(one.resident()).div_ceil(THREADS);
    let most = CHUNK_BYTES + MOST_A_THREAD_BYTES;
    assert!(each <= most, "a thread costs {each} bytes: {one:?} {all:?}");

    let private = all.private_resident.saturating_sub(one.private_resident).div_ceil(THREADS);
    assert!(private <= MOST_A_THREAD_BYTES, "{private} bytes of each thread: {one:?} {all:?}");
    println!("a thread costs {each} bytes in memory, {private} of them in no file");
}
