//! A module of wasm32 with the recorder linked in: its trace grows in linear memory, and whoever runs
//! the module saves the bytes.

use std::path::PathBuf;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use tempfile::TempDir;

const REQUESTS: u64 = 64;
const TENSOR_BYTES: u64 = 1 << 20;

/// What the events say, as far as the module says the same.
#[derive(Default)]
struct Account {
    reallocs: u64,
    addresses: u64,
    grown_bytes: u64,
}

impl Account {
    fn of(listing: &str) -> Account {
        let mut account = Account::default();
        for line in listing.lines() {
            let fields: Vec<&str> = line.split('\t').skip(2).collect();
            let [event, address, bytes, rest] = fields[..] else { continue };
            let Ok(address) = u64::from_str_radix(address.trim_start_matches("0x"), 16) else {
                continue;
            };
            match event {
                "alloc" | "realloc-to" => {
                    account.addresses = (account.addresses * 31 + address) & 0xffff_ffff;
                    account.reallocs += u64::from(event == "realloc-to");
                }
                "mmap" if rest.ends_with("heap") => {
                    account.grown_bytes += bytes.parse::<u64>().expect("bytes");
                }
                _ => {}
            }
        }
        account
    }
}

/// Runs the module in node: so many requests, and then so many pairs of a block taken and given back.
/// What it said, and its trace; `None`, after saying so, where it cannot be run.
fn run_module(folder: &TempDir, requests: u64, pairs: u64) -> Option<(Answers, PathBuf)> {
    let module = tools::analyzer().with_file_name("fragtrace_wasm_tests.wasm");
    if !module.is_file() {
        tools::skip_anyway("no module for wasm32: `cargo xtask test wasm32` builds it");
        return None;
    }
    let node = tools::find("node")?;
    let trace = folder.path().join("module.ftr");
    let host = tools::workspace().join("tests/wasm/run.mjs");
    let mut line = command(node);
    line.arg(host).arg(module).arg(&trace).args([requests.to_string(), pairs.to_string()]);
    Some((Answers::of(&run(&mut line).expect_code(0)), trace))
}

#[test]
fn a_module_keeps_its_trace_in_linear_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some((said, trace)) = run_module(&folder, REQUESTS, 0) else { return };
    let found = Account::of(&analyze("dump", &trace, &[]).expect_code(0).out());
    let report = Report::of(&trace);
    let at = |key: &str| report.number(key);
    assert_numbers(
        "a module of wasm32",
        &[
            ("allocs", said.get("allocs"), at("/trace/allocs")),
            ("frees", said.get("frees"), at("/trace/frees")),
            ("reallocs", said.get("reallocs"), at("/trace/reallocs")),
            ("reallocs that moved", said.get("reallocs"), found.reallocs),
            ("addresses", said.get("addresses"), found.addresses),
            ("live bytes", said.get("live_bytes"), at("/end/live_bytes")),
            ("live blocks", said.get("live_blocks"), at("/end/live_blocks")),
            ("memory.grow", said.get("grown_bytes"), found.grown_bytes),
            ("dropped events", 0, at("/trace/dropped_events")),
            ("unknown frees", 0, at("/trace/unknown_frees")),
            ("anomalies", 0, at("/trace/order_anomalies")),
        ],
    );
    assert!(report.value("/cannot_tell").is_null(), "{}", report.value("/cannot_tell"));
    assert!(said.get("reallocs") > REQUESTS && said.get("live_blocks") == 2, "{said:?}");
    // Each tensor lies behind the one before, although two are live at the most; all were written.
    let written = (REQUESTS + 1) * TENSOR_BYTES..=said.get("grown_bytes");
    assert!(written.contains(&at("/end/heap_resident_bytes")), "{written:?}");
    assert!(at("/peak/live_bytes") < 3 * TENSOR_BYTES);
    let first = &report.array("/diagnoses")[0];
    assert_eq!(first["id"], "address-growth", "{first}");
    let grown = first["evidence"]["growth_despite_fit_bytes"].as_u64().unwrap_or_default();
    assert!((REQUESTS - 4..REQUESTS + 4).contains(&(grown / TENSOR_BYTES)), "{first}");
}

/// A trace that is full keeps what it has, and counts what comes.
#[test]
fn a_trace_that_is_full_counts_what_it_has_no_room_for() {
    const PAIRS: u64 = 2_000_000;
    const MOST_BYTES: u64 = (16 << 20) + (256 << 10);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some((said, trace)) = run_module(&folder, 1, PAIRS) else { return };
    assert!(trace.metadata().expect("a trace").len() <= MOST_BYTES);
    let report = Report::of(&trace);
    let (kept, dropped) = (report.number("/trace/events"), report.number("/trace/dropped_events"));
    let told = said.get("allocs") + said.get("frees") + 2 * said.get("reallocs");
    assert_numbers(
        "a trace that is full",
        &[
            ("events", told + report.number("/trace/mmaps"), kept + dropped),
            ("unknown frees", 0, report.number("/trace/unknown_frees")),
        ],
    );
    // The last block that is on record may have come when the room was used up.
    let (live, found) = (said.get("live_blocks"), report.number("/end/live_blocks"));
    assert!((live..=live + 1).contains(&found), "{found} blocks found, {live} are live");
    assert!(dropped > 0 && kept > 1_500_000, "{kept} kept, {dropped} dropped");
}
