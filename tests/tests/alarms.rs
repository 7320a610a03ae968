//! Handlers that allocate and map at any instruction, every 100 microseconds, and may nest or jump
//! away: no event is lost or torn, and no thread waits for what it interrupted itself.
#![forbid(unsafe_code)]

use std::path::Path;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::{cpp_program, library, program};
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

#[test]
fn no_event_is_lost_where_a_profiler_walks_the_stack_a_thousand_times_a_second() {
    // Beside the alarms of the threads, whose handlers map.
    let (answers, traced) = interrupted(2, "mmap profile", "1M");
    assert!(answers.get("walks") >= 500, "{}", traced.outcome.describe());
    let report: Report = traced.report();
    report.assert_complete();
    let numbers =
        COUNTS[2..].iter().map(|(name, key)| (*name, answers.get(name), report.number(key)));
    let numbers: Vec<_> = numbers.collect();
    // The walk loads a library, and the library maps.
    for (name, counted, found) in numbers {
        assert!((counted..counted + 64).contains(&found), "{name}: {counted}, on record {found}");
    }
}

#[test]
fn no_event_is_lost_on_threads_that_keep_all_signals_blocked() {
    assert_exact(2, "mmap blocked tiny", "1M");
}

/// Exceptions go through the hook of an operator that never returns.
#[test]
fn no_event_is_lost_where_operator_new_throws_under_an_alarm() {
    let program = cpp_program("throws");
    // Not mimalloc: built in C, its operators abort.
    for allocator in [None, Some("libjemalloc.so.2"), Some("libtcmalloc_minimal.so.4")] {
        let throws = |pairs: &str| {
            let mut throws = command(&program);
            throws.arg(pairs).env("FRAGTRACE_RING", "1M");
            if let Some(library) = allocator {
                let list = preload_list(&[&tools::tracer(), Path::new(library)]);
                throws.env("LD_PRELOAD", list);
            }
            let traced = Traced::run_well(throws);
            let report = traced.report();
            report.assert_adds_up();
            (Answers::of(&traced.outcome), report)
        };
        let ((_, idle), (answers, report)) = (throws("0"), throws("40000"));
        assert_eq!(answers.get("alarms"), 1, "{allocator:?}: no alarm came");
        let numbers = COUNTS[..2]
            .iter()
            .map(|(name, key)| (*name, answers.get(name), report.number(key) - idle.number(key)));
        assert_numbers(&format!("on {allocator:?}"), &numbers.collect::<Vec<_>>());
    }
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

/// A question to the allocator that was jumped out of keeps nobody from asking again.
#[test]
fn what_may_be_used_of_blocks_is_asked_for_after_a_jump_out_of_a_question() {
    /// Frames that are gone do not tell so many blocks deeper than they were.
    const UNASKED: u64 = 64;
    for how in ["jump", "signal"] {
        for (depth, unasked) in [(0, 0), (40, UNASKED)] {
            let mut questions = command(program("questions"));
            questions.args([how, &depth.to_string()]);
            let reentrant = library("reentrant", "libreentrant.so", &[]);
            questions.env("LD_PRELOAD", preload_list(&[&tools::tracer(), &reentrant]));
            let traced = Traced::run_well(questions);
            let (answers, report) = (Answers::of(&traced.outcome), traced.report());
            let (kept, unused) = (answers.get("kept"), answers.get("unused"));
            assert!(unused >= 2 * UNASKED && kept > 2 * UNASKED, "too little to tell");
            let missing = answers.get("usable") - report.number("/end/usable_bytes");
            let most = unused / kept * unasked;
            assert!(missing <= most, "{how}, {depth} deep: {missing} bytes are not known");
            assert_numbers(how, &[("live blocks", kept, report.number("/end/live_blocks"))]);
        }
    }
}
