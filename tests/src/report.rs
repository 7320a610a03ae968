//! Asks the analyzer about a trace and gives its answers by path.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::check::assert_numbers;
use crate::run::{Outcome, command, run};
use crate::tools;

/// One JSON answer of the analyzer about one trace.
pub struct Report {
    /// The whole answer.
    pub json: Value,
    trace: PathBuf,
}

impl Report {
    /// `fragtrace report TRACE --json`.
    pub fn of(trace: &Path) -> Self {
        Self::answer(trace, "report", &[])
    }

    /// `fragtrace report DIR --json`: a report on each trace in a folder, without its sites.
    pub fn of_each(folder: &Path) -> Vec<Self> {
        let outcome = analyze("report", folder, &["--json"]).expect_code(0);
        let lines = outcome.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let json: Value = serde_json::from_slice(line)
                    .unwrap_or_else(|error| panic!("not JSON: {error}: {}", outcome.describe()));
                let trace = folder.join(json["path"].as_str().unwrap_or_default());
                Self { json, trace }
            })
            .collect()
    }

    /// `fragtrace holes TRACE --json`, with more arguments.
    pub fn holes(trace: &Path, arguments: &[&str]) -> Self {
        Self::answer(trace, "holes", arguments)
    }

    /// `fragtrace blame TRACE --json`, with more arguments.
    pub fn blame(trace: &Path, arguments: &[&str]) -> Self {
        Self::answer(trace, "blame", arguments)
    }

    /// `fragtrace shootout TRACE --json`, with more arguments.
    pub fn shootout(trace: &Path, arguments: &[&str]) -> Self {
        Self::answer(trace, "shootout", arguments)
    }

    fn answer(trace: &Path, subcommand: &str, arguments: &[&str]) -> Self {
        let outcome = analyze(subcommand, trace, &[arguments, &["--json"]].concat());
        let outcome = outcome.expect_code(0);
        let json = serde_json::from_slice(&outcome.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}: {}", outcome.describe()));
        Self { json, trace: trace.to_path_buf() }
    }

    /// The value at a JSON pointer, as `/trace/allocs`; panics when the key is not there.
    pub fn value(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or_else(|| {
            panic!("the answer about {} has no {pointer}:\n{:#}", self.trace.display(), self.json)
        })
    }

    /// The integer at a JSON pointer.
    pub fn number(&self, pointer: &str) -> u64 {
        let value = self.value(pointer);
        value.as_u64().unwrap_or_else(|| panic!("{pointer} is {value}, expected an integer"))
    }

    /// The text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.value(pointer);
        value.as_str().unwrap_or_else(|| panic!("{pointer} is {value}, expected a text"))
    }

    /// The array at a JSON pointer.
    pub fn array(&self, pointer: &str) -> &[Value] {
        let value = self.value(pointer);
        value.as_array().unwrap_or_else(|| panic!("{pointer} is {value}, expected an array"))
    }

    /// Nothing was dropped, nothing is out of order, no free without its block.
    pub fn assert_complete(&self) {
        let faults = ["dropped_events", "order_anomalies", "unknown_frees"];
        let found = faults.map(|key| (key, 0, self.number(&format!("/trace/{key}"))));
        assert_numbers(&format!("the trace {} is complete", self.trace.display()), &found);
        self.assert_peaks();
    }

    /// No moment exceeds the peaks. In an answer about a folder there are no others than the end.
    fn assert_peaks(&self) {
        let series = self.json.get("series").and_then(Value::as_array).into_iter().flatten();
        for (peak, key) in [("peak", "live_bytes"), ("peak_footprint", "footprint_bytes")] {
            let greatest = self.value(&format!("/{peak}/{key}")).as_u64();
            let others = series.clone().map(|state| state[key].as_u64());
            let most = others.chain([self.value(&format!("/end/{key}")).as_u64()]).max().flatten();
            assert!(most <= greatest, "{}: {key} {most:?} > {greatest:?}", self.trace.display());
        }
    }

    /// Complete, and what was acquired and not released is what lives at the end.
    pub fn assert_adds_up(&self) {
        self.assert_complete();
        let acquired = self.number("/trace/allocs");
        let released = self.number("/trace/frees");
        assert!(
            acquired - released == self.number("/end/live_blocks"),
            "{}: {acquired} allocs - {released} frees = {}, but live_blocks is {}",
            self.trace.display(),
            acquired.wrapping_sub(released),
            self.number("/end/live_blocks")
        );
        let live = self.number("/end/live_bytes");
        // Only glibc's own malloc lets usable sizes be known.
        if let Some(usable) = self.value("/end/usable_bytes").as_u64() {
            assert!(live <= usable, "live_bytes {live} must not exceed usable_bytes {usable}");
        } else {
            let allocator = self.text("/trace/allocator");
            assert!(!allocator.ends_with("/libc.so.6"), "usable_bytes is not known on {allocator}");
        }
    }
}

/// `fragtrace SUBCOMMAND TRACE ARGUMENTS…`.
pub fn analyze(subcommand: &str, trace: &Path, arguments: &[&str]) -> Outcome {
    run(command(tools::analyzer()).arg(subcommand).arg(trace).args(arguments))
}
