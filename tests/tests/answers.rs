//! What the command line says about a trace: who was recorded, in JSON and in words, for one
//! trace and for a folder, the same each time.
#![forbid(unsafe_code)]

use std::fs;

use fragtrace_tests::check::assert_no_panic;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools::analyzer;
use fragtrace_tests::traced::Traced;

/// The keys of `trace`.
const TRACE_KEYS: [&str; 34] = [
    "pid",
    "exe",
    "command",
    "host",
    "kernel",
    "libc",
    "allocator",
    "allocator_env",
    "tracer_version",
    "page_size",
    "start_unix_ns",
    "duration_ns",
    "window_start_ns",
    "end",
    "clean_exit",
    "cgroup_limit_bytes",
    "ring_bytes",
    "wrapped",
    "threads",
    "events",
    "allocs",
    "frees",
    "reallocs",
    "mmaps",
    "munmaps",
    "mremaps",
    "madvises",
    "brk_changes",
    "dropped_events",
    "order_anomalies",
    "unknown_frees",
    "bytes_per_event",
    "tracer_cost_ns",
    "looks",
];

const SUBCOMMANDS: [&str; 7] = ["record", "report", "map", "timeline", "holes", "doctor", "dump"];

fn traced() -> Traced {
    let mut counts = command(program("counts"));
    counts.args(["family", "300"]);
    Traced::run_well(counts)
}

#[test]
fn the_report_has_every_key() {
    let report = traced().report();
    for key in TRACE_KEYS {
        report.value(&format!("/trace/{key}"));
    }
    assert!(report.number("/schema") == 1, "schema is {}", report.value("/schema"));
    for key in ["diagnoses", "sites", "series"] {
        report.array(&format!("/{key}"));
    }
}

#[test]
fn the_report_says_who_was_recorded() {
    let before = std::time::SystemTime::now();
    let traced = traced();
    let report = traced.report();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux tells its release");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux tells its name");
    for (key, part) in [
        ("exe", "counts"),
        ("command", "family"),
        ("host", host.trim()),
        ("kernel", kernel.trim()),
        ("libc", "glibc"),
        ("allocator", "libc.so.6"),
    ] {
        let found = report.text(&format!("/trace/{key}"));
        assert!(found.contains(part), "trace.{key}: expected `{part}` in `{found}`");
    }
    assert!(report.number("/trace/pid") == u64::from(traced.outcome.pid), "another process id");
    assert!(report.number("/trace/page_size").is_power_of_two(), "the size of a page");
    let since = before.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let start = u128::from(report.number("/trace/start_unix_ns"));
    assert!(start.abs_diff(since) < 180_000_000_000, "started at {start}, expected about {since}");
    let duration_ns = report.number("/trace/duration_ns");
    assert!((1..180_000_000_000).contains(&duration_ns), "it took {duration_ns} ns");
    assert!(report.value("/trace/wrapped").as_bool() == Some(false), "nothing was overwritten");
    assert!(report.number("/trace/looks") >= 2, "the kernel is looked at at start and at exit");
}

#[test]
fn events_take_little_room_without_stacks() {
    let mut counts = command(program("counts"));
    counts.args(["threads", "4", "20000"]).env("FRAGTRACE_STACKS", "off");
    let report = Traced::run_well(counts).report();
    let bytes = report.value("/trace/bytes_per_event").as_f64().expect("a ratio");
    assert!(bytes > 0.0 && bytes <= 6.0, "expected at most 6 bytes an event, found {bytes}");
}

#[test]
fn the_same_trace_gives_the_same_bytes() {
    let traced = traced();
    for (subcommand, arguments) in
        [("report", &[][..]), ("report", &["--json"]), ("holes", &["--json"]), ("dump", &[])]
    {
        let [one, two] =
            [(); 2].map(|()| analyze(subcommand, &traced.trace(), arguments).expect_code(0).stdout);
        assert!(one == two, "{subcommand} {arguments:?} differs from run to run");
    }
}

#[test]
fn the_report_in_words_speaks_to_people() {
    let traced = traced();
    let outcome = analyze("report", &traced.trace(), &[]).expect_code(0);
    let says = outcome.out();
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
    assert!(says.contains("KiB") || says.contains("MiB"), "{}", outcome.describe());
    assert!(says.contains("counts"), "the program is named: {}", outcome.describe());
    assert!(!says.contains('\x1b'), "no colour into a pipe: {}", outcome.describe());
}

#[test]
fn a_folder_gets_a_line_a_trace() {
    let mut shell = command("/bin/sh");
    shell.args(["-c", "\"$0\" exit; \"$0\" _exit; exit 0"]).arg(program("ends"));
    let traced = Traced::run_well(shell);
    let traces = traced.traces();
    let folder = traces[0].parent().expect("a trace lies in a folder");
    let outcome = analyze("report", folder, &[]).expect_code(0);
    for trace in &traces {
        let name = trace.file_name().expect("a trace has a name").to_string_lossy();
        let pid = Report::of(trace).number("/trace/pid").to_string();
        let lines = outcome.out();
        let found = lines.lines().any(|line| line.contains(&*name) || line.contains(&pid));
        assert!(found, "no line for {name}: {}", outcome.describe());
    }
}

#[test]
fn the_dump_has_a_line_an_event() {
    let traced = traced();
    let events = traced.report().number("/trace/events");
    let dump = analyze("dump", &traced.trace(), &[]).expect_code(0).out();
    let lines = u64::try_from(dump.lines().count()).expect("lines fit in memory");
    assert!(lines >= events, "{events} events in {lines} lines");
}

#[test]
fn every_subcommand_has_a_short_and_a_long_help() {
    let help = |arguments: &[&str]| {
        let outcome = run(command(analyzer()).args(arguments)).expect_code(0);
        assert!(outcome.stderr.is_empty(), "help is a result: {}", outcome.describe());
        outcome.stdout
    };
    assert!(!help(&["--help"]).is_empty() && !help(&["--version"]).is_empty());
    for subcommand in SUBCOMMANDS {
        let (short, long) = (help(&[subcommand, "-h"]), help(&[subcommand, "--help"]));
        assert!(short.len() < long.len(), "{subcommand}: --help says more than -h");
        let long = String::from_utf8_lossy(&long).into_owned();
        assert!(long.contains(&format!("fragtrace {subcommand}")), "an example:\n{long}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_refused() {
    let trace = traced();
    let path = trace.trace();
    let path = path.to_string_lossy();
    let mistakes: [&[&str]; 6] = [
        &["no-such-subcommand"],
        &["report"],
        &["report", "--no-such-option", &path],
        &["map", &path],
        &["timeline", &path, "-o"],
        &["holes", &path, "--fit", "banana"],
    ];
    for arguments in mistakes {
        let outcome = run(command(analyzer()).args(arguments)).expect_code(2);
        assert!(outcome.stdout.is_empty(), "{}", outcome.describe());
        assert_no_panic(&outcome);
    }
}
