//! What comes before main and goes after it is on record as all else is; allocators that are hard
//! to start, stand before the tracer, or are bound past it.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers, assert_same_run};
use fragtrace_tests::programs::{cpp_program, library, musl_program, program};
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools::tracer;
use fragtrace_tests::traced::{Traced, preload_list};
use fragtrace_tests::witness::Sandwich;

fn with(name: &str, arguments: &[&str], preload: Option<&[&Path]>) -> Command {
    let mut command = command(program(name));
    command.args(arguments);
    if let Some(libraries) = preload {
        command.env("LD_PRELOAD", preload_list(libraries));
    }
    command
}

#[test]
fn static_objects_objects_of_threads_and_exit_handlers_are_on_record_however_it_ends() {
    for how in ["return", "exit", "quick_exit", "_exit", "abort", "thread"] {
        let mut lifetimes = command(cpp_program("lifetimes"));
        lifetimes.arg(how);
        let sandwich = Sandwich::run(lifetimes);
        let code = if how == "abort" { 9 } else { 7 };
        assert!(sandwich.outcome().code() == code, "{}", sandwich.outcome().describe());
        let allocs = sandwich.front.get("allocs");
        assert!(allocs > 500, "{how}: the program took {allocs} blocks only");
        sandwich.assert_passed_on();
        sandwich.assert_reported(&sandwich.traced.report());
    }
}

/// A library behind the tracer is finished after it.
#[test]
fn what_comes_and_goes_after_the_tracers_own_end_is_on_record() {
    let (tracer, late) = (tracer(), library("late", "liblate.so", &[]));
    let counts = |libraries: &[&Path]| {
        let traced = Traced::run(with("ends", &["return"], Some(libraries)));
        assert!(traced.outcome.code() == 7, "{}", traced.outcome.describe());
        let report = traced.report();
        report.assert_adds_up();
        ["allocs", "frees"].map(|key| report.number(&format!("/trace/{key}")))
    };
    let (without, with) = (counts(&[&tracer]), counts(&[&tracer, &late]));
    assert_numbers(
        "the library's part",
        &[("allocs", 15, with[0] - without[0]), ("frees", 10, with[1] - without[1])],
    );
}

#[test]
fn an_allocator_that_needs_everything_to_start_starts() {
    let bootstrap = library("bootstrap", "libbootstrap.so", &[]);
    for program in [program("ends"), cpp_program("lifetimes")] {
        let preloading = |libraries: &[&Path]| {
            let mut command = command(&program);
            command.arg("exit").env("LD_PRELOAD", preload_list(libraries));
            command
        };
        let bare = run(&mut preloading(&[&bootstrap])).expect_code(7);
        let traced = Traced::run(preloading(&[&tracer(), &bootstrap]));
        assert_same_run(&bare, &traced.outcome);
        let report = traced.report();
        report.assert_complete();
        let allocs = report.number("/trace/allocs");
        assert!(allocs >= 500, "{}: {allocs} on record", program.display());
    }
}

/// Then malloc is not ours: the program runs as it does. Blocks are seen where the allocator is
/// hooked at the beginnings of its own functions, as one that is linked in.
#[test]
fn an_allocator_before_the_tracer_gets_what_it_gets_untraced() {
    for (allocator, seen) in [
        ("libjemalloc.so.2", false),
        ("libmimalloc.so.2", true),
        ("libtcmalloc_minimal.so.4", true),
    ] {
        let path = Path::new(allocator);
        let arguments = ["300", "1"];
        let bare = run(&mut with("random_calls", &arguments, Some(&[path]))).expect_code(0);
        let traced = Traced::run(with("random_calls", &arguments, Some(&[path, &tracer()])));
        assert_same_run(&bare, &traced.outcome);
        let report = traced.report();
        report.assert_adds_up();
        let allocs = report.number("/trace/allocs");
        assert!((allocs > 3000) == seen, "{allocator}: {allocs} blocks seen");
    }
}

fn deepbind(how: &str) -> Command {
    let mut deepbind = command(program("deepbind"));
    deepbind.arg(library("taker", "libtaker.so", &[])).arg(how);
    deepbind
}

/// A library that is bound past the tracer: what it takes is not seen, and that is said.
#[test]
fn blocks_of_a_library_that_is_bound_deep_are_known_to_be_unknown() {
    let unknown = |how: &str| {
        let bare = run(&mut deepbind(how)).expect_code(0);
        let traced = Traced::run(deepbind(how));
        assert_same_run(&bare, &traced.outcome);
        let answers = Answers::of(&bare);
        (answers.get("exchanges"), traced.report())
    };
    let (_, plain) = unknown("plain");
    plain.assert_adds_up();
    let (exchanges, deep) = unknown("deep");
    let live = |report: &Report| report.number("/end/live_blocks");
    assert_numbers(
        "bound deep",
        &[
            ("frees of blocks never seen", exchanges, deep.number("/trace/unknown_frees")),
            ("blocks whose free is not seen", exchanges, live(&deep) - live(&plain)),
        ],
    );
}

/// Functions that a C library lacks are there under the tracer, and work.
#[test]
fn weak_references_to_what_the_c_library_lacks_find_functions_that_work() {
    for program in [Some(program("weak")), musl_program("weak")].into_iter().flatten() {
        let bare = run(&mut command(&program)).expect_code(0);
        let traced = Traced::run(command(&program));
        assert_same_run(&bare, &traced.outcome);
        traced.report().assert_adds_up();
    }
}
