//! `fragtrace blame`, and what `report` says of sites, as users see them.
#![forbid(unsafe_code)]

mod support;

use fragtrace_format::record::{Module, ModuleEvent};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use support::{Builder, free, malloc_by};
use tempfile::TempDir;

const PAGE: u64 = 4096;
const HEAP: u64 = 0x5555_5560_0000;
const EXE: u64 = 0x5555_5555_0000;
const LIBRARY: u64 = 0x7f00_0000_0000;

struct Trace {
    folder: TempDir,
    path: PathBuf,
}

impl Trace {
    fn new(builder: &Builder) -> Trace {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("shop.ftr");
        fs::write(&path, builder.bytes()).expect("written");
        Trace { folder, path }
    }

    fn run(&self, subcommand: &str, options: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fragtrace"));
        // No cache of this machine, and no colours.
        command.env("HOME", self.folder.path()).env_remove("DEBUGINFOD_CACHE_PATH");
        command.env_remove("XDG_CACHE_HOME").env("LC_ALL", "C.UTF-8");
        command.arg(subcommand).arg(&self.path).args(options).output().expect("runs")
    }

    fn stdout(&self, subcommand: &str, options: &[&str]) -> String {
        let output = self.run(subcommand, options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{options:?}: {said}");
        String::from_utf8_lossy(&output.stdout).replace(&*self.path.to_string_lossy(), "shop.ftr")
    }

    fn json(&self, subcommand: &str, options: &[&str]) -> Value {
        let options = [options, &["--json"]].concat();
        serde_json::from_str(&self.stdout(subcommand, &options)).expect("JSON")
    }
}

fn module(start: u64, path: &'static str, build_id: &'static [u8]) -> ModuleEvent<'static> {
    let (bias, bytes) = (start, 0x10_0000);
    ModuleEvent::Loaded(Module { start, bytes, bias, build_id, path, ..Module::default() })
}

/// Sessions on every page of a heap of 8 MiB, and a few blocks of a library beside them on
/// every fourth; requests filled the rest, and are gone.
fn shop() -> Builder {
    let mut builder = Builder::default();
    builder.modules.push(module(EXE, "/bin/synthetic", &[0xab; 20]));
    builder.modules.push(module(LIBRARY, "/opt/lib/libplugin.so.1", &[]));
    builder.modules.push(module(LIBRARY + 0x100_0000, "/lib/libc.so.6", &[1, 2]));
    let main = EXE + 0x1200;
    let sessions = builder.stack(&[EXE + 0x3456, EXE + 0x1300, main]);
    let requests = builder.stack(&[EXE + 0x4000, main]);
    let plugin = builder.stack(&[LIBRARY + 0x100_2000, LIBRARY + 0x2222, main]);
    for page in 0..2048 {
        let (at, stamp) = (HEAP + page * PAGE + 16, 1_000_000 + page * 1_000_000);
        builder.say(1, stamp, malloc_by(sessions, at, 40));
        if page % 4 == 0 {
            builder.say(1, stamp + 1, malloc_by(plugin, at + 48, 20));
        }
        builder.say(1, stamp + 2, malloc_by(requests, at + 80, 3900));
    }
    for page in 0..2048 {
        builder.say(1, 3_000_000_000 + page, free(HEAP + page * PAGE + 16 + 80));
    }
    builder
}

#[test]
fn the_table_names_who_pins() {
    insta::assert_snapshot!(Trace::new(&shop()).stdout("blame", &[]));
}

#[test]
fn modules_and_threads_are_named_too() {
    let trace = Trace::new(&shop());
    let table =
        trace.stdout("blame", &["--by", "module"]) + &trace.stdout("blame", &["--by", "thread"]);
    insta::assert_snapshot!(table);
}

#[test]
fn the_report_names_the_site_that_pins_most_before_all_figures() {
    let text = Trace::new(&shop()).stdout("report", &[]);
    let first: Vec<&str> = text.lines().take_while(|line| !line.contains("most live")).collect();
    let sites = text.split("At the end 7").nth(1).expect("the table of sites");
    insta::assert_snapshot!(format!("{}\n…\n{sites}", first.join("\n")));
}

