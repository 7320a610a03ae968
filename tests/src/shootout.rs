//! What the shootout's tests ask of its answers.

use std::path::Path;

use serde_json::Value;

use crate::check::assert_near;
use crate::report::Report;

/// A figure of a run that came to its end.
#[track_caller]
pub fn figure(run: &Value, key: &str) -> u64 {
    assert!(run["error"].is_null(), "{run:#}");
    run[key].as_u64().unwrap_or_else(|| panic!("{key} of {run:#}"))
}

/// The run of an allocator by its name and settings, as recorded.
#[track_caller]
pub fn run_of<'r>(report: &'r Report, name: &str, settings: &str) -> &'r Value {
    let runs = report.array("/allocators").iter();
    let mut found = runs.filter(|run| run["name"] == name && run["settings"] == settings);
    found.next().unwrap_or_else(|| panic!("no {name} {settings:?} in {:#}", report.json))
}

/// The recorded allocator, run again, has the program's own peak and last RSS within 5 %.
#[track_caller]
pub fn assert_reproduced(name: &str, trace: &Path, allocators: &str) -> Report {
    let report = Report::shootout(trace, &["--allocators", allocators]);
    let again = &report.array("/allocators")[report.number("/reproduced") as usize];
    for key in ["peak_rss_bytes", "end_rss_bytes"] {
        let own = figure(report.value("/recorded"), key);
        eprintln!("{name}: {key} {own}, again {}", figure(again, key));
        assert_near(&format!("{name}: {key}"), own, figure(again, key), own / 20);
    }
    assert!(report.value("/error_ratio").as_f64().is_some_and(|error| error <= 0.05));
    report
}
