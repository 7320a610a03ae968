//! One call in about 1,024 is timed: an allocator that becomes slow on the way is seen to.
#![forbid(unsafe_code)]

use fragtrace_tests::programs::{library, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};

const FAST_PAIRS: u64 = 300_000;
const SLOW_PAIRS: u64 = 40_000;
const WAIT_NS: u64 = 20_000;

fn slowing_down(settings: &[(&str, &str)]) -> Traced {
    let slow = library("slow_malloc", "libslow_malloc.so", &[]);
    let mut latency = command(program("latency"));
    latency.args([FAST_PAIRS, SLOW_PAIRS, WAIT_NS].map(|number| number.to_string()));
    latency.env("LD_PRELOAD", preload_list(&[&tools::tracer(), &slow]));
    latency.envs(settings.iter().copied());
    Traced::run_well(latency)
}

/// Calls of one stretch of time: how many were timed, and what half of them took at most.
fn stretches(report: &Report) -> Vec<(u64, u64)> {
    let stretches = report.array("/latency/over_time").iter();
    let number = |stretch: &serde_json::Value, key: &str| {
        stretch[key].as_u64().unwrap_or_else(|| panic!("{key} of {stretch}"))
    };
    stretches.map(|stretch| (number(stretch, "timed"), number(stretch, "max_ns"))).collect()
}

#[test]
fn an_allocator_that_becomes_slow_is_seen_to() {
    let traced = slowing_down(&[]);
    let report = traced.report();
    report.assert_adds_up();
    let calls = 2 * (FAST_PAIRS + SLOW_PAIRS);
    let timed = report.number("/latency/calls_timed");
    assert!(
        (calls / 2048..=calls / 512).contains(&timed),
        "one call in {} was timed: {timed}",
        calls / timed.max(1)
    );
    // More pairs are fast than slow, and no free is slow.
    let of = |key: &str| report.number(&format!("/latency/{key}"));
    assert!(of("median_ns") < WAIT_NS, "the median is {}", of("median_ns"));
    assert!(of("max_ns") >= WAIT_NS, "the slowest took {}", of("max_ns"));
    assert!(of("by_call/free/median_ns") < WAIT_NS, "free: {}", of("by_call/free/median_ns"));
    // Of all mallocs about one in nine waits: more than one in a hundred.
    assert!(of("by_call/malloc/p99_ns") >= WAIT_NS, "malloc: {}", of("by_call/malloc/p99_ns"));
    // The slow ones come last, and take nearly all of the time.
    let stretches = stretches(&report);
    let all: u64 = stretches.iter().map(|(timed, _)| timed).sum();
    assert_eq!(all, of("timed"), "every call is in one stretch");
    let slow = stretches.iter().rev().take(10).filter(|(_, most)| *most >= WAIT_NS).count();
    assert!(slow >= 3, "of the last ten stretches {slow} are slow: {stretches:?}");
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    assert!(text.contains("A call of the allocator took"), "{text}");
}

/// Through a ring that goes round, what is left says so as well; and nothing else is disturbed.
#[test]
fn of_a_ring_that_went_round_the_kept_part_is_told() {
    let report = slowing_down(&[("FRAGTRACE_RING", "64K")]).report();
    report.assert_adds_up();
    assert_eq!(report.value("/trace/wrapped"), true);
    let median = report.number("/latency/by_call/malloc/median_ns");
    assert!(median >= WAIT_NS, "all that is kept was slow: {median}");
}
