//! A recorder that is killed at any moment, also in the middle of a fold: its trace holds
//! exactly what lived, but for the call under way on each thread.
//!
//! FRAGTRACE_SOAK_KILLS says how often; 50 times unless told.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::command;
use fragtrace_tests::tools;

/// Places for blocks that victim.c has on each thread.
const PLACES: usize = 3000;
const ACCOUNT_BYTES: usize = 16 + 4 * PLACES;
/// The C library's own block for a thread (its table of TLS blocks) is not larger.
const THREAD_BLOCK_BYTES: u64 = 1024;

/// What may live, by the account that the program kept: without the calls under way, and
/// with them.
#[derive(Debug, Default)]
struct Account {
    least_blocks: u64,
    most_blocks: u64,
    least_bytes: u64,
    most_bytes: u64,
}

fn account(path: &Path) -> Account {
    let bytes = fs::read(path).expect("the program kept an account");
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let mut sum = Account::default();
    for start in (0..bytes.len()).step_by(ACCOUNT_BYTES) {
        let under_way = u64_at(start) as usize;
        for place in (0..PLACES).filter(|place| place + 1 != under_way) {
            let size = u64::from(u32_at(start + 16 + 4 * place));
            sum.least_blocks += u64::from(size > 0);
            sum.least_bytes += size;
        }
        if under_way != 0 {
            sum.most_blocks += 1;
            sum.most_bytes += u64_at(start + 8);
        }
    }
    sum.most_blocks += sum.least_blocks;
    sum.most_bytes += sum.least_bytes;
    sum
}

#[test]
fn a_death_at_any_moment_loses_nothing() {
    let kills = env::var("FRAGTRACE_SOAK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let mut wrapped = 0;
    for kill in 0..kills {
        let ring = ["64K", "256K", "1M", "4M"][kill % 4];
        let threads = [1, 2, 4][kill / 4 % 3];
        // Spread over a quarter of a second, in no order that the program could have.
        let moment = Duration::from_micros(5_000 + (kill as u64 * 7_919_993) % 240_000);
        wrapped += u64::from(killed(kill, ring, threads, moment));
    }
    assert!(wrapped * 2 > kills as u64, "only {wrapped} of {kills} rings wrapped");
}

/// Whether the ring had wrapped.
fn killed(seed: usize, ring: &str, threads: u64, after: Duration) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (witness, trace) = (folder.path().join("witness"), folder.path().join("victim.ftr"));
    let mut victim = command(program("victim"));
    victim.arg(&witness).arg(seed.to_string()).arg(threads.to_string());
    victim.env("LD_PRELOAD", tools::tracer()).env("FRAGTRACE_OUT", &trace);
    victim.env("FRAGTRACE_RING", ring).env("FRAGTRACE_QUIET", "1");
    let mut child = victim.spawn().expect("the program starts");
    while !trace.exists() || fs::metadata(&witness).map_or(0, |file| file.len()) == 0 {
        sleep(Duration::from_millis(1));
    }
    sleep(after);
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
    let report = Report::of(&trace);
    let known = account(&witness);
    let claim = format!("seed {seed}, ring {ring}, {threads} threads, killed after {after:?}");
    for key in ["/trace/order_anomalies", "/trace/unknown_frees", "/trace/dropped_events"] {
        assert_eq!(report.number(key), 0, "{claim}: {key}");
    }
    assert_eq!(report.text("/trace/end"), "unknown", "{claim}");
    // Each thread but the first brings a block of the C library's along.
    let own = threads - 1;
    let (blocks, bytes) = (report.number("/end/live_blocks"), report.number("/end/live_bytes"));
    assert!(
        (known.least_blocks..=known.most_blocks + own).contains(&blocks)
            && (known.least_bytes..=known.most_bytes + own * THREAD_BLOCK_BYTES).contains(&bytes),
        "{claim}: {blocks} blocks, {bytes} bytes; expected {known:?}"
    );
    report.value("/trace/wrapped").as_bool() == Some(true)
}
