//! A module of wasm32 with the recorder linked in: its trace grows in linear memory, and whoever runs
//! the module saves the bytes.

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;

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

#[test]
fn a_module_keeps_its_trace_in_linear_memory() {
    let module = tools::analyzer().with_file_name("fragtrace_wasm_tests.wasm");
    if !module.is_file() {
        return tools::skip_anyway("no module for wasm32: `cargo xtask test wasm32` builds it");
    }
    let Some(node) = tools::find("node") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("module.ftr");
    let host = tools::workspace().join("tests/wasm/run.mjs");
    let mut line = command(node);
    line.arg(host).arg(module).arg(&trace).arg(REQUESTS.to_string());
    let said = Answers::of(&run(&mut line).expect_code(0));
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
