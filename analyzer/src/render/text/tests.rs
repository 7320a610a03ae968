//! The report of a hand-made analysis, as one reads it.

use super::*;
use crate::diagnose::{Case, diagnose};
use crate::measure::{AllocatorSays, HeapShape, MappingFacts, PAGE_BUCKETS, State};
use crate::read::AllocatorView;
use insta::assert_snapshot;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

fn state(time_ns: u64, live_bytes: u64, footprint_bytes: u64) -> State {
    State {
        time_ns,
        live_bytes,
        live_blocks: live_bytes / 100,
        usable_bytes: Some(live_bytes + live_bytes / 20),
        footprint_bytes: Some(footprint_bytes),
        heap_mapped_bytes: Some(footprint_bytes + 2 * MIB),
        rss_bytes: Some(footprint_bytes + 8 * MIB),
        free_bytes: Some(footprint_bytes - live_bytes - live_bytes / 10),
        hole_count: Some(31_204),
        largest_hole_bytes: Some(240 << 10),
        heap_resident_bytes: Some(footprint_bytes),
        residency_age_ns: Some(12_000_000),
        fragmentation_ratio: Some((footprint_bytes - live_bytes) as f64 / live_bytes as f64),
        pinned_waste_bytes: Some(footprint_bytes - live_bytes),
        page_live_histogram: Some([footprint_bytes / 4096 / PAGE_BUCKETS as u64; PAGE_BUCKETS]),
        ..State::default()
    }
}

/// A server that gave its work back, and whose heap stayed.
fn fragmented() -> Analysis {
    let peak = state(3_210_000_000, 120 * MIB, 132 * MIB);
    let peak_footprint = state(4 * SECOND, 118 * MIB, 148 * MIB);
    let end = state(12_400_000_000, 12 * MIB, 146 * MIB);
    Analysis {
        latency: None,
        trace: TraceFacts {
            pid: 4242,
            exe: Some("/opt/shop/bin/shop-server".into()),
            command: Some("shop-server --port 8080".into()),
            host: Some("web3".into()),
            kernel: Some("6.1.0-25-amd64 #1 SMP".into()),
            libc: Some("glibc 2.36".into()),
            allocator: Some("/lib/x86_64-linux-gnu/libc.so.6".into()),
            heap_layout: Some("glibc"),
            allocator_env: vec!["MALLOC_ARENA_MAX=2".into()],
            start_unix_ns: 1_750_000_000 * SECOND,
            duration_ns: 12_400_000_000,
            end: "exit".into(),
            clean_exit: true,
            ring_bytes: 256 * MIB,
            threads: 8,
            events: 4_000_120,
            allocs: 2_000_120,
            frees: 1_874_290,
            reallocs: 12,
            mmaps: 34,
            munmaps: 3,
            ..TraceFacts::default()
        },
        steps: Vec::new(),
        damage: Vec::new(),
        series: vec![
            state(0, 0, MIB),
            state(SECOND, 40 * MIB, 44 * MIB),
            peak.clone(),
            peak_footprint.clone(),
            state(5 * SECOND, 12 * MIB, 146 * MIB),
            end.clone(),
        ],
        peak,
        peak_events: None,
        peak_footprint,
        end,
    }
}

fn plain(analysis: &Analysis, extras: ReportExtras) -> String {
    let shape = HeapShape { glibc: true, ..HeapShape::default() };
    let diagnoses = diagnose(&Case { analysis, blame: &extras.blame, shape: &shape });
    let extras = ReportExtras { path: "shop.ftr".into(), diagnoses, ..extras };
    anstream::adapter::strip_str(&report(analysis, &extras)).to_string()
}

fn unicode() -> ReportExtras {
    ReportExtras { unicode: true, charts: Some(100), ..ReportExtras::default() }
}

#[test]
fn a_fragmented_server_is_told_in_one_screen() {
    assert_snapshot!(plain(&fragmented(), unicode()));
}

#[test]
fn charts_are_as_wide_as_their_terminal_lets_them_be() {
    let lines = |columns| -> Vec<String> {
        let extras = ReportExtras { charts: Some(columns), ..unicode() };
        let text = plain(&fragmented(), extras);
        let is_chart = |line: &&str| line.contains(['▁', '█']);
        text.lines().filter(is_chart).map(str::to_owned).collect()
    };
    let widest = |columns| lines(columns).iter().map(|line| line.chars().count()).max();
    assert!(lines(100).len() >= 3, "{:?}", lines(100));
    for columns in [60, 80, 100] {
        assert!(widest(columns).is_some_and(|widest| widest <= columns), "{:?}", lines(columns));
    }
    assert_eq!(lines(400), lines(100), "wider than that they say no more");
    assert_eq!(lines(40), [""; 0], "too narrow to show a course");
}

