//! Programs with one illness each, and the same programs cured: what the report says of them.
#![forbid(unsafe_code)]

use fragtrace_tests::check::Answers;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};
use serde_json::Value;

/// Names of misuse.c; the others are of illness.c.
const MISUSES: [&str; 6] = [
    "cross-thread-free",
    "realloc-ladder",
    "churn",
    "purge-churn",
    "threshold-ratchet",
    "lazy-free",
];
fn run(name: &str, how: &str) -> Traced {
    let mut line = command(program(if MISUSES.contains(&name) { "misuse" } else { "illness" }));
    line.args([name, how]);
    Traced::run_well(line)
}

fn ill(name: &str) -> Traced {
    run(name, "ill")
}

fn cured(name: &str) -> Traced {
    run(name, "cured")
}

/// Ids of findings that are more than worth knowing.
fn grave(report: &Report) -> Vec<&str> {
    let list = report.array("/diagnoses").iter();
    let grave = list.filter(|found| found["severity"] != "info");
    grave.filter_map(|found| found["id"].as_str()).collect()
}

/// The only grave finding, which must be this one.
#[track_caller]
fn only<'a>(report: &'a Report, id: &str) -> &'a Value {
    assert_eq!(grave(report), [id], "{:#}", report.value("/diagnoses"));
    &report.array("/diagnoses")[0]
}

/// What the sick program holds above what the cured one does, within a fifth.
#[track_caller]
fn assert_at_stake(found: &Value, sick: &Report, well: &Report) {
    let resident = |report: &Report| report.number("/end/heap_resident_bytes");
    let measured = resident(sick) - resident(well);
    let said = found["bytes"].as_u64().expect("bytes");
    assert!(
        said.abs_diff(measured) <= measured / 5,
        "said {said} would come back; the cured program holds {measured} less"
    );
}

fn site(found: &Value) -> Option<&str> {
    let evidence = &found["evidence"];
    let first = evidence.pointer("/sites/0").or(evidence.get("site"))?;
    first["function"].as_str()
}

#[track_caller]
fn told_apart(name: &str, function: Option<&str>) {
    let (sick, well) = (ill(name).report(), cured(name).report());
    let found = only(&sick, name);
    assert_eq!(site(found), function, "{found:#}");
    assert_eq!(grave(&well), [""; 0], "{:#}", well.value("/diagnoses"));
    assert_at_stake(found, &sick, &well);
}

#[test]
fn sessions_among_requests_pin_their_pages() {
    told_apart("pinned-pages", Some("open_session"));
}

#[test]
fn a_burst_that_is_over_is_retained() {
    told_apart("retained-after-burst", Some("begin_request"));
}

#[test]
fn small_freed_chunks_hold_what_lies_between_them() {
    told_apart("cached-free-chunks", Some("begin_request"));
}

#[test]
fn a_buffer_at_the_end_holds_the_heap() {
    told_apart("top-pinned", Some("take_log_buffer"));
}

#[test]
fn a_small_hole_that_is_always_there_is_no_address_growth() {
    let report = ill("pinned-arenas").report();
    let found: Vec<&str> =
        report.array("/diagnoses").iter().filter_map(|found| found["id"].as_str()).collect();
    assert!(found.contains(&"pinned-pages"), "{:#}", report.value("/diagnoses"));
    assert!(!found.contains(&"address-growth"), "{:#}", report.value("/diagnoses"));
    // That it is not for want of such growth.
    let growth = report.number("/end/growth_despite_fit_bytes");
    assert!(growth >= report.number("/end/high_water_bytes") / 2, "{growth}");
}

#[test]
fn entries_that_are_never_removed_leak() {
    let (sick, well) = (ill("leak").report(), cured("leak").report());
    let found = only(&sick, "leak");
    assert_eq!(site(found), Some("remember"), "{found:#}");
    assert_eq!(found["severity"], "serious");
    assert_eq!(grave(&well), [""; 0], "{:#}", well.value("/diagnoses"));
    let info: Vec<&str> =
        well.array("/diagnoses").iter().filter_map(|found| found["id"].as_str()).collect();
    assert_eq!(info, ["cache-growth"], "with a bound it is a cache");
}

#[test]
fn jobs_that_come_faster_than_they_are_done_are_told_of() {
    let sick = ill("backlog").report();
    let found = only(&sick, "leak");
    assert_eq!(site(found), Some("remember"), "{found:#}");
    assert_eq!(found["severity"], "warning");
    let title = found["title"].as_str().unwrap_or_default();
    assert!(title.contains("come faster than they are freed"), "{title}");
    for report in [cured("backlog").report(), run("backlog", "near").report()] {
        assert_eq!(grave(&report), [""; 0], "{:#}", report.value("/diagnoses"));
    }
}

