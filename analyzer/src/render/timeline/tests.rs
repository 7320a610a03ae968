//! The timeline as a whole: lines, gaps, and that nothing makes it fail.

use super::*;
use crate::render::picture::{Theme, demo, testing};

fn extras() -> TimelineExtras {
    TimelineExtras {
        title: Title {
            headline: "Memory of demo-server over time".to_owned(),
            verdict: "Serious (pinned-pages): 96.0 MiB unused are held by 1.20 MiB of long-lived \
                      blocks."
                .to_owned(),
            subline: "./demo-server --bursts 4 · pid 4711 on build-7 · started \
                      2026-03-01 12:00:00 UTC · window 0 s – 9.8 s"
                .to_owned(),
        },
        end_ns: demo::WINDOW_END_NS,
        marks: vec![],
    }
}

fn state(time_ns: u64, live_bytes: u64) -> State {
    State { time_ns, live_bytes, ..State::default() }
}

#[test]
fn a_missing_value_is_a_gap_and_not_zero() {
    let options = PictureOptions { width: 1000, height: 700, theme: Theme::Light };
    let colour = Palette::of(options.theme).series.footprint;
    let rows = |values: [Option<u64>; 3]| -> Vec<bool> {
        let states: Vec<State> = (0u64..3)
            .map(|i| State {
                footprint_bytes: values[i as usize],
                ..state(i * 1_000_000_000, 1 << 20)
            })
            .collect();
        let png = draw(&states, &TimelineExtras::default(), &options).unwrap();
        let image = testing::decode(&png);
        // Columns inside the first chart that hold a pixel of the line.
        (150..700).map(|x| (100..380).any(|y| image.at(x, y) == colour)).collect()
    };
    let mib = Some(3 << 20);
    let whole = rows([mib, mib, mib]);
    let share = |columns: &[bool]| columns.iter().filter(|c| **c).count() as f64 / 550.0;
    assert!(share(&whole) > 0.95, "{}", share(&whole));
    assert!(share(&rows([mib, None, mib])) < 0.05);
}

#[test]
fn no_states_are_too_strange_to_draw() {
    let huge = State {
        rss_bytes: Some(u64::MAX),
        hole_count: Some(u64::MAX),
        footprint_bytes: Some(u64::MAX),
        fragmentation_ratio: Some(f64::INFINITY),
        ..state(u64::MAX, u64::MAX)
    };
    let negative = State { fragmentation_ratio: Some(-0.5), ..state(3, 1) };
    let broken = State { fragmentation_ratio: Some(f64::NAN), ..state(5, 0) };
    let strange = [
        vec![],
        vec![State::default()],
        vec![State::default(); 3],
        vec![huge.clone()],
        vec![state(0, 5), negative, huge.clone(), broken],
        vec![huge, state(9, 0)],
    ];
    for states in &strange {
        for (width, height) in [(480, 320), (480, 700)] {
            let options = PictureOptions { width, height, theme: Theme::Dark };
            assert!(draw(states, &extras(), &options).is_ok(), "{width}x{height}");
            assert!(draw(states, &TimelineExtras::default(), &options).is_ok());
        }
    }
}

#[test]
fn the_peak_of_live_is_pointed_out() {
    let states = [state(0, 1), state(2_000_000_000, 3 << 20), state(3_000_000_000, 2)];
    let marks = marks(&states, &TimelineExtras::default());
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].label, "peak of live: 3.00 MiB at 2.00 s");
    assert!(super::marks(&[state(0, 0)], &TimelineExtras::default()).is_empty());
}

#[test]
fn the_demo_is_drawn_at_the_size_asked_for() {
    for (width, height, theme) in [(480, 320, Theme::Dark), (1280, 720, Theme::Light)] {
        let options = &PictureOptions { width, height, theme };
        let image = testing::decode(&draw(&demo::states(), &extras(), options).unwrap());
        assert_eq!((image.width, image.height), (width, height));
    }
}

#[test]
#[ignore = "slow without optimisation; leaves pictures for people to look at"]
fn the_demo_can_be_looked_at() {
    testing::show("timeline", |options| draw(&demo::states(), &extras(), options));
}
