//! Children of fork that go on without exec: each has a trace of its own, which begins with what
//! its parent had live.
#![forbid(unsafe_code)]

use fragtrace_tests::check::assert_numbers;
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list, shell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Blocks of the C library and of others: a stream's buffer, a thread's data, libstdc++'s reserve.
const OTHERS_BYTES: u64 = 80 << 10;

/// Threads that allocate beside the one that forks.
const THREADS: u64 = 8;

/// A program that forks while others allocate; children do so many events.
fn forks(program: PathBuf, threads: u64, children: usize, pause_us: u64, ring: &str) -> Traced {
    forks_on(program, None, (threads, children, pause_us), ring)
}

fn forks_on(
    program: PathBuf,
    allocator: Option<&str>,
    (threads, children, pause_us): (u64, usize, u64),
    ring: &str,
) -> Traced {
    let mut forks = command(program);
    forks.args([threads.to_string(), children.to_string(), "2000".into(), pause_us.to_string()]);
    forks.env("FRAGTRACE_RING", ring);
    if let Some(library) = allocator {
        forks.env("LD_PRELOAD", preload_list(&[&tools::tracer(), Path::new(library)]));
    }
    Traced::run_well(forks)
}

#[track_caller]
fn trace_of(traced: &Traced, pid: u64) -> PathBuf {
    let ending = format!(".{pid}.ftr");
    let mut traces = traced.traces().into_iter();
    let trace = traces.find(|trace| trace.to_string_lossy().ends_with(&ending));
    trace.unwrap_or_else(|| panic!("process {pid} has no trace"))
}

/// What each process says of itself: its number, and the least and the most that it has live.
fn lines(traced: &Traced) -> Vec<[u64; 3]> {
    let words =
        |line: &str| -> Vec<u64> { line.split(' ').filter_map(|word| word.parse().ok()).collect() };
    let line = |line| words(line).try_into().unwrap_or_else(|_| panic!("no such line: {line}"));
    traced.outcome.out().lines().map(line).collect()
}

/// Each child's trace holds what the child says that it has live. Children whose trace says that
/// they came too late for what their parent had are not checked: how many.
#[track_caller]
fn late_among_exact(traced: &Traced) -> usize {
    let traces = traced.traces();
    let folder = traces.first().and_then(|trace| trace.parent()).expect("there are traces");
    let reports = Report::of_each(folder).into_iter();
    let reports: BTreeMap<_, _> =
        reports.map(|report| (report.number("/trace/pid"), report)).collect();
    let (mut checked, mut late) = (0, 0);
    for [pid, least, most] in lines(traced) {
        let report = reports.get(&pid).unwrap_or_else(|| panic!("process {pid} has no trace"));
        if report.number("/trace/unknown_frees") > 0 && says_late(&trace_of(traced, pid)) {
            late += 1;
            continue;
        }
        report.assert_complete();
        let live = report.number("/end/live_bytes");
        assert!(
            (least..=most + OTHERS_BYTES).contains(&live),
            "child {pid} has {least} to {most} bytes and what is the library's, found {live}"
        );
        checked += 1;
    }
    assert!(checked > 0, "{}", traced.outcome.describe());
    late
}

fn says_late(trace: &Path) -> bool {
    let text = analyze("report", trace, &[]).expect_code(0).out();
    text.contains("when this process was forked is not known")
}

#[track_caller]
fn assert_exact(traced: &Traced) {
    assert_eq!(late_among_exact(traced), 0, "children came too late for what their parent had");
}

#[test]
fn a_child_begins_with_its_parents_heap() {
    assert_exact(&forks(program("forks"), 0, 10, 0, "256M"));
}

#[test]
fn a_child_begins_with_its_parents_heap_where_the_ring_went_round() {
    // The parent does 200 events before each.
    let traced = forks(program("forks"), 0, tools::soak("FRAGTRACE_SOAK_FORKS", 50), 0, "64K");
    let parent = Report::of(&trace_of(&traced, traced.outcome.pid.into()));
    assert!(parent.value("/trace/wrapped") == true, "the ring is too large for this test");
    // Where the parent is stopped in the middle of a fold for long, a child gives up.
    let (late, all) = (late_among_exact(&traced), traced.outcome.out().lines().count());
    assert!(late <= all / 10, "{late} of {all} children came too late");
}

/// Threads that allocate all the time, but for moments of sleep.
fn stress(program: PathBuf, allocator: Option<&str>) {
    const MANY: usize = 100;
    let children = tools::soak("FRAGTRACE_SOAK_FORKS", 20);
    // Each child's file holds all that its parent's did. A small ring may go round before a child
    // has taken over, where the machine is busy.
    let ring = if children > MANY { "1M" } else { "16M" };
    let late = late_among_exact(&forks_on(program, allocator, (THREADS, children, 2000), ring));
    assert!(late * MANY <= children, "{late} of {children} children came too late");
}

#[test]
fn threads_go_on_while_glibc_forks() {
    stress(program("forks"), None);
}

#[test]
fn threads_go_on_while_musl_forks() {
    let Some(program) = musl_program("forks") else { return };
    stress(program, None);
}

#[test]
fn threads_go_on_while_jemalloc_forks() {
    stress(program("forks"), Some("libjemalloc.so.2"));
}

#[test]
fn threads_go_on_while_mimalloc_forks() {
    stress(program("forks"), Some("libmimalloc.so.2"));
}

#[test]
fn threads_go_on_while_tcmalloc_forks() {
    stress(program("forks"), Some("libtcmalloc_minimal.so.4"));
}