#[test]
fn tiny_blocks_waste_what_rounding_adds() {
    told_apart("size-class-slop", Some("make_node"));
}

#[test]
fn arenas_of_many_threads_hold_what_one_would_not() {
    told_apart("arena-proliferation", Some("begin_request"));
}

/// Of illness.c: bursts of 10 MiB each, in blocks of these sizes; every third block stays, and
/// half a second passes after each.
const BURST_BYTES: u64 = 10 << 20;
const BURST_SIZES: [u64; 5] = [1000, 2300, 5200, 12000, 27000];
const BETWEEN_BURSTS_NS: u64 = 500_000_000;

#[test]
fn bursts_that_leave_survivors_are_stairs() {
    let (sick, well) = (ill("rss-stairs").report(), cured("rss-stairs").report());
    let found = &sick.array("/diagnoses")[0];
    assert_eq!(found["id"], "rss-stairs", "{:#}", sick.value("/diagnoses"));
    assert_ne!(found["severity"], "info");
    assert_eq!(site(found), Some("open_long_session"), "{found:#}");
    let jumps = found["evidence"]["jumps"].as_array().expect("jumps");
    assert_eq!(jumps.len(), BURST_SIZES.len(), "{found:#}");
    let number = |jump: &Value, key: &str| jump[key].as_u64().expect("a number");
    for (jump, size) in jumps.iter().zip(BURST_SIZES) {
        // A header of 8 bytes a block, rounded to 16, and what one block in a hole saves.
        let bytes = number(jump, "bytes");
        assert!(bytes.abs_diff(BURST_BYTES) <= BURST_BYTES / 20, "{size}: {jump:#}");
        assert_eq!(number(jump, "survivor_blocks"), BURST_BYTES / size / 3, "{size}: {jump:#}");
        assert_eq!(jump["survivor_site"]["function"], "open_long_session");
        assert!(number(jump, "start_ns") <= number(jump, "time_ns"));
        assert!(number(jump, "time_ns") <= number(jump, "end_ns"));
    }
    for pair in jumps.windows(2) {
        let pause = number(&pair[1], "start_ns").max(number(&pair[0], "end_ns"));
        assert!(number(&pair[1], "time_ns") - number(&pair[0], "end_ns") >= BETWEEN_BURSTS_NS);
        assert!(pause < number(&pair[1], "time_ns"), "a burst lies behind its pause");
    }
    let not = well.array("/diagnoses").iter().all(|found| found["id"] != "rss-stairs");
    assert!(not, "{:#}", well.value("/diagnoses"));
    assert_eq!(grave(&well), [""; 0], "{:#}", well.value("/diagnoses"));
}

/// All is freed in the end: what the heap was like before that is judged.
#[test]
fn the_stairs_of_a_service_that_was_told_to_stop_are_those_of_one_that_goes_on() {
    let (on, stopped) = (ill("rss-stairs").report(), run("rss-stairs", "stopping"));
    let report = stopped.report();
    assert!(report.number("/end/live_bytes") < 1 << 20, "all is freed");
    let at_ns = report.number("/judged_at_ns");
    let length_ns = report.number("/trace/duration_ns");
    assert!(at_ns < length_ns && at_ns > length_ns * 9 / 10, "{at_ns} of {length_ns}");
    assert!(on.value("/judged_at_ns").is_null());
    let [found, stopped_found] = [&on, &report].map(|report| &report.array("/diagnoses")[0]);
    assert_eq!(stopped_found["id"], "rss-stairs", "{:#}", report.value("/diagnoses"));
    assert_eq!(stopped_found["severity"], found["severity"]);
    assert_eq!(site(stopped_found), Some("open_long_session"), "{stopped_found:#}");
    let bytes = |found: &Value| found["bytes"].as_u64().expect("bytes");
    assert!(bytes(found).abs_diff(bytes(stopped_found)) <= bytes(found) / 20);
    let text = analyze("report", &stopped.trace(), &[]).expect_code(0).out();
    assert!(text.contains("then the program freed what it had, and exited"), "{text}");
    let well = run("rss-stairs", "cured").report();
    assert_eq!(grave(&well), [""; 0], "{:#}", well.value("/diagnoses"));
}

