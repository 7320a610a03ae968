//! The traced program gets the same addresses, results and errors as without the tracer. Any
//! preloaded library moves what mmap places, so the comparison is with one that does nothing and
//! is as large as the tracer.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{assert_same_lines, assert_same_run};
use fragtrace_tests::idle::idle_like_the_tracer;
use fragtrace_tests::programs::program;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools::tracer;
use fragtrace_tests::traced::{Traced, run_at_fixed_addresses};

fn assert_same_places(mode: &str, settings: &[&str]) {
    assert_same_places_in("addresses", &[mode], settings);
}

fn assert_same_places_in(name: &str, arguments: &[&str], settings: &[&str]) {
    let program = program(name);
    let at = |preload| run_at_fixed_addresses(preload, settings, &program, arguments);
    let (idle, tracer) = (idle_like_the_tracer(), tracer());
    let Some(expected) = at(&idle) else { return };
    let found = at(&tracer).expect("what ran once runs twice");
    let claim = format!("`{name} {arguments:?}` is undisturbed with {settings:?}");
    assert_same_lines(&claim, &expected.stdout, &found.stdout);
    assert!(expected.stdout.len() > 500, "the program printed nothing: {}", expected.describe());
}

#[test]
fn blocks_of_the_brk_heap_have_the_same_addresses() {
    assert_same_places("brk", &[]);
}

#[test]
fn blocks_with_mappings_of_their_own_have_the_same_offsets() {
    assert_same_places("mapped", &[]);
}

#[test]
fn blocks_of_arenas_have_the_same_offsets_with_threads() {
    assert_same_places("arenas", &[]);
}

#[test]
fn looks_and_stacks_do_not_move_anything() {
    for settings in [
        ["FRAGTRACE_LOOK_MS=1", "FRAGTRACE_STACKS=on"],
        ["FRAGTRACE_LOOK_MS=0", "FRAGTRACE_STACKS=off"],
        ["FRAGTRACE_RING=1M", "FRAGTRACE_STACKS=256"],
    ] {
        assert_same_places("brk", &settings);
        assert_same_places("mapped", &settings);
    }
}

#[test]
fn the_mmap_family_gets_its_hints_flags_results_and_errors() {
    assert_same_places("calls", &[]);
}

#[test]
fn random_calls_get_blocks_of_the_same_usable_size() {
    assert_same_places_in("random_calls", &["3000", "1", "usable", "pvalloc"], &[]);
}

#[test]
fn corner_cases_answer_as_they_do_bare() {
    let corners = program("corners");
    let bare = run(&mut command(&corners)).expect_code(0);
    assert_same_run(&bare, &Traced::run(command(&corners)).outcome);
}
