//! Random sequences of all calls of the malloc family, with ordinary and with impossible
//! arguments: each answer, errno, alignment and content is what it is without the tracer.
//!
//! FRAGTRACE_SOAK_CALLS says how many sequences of 40 calls run on each allocator; 3,000 unless
//! told.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use fragtrace_tests::check::assert_same_run;
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};

/// What the program is told of the allocator.
const USABLE: &str = "usable";
const PVALLOC: &str = "pvalloc";
const OPERATORS: &str = "operators";

fn random_calls(program: &Path, more: &[&str]) -> Command {
    let sequences = tools::soak("FRAGTRACE_SOAK_CALLS", 3000);
    let mut calls = command(program);
    calls.args([&sequences.to_string(), "1"]).args(more);
    calls
}

fn assert_same(program: PathBuf, allocator: Option<&str>, more: &[&str]) {
    let mut bare = random_calls(&program, more);
    let mut traced = random_calls(&program, more);
    // Small, so that it goes round: whatever the recorder does is done meanwhile.
    traced.env("FRAGTRACE_RING", "1M");
    if let Some(library) = allocator {
        bare.env("LD_PRELOAD", library);
        traced.env("LD_PRELOAD", preload_list(&[&tools::tracer(), Path::new(library)]));
    }
    let bare = run(&mut bare).expect_code(0);
    assert!(bare.stdout.len() > 100, "{}", bare.describe());
    let traced = Traced::run(traced);
    assert_same_run(&bare, &traced.outcome);
    let report = traced.report();
    report.assert_adds_up();
    let acquired = report.number("/trace/allocs");
    assert!(acquired > 10_000, "{acquired} blocks are not what the program asked for");
}

fn assert_same_with_operators(library: &str, more: &[&str]) {
    assert_same(program("random_calls"), Some(library), more);
    assert_same(program("random_calls"), Some(library), &[more, &[OPERATORS]].concat());
}

#[test]
fn random_calls_answer_as_they_do_bare_on_glibc() {
    // Its usable bytes depend on where the heap begins: tests/undisturbed.rs looks at those.
    assert_same(program("random_calls"), None, &[PVALLOC]);
}

#[test]
fn random_calls_answer_as_they_do_bare_on_musl() {
    let Some(program) = musl_program("random_calls") else { return };
    assert_same(program, None, &[USABLE, PVALLOC]);
}

#[test]
fn random_calls_answer_as_they_do_bare_on_jemalloc() {
    assert_same_with_operators("libjemalloc.so.2", &[USABLE]);
}

#[test]
fn random_calls_answer_as_they_do_bare_on_mimalloc() {
    assert_same_with_operators("libmimalloc.so.2", &[USABLE, PVALLOC]);
}

#[test]
fn random_calls_answer_as_they_do_bare_on_tcmalloc() {
    assert_same_with_operators("libtcmalloc_minimal.so.4", &[USABLE, PVALLOC]);
}