#[test]
fn a_daemon_and_its_child_and_grandchild_are_recorded() {
    let traced = Traced::run_well(command(program("daemon")));
    let line = traced.outcome.out();
    let pids: Vec<&str> = line.split_whitespace().collect();
    // Live blocks of each in the end, by what the program does.
    for (pid, live, allocs, frees) in [(0, 120, 70, 50), (1, 20, 0, 100), (2, 21, 1, 0)] {
        let pid = pids.get(pid).and_then(|pid| pid.parse().ok()).expect("three numbers");
        let report = Report::of(&trace_of(&traced, pid));
        report.assert_complete();
        assert_numbers(
            &format!("process {pid}"),
            &[
                ("live", live, report.number("/end/live_blocks")),
                ("allocs", allocs, report.number("/trace/allocs")),
                ("frees", frees, report.number("/trace/frees")),
            ],
        );
    }
}

/// A pool of workers, each with the data of the process that it was forked by.
const POOL: &str = "
import multiprocessing
def work(n):
    return sum(len([str(i)]) for i in range(n))
data = [list(range(100)) for _ in range(3000)]
with multiprocessing.get_context('fork').Pool(3) as pool:
    print(pool.map(work, [20000] * 6))
";

#[test]
fn the_workers_of_a_real_pool_begin_with_its_data() {
    let Some(python) = tools::find("python3") else { return tools::skip("no python3 here") };
    let mut pool = command(python);
    pool.args(["-c", POOL]).env("PYTHONMALLOC", "malloc");
    let traced = Traced::run_well(pool);
    let python = |trace: &PathBuf| trace.to_string_lossy().contains("/python");
    let reports = traced.traces().into_iter().filter(python).map(|trace| Report::of(&trace));
    let (workers, parents): (Vec<Report>, Vec<Report>) =
        reports.partition(|report| report.value("/trace/forked_from").is_u64());
    assert!((workers.len(), parents.len()) == (3, 1), "a process and three workers");
    for worker in workers {
        worker.assert_complete();
        let live = worker.number("/end/live_blocks");
        assert!(live > 3000, "the lists at least are live, found {live} blocks");
    }
}

#[test]
fn children_that_only_exec_leave_no_trace() {
    let traced = Traced::run_well(shell("for i in 1 2 3 4 5; do /bin/true $i; done; exit 0"));
    let names: Vec<_> = traced.traces().iter().map(|trace| trace.display().to_string()).collect();
    let shells = names.iter().filter(|name| !name.contains("true.")).count();
    assert!(names.len() == 6 && shells == 1, "a shell and five programs: {names:#?}");
}

#[test]
fn what_a_later_thread_of_the_parent_has_is_not_a_childs() {
    // So few that nothing of them is folded, and so many that the ring holds nothing else.
    for (events, late) in [(100, false), (200_000, true)] {
        let mut forks = command(program("forks"));
        forks.args(["late", &events.to_string()]).env("FRAGTRACE_RING", "64K");
        let traced = Traced::run_well(forks);
        // A child, and a child of that, which has what that has.
        let lines = lines(&traced);
        assert_eq!(lines.len(), 2, "{}", traced.outcome.describe());
        for [pid, least, most] in lines {
            let trace = trace_of(&traced, pid);
            assert_eq!(says_late(&trace), late, "{events} events of another thread");
            let live = Report::of(&trace).number("/end/live_bytes");
            let range = if late { 0..=2 * OTHERS_BYTES } else { least..=most + OTHERS_BYTES };
            assert!(range.contains(&live), "{events} events: {range:?} bytes, found {live}");
        }
    }
}

/// What the parent folds while its child takes over makes the table of its live blocks larger than
/// it was at the fork, before the child has looked, and after.
#[test]
fn a_child_that_is_stopped_as_it_takes_over_has_all_that_was_live() {
    for call in ["openat", "fallocate"] {
        let mut forks = command(program("forks"));
        forks.args(["stopped", call]).env("FRAGTRACE_RING", "64K");
        let traced = Traced::run_well(forks);
        let parent = Report::of(&trace_of(&traced, traced.outcome.pid.into()));
        assert!(parent.value("/trace/wrapped") == true, "the ring is too large for this test");
        assert_eq!(lines(&traced).len(), 2, "{}", traced.outcome.describe());
        assert_exact(&traced);
    }
}

#[test]
fn a_child_says_that_events_of_its_parent_are_missing() {
    let mut forks = command(program("forks"));
    let traced = Traced::run_well({
        forks.arg("short");
        forks
    });
    let [pid, ..] = lines(&traced)[0];
    let missing = |pid| Report::of(&trace_of(&traced, pid)).number("/trace/dropped_events");
    // None after the fork, and none of the child's own.
    let of_parent = missing(traced.outcome.pid.into());
    assert!(of_parent > 0, "there was room for all");
    assert_numbers("the child", &[("missing events", of_parent, missing(pid))]);
    let text = analyze("report", &trace_of(&traced, pid), &[]).expect_code(0).out();
    assert!(text.contains("found no room"), "{text}");
}

#[test]
fn what_is_not_known_of_the_parent_is_said() {
    // Threads that never rest, and a ring that holds a few milliseconds of what they do: some
    // children come too late.
    let traced = forks(program("forks"), THREADS, 30, 0, "64K");
    for trace in traced.traces() {
        let report = Report::of(&trace);
        if report.number("/trace/unknown_frees") > 0 {
            assert!(says_late(&trace), "{}", trace.display());
        }
        assert_numbers(
            &trace.display().to_string(),
            &[("anomalies", 0, report.number("/trace/order_anomalies"))],
        );
    }
}
