//! While jemalloc gives pages back, what the program has does not change: live and usable bytes are
//! its own sums at each step, from under load to 12 seconds after the drop, with a thread that purges
//! and without.

use fragtrace_tests::check::assert_near;
use fragtrace_tests::checkpoint::{Checkpoints, number};
use std::thread;

const STEPS: [&str; 4] = ["load", "dropped", "after_3_s", "after_12_s"];
/// What the C library has for itself, the purging thread's included.
const MOST_OF_OTHERS_BYTES: u64 = 16 << 10;

fn true_at_each_step(background: bool) {
    let conf = format!("dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:{background}");
    let program = env!("CARGO_BIN_EXE_decay_jemalloc");
    let waits = if background { "background" } else { "alone" };
    let settings = [("_RJEM_MALLOC_CONF", conf.as_str())];
    let steps = Checkpoints::recorded(&conf, &[program, waits], &settings);
    // What others have was there before the first step, and stays.
    let of_others = |key: &str| {
        let (found, said) = (number(&steps.states("load")[0], key), steps.said("load", key));
        let others = found.checked_sub(said);
        others.unwrap_or_else(|| panic!("{conf}, {key}: {found}, and the program has {said}"))
    };
    let others = ["live_bytes", "usable_bytes"].map(|key| (key, of_others(key)));
    println!("{conf}: {others:?}");
    for (key, others) in others {
        assert!(others <= MOST_OF_OTHERS_BYTES, "{conf}: {key} of others: {others}");
        for step in STEPS {
            let expected = steps.said(step, key) + others;
            let slack = if key == "live_bytes" { 256 } else { expected / 1000 + 256 };
            for state in steps.states(step) {
                assert_near(
                    &format!("{conf}, {step}: {key}"),
                    expected,
                    number(&state, key),
                    slack,
                );
            }
        }
    }
    let fell = steps.said("after_12_s", "live_bytes") * 10 < steps.said("load", "live_bytes");
    assert!(fell, "{conf}: something was dropped");
}

#[test]
fn live_and_usable_stay_true_while_pages_go_back() {
    let runs = [true, false].map(|background| thread::spawn(move || true_at_each_step(background)));
    for run in runs {
        run.join().expect("sums that agree");
    }
}
