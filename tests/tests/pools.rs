//! Pools that a program tells of (`fragtrace.h`): known with what is live in them, and none of the
//! heap's figures changes.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::programs::program;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::traced::Traced;

const ARENA_BYTES: u64 = 1 << 20;
const BLOCKS: u64 = 1000;
const ROUNDS: u64 = 50;
/// 1 to 64 bytes in turn.
const REQUEST_BYTES: u64 = 15 * 64 * 65 / 2 + 40 * 41 / 2;

#[test]
fn pools_are_known_with_what_is_live_in_them() {
    let traced = Traced::run_well(command(program("pools")));
    let said = Answers::of(&traced.outcome);
    let report = traced.report();
    report.assert_complete();
    let pools = report.array("/pools");
    let figure = |index: usize, key: &str| pools[index][key].as_u64().unwrap_or(u64::MAX);
    let names = pools.iter().filter(|pool| pool["name"] == "request").count() as u64;
    assert_numbers(
        "pools",
        &[
            ("seen", 1, said.get("seen")),
            ("pools", ROUNDS + 1, pools.len() as u64),
            ("of them requests", ROUNDS, names),
            ("start", said.get("start"), figure(0, "start")),
            ("bytes", ARENA_BYTES, figure(0, "bytes")),
            ("live bytes", BLOCKS / 2 * 512, figure(0, "live_bytes")),
            ("live blocks", BLOCKS / 2, figure(0, "live_blocks")),
            ("free bytes", ARENA_BYTES - BLOCKS / 2 * 512, figure(0, "free_bytes")),
            ("most live", BLOCKS * 512, figure(0, "peak_live_bytes")),
            ("acquired", BLOCKS, figure(0, "acquired")),
            ("released", BLOCKS / 2, figure(0, "released")),
            ("of a request", REQUEST_BYTES, figure(7, "peak_live_bytes")),
            ("left of it", 0, figure(7, "live_blocks")),
            ("heap: live", ARENA_BYTES, report.number("/end/live_bytes")),
            ("heap: allocs", ROUNDS + 1, report.number("/trace/allocs")),
            ("heap: frees", ROUNDS, report.number("/trace/frees")),
            ("anomalies", 0, report.number("/trace/order_anomalies")),
            ("unknown frees", 0, report.number("/trace/unknown_frees")),
        ],
    );
    assert_eq!((&pools[0]["name"], &pools[0]["destroyed_ns"]), (&"kept".into(), &().into()));
}

/// Of a ring that went round many times the heap is whole, and of a pool's blocks that were folded
/// it is not pretended to know.
#[test]
fn where_the_ring_goes_round_the_heap_is_whole_and_old_pools_are_not_known() {
    let mut small = command(program("pools"));
    small.env("FRAGTRACE_RING", "64K");
    let traced = Traced::run_well(small);
    let report = traced.report();
    let pools = report.array("/pools");
    assert_eq!(report.json["trace"]["wrapped"], true);
    assert_eq!((&pools[0]["live_bytes"], pools.len() as u64), (&().into(), ROUNDS + 1));
    let last = pools.last().expect("a pool");
    assert_eq!(last["peak_live_bytes"], REQUEST_BYTES, "{last}");
    assert_numbers(
        "the heap",
        &[
            ("live", ARENA_BYTES, report.number("/end/live_bytes")),
            ("allocs", ROUNDS + 1, report.number("/trace/allocs")),
            ("frees", ROUNDS, report.number("/trace/frees")),
            ("unknown frees", 0, report.number("/trace/unknown_frees")),
        ],
    );
}

#[test]
fn without_the_tracer_it_does_nothing() {
    let outcome = run(&mut command(program("pools"))).expect_code(0);
    assert_eq!(Answers::of(&outcome).get("seen"), 0);
}
