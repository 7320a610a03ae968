//! Executables that have a malloc of their own, which the loader prefers to any other; and C++'s
//! operators, which allocators bring along beside malloc.
#![forbid(unsafe_code)]

use std::path::Path;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::{cpp_program, cpp_program_with, program_with};
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::tools::tracer;
use fragtrace_tests::traced::{Traced, preload_list};

const COUNTS: [(&str, &str); 3] =
    [("allocs", "/trace/allocs"), ("frees", "/trace/frees"), ("reallocs", "/trace/reallocs")];
const LIVE: (&str, &str) = ("live_bytes", "/end/live_bytes");

/// Runs a program with nothing to do, and with something: what it says of the second, and what
/// the reports say that the second did more.
fn more(
    program: &Path,
    idle: &[&str],
    busy: &[&str],
    preload: Option<&str>,
) -> (Answers, impl Fn(&str) -> u64) {
    let run = |arguments: &[&str]| {
        let mut command = command(program);
        command.args(arguments);
        if let Some(library) = preload {
            command.env("LD_PRELOAD", preload_list(&[&tracer(), Path::new(library)]));
        }
        let traced = Traced::run_well(command);
        let report = traced.report();
        report.assert_complete();
        (Answers::of(&traced.outcome), report)
    };
    let (_, idle): (Answers, Report) = run(idle);
    let (answers, busy) = run(busy);
    (answers, move |key: &str| busy.number(key) - idle.number(key))
}

fn assert_same(
    claim: &str,
    keys: &[(&str, &str)],
    (answers, more): (Answers, impl Fn(&str) -> u64),
) {
    let numbers: Vec<_> =
        keys.iter().map(|(name, key)| (*name, answers.get(name), more(key))).collect();
    assert_numbers(claim, &numbers);
}

/// jemalloc is not tried: it has no pvalloc, so that the program mixes it with glibc's and crashes.
#[test]
fn each_entry_point_of_tcmalloc_in_the_executable_is_seen() {
    let flags = ["-l:libtcmalloc_minimal.a", "-lstdc++", "-lm"];
    let program = program_with("counts", "counts_on_tcmalloc", &flags);
    let runs = more(&program, &["family", "0"], &["family", "2000"], None);
    let keys: Vec<_> = COUNTS.into_iter().chain([LIVE]).collect();
    assert_same("every entry point", &keys, runs);
}

fn assert_operators_are_seen(claim: &str, program: &Path, throws: bool, preload: Option<&str>) {
    let busy: &[&str] = if throws { &["5000", "throw"] } else { &["5000"] };
    let runs = more(program, &["0"], busy, preload);
    assert_same(claim, &[COUNTS[0], COUNTS[1], LIVE], runs);
}

#[test]
fn operators_of_an_interposed_allocator_are_seen() {
    let program = cpp_program("operators");
    assert_operators_are_seen("on glibc", &program, false, None);
    assert_operators_are_seen("on jemalloc", &program, true, Some("libjemalloc.so.2"));
    assert_operators_are_seen("on tcmalloc", &program, true, Some("libtcmalloc_minimal.so.4"));
    // Built as C, it ends the process instead of throwing.
    assert_operators_are_seen("on mimalloc", &program, false, Some("libmimalloc.so.2"));
}

#[test]
fn operators_in_the_executable_are_seen() {
    for library in ["-l:libjemalloc.a", "-l:libtcmalloc_minimal.a"] {
        let name = format!("operators_on_{}", &library[6..14]);
        let program = cpp_program_with("operators", &name, &[library, "-ldl"]);
        assert_operators_are_seen(library, &program, true, None);
    }
}
