//! Thresholds, on figures made by hand.

use super::*;
use crate::measure::blame::{Blame, CallFacts, SiteFacts};
use crate::measure::{
    Analysis, HeapPart, HeapShape, State, Step, Survivors, TopBlocks, TraceFacts,
};

const SECOND: u64 = 1_000_000_000;

/// A heap of glibc that is full.
fn full() -> (Analysis, Blame, HeapShape) {
    let state = |time_ns| State {
        time_ns,
        live_bytes: 60 * MIB,
        live_blocks: 1000,
        footprint_bytes: Some(64 * MIB),
        heap_resident_bytes: Some(64 * MIB),
        pinned_waste_bytes: Some(4 * MIB),
        page_live_histogram: Some([1024; 16]),
        rss_bytes: Some(66 * MIB),
        ..State::default()
    };
    let analysis = Analysis {
        latency: None,
        trace: TraceFacts { duration_ns: 10 * SECOND, ..TraceFacts::default() },
        peak: state(5 * SECOND),
        peak_events: None,
        peak_footprint: state(5 * SECOND),
        end: state(10 * SECOND),
        series: (1..=10).map(|second| state(second * SECOND)).collect(),
        steps: Vec::new(),
        damage: Vec::new(),
    };
    let part = HeapPart {
        start: 0x5000_0000,
        live_bytes: 60 * MIB,
        resident_bytes: 64 * MIB,
        ..HeapPart::default()
    };
    let shape =
        HeapShape { glibc: true, empty_bytes: Some(0), brk: Some(part), ..HeapShape::default() };
    (analysis, Blame::default(), shape)
}

/// The same with little live from the sixth second on, `empty` of it on pages of their own.
fn drained(empty: u64) -> (Analysis, Blame, HeapShape) {
    let (mut analysis, blame, mut shape) = full();
    for state in &mut analysis.series[5..] {
        state.live_bytes = MIB;
    }
    analysis.end.live_bytes = MIB;
    analysis.end.pinned_waste_bytes = Some(63 * MIB - empty);
    shape.empty_bytes = Some(empty);
    if let Some(part) = &mut shape.brk {
        (part.empty_bytes, part.live_bytes) = (empty, MIB);
    }
    (analysis, blame, shape)
}

fn judge((analysis, blame, shape): &(Analysis, Blame, HeapShape)) -> Diagnoses {
    diagnose(&Case { analysis, blame, shape })
}

fn ids(case: &(Analysis, Blame, HeapShape)) -> Vec<&'static str> {
    judge(case).list.iter().map(|found| found.id).collect()
}

#[test]
fn severity_needs_both_bytes_and_a_part() {
    assert_eq!(Severity::of(32 * MIB, 64 * MIB), Severity::Serious);
    assert_eq!(Severity::of(32 * MIB, 65 * MIB), Severity::Warning);
    assert_eq!(Severity::of(31 * MIB, 31 * MIB), Severity::Warning);
    assert_eq!(Severity::of(8 * MIB, 32 * MIB), Severity::Warning);
    assert_eq!(Severity::of(8 * MIB, 33 * MIB), Severity::Info);
    assert_eq!(Severity::of(7 * MIB, 7 * MIB), Severity::Info);
    assert!(is_worth_a_word(4 * MIB, 80 * MIB) && !is_worth_a_word(4 * MIB, 81 * MIB));
    assert!(!is_worth_a_word(4 * MIB - 1, MIB));
}

#[test]
fn a_full_heap_has_nothing() {
    assert_eq!(judge(&full()), Diagnoses::default());
}

