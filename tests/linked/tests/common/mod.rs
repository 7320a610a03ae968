//! What the server says of itself, and what the trace and its report say of the same.

use std::path::Path;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::checkpoint::{Checkpoints, number};
use fragtrace_tests::idle::idle_like_the_tracer;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, run_at_fixed_addresses};
use fragtrace_tests::victim::THREAD_BLOCK_BYTES;

const STEPS: [&str; 4] = ["begin", "load", "dropped", "after_12_s"];

/// What the events say of the allocator's own blocks, and not of the C library's.
#[derive(Default)]
pub struct Account {
    pub allocs: u64,
    pub frees: u64,
    pub reallocs: u64,
}

impl Account {
    /// From the listing of a trace; the C library's blocks lie in `libc`.
    pub fn of(listing: &str, libc: std::ops::Range<u64>) -> Account {
        let mut account = Account::default();
        for line in listing.lines() {
            let mut fields = line.split('\t').skip(2);
            let (Some(event), Some(address)) = (fields.next(), fields.next()) else { continue };
            let address = address.trim_start_matches("0x");
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            if libc.contains(&address) {
                continue;
            }
            match event {
                "alloc" => account.allocs += 1,
                "free" => account.frees += 1,
                "realloc-from" => account.reallocs += 1,
                _ => {}
            }
        }
        account
    }
}

/// Every call on record, and none twice; every figure as the program knows it.
pub fn seen_exactly(name: &str, program: &str, hooked: bool) {
    let traced = Traced::run_well(command(program));
    let said = Answers::of(&traced.outcome);
    let libc = said.get("begin.program")..said.get("dropped.heap_end");
    let listing = analyze("dump", &traced.trace(), &[]).expect_code(0).out();
    let account = Account::of(&listing, libc);
    assert_numbers(
        name,
        &[
            ("allocs", said.get("exit.allocs"), account.allocs),
            ("frees", said.get("exit.frees"), account.frees),
            ("reallocs", said.get("exit.reallocs"), account.reallocs),
        ],
    );
    let report = traced.report();
    assert_numbers(
        name,
        &[
            ("dropped events", 0, report.number("/trace/dropped_events")),
            ("unknown frees", 0, report.number("/trace/unknown_frees")),
            ("anomalies", 0, report.number("/trace/order_anomalies")),
        ],
    );
    let allocator = report.text("/trace/allocator");
    assert_eq!(allocator.contains("linked in as"), hooked, "{allocator}");
}

/// A run of the server that is looked at under load, after the drop, and after doing nothing for twelve
/// seconds.
pub struct Resting<'a> {
    pub name: &'a str,
    pub program: &'a Path,
    /// jemalloc's own.
    pub settings: &'a str,
    /// Blocks of the C library's for threads that the allocator starts.
    pub of_threads_bytes: u64,
}

impl<'a> Resting<'a> {
    pub fn new(name: &'a str, program: &'a Path) -> Self {
        Resting { name, program, settings: "", of_threads_bytes: 256 }
    }

    /// On jemalloc, with threads that give back what is not used for a while, or without.
    pub fn on_jemalloc(name: &'a str, program: &'a Path, background: bool) -> Self {
        let (settings, of_threads_bytes) = match background {
            true => ("background_thread:true", 256 + 2 * THREAD_BLOCK_BYTES),
            false => ("background_thread:false", 256),
        };
        Resting { name, program, settings, of_threads_bytes }
    }

    /// Asserts what is true at each step. Whether the allocator was asked for figures of its own.
    fn is_true_at_each_step(&self) -> bool {
        let name = format!("{} {}", self.name, self.settings);
        let mut line = command(self.program);
        line.arg("rest");
        let steps = Checkpoints::of(&name, line, &[("_RJEM_MALLOC_CONF", self.settings)]);
        let mut figures = 0;
        for step in STEPS {
            figures += steps.assert_true_at(step, self.of_threads_bytes);
            let said = |key| steps.said(step, key);
            let found = number(&steps.states(step)[0], "heap_resident_bytes");
            println!(
                "{name}, {step}: live {}, usable {}, resident {} by the kernel, {found} by the report",
                said("live_bytes"),
                said("usable_bytes"),
                said("heap_resident_bytes"),
            );
        }
        figures > 0
    }
}

/// Live exactly, usable within 0.1 %, resident within 2 % of the kernel's, at each step of all runs:
/// at once, as they sleep most of the time. Which of them were asked for figures of their own.
pub fn true_at_each_step(runs: &[Resting<'_>]) -> Vec<bool> {
    std::thread::scope(|scope| {
        let started: Vec<_> =
            runs.iter().map(|run| scope.spawn(|| run.is_true_at_each_step())).collect();
        started.into_iter().map(|run| run.join().expect("figures that are true")).collect()
    })
}

/// What the last lines say, under a library that does nothing and under the tracer: the same, with
/// looks as often as can be, in which jemalloc is asked for its figures.
///
/// The loader keeps what it knows of libraries in pages of its own: one more of these, for a longer
/// path or table, and all that is mapped later lies a page lower. Whether the two libraries need as
/// many depends on what else is there; so it is enough that places are the same with one of some
/// lengths of its search path. What the tracer itself would move would be moved with each.
pub fn at_the_same_places(program: &str, key: &str, settings: &[&str]) {
    let mut all = Vec::new();
    for length in [1, 500, 1000, 2000, 3000] {
        let path = format!("LD_LIBRARY_PATH=/{}", "x".repeat(length));
        let settings: Vec<_> =
            settings.iter().copied().chain(["FRAGTRACE_LOOK_MS=1", path.as_str()]).collect();
        let at = |preload: &Path| {
            let outcome = run_at_fixed_addresses(preload, &settings, Path::new(program), &[])?;
            Some(Answers::of(&outcome).get(key))
        };
        let Some(expected) = at(&idle_like_the_tracer()) else { return };
        let found = at(&tools::tracer());
        if found == Some(expected) {
            return;
        }
        all.push((expected, found));
    }
    panic!("{program}: {key} differ: {all:?}");
}

/// Purging goes by time, and so does then what is used again.
pub const NO_DECAY: &str = "_RJEM_MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1";
