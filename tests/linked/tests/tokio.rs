//! A service on tokio and jemalloc under load: who frees what others allocated, where work is stolen
//! and where each core has a runtime of its own, and what that costs.

use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;

const WORKERS: u64 = 4;
/// The runtime hands tasks and their results over too: of all frees at most one in so many.
const OF_THE_RUNTIME: u64 = 200;
/// Hardly a response is made in this time.
const FRESH_NS: u64 = 2_000_000;
/// Far more than the caches of so few threads hold.
const MOST_CACHED_BYTES: u64 = 16 << 20;

/// The report of a run that lasted long enough for jemalloc to be asked; and how many responses
/// crossed threads, as the program counted.
fn serve(runtime: &str) -> (Report, u64) {
    let mut runs = [2, 8, 32].into_iter().map(|times| serve_for(runtime, times));
    runs.find(|(report, _)| !cached(report).is_empty()).expect("a run in which jemalloc was asked")
}

/// The same, of so many times the usual requests.
fn serve_for(runtime: &str, times: u32) -> (Report, u64) {
    let mut line = command(env!("CARGO_BIN_EXE_tokio_jemalloc"));
    line.args([runtime, &WORKERS.to_string(), &times.to_string()]);
    let traced = Traced::run_well(line);
    let said = traced.outcome.out();
    let counted = |key: &str| {
        let number = said.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        number.and_then(|number| number.parse::<u64>().ok()).expect("the program counts")
    };
    let report = traced.report();
    report.assert_complete();
    let (crossed, found) = (counted("crossed"), report.number("/end/cross_thread_frees"));
    let most = crossed + counted("freed") / OF_THE_RUNTIME;
    assert!((crossed..=most).contains(&found), "{runtime}: {found} found, {crossed} counted");
    (report, crossed)
}

/// What jemalloc counts as allocated beyond what the program has, whenever it was just asked: blocks
/// in the caches of threads, where those that are freed go first, also on other threads than they
/// came from.
fn cached(report: &Report) -> Vec<u64> {
    let series = report.array("/series").iter().filter_map(|state| {
        let view = &state["allocator_view"];
        let fresh = view["age_ns"].as_u64()? < FRESH_NS;
        let allocated = view["figures"]["stats.allocated"].as_u64().filter(|_| fresh)?;
        Some(allocated.saturating_sub(state["usable_bytes"].as_u64()?))
    });
    series.collect()
}

#[test]
fn stolen_work_crosses_threads_and_work_of_one_core_does_not() {
    let (stealing, crossed) = serve("stealing");
    assert!(crossed * 2 > stealing.number("/trace/frees"), "{crossed} crossed");
    let (per_core, none) = serve("per-core");
    assert_eq!(none, 0, "runtimes share nothing");
    for (name, report) in [("stealing", &stealing), ("per core", &per_core)] {
        // In memory for each live byte at the end, when the caches are full still and all pages are
        // looked at: on a busy machine the peak comes before looks at what led to it.
        let resident = report.number("/end/heap_resident_bytes") as f64;
        let ratio = resident / report.number("/end/live_bytes") as f64;
        let cached = cached(report).into_iter().max().unwrap_or(0);
        println!("{name}: {ratio:.2} bytes in memory a live byte, {cached} bytes cached");
        assert!((1.0..2.0).contains(&ratio), "{name}: {ratio}");
        assert!(cached > 0 && cached < MOST_CACHED_BYTES, "{name}: {cached}");
    }
    assert!(stealing.array("/trace/cross_thread_pairs").len() as u64 >= WORKERS);
}
