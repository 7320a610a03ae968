//! Events of different threads come out in the order in which they happened, also where one
//! thread frees what another has just taken, as fast as the machine can hand it over.
#![forbid(unsafe_code)]

use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;

fn handover(threads: u32, handovers: u32, stacks: &str) -> Command {
    let mut handover = command(program("handover"));
    handover.args([threads.to_string(), handovers.to_string()]).env("FRAGTRACE_STACKS", stacks);
    handover
}

/// The C library takes a block for each new thread: a run without handovers tells how many.
fn assert_in_order(threads: u32, handovers: u32, stacks: &str) {
    let idle = Traced::run_well(handover(threads, 0, stacks)).report();
    let traced = Traced::run_well(handover(threads, handovers, stacks));
    let (answers, report) = (Answers::of(&traced.outcome), traced.report());
    report.assert_adds_up();
    let keys = [
        ("allocs", "/trace/allocs"),
        ("frees", "/trace/frees"),
        ("live_blocks", "/end/live_blocks"),
        ("live_bytes", "/end/live_bytes"),
    ];
    let numbers =
        keys.map(|(name, key)| (name, idle.number(key) + answers.get(name), report.number(key)));
    assert_numbers(&format!("{handovers} handovers between {threads} threads"), &numbers);
}

#[test]
fn two_threads_hand_over_without_an_anomaly() {
    assert_in_order(2, 4_000_000, "off");
}

#[test]
fn two_threads_hand_over_without_an_anomaly_with_stacks() {
    assert_in_order(2, 1_000_000, "on");
}

#[test]
fn four_threads_hand_over_without_an_anomaly() {
    assert_in_order(4, 2_000_000, "off");
}

#[test]
fn eight_threads_hand_over_without_an_anomaly() {
    assert_in_order(8, 1_000_000, "off");
}

#[test]
fn almost_every_handover_is_seen_as_a_free_on_another_thread() {
    let traced = Traced::run_well(handover(4, 400_000, "off"));
    let freed = Answers::of(&traced.outcome).get("frees");
    let report = traced.report();
    let across = report.number("/end/cross_thread_frees");
    let pairs = report.array("/trace/cross_thread_pairs").iter();
    let of_pairs: u64 = pairs.filter_map(|pair| pair["blocks"].as_u64()).sum();
    assert_eq!(of_pairs, across, "each is one of a pair of threads");
    assert!(
        across == freed,
        "every one of {freed} frees was on another thread, the report says {across}"
    );
}
