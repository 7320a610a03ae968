//! Handlers that allocate and map at any instruction, every 100 microseconds, and may nest or jump
//! away: no event is lost or torn, and no thread waits for what it interrupted itself.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::{library, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};

const COUNTS: [(&str, &str); 4] = [
    ("allocs", "/trace/allocs"),
    ("frees", "/trace/frees"),
    ("mmaps", "/trace/mmaps"),
    ("munmaps", "/trace/munmaps"),
];

/// So many threads on the allocator that handlers may enter, or on glibc's.
fn interrupted(threads: u64, how: &str, ring: &str) -> (Answers, Traced) {
    let mut alarms = command(program("alarms"));
    alarms.args([&threads.to_string(), "5000"]).args(how.split(' '));
    alarms.env("FRAGTRACE_RING", ring);
    if how.contains("malloc") {
        let reentrant = library("reentrant", "libreentrant.so", &[]);
        alarms.env("LD_PRELOAD", preload_list(&[&tools::tracer(), &reentrant]));
    }
    let traced = Traced::run_well(alarms);
    (Answers::of(&traced.outcome), traced)
}

/// The trace has what the program counted, and what the C library takes for each thread.
fn assert_exact(threads: u64, how: &str, ring: &str) {
    let (answers, traced) = interrupted(threads, how, ring);
    let report = traced.report();
    let of_libc = report.number("/end/live_blocks");
    assert!(of_libc <= threads, "{how}: {of_libc} blocks live");
    let released = report.number("/trace/frees") - answers.get("frees");
    let numbers = COUNTS.map(|(name, key)| {
        let more = match name {
            "allocs" => threads,
            "frees" => threads - of_libc,
            _ => 0,
        };
        (name, answers.get(name) + more, report.number(key))
    });
    assert_numbers(&format!("{threads} threads, handlers: {how}; {released} of libc"), &numbers);
    report.assert_adds_up();
}

#[test]
fn no_event_is_lost_where_handlers_allocate() {
    assert_exact(1, "malloc", "256M");
    assert_exact(2, "malloc mmap", "256M");
    assert_exact(4, "malloc", "256M");
}

#[test]
fn no_event_is_lost_where_handlers_nest_on_stacks_of_their_own() {
    assert_exact(2, "malloc mmap nest altstack", "256M");
}

#[test]
fn no_event_is_lost_where_handlers_allocate_and_the_ring_goes_round() {
    assert_exact(2, "malloc", "1M");
}

#[test]
fn no_event_is_lost_where_handlers_map_inside_glibcs_malloc() {
    assert_exact(2, "mmap", "256M");
    assert_exact(2, "mmap altstack tiny", "256M");
}

/// What was interrupted in the middle may be on record or not; all that comes later is.
#[test]
fn the_recorder_heals_where_handlers_jump_away() {
    for how in ["malloc jump", "malloc jump nest altstack"] {
        let (answers, traced) = interrupted(2, how, "256M");
        let report: Report = traced.report();
        report.assert_complete();
        let jumps = answers.get("jumps");
        assert!(jumps >= 500, "{how}: only {jumps} jumps");
        for (name, key) in &COUNTS[..2] {
            // A call each that was over for the recorder and not for the program, or the
            // other way round; and what libc takes for threads.
            let apart = report.number(key).abs_diff(answers.get(name));
            assert!(apart <= jumps + 2, "{how}: {name} are {apart} apart after {jumps} jumps");
        }
        let dump = analyze("dump", &traced.trace(), &[]).expect_code(0).out();
        let later = dump.lines().filter(|line| line.contains("\t7777\t")).count() as u64;
        assert_numbers(how, &[("acquired after the last jump", answers.get("last"), later)]);
    }
}