/// Memory on huge pages of which next to nothing is used, where the kernel gives any.
#[test]
fn huge_pages_for_little_are_told_by_what_the_kernel_gave() {
    for (how, settings) in [
        ("ill", "thp:always,narenas:64"),
        ("cured", "thp:never,narenas:64"),
        ("near", "thp:always,narenas:64"),
    ] {
        let mut line = command(program("misuse"));
        line.args(["huge-page-bloat", how]).env("MALLOC_CONF", settings);
        let library = std::path::Path::new("libjemalloc.so.2");
        line.env("LD_PRELOAD", preload_list(&[&tools::tracer(), library]));
        let traced = Traced::run_well(line);
        let huge_bytes = Answers::of(&traced.outcome).get("huge_bytes");
        let report = traced.report();
        // 24 arenas of two huge pages each; with half of them it would still be grave.
        let is_ill = how == "ill" && huge_bytes >= 64 << 20;
        println!("{how}: {huge_bytes} on huge pages");
        let expected: &[&str] = if is_ill { &["huge-page-bloat"] } else { &[] };
        assert_eq!(grave(&report), expected, "{how}: {:#}", report.value("/diagnoses"));
        if is_ill {
            // Without huge pages the heap would hold what is live, and what arenas begin with.
            let held = report.number("/end/heap_resident_bytes");
            let measured = held - report.number("/end/live_bytes") - (5 << 20);
            let said = report.number("/diagnoses/0/bytes");
            assert!(said.abs_diff(measured) <= measured / 5, "said {said}, measured {measured}");
        }
    }
}

#[test]
fn results_that_another_thread_frees_are_stranded() {
    told_apart("cross-thread-free", Some("make_result"));
}

#[test]
fn columns_that_grow_in_steps_leave_holes() {
    told_apart("realloc-ladder", Some("grow_column"));
}

#[test]
fn a_freed_mapping_that_raises_thresholds_keeps_what_follows() {
    told_apart("threshold-ratchet", Some("read_configuration"));
}

#[test]
fn a_buffer_for_each_line_is_churn() {
    costs_time("churn", "begin_line");
}

#[test]
fn a_mapping_for_each_picture_is_purge_churn() {
    costs_time("purge-churn", "begin_picture");
}

/// Told apart where nothing comes back but time.
#[track_caller]
fn costs_time(name: &str, function: &str) {
    let (sick, well) = (ill(name).report(), cured(name).report());
    let found = only(&sick, name);
    assert_eq!(site(found), Some(function), "{found:#}");
    assert_eq!((&found["severity"], &found["bytes"]), (&"warning".into(), &0.into()));
    assert_eq!(grave(&well), [""; 0], "{:#}", well.value("/diagnoses"));
}

#[test]
fn memory_given_back_lazily_is_told_and_is_no_illness() {
    let of = |how| {
        let report = run("lazy-free", how).report();
        assert_eq!(grave(&report), [""; 0], "{how}: {:#}", report.value("/diagnoses"));
        let found = report.array("/diagnoses").iter().any(|found| found["id"] == "lazy-free");
        (found, report.value("/end/lazyfree_bytes").as_u64())
    };
    // The kernel may take such pages at any time, which it does where memory is short.
    let (found, lazily) = of("ill");
    assert_eq!(found, lazily >= Some(4 << 20), "{lazily:?}");
    assert!(!of("cured").0);
    assert!(!of("near").0);
}

#[test]
fn a_full_heap_is_healthy() {
    let traced = ill("healthy");
    assert_eq!(grave(&traced.report()), [""; 0]);
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    assert!(text.contains("The heap is healthy"), "{text}");
}

#[test]
fn nothing_is_concluded_of_a_small_heap() {
    let traced = ill("none");
    let report = traced.report();
    assert!(report.array("/diagnoses").is_empty());
    assert!(report.text("/cannot_tell").contains("never held more than"));
}

#[test]
fn a_pipeline_fails_on_findings_and_on_bounds() {
    let (sick, well) = (ill("pinned-pages"), ill("healthy"));
    let status =
        |traced: &Traced, options: &[&str]| analyze("report", &traced.trace(), options).code();
    assert_eq!(status(&sick, &[]), 0, "a report alone is no check");
    assert_eq!(status(&sick, &["--check"]), 1);
    assert_eq!(status(&sick, &["--check", "--json"]), 1);
    assert_eq!(status(&well, &["--check"]), 0);
    assert_eq!(status(&sick, &["--max-pinned", "16M"]), 1);
    assert_eq!(status(&well, &["--max-pinned", "16M", "--max-fragmentation", "0.5"]), 0);
    assert_eq!(status(&well, &["--max-rss", "16M"]), 1);
    assert_eq!(status(&well, &["--max-rss", "many"]), 2);
}
