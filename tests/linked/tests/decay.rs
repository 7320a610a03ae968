//! What jemalloc gives back when nothing happens any more, by its settings: at once, after a second,
//! after ten, with a thread that does it and without.

use fragtrace_tests::checkpoint::{Checkpoints, number};
use fragtrace_tests::victim::THREAD_BLOCK_BYTES;
use std::thread;

const STEPS: [&str; 4] = ["load", "dropped", "after_3_s", "after_12_s"];
const RUNS: usize = 4;

/// Runs the burst with a decay time: at each step the report has what the program and the kernel had.
fn run(decay_ms: u64, background: bool) -> Checkpoints {
    let conf = format!("dirty_decay_ms:{decay_ms},muzzy_decay_ms:0,background_thread:{background}");
    let program = env!("CARGO_BIN_EXE_decay_jemalloc");
    let steps = Checkpoints::recorded(&conf, &[program], &[("_RJEM_MALLOC_CONF", conf.as_str())]);
    // What the C library has for itself, and for each thread that purges.
    let of_threads = 256 + if background { 2 * THREAD_BLOCK_BYTES } else { 0 };
    for step in STEPS {
        steps.assert_true_at(step, of_threads);
    }
    steps
}

fn resident(steps: &Checkpoints, step: &str) -> u64 {
    number(&steps.states(step)[0], "heap_resident_bytes")
}

/// Which quarters of the load are in memory after each step: 4 all of it.
fn quarters(steps: &Checkpoints) -> [u64; 3] {
    let load = resident(steps, "load");
    ["dropped", "after_3_s", "after_12_s"].map(|step| (resident(steps, step) * 4).div_ceil(load))
}

/// Whether a run tells of the times that it was given. Not on a machine so busy that the program
/// or the thread that purges came too late.
fn is_told(decay_ms: u64, background: bool, steps: &Checkpoints) -> bool {
    let [dropped, after_3_s, after_12_s] = quarters(steps);
    println!("{}: {:?}", steps.name, [dropped, after_3_s, after_12_s]);
    match (decay_ms, background) {
        (0, _) => [dropped, after_3_s, after_12_s] == [1; 3],
        // Nobody calls the allocator, so nothing decays.
        (_, false) => dropped > 2 && after_12_s > 2,
        (1000, true) => {
            // Seen while the program slept.
            let load = resident(steps, "load");
            let asleep = steps.between("dropped", "after_3_s");
            let fell = |state| number(state, "heap_resident_bytes") < load / 4;
            dropped > 2 && after_3_s == 1 && after_12_s == 1 && asleep.iter().any(fell)
        }
        _ => dropped > 2 && after_3_s > 1 && after_12_s == 1,
    }
}

/// All at once: they sleep most of the time. Which were not told.
fn untold(settings: Vec<(u64, bool)>) -> Vec<(u64, bool)> {
    let runs = settings.into_iter().map(|(decay_ms, background)| {
        (decay_ms, background, thread::spawn(move || run(decay_ms, background)))
    });
    let runs: Vec<_> = runs.collect();
    runs.into_iter()
        .filter_map(|(decay_ms, background, run)| {
            let steps = run.join().expect("a run that agrees with the kernel");
            (!is_told(decay_ms, background, &steps)).then_some((decay_ms, background))
        })
        .collect()
}

/// Every run agrees with the kernel; and in one of a few each setting shows.
#[test]
fn decay_times_are_told_apart() {
    let mut left: Vec<_> =
        [0, 1000, 10_000].into_iter().flat_map(|ms| [(ms, true), (ms, false)]).collect();
    for _ in 0..RUNS {
        left = untold(left);
        if left.is_empty() {
            return;
        }
    }
    panic!("not told: {left:?}");
}