#[test]
fn what_is_not_known_is_said_to_be_so() {
    let mut analysis = fragmented();
    for state in [&mut analysis.peak, &mut analysis.peak_footprint, &mut analysis.end] {
        *state = State { time_ns: state.time_ns, live_bytes: state.live_bytes, ..State::default() };
    }
    analysis.series.clear();
    let text = plain(&analysis, ReportExtras::default());
    assert_eq!(text.lines().filter(|line| line.matches("not known").count() == 3).count(), 8);
    assert!(!text.contains("At the end"), "no sentence on figures that are not there:\n{text}");
}

#[test]
fn warnings_come_before_the_figures_and_name_a_remedy() {
    let mut analysis = fragmented();
    analysis.trace.dropped_events = 1_200_000;
    analysis.trace.order_anomalies = 1;
    analysis.trace.unknown_frees = 3;
    analysis.trace.wrapped = true;
    analysis.trace.window_start_ns = 2 * SECOND;
    let extras = ReportExtras { limits: fragtrace_format::header::limit::DISK_FULL, ..unicode() };
    let text = plain(&analysis, extras);
    let warnings = &text[..text.find("most live").expect("the table")];
    assert_snapshot!(warnings);
}

#[test]
fn a_heap_that_is_not_seen_is_the_first_line() {
    let mut analysis = fragmented();
    let outside =
        |time_ns, rss_bytes| State { rss_bytes: Some(rss_bytes), ..state(time_ns, 100_000, MIB) };
    analysis.series = vec![outside(0, 3 * MIB), outside(SECOND, 300 * MIB)];
    analysis.peak = outside(SECOND, 300 * MIB);
    analysis.trace.allocs = 17;
    let text = plain(&analysis, ReportExtras::default());
    let first: Vec<&str> = text.lines().take(3).collect();
    assert_snapshot!(first.join("\n"));
    analysis.trace.exe = Some("/usr/bin/python3.11".into());
    assert!(plain(&analysis, ReportExtras::default()).contains("PYTHONMALLOC=malloc"));
}

#[test]
fn a_program_without_a_block_is_told_so() {
    let mut analysis = fragmented();
    analysis.trace.allocs = 0;
    assert!(plain(&analysis, unicode()).starts_with("No block was seen: shop-server never called"));
}

#[test]
fn a_heap_whose_events_were_lost_is_not_called_unseen() {
    let mut analysis = fragmented();
    analysis.trace.allocs = 0;
    analysis.damage = vec!["the file was cut".into()];
    assert!(!plain(&analysis, unicode()).contains("No block was seen"));
    analysis.damage.clear();
    analysis.trace.dropped_events = 1;
    assert!(!plain(&analysis, unicode()).contains("No block was seen"));
}

#[test]
fn a_glibc_that_is_not_known_is_said_to_be_so() {
    let mut analysis = fragmented();
    analysis.trace.heap_layout = Some("glibc");
    assert!(!plain(&analysis, unicode()).contains("does not guess"));
    analysis.trace.heap_layout = None;
    analysis.trace.libc = Some("glibc 2.99".into());
    let text = plain(&analysis, unicode()).replace('\n', " ");
    assert!(text.contains("How glibc 2.99 lays out its heaps is not known"), "{text}");
    analysis.trace.allocator = Some("/usr/lib/libjemalloc.so.2".into());
    assert!(!plain(&analysis, unicode()).contains("does not guess"));
}

#[test]
fn mappings_near_the_limit_are_told_with_where_the_limit_is_from() {
    let text = |most: u64, limit_is_known: bool| {
        let mut analysis = fragmented();
        let limit = MappingFacts::DEFAULT_LIMIT;
        let (most, most_at_ns) = (Some(most), Some(2 * SECOND));
        analysis.trace.mappings =
            MappingFacts { most, most_at_ns, limit, limit_is_known, ..MappingFacts::default() };
        plain(&analysis, unicode()).replace('\n', " ")
    };
    assert!(!text(40_000, true).contains("max_map_count"));
    let known = text(60_000, true);
    assert!(
        known.contains("had 60,000 mappings at 2.00 s, of 65,530 that this machine allows"),
        "{known}"
    );
    let default = text(60_000, false);
    assert!(default.contains("Linux allows by default (the trace does not tell"), "{default}");
}

