//! Huge pages: what the program asked the kernel for is an event, and what the kernel gave is told
//! apart from other memory.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::command;
use fragtrace_tests::tools::skip_anyway;
use fragtrace_tests::traced::Traced;

/// From linux/mman.h.
const MADV_HUGEPAGE: u64 = 14;
const MADV_NOHUGEPAGE: u64 = 15;

#[test]
fn huge_pages_are_asked_for_in_events_and_counted_apart() {
    let traced = Traced::run_well(command(program("huge")));
    let said = Answers::of(&traced.outcome);
    if said.get("refused") != 0 {
        return skip_anyway("this kernel has no transparent huge pages");
    }
    let dump = analyze("dump", &traced.trace(), &[]).expect_code(0).out();
    for (place, advice) in [("huge_address", MADV_HUGEPAGE), ("small_address", MADV_NOHUGEPAGE)] {
        let (at, bytes) = (said.get(place), said.get("half_bytes"));
        let event = format!("\tmadvise\t{at:#x}\t{bytes}\tadvice={advice}");
        assert!(dump.lines().any(|line| line.ends_with(&event)), "no `{event}` in\n{dump}");
    }
    let report = traced.report();
    assert_numbers("advice", &[("madvises", 2, report.number("/trace/madvises"))]);
    let (given, told) = (said.get("huge_bytes"), report.number("/end/huge_bytes"));
    // The kernel makes huge pages of others later on; it takes none apart that is wholly used.
    let all = report.number("/end/rss_bytes") + report.number("/end/tracer_resident_bytes");
    assert!((given..=all).contains(&told), "{told} in huge pages, {given} before the end");
    if given == 0 {
        return skip_anyway("the kernel gave no huge page: they are off, or memory is in pieces");
    }
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    assert!(text.lines().any(|line| line.starts_with("  huge pages")), "{text}");
}
