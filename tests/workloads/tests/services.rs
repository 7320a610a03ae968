//! What services in Rust do with their memory: bursts of parsing with serde_json, and caches.
#![forbid(unsafe_code)]

use fragtrace_tests::check::assert_near;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;

/// Without threads' caches glibc gives back what nothing pins.
const NOTHING_CACHED: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

fn report(program: &str, how: &str, setting: Option<(&str, &str)>) -> (Report, String) {
    let mut line = command(program);
    line.arg(how).envs(setting);
    let traced = Traced::run_well(line);
    let report = traced.report();
    report.assert_complete();
    (report, traced.outcome.out())
}

/// Ids of findings that are more than worth knowing.
fn grave(report: &Report) -> Vec<&str> {
    let grave = report.array("/diagnoses").iter().filter(|found| found["severity"] != "info");
    grave.filter_map(|found| found["id"].as_str()).collect()
}

#[test]
fn names_out_of_parsed_documents_hold_the_trees_they_came_with() {
    let program = env!("CARGO_BIN_EXE_json-bursts");
    let (sick, _) = report(program, "sick", Some(NOTHING_CACHED));
    let (cured, _) = report(program, "cured", Some(NOTHING_CACHED));
    assert_eq!(grave(&sick)[0], "rss-stairs", "{:#}", sick.value("/diagnoses"));
    let found = &sick.array("/diagnoses")[0];
    assert_eq!(found["evidence"]["site"]["function"], "json_bursts::parse", "{found:#}");
    assert_eq!(found["evidence"]["jumps"].as_array().map(Vec::len), Some(4), "{found:#}");
    assert_eq!(grave(&cured), [""; 0], "{:#}", cured.value("/diagnoses"));
    let resident = |report: &Report| report.number("/end/heap_resident_bytes");
    let measured = resident(&sick) - resident(&cured);
    assert_near("at stake", measured, found["bytes"].as_u64().expect("bytes"), measured / 5);
}

#[test]
fn caches_are_no_leaks_and_entries_of_one_size_leave_no_holes() {
    let program = env!("CARGO_BIN_EXE_caches");
    let told = |how| {
        let (report, said) = report(program, how, None);
        assert_eq!(grave(&report), [""; 0], "{how}: {:#}", report.value("/diagnoses"));
        (report, said)
    };
    let of = |how| {
        let (report, said) = told(how);
        let ids = report.array("/diagnoses").iter().filter_map(|found| found["id"].as_str());
        assert_eq!(ids.collect::<Vec<_>>(), ["cache-growth"], "{how}");
        let site = &report.array("/diagnoses")[0]["evidence"]["site"]["function"];
        assert_eq!(site, "caches::Cache::put", "{how}");
        let live: u64 = said.trim().rsplit(' ').next().and_then(|n| n.parse().ok()).expect("live");
        // Beside the entries' bytes their list, and what Rust's runtime has.
        assert_near(how, live, report.number("/end/live_bytes"), live / 64);
        report
    };
    let (varying, fixed, cleared) = (of("varying"), of("fixed"), of("cleared"));
    let waste = |report: &Report| report.number("/end/pinned_waste_bytes");
    println!(
        "pinned: {} varying, {} fixed, {} cleared",
        waste(&varying),
        waste(&fixed),
        waste(&cleared)
    );
    assert!(waste(&fixed) * 10 < waste(&varying), "entries of one size fill each other's places");
    let least = |report: &Report| {
        let states =
            report.array("/series").iter().filter_map(|state| state["live_bytes"].as_u64());
        states.skip_while(|live| *live < 40 << 20).min().expect("it fills")
    };
    assert!(least(&varying) > 40 << 20, "a bound is kept");
    assert!(least(&cleared) < 40 << 20, "it was emptied in between");
    let (loaded, _) = told("loaded");
    assert!(loaded.array("/diagnoses").is_empty(), "what stays is no cache");
}
