//! A recorder that is killed at any moment, also in the middle of a fold: its trace holds
//! exactly what lived, but for the call under way on each thread.
//!
//! FRAGTRACE_SOAK_KILLS says how often; 50 times unless told.
#![forbid(unsafe_code)]

use std::thread::sleep;
use std::time::Duration;

use fragtrace_tests::run::{Running, Signal};
use fragtrace_tests::tools;
use fragtrace_tests::victim::Victim;

#[test]
fn a_death_at_any_moment_loses_nothing() {
    let kills = tools::soak("FRAGTRACE_SOAK_KILLS", 50);
    let mut wrapped = 0;
    for kill in 0..kills {
        let ring = ["64K", "256K", "1M", "4M"][kill % 4];
        let threads = [1, 2, 4][kill / 4 % 3];
        // Spread over a quarter of a second, in no order that the program could have.
        let moment = Duration::from_micros(5_000 + (kill as u64 * 7_919_993) % 240_000);
        wrapped += usize::from(killed(kill, ring, threads, moment));
    }
    assert!(wrapped * 2 > kills, "only {wrapped} of {kills} rings wrapped");
}

/// Whether the ring had wrapped.
fn killed(seed: usize, ring: &str, threads: u64, after: Duration) -> bool {
    let claim = format!("seed {seed}, ring {ring}, {threads} threads, killed after {after:?}");
    let victim = Victim::new(claim, threads);
    let running = Running::start(&mut victim.command(seed, ring));
    victim.wait_until_at_work();
    sleep(after);
    running.signal(Signal::KILL);
    running.finish();
    let report = victim.assert_exact();
    assert_eq!(report.text("/trace/end"), "unknown", "{}", victim.claim);
    report.value("/trace/wrapped").as_bool() == Some(true)
}
