//! What the report says of the process's mappings: how many there were beside how many there may
//! be, and how far the heap's extent was from them as events told it.
#![forbid(unsafe_code)]

use std::fs;

use fragtrace_tests::check::{Answers, assert_near, assert_numbers};
use fragtrace_tests::checkpoint::{Checkpoints, number};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools::skip_anyway;
use fragtrace_tests::traced::Traced;

const PAGE: u64 = 4096;
/// Looks list no more than twice the kernel's default.
const MOST_LISTED: u64 = 100_000;
/// A look reads no more of a list that is longer.
const MOST_IN_A_LOOK: u64 = 1000;

fn with_mappings(count: u64) -> (Report, String) {
    let mut many = command(program("many_mappings"));
    many.arg(count.to_string());
    let traced = Traced::run_well(many);
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    (traced.report(), text)
}

#[test]
fn it_is_said_when_the_mappings_come_near_what_the_kernel_allows() {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").expect("Linux tells it");
    let limit: u64 = limit.trim().parse().expect("a number");
    let (few, text) = with_mappings(100);
    assert_numbers("the limit", &[("of this machine", limit, few.number("/trace/mappings/limit"))]);
    assert_eq!(few.value("/trace/mappings/limit_is_known"), true);
    let most = few.number("/trace/mappings/most");
    assert!((100..1000).contains(&most), "{most} mappings");
    assert!(!text.contains("max_map_count"), "{text}");

    let many = limit / 5 * 4;
    if many > MOST_LISTED {
        return skip_anyway("this machine allows more mappings than looks list");
    }
    let (report, text) = with_mappings(many);
    let most = report.number("/trace/mappings/most");
    assert!((many..limit).contains(&most), "{most} mappings, {many} made");
    let words = text.replace('\n', " ");
    assert!(words.contains("that this machine allows (vm.max_map_count)"), "{text}");
    assert!(words.contains("sysctl vm.max_map_count="), "{text}");
}

/// Kernels from 6.11 on tell of single mappings; before, the list is read whole.
fn tells_single_mappings() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux tells it");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next()) >= (6, 11)
}

/// However many mappings there are, a look reads no more than some; and what the report makes of the
/// parts is what the kernel says of the heap and of the list.
#[test]
fn twenty_thousand_mappings_are_read_part_by_part() {
    const MAPPINGS: u64 = 20_000;
    let mut crowd = command(program("crowd"));
    crowd.arg(MAPPINGS.to_string());
    let run = Checkpoints::of("a crowd of mappings", crowd, &[]);
    let most = run.report.number("/trace/mappings/most_in_a_look");
    if tells_single_mappings() {
        assert!(most <= MOST_IN_A_LOOK, "{most} mappings read at a look");
    }
    let said = |key: &str| run.said("trimmed", key);
    assert!(said("mappings") > MAPPINGS, "{} mappings", said("mappings"));
    for state in run.states("trimmed") {
        for age in ["region_count_age_ns", "residency_age_ns"] {
            assert!(run.is_since_rest("trimmed", &state, age), "{age}: {}", state[age]);
        }
        let near = |key: &str, hundredth: u64| {
            assert_near(key, said(key), number(&state, key), said(key) / 100 * hundredth);
        };
        assert_numbers(
            "the list",
            &[("is whole", said("mappings"), number(&state, "region_count"))],
        );
        near("heap_mapped_bytes", 1);
        near("heap_resident_bytes", 2);
    }
}

/// Without looks between the first and the last, all of the heap's growth is told by its blocks;
/// what is accessible behind the last of them, the last look adds.
#[test]
fn the_drift_is_what_the_heap_has_behind_its_last_block() {
    let mut extent = command(program("extent"));
    extent.env("FRAGTRACE_LOOK_MS", "0");
    let traced = Traced::run_well(extent);
    let (said, report) = (Answers::of(&traced.outcome), traced.report());
    let expected = said.get("heap_end") - said.get("last_block_end").next_multiple_of(PAGE);
    let drift = |key: &str| report.number(&format!("/trace/drift/{key}"));
    assert_numbers(
        "the last look",
        &[
            ("looks", 2, drift("looks")),
            ("drift_bytes at the end", expected, report.number("/end/drift_bytes")),
            ("before", 0, report.number("/peak/drift_bytes")),
            ("most_bytes", expected, drift("most_bytes")),
            ("total_bytes", expected, drift("total_bytes")),
            ("corrected", u64::from(expected > 0), drift("corrected_looks")),
        ],
    );
    assert!(expected > 0, "glibc's top is behind the last block");
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out().replace('\n', " ");
    assert!(text.contains("corrected the heap's extent as events had told it"), "{text}");
}