#[test]
fn a_trace_without_room_says_so_although_nothing_was_dropped() {
    let limits = fragtrace_format::header::limit::FILE_SIZE;
    let text = plain(&fragmented(), ReportExtras { limits, ..unicode() });
    assert!(text.contains("could not grow to its 256 MiB"), "{text}");
    assert!(text.contains("ulimit -f unlimited"), "{text}");
}

#[test]
fn a_program_goes_by_the_name_it_was_called_by() {
    let name = |exe: &str, command: &str| {
        let (exe, command) = (Some(exe.to_owned()), Some(command.to_owned()));
        program_name(&TraceFacts { exe, command, ..TraceFacts::default() }).to_owned()
    };
    assert_eq!(name("/usr/bin/redis-check-rdb", "redis-server --port 1"), "redis-server");
    assert_eq!(name("/usr/bin/bash", "-bash"), "bash");
    assert_eq!(name("/opt/my app", "'/opt/my app' -x"), "my app");
    assert_eq!(name("/usr/bin/ls", ""), "ls");
}

#[test]
fn every_end_is_a_sentence() {
    let said =
        ["exit", "_exit", "exec", "signal 9", "running", "unknown"].map(|end| ending(end, SECOND));
    assert_snapshot!(said.join("\n"));
}

#[test]
fn a_child_of_fork_ran_for_its_own_time() {
    let mut analysis = fragmented();
    let trace = &mut analysis.trace;
    (trace.forked_from, trace.forked_ns) = (Some(7), Some(12 * SECOND));
    let text = plain(&analysis, ReportExtras::default());
    assert!(text.contains("ran for 400 ms and exited"), "{text}");
    assert!(text.contains("Forked by process 7 at 12.0 s, whose heap it began with"), "{text}");
}

#[test]
fn a_terminal_without_unicode_gets_plain_signs() {
    let mut analysis = fragmented();
    analysis.trace.duration_ns = 12_400;
    let text = plain(&analysis, ReportExtras::default());
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn many_traces_are_a_line_each() {
    let text = list_heading() + &list_line(&fragmented(), "fragtrace-shop-server.4242.ftr");
    assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn a_process_gone_near_its_limit_may_have_been_killed_for_it() {
    let text = |end: &str, limit: u64| {
        let mut analysis = fragmented();
        analysis.trace.end = end.into();
        analysis.trace.cgroup_limit_bytes = Some(limit * MIB);
        plain(&analysis, unicode()).replace('\n', " ")
    };
    let words = "consistent with an OOM kill: the heap's last footprint was 146 MiB";
    let killed = text("unknown", 160);
    assert!(
        killed.contains(words) && killed.contains("limit of its cgroup is 160 MiB"),
        "{killed}"
    );
    assert!(text("signal 9", 160).contains(words));
    assert!(!text("unknown", 400).contains("OOM"), "far from the limit");
    for end in ["exit", "signal 15", "signal 11", "running"] {
        assert!(!text(end, 160).contains("OOM"), "{end}");
    }
    let told = text("signal 15", 160);
    assert!(told.contains("told to end by signal 15 (SIGTERM)") && !told.contains("killed"));
}

#[test]
fn what_the_allocator_says_of_itself_stands_below_our_figures() {
    let mut analysis = fragmented();
    assert!(!table::draw(&analysis).contains("its allocator"));
    let figures = |allocated: u64| {
        let figures = vec![("stats.allocated".into(), allocated), ("stats.active".into(), MIB)];
        let figures = Arc::new(AllocatorView { stamp: 0, figures });
        Some(AllocatorSays { age_ns: 20_000_000, figures })
    };
    analysis.peak.allocator_view = figures(MIB / 2);
    analysis.end.allocator_view = figures(MIB / 4);
    let table = table::draw(&analysis);
    let lines: Vec<_> = table.lines().skip_while(|line| !line.starts_with("its")).collect();
    assert_snapshot!(lines.join("\n"), @r"
    its allocator says of itself
    stats.allocated          512 KiB       not known         256 KiB
    stats.active            1.00 MiB       not known        1.00 MiB
      age of that            20.0 ms                         20.0 ms
    ");
    let json = serde_json::to_value(&analysis.end).expect("a state");
    let expected = serde_json::json!({
        "age_ns": 20_000_000,
        "figures": { "stats.allocated": MIB / 4, "stats.active": MIB },
    });
    assert_eq!(json["allocator_view"], expected);
}