#[test]
fn json_has_every_key_of_the_contract() {
    let trace = Trace::new(&shop());
    let blame = trace.json("blame", &[]);
    for key in ["at_ns", "pinned_waste_bytes", "releasable_bytes"] {
        assert!(blame[key].is_u64(), "{key}");
    }
    let sites = blame["sites"].as_array().expect("a list");
    for key in [
        "function",
        "file",
        "line",
        "module",
        "offset",
        "build_id",
        "stack",
        "allocs",
        "live_bytes",
        "pinned_bytes",
        "sole_pinned_bytes",
        "unlock_bytes",
        "age_ns",
        "unlock_cumulative_bytes",
        "pages",
    ] {
        assert!(sites.iter().all(|site| site.get(key).is_some()), "{key}");
    }
    assert_eq!(sites[0]["module"], "/bin/synthetic");
    assert_eq!(sites[0]["offset"], 0x3455);
    assert_eq!(sites[0]["build_id"], "ab".repeat(20));
    assert_eq!(sites[0]["function"], Value::Null);
    assert_eq!(sites[1]["module"], "/opt/lib/libplugin.so.1", "the C library is passed over");
    assert_eq!(sites[1]["build_id"], Value::Null);
    assert_eq!(trace.json("report", &[])["sites"], blame["sites"]);
    let peak = trace.json("blame", &["--at", "peak"]);
    assert!(peak["pinned_waste_bytes"].as_u64() < blame["pinned_waste_bytes"].as_u64());
    assert_eq!(peak["sites"].as_array().map(Vec::len), Some(3));
}

#[test]
fn folded_stacks_are_lines_for_flame_graphs() {
    let trace = Trace::new(&shop());
    let lines = |weight| trace.stdout("blame", &["--folded", "--weight", weight]);
    assert_eq!(
        lines("live"),
        "synthetic+0x11ff;libplugin.so.1+0x2221;libc.so.6+0x1fff 10240\n\
         synthetic+0x11ff;synthetic+0x12ff;synthetic+0x3455 81920\n"
    );
    assert!(lines("allocs").contains("synthetic+0x11ff;synthetic+0x3fff 2048\n"));
    let pinned: u64 = lines("pinned")
        .lines()
        .map(|line| line.rsplit(' ').next().map_or(0, |n| n.parse().unwrap_or(0)))
        .sum();
    assert_eq!(Some(pinned), trace.json("blame", &[])["pinned_waste_bytes"].as_u64());
}

#[test]
fn what_is_skipped_is_charged_to_its_caller() {
    let sites = Trace::new(&shop()).json("blame", &["--skip", "libplugin"]);
    let modules: Vec<&Value> =
        sites["sites"].as_array().expect("a list").iter().map(|site| &site["module"]).collect();
    assert_eq!(modules, ["/bin/synthetic", "/bin/synthetic"]);
}

#[test]
fn without_stacks_one_line_says_so_and_nobody_is_named() {
    let mut builder = Builder { stack_depth: 0, ..Builder::default() };
    builder.say(1, 1000, malloc_by(0, HEAP + 16, 40));
    let trace = Trace::new(&builder);
    for subcommand in ["blame", "report"] {
        let text = trace.stdout(subcommand, &[]);
        let lines: Vec<&str> =
            text.lines().filter(|line| line.contains("FRAGTRACE_STACKS=off")).collect();
        assert_eq!(lines.len(), 1, "{subcommand}:\n{text}");
    }
    let output = trace.run("blame", &["--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success() && json["sites"].as_array().is_some_and(Vec::is_empty));
    assert!(json["pinned_waste_bytes"].as_u64() > Some(0), "that is known all the same");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("call stacks were off") && said.lines().count() == 1, "{said}");
    assert!(trace.stdout("blame", &["--by", "thread"]).contains("thread 1"));
}

#[test]
fn nothing_that_names_somebody_is_left_when_anonymous() {
    let trace = Trace::new(&shop());
    for (subcommand, options) in [
        ("blame", vec!["--json"]),
        ("blame", vec![]),
        ("blame", vec!["--folded"]),
        ("report", vec!["--json"]),
        ("report", vec![]),
    ] {
        let text = trace.stdout(subcommand, &[options, vec!["--anonymize"]].concat());
        assert!(!text.contains("synthetic") && !text.contains("/opt"), "{subcommand}:\n{text}");
        assert!(text.contains("libplugin.so.1"), "{subcommand}:\n{text}");
    }
}

#[test]
fn an_empty_trace_pins_nothing() {
    let trace = Trace::new(&Builder::default());
    assert!(trace.stdout("blame", &[]).contains("0 B of the 0 B"));
}

#[test]
fn a_cut_trace_is_said_to_be_cut_beside_what_is_left_of_it() {
    let trace = Trace::new(&shop());
    let bytes = fs::read(&trace.path).expect("read");
    fs::write(&trace.path, &bytes[..bytes.len() - 100]).expect("written");
    for subcommand in ["blame", "holes", "dump"] {
        let output = trace.run(subcommand, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !output.stdout.is_empty(), "{subcommand}: {said}");
        assert!(said.starts_with("fragtrace: the trace is not whole: "), "{subcommand}: {said}");
    }
}

#[test]
fn symbols_in_a_folder_that_is_not_there_are_missed() {
    let output = Trace::new(&shop()).run("blame", &["--symbols", "/nonexistent"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "fragtrace: /nonexistent is no folder\n");
}
