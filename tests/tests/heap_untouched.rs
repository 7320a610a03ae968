//! The tracer takes nothing from the program's heap: glibc's own figures are the same, and a
//! count behind the tracer sees exactly the calls that a count in front of it sees.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_numbers, assert_same_lines};
use fragtrace_tests::programs::{library, program};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;
use fragtrace_tests::witness::{Sandwich, Witness, library as witness};

#[test]
fn the_allocators_own_figures_are_those_of_a_bare_run() {
    let heapinfo = program("heapinfo");
    let bare = run(&mut command(&heapinfo)).expect_code(0);
    let traced = Traced::run_well(command(&heapinfo));
    assert_same_lines("mallinfo is as bare", &bare.stdout, &traced.outcome.stdout);
}

/// The C library's block for each thread grows with each library that has thread-local storage,
/// so the comparison is with one that has some and does nothing.
#[test]
fn the_allocators_own_figures_with_threads_are_those_of_an_idle_library() {
    let tls_bytes = fragtrace_tests::elf::extent(&tools::tracer()).tls_bytes;
    let sizes = [("TLS_BYTES", tls_bytes.to_string()), ("PAD_BYTES", "0".into())];
    let idle = library("idle", "libidle.so", &sizes);
    let heapinfo = program("heapinfo");
    let expected = run(command(&heapinfo).arg("threads").env("LD_PRELOAD", idle)).expect_code(0);
    let mut traced = command(&heapinfo);
    traced.arg("threads");
    let found = Traced::run_well(traced).outcome;
    assert_same_lines("mallinfo is as with an idle library", &expected.stdout, &found.stdout);
}

#[test]
fn the_allocator_gets_exactly_the_programs_calls() {
    let runs: [&[&str]; 4] = [
        &["family", "1000"],
        &["threads", "8", "1000"],
        &["failing", "50"],
        &["short", "50", "50"],
    ];
    for arguments in runs {
        let mut counts = command(program("counts"));
        counts.args(arguments);
        let sandwich = Sandwich::run(counts);
        assert!(sandwich.outcome().code() == 0, "{}", sandwich.outcome().describe());
        sandwich.assert_passed_on();
    }
}

/// A call that the tracer made by name would pass the witness in front as well.
#[test]
fn the_tracer_makes_no_call_of_its_own_by_name() {
    let mut counts = command(program("counts"));
    counts.args(["family", "1000"]);
    let sandwich = Sandwich::run(counts);
    let answers = Answers::of(sandwich.outcome());
    let numbers: Vec<_> =
        sandwich.front.all().map(|(name, found)| (name, answers.get(name), found)).collect();
    assert_numbers("the first witness sees the program alone", &numbers);
}

#[test]
fn the_allocator_gets_exactly_the_calls_of_real_programs() {
    for (tool, arguments) in [
        ("python3", ["-c", "print(sum(len(str(i)) for i in range(20000)))"]),
        ("perl", ["-e", "my %h = map { $_ => $_ * 2 } 1 .. 5000; print scalar keys %h"]),
        ("git", ["help", "--all"]),
    ] {
        let Some(path) = tools::find(tool) else { continue };
        let mut real = command(path);
        real.args(arguments);
        Sandwich::run(real).assert_passed_on();
    }
}

/// The independent count is worth nothing unless it agrees with a program that knows its own.
#[test]
fn the_independent_count_is_right() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("count");
    let mut counts = command(program("counts"));
    counts.args(["family", "1000"]);
    counts.env("LD_PRELOAD", witness("WITNESS_FRONT")).env("WITNESS_FRONT", &path);
    let answers = Answers::of(&run(&mut counts).expect_code(0));
    let counted = Witness::read(&path);
    let numbers: Vec<_> =
        counted.all().map(|(name, found)| (name, answers.get(name), found)).collect();
    assert_numbers("the witness counts right", &numbers);
}