#[test]
fn what_cannot_be_known_is_not_concluded() {
    let why = |change: fn(&mut Analysis)| {
        let mut case = drained(0);
        change(&mut case.0);
        judge(&case).cannot_tell.expect("a reason")
    };
    assert!(why(|case| case.trace.dropped_events = 1).contains("events are missing"));
    assert!(why(|case| case.end.heap_resident_bytes = None).contains("were in memory"));
    assert!(why(|case| case.end.pinned_waste_bytes = None).contains("were in memory"));
    let small = why(|case| case.peak_footprint.footprint_bytes = Some(4 * MIB - 1));
    assert!(small.contains("never held more than 4.00 MiB"), "{small}");
    assert!(why(|case| case.end.rss_bytes = Some(400 * MIB)).contains("outside of the heap"));
}

#[test]
fn another_allocators_own_memory_is_no_illness() {
    let mut case = drained(63 * MIB);
    case.2.glibc = false;
    case.0.peak_footprint.footprint_bytes = Some(15 * MIB);
    assert!(judge(&case).cannot_tell.is_some());
}

#[test]
fn sparse_pages_are_pinned_and_the_site_is_named() {
    let mut case = drained(0);
    assert_eq!(ids(&case), ["pinned-pages"]);
    let site = |function: &str, cumulative| SiteFacts {
        site: CallFacts { function: Some(function.into()), ..CallFacts::default() },
        live_blocks: 10,
        live_bytes: MIB / 2,
        unlock_cumulative_bytes: cumulative,
        ..SiteFacts::default()
    };
    case.1.sites = vec![site("session", 40 * MIB), site("cache", 60 * MIB)];
    let found = judge(&case).list.remove(0);
    assert_eq!((found.bytes, found.severity), (40 * MIB - MIB / 2, Severity::Serious));
    assert!(found.title.contains("session") && !found.title.contains("cache"));
    assert!(
        found.remedy.ends_with("fragtrace shootout TRACE --pool 'session'"),
        "{}",
        found.remedy
    );
    case.1.sites[0].unlock_cumulative_bytes = 20 * MIB;
    assert_eq!(judge(&case).list[0].bytes, 59 * MIB, "it takes both");
}

#[test]
fn what_fell_only_at_the_end_is_the_programs_own_clearing_up() {
    let mut case = drained(0);
    case.0.series.iter_mut().take(9).for_each(|state| state.live_bytes = 60 * MIB);
    assert_eq!(ids(&case), [""; 0]);
}

#[test]
fn empty_pages_after_a_burst_are_retained() {
    let mut case = drained(40 * MIB);
    case.0.end.pinned_waste_bytes = Some(0);
    assert_eq!(ids(&case), ["retained-after-burst"]);
    let remedy = &judge(&case).list[0].remedy;
    assert!(remedy.ends_with("fragtrace shootout TRACE"), "{remedy}");
    case.0.end.live_bytes = 31 * MIB;
    assert_eq!(ids(&case), [""; 0], "more than half is still in use");
}

#[test]
fn a_reserve_that_is_filled_again_is_worth_knowing_only() {
    let mut case = drained(40 * MIB);
    case.0.end.pinned_waste_bytes = Some(0);
    for (index, state) in case.0.series[..9].iter_mut().enumerate() {
        state.live_bytes = if index % 2 == 0 { 60 * MIB } else { MIB };
    }
    let found = judge(&case);
    assert!(found.list.iter().all(|found| found.severity == Severity::Info), "{found:?}");
}

#[test]
fn small_chunks_hold_pages_if_there_is_one_for_each_64_kib() {
    let mut case = drained(40 * MIB);
    case.0.end.pinned_waste_bytes = Some(0);
    case.2.reclaim.fast_chunks = 640;
    assert_eq!(ids(&case), ["cached-free-chunks"]);
    case.2.reclaim.fast_chunks = 639;
    assert_eq!(ids(&case), ["retained-after-burst"]);
    case.2.reclaim.fast_chunks = 640;
    case.0.trace.allocator_env = vec!["GLIBC_TUNABLES=glibc.malloc.mxfast=0".into()];
    assert_eq!(ids(&case), ["retained-after-burst"], "no fast bins");
}

