//! What the server says of itself, and what the trace and its report say of the same.

use fragtrace_tests::check::{Answers, assert_near, assert_numbers};
use fragtrace_tests::checkpoint::{Checkpoints, number};
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;

pub const STEPS: [&str; 3] = ["begin", "load", "dropped"];

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

/// Live exactly, usable within 0.1 %, resident within 2 % of the kernel's.
pub fn true_at_each_step(name: &str, program: &str) {
    let steps = Checkpoints::of(name, command(program), &[]);
    // What the C library has for itself lives from the beginning on.
    let others = |key: &str| steps.of_others(key) - steps.said("begin", key);
    let (live_of_others, usable_of_others) = (others("live_bytes"), others("usable_bytes"));
    for step in STEPS {
        for state in steps.states(step) {
            let at = |key: &str| number(&state, key);
            let live = steps.said(step, "live_bytes") + live_of_others;
            let usable = steps.said(step, "usable_bytes") + usable_of_others;
            assert_near(&format!("{name}, {step}: live"), live, at("live_bytes"), 256);
            assert_near(
                &format!("{name}, {step}: usable"),
                usable,
                at("usable_bytes"),
                usable / 1000 + 256,
            );
            let resident = steps.said(step, "heap_resident_bytes");
            let slack = resident / 50 + 64 * 1024;
            let found = at("heap_resident_bytes");
            assert_near(&format!("{name}, {step}: resident"), resident, found, slack);
        }
    }
}
