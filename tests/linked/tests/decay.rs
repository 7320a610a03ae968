//! What jemalloc gives back when nothing happens any more, by its settings: at once, after a second,
//! after ten, with a thread that does it and without.

use fragtrace_tests::check::assert_near;
use fragtrace_tests::checkpoint::{Checkpoints, number};
use std::thread;

const STEPS: [&str; 4] = ["load", "dropped", "after_3_s", "after_12_s"];
/// At 3 seconds of 10 most is there still; a busy machine may come later to look.
const STILL_EARLY_MS: u64 = 5_000;

/// Runs the burst with a decay time. At each step the report has what the kernel had.
fn run(decay_ms: u64, background: bool) -> Checkpoints {
    let conf = format!("dirty_decay_ms:{decay_ms},muzzy_decay_ms:0,background_thread:{background}");
    let program = env!("CARGO_BIN_EXE_decay_jemalloc");
    let waits = if background { "background" } else { "alone" };
    let settings = [("_RJEM_MALLOC_CONF", conf.as_str())];
    let steps = Checkpoints::recorded(&conf, &[program, waits], &settings);
    for step in STEPS {
        for state in steps.states(step) {
            let resident = steps.said(step, "heap_resident_bytes");
            let found = number(&state, "heap_resident_bytes");
            assert_near(&format!("{conf}, {step}"), resident, found, resident / 50 + (64 << 10));
        }
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

#[test]
fn decay_times_are_told_apart() {
    let runs: Vec<_> = [0, 1000, 10_000]
        .into_iter()
        .flat_map(|decay_ms| [true, false].map(|background| (decay_ms, background)))
        .map(|(decay_ms, background)| {
            let run = thread::spawn(move || run(decay_ms, background));
            (decay_ms, background, run)
        })
        .collect();
    for (decay_ms, background, run) in runs {
        let steps = run.join().expect("a run that agrees with the kernel");
        let [dropped, after_3_s, after_12_s] = quarters(&steps);
        let shown = format!("{}: {:?}", steps.name, [dropped, after_3_s, after_12_s]);
        println!("{shown}");
        match (decay_ms, background) {
            (0, _) => assert_eq!([dropped, after_3_s, after_12_s], [1; 3], "{shown}"),
            // Nobody calls the allocator, so nothing decays.
            (_, false) => assert!(dropped > 2 && after_12_s > 2, "{shown}"),
            (1000, true) => {
                assert!(dropped > 2 && after_3_s == 1 && after_12_s == 1, "{shown}");
                // Seen while the program slept.
                let load = resident(&steps, "load");
                let asleep = steps.between("dropped", "after_3_s");
                let fell = |state| number(state, "heap_resident_bytes") < load / 4;
                assert!(asleep.iter().any(fell), "{shown}");
            }
            _ => {
                assert!(dropped > 2 && after_12_s == 1, "{shown}");
                let early = steps.said("after_3_s", "over_ms") < STILL_EARLY_MS;
                assert!(after_3_s > 1 || !early, "{shown}");
            }
        }
    }
}