#[test]
fn blocks_at_the_end_hold_what_lies_right_below() {
    let mut case = drained(40 * MIB);
    case.0.end.pinned_waste_bytes = Some(0);
    let site = CallFacts { function: Some("log_line".into()), ..CallFacts::default() };
    let top = TopBlocks { blocks: 1, below_bytes: 38 * MIB, site, ..TopBlocks::default() };
    case.2.top = Some(top.clone());
    let found = judge(&case).list;
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), ["top-pinned"]);
    assert!(found[0].title.contains("log_line"), "{}", found[0].title);
    case.2.top = Some(TopBlocks { below_bytes: 19 * MIB, ..top });
    assert_eq!(ids(&case), ["retained-after-burst"], "less than half is there");
}

#[test]
fn free_memory_in_four_arenas_is_proliferation() {
    let mut case = drained(60 * MIB);
    case.0.end.pinned_waste_bytes = Some(0);
    let heap = |live_bytes, first_heap| HeapPart {
        live_bytes,
        first_heap,
        resident_bytes: 12 * MIB,
        empty_bytes: 11 * MIB,
        ..HeapPart::default()
    };
    case.2.brk = None;
    let arenas = |live_bytes, count: u64| (0..count).map(|at| heap(live_bytes, at)).collect();
    case.2.arenas = arenas(3 * MIB, 4);
    let found = judge(&case).list.remove(0);
    assert_eq!((found.id, found.bytes), ("arena-proliferation", 44 * MIB));
    assert!(found.remedy.contains("malloc_trim") && !found.remedy.contains("ARENA_MAX"));
    assert!(found.explanation.contains("were live at once"), "{}", found.explanation);
    case.0.peak.live_bytes = 42 * MIB;
    let found = judge(&case).list.remove(0);
    assert_eq!(found.id, "arena-proliferation");
    assert!(found.remedy.contains("MALLOC_ARENA_MAX=2"), "{}", found.remedy);
    assert!(!found.explanation.contains("were live at once"), "22 MiB could be spared");
    case.2.arenas = arenas(3 * MIB, 3);
    assert_eq!(ids(&case), ["retained-after-burst"], "three are not many");
    case.2.arenas = vec![heap(3 * MIB, 0); 4];
    assert_eq!(ids(&case), ["retained-after-burst"], "all four are heaps of one arena");
    case.2.arenas = arenas(3 * MIB + 1, 4);
    assert_eq!(ids(&case), ["retained-after-burst"], "more than a quarter is live");
}

#[test]
fn growth_despite_fit_must_be_half_of_the_heap_and_idle() {
    let mut case = drained(0);
    case.0.end.page_live_histogram = Some([4096; 16]);
    (case.0.end.high_water_bytes, case.0.end.growth_despite_fit_count) = (Some(64 * MIB), Some(8));
    case.0.end.growth_despite_fit_bytes = Some(32 * MIB);
    case.2.usage.grown_beside_bytes = 32 * MIB;
    assert_eq!(ids(&case), ["address-growth"]);
    case.0.end.growth_despite_fit_bytes = Some(32 * MIB - 1);
    assert_eq!(ids(&case), [""; 0]);
    case.0.end.growth_despite_fit_bytes = Some(64 * MIB);
    case.2.usage.grown_beside_bytes = 32 * MIB - 1;
    assert_eq!(ids(&case), [""; 0], "few holes were there for all of the growth");
    case.2.usage.grown_beside_bytes = 32 * MIB;
    (case.0.end.growth_despite_fit_bytes, case.0.end.growth_despite_fit_count) =
        (Some(32 * MIB), Some(7));
    assert_eq!(ids(&case), [""; 0]);
}

