//! The trace of a process that runs and wraps can be read at any moment: what it says is whole,
//! and never less than it said before.
//!
//! FRAGTRACE_SOAK_READINGS says how often each process is read; 5 times unless told.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fragtrace_tests::check::assert_near;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Running, Signal, command};
use fragtrace_tests::tools;
use fragtrace_tests::victim::{Victim, wait_until_wrapped};

/// What can only grow while a process runs.
const COUNTS: [&str; 7] = [
    "/trace/allocs",
    "/trace/frees",
    "/trace/reallocs",
    "/trace/threads",
    "/trace/events",
    "/trace/looks",
    "/trace/duration_ns",
];
/// Between two readings.
const PAUSE: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads again and again; `check` gets each report.
fn assert_readable(claim: &str, trace: &Path, check: impl Fn(&str, &Report)) {
    wait_until_wrapped(trace);
    let mut before = [0; COUNTS.len()];
    for reading in 1..=tools::soak("FRAGTRACE_SOAK_READINGS", 5) {
        let claim = format!("{claim}, reading {reading}");
        // An exit status other than 0 is a failure here.
        let report = Report::of(trace);
        for key in ["/trace/order_anomalies", "/trace/unknown_frees", "/trace/dropped_events"] {
            assert_eq!(report.number(key), 0, "{claim}: {key}");
        }
        assert_eq!(report.text("/trace/end"), "running", "{claim}");
        assert_eq!(report.value("/trace/wrapped").as_bool(), Some(true), "{claim}");
        let now = COUNTS.map(|key| report.number(key));
        for (key, (before, now)) in COUNTS.iter().zip(before.iter().zip(now)) {
            assert!(*before <= now, "{claim}: {key} fell from {before} to {now}");
        }
        check(&claim, &report);
        before = now;
        sleep(PAUSE);
    }
}

/// Threads that hand blocks over to each other: what one of them acquires another frees.
fn assert_handovers_readable(threads: u64, ring: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let trace = folder.path().join("wrap.ftr");
    let mut wrap = command(program("wrap"));
    wrap.args([threads.to_string(), i64::MAX.to_string()]);
    wrap.env("LD_PRELOAD", tools::tracer()).env("FRAGTRACE_OUT", &trace);
    wrap.env("FRAGTRACE_RING", ring);
    let running = Running::start(&mut wrap);
    // Its own places for blocks, the blocks under way, and those that the C library takes.
    let most = 2048 * threads + 4096 + 4 * threads;
    assert_readable(&format!("{threads} threads, ring {ring}"), &trace, |claim, report| {
        let live = report.number("/end/live_blocks");
        assert!(live <= most, "{claim}: {live} blocks live, more than {most}");
        let acquired = report.number("/trace/allocs") - report.number("/trace/frees");
        // But for the call under way on each thread, and events so close that the moment of the
        // reading cuts them in half.
        assert_near(claim, acquired, live, 2 * threads);
    });
    running.signal(Signal::KILL);
    running.finish();
}

#[test]
fn two_threads_through_a_small_ring() {
    assert_handovers_readable(2, "64K");
}

#[test]
fn two_threads_through_a_larger_ring() {
    assert_handovers_readable(2, "1M");
}

#[test]
fn eight_threads_through_a_small_ring() {
    assert_handovers_readable(8, "64K");
}

#[test]
fn eight_threads_through_a_larger_ring() {
    assert_handovers_readable(8, "1M");
}

/// A process that is stopped in the middle of whatever it did: its account stands still.
#[test]
fn a_process_that_stands_still_is_read_exactly() {
    for seed in 0..tools::soak("FRAGTRACE_SOAK_READINGS", 5) {
        let (threads, ring) = [(2, "64K"), (8, "64K"), (2, "1M"), (8, "1M")][seed % 4];
        let victim = Victim::new(format!("{threads} threads stopped, ring {ring}"), threads);
        let running = Running::start(&mut victim.command(seed, ring));
        victim.wait_until_at_work();
        wait_until_wrapped(&victim.trace());
        running.signal(Signal::STOP);
        wait_until_stopped(running.pid());
        let report = victim.assert_exact();
        assert_eq!(report.text("/trace/end"), "running", "{}", victim.claim);
        running.signal(Signal::KILL);
        running.finish();
    }
}

/// All threads of it: the state of the process is only that of the first one.
fn wait_until_stopped(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    let is_stopped = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The name of the thread stands in brackets before its state.
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    };
    loop {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
        if tasks.flatten().all(is_stopped) {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} does not stop");
        sleep(Duration::from_millis(1));
    }
}