#[test]
fn a_heap_that_outgrew_what_was_ever_live_was_no_burst() {
    let mut case = drained(63 * MIB);
    (case.0.end.high_water_bytes, case.0.end.growth_despite_fit_count) = (Some(64 * MIB), Some(60));
    case.0.end.growth_despite_fit_bytes = Some(63 * MIB);
    case.2.usage.grown_beside_bytes = 62 * MIB;
    assert_eq!(ids(&case)[0], "retained-after-burst", "all of it was live at once");
    case.0.peak.live_bytes = 2 * MIB;
    assert_eq!(ids(&case), ["address-growth"]);
    case.0.end.growth_despite_fit_bytes = Some(31 * MIB);
    assert!(!ids(&case).contains(&"address-growth"), "less than half of the heap came so");
}

#[test]
fn slop_counts_from_a_quarter_on() {
    let mut case = full();
    case.0.end.usable_bytes = Some(80 * MIB);
    assert_eq!(ids(&case), ["size-class-slop"]);
    case.0.end.usable_bytes = Some(79 * MIB);
    assert_eq!(ids(&case), [""; 0]);
}

#[test]
fn memory_given_back_lazily_is_no_illness() {
    let mut case = full();
    case.0.end.lazyfree_bytes = Some(60 * MIB);
    let found = judge(&case).list.remove(0);
    assert_eq!((found.id, found.severity), ("lazy-free", Severity::Info));
}

#[test]
fn huge_pages_hold_what_no_block_ever_used() {
    let mut case = full();
    case.2.never_used_bytes = Some(40 * MIB);
    case.2.empty_bytes = Some(40 * MIB);
    assert_eq!(ids(&case), [""; 0], "whether there are huge pages is not known");
    // A part of one was given back, and so it is none any more.
    (case.0.series[4].huge_bytes, case.0.end.huge_bytes) = (Some(34 * MIB), Some(20 * MIB));
    let found = judge(&case).list.remove(0);
    assert_eq!((found.id, found.bytes), ("huge-page-bloat", 34 * MIB));
}

/// Bursts whose blocks keep `bytes` each, beside what else is wrong.
fn with_stairs(case: &mut (Analysis, Blame, HeapShape), bytes: u64) {
    let step = Step { bytes, live_peak_bytes: bytes, ..Step::default() };
    case.0.steps = vec![step; 3];
    case.2.survivors = vec![Survivors { blocks: 1, ..Survivors::default() }; 3];
}

#[test]
fn what_one_finding_explains_is_not_at_stake_for_another() {
    let mut case = drained(0);
    with_stairs(&mut case, 21 * MIB);
    let found = judge(&case).list;
    let told: Vec<_> = found.iter().map(|found| (found.id, found.bytes / MIB)).collect();
    assert_eq!(told, [("pinned-pages", 63), ("rss-stairs", 0)], "of two the more specific");
    assert_eq!(found[1].severity, Severity::Info);
    assert!(found[1].explanation.contains("counted under pinned-pages"));

    let mut case = drained(40 * MIB);
    case.0.end.page_live_histogram = Some([100; 16]);
    with_stairs(&mut case, 21 * MIB);
    let told: Vec<_> =
        judge(&case).list.iter().map(|found| (found.id, found.bytes / MIB)).collect();
    assert_eq!(told, [("rss-stairs", 63)], "what explains all goes before its parts");
}

#[test]
fn arenas_whose_pages_are_pinned_are_no_proliferation() {
    let mut case = drained(0);
    case.2.brk = None;
    let heap = HeapPart { live_bytes: MIB, resident_bytes: 16 * MIB, ..HeapPart::default() };
    case.2.arenas = (0..4).map(|first_heap| HeapPart { first_heap, ..heap }).collect();
    assert_eq!(ids(&case), ["pinned-pages"]);
    case.2.arenas[0].empty_bytes = 8 * MIB;
    case.2.empty_bytes = Some(8 * MIB);
    case.0.end.pinned_waste_bytes = Some(55 * MIB);
    let told: Vec<_> =
        judge(&case).list.iter().map(|found| (found.id, found.bytes / MIB)).collect();
    assert_eq!(told, [("pinned-pages", 55), ("arena-proliferation", 8)]);
}
