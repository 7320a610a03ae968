//! The heap map as a whole: what is where, and that nothing makes it fail.

use super::*;
use crate::measure::{Band, Cell};
use crate::render::picture::{Theme, demo, testing};

fn extras() -> MapExtras {
    MapExtras {
        title: Title {
            headline: "Heap map of demo-server: address × time".to_owned(),
            verdict: "Serious (pinned-pages): 96.0 MiB unused are held by 1.20 MiB of long-lived \
                      blocks."
                .to_owned(),
            subline: "./demo-server --bursts 4 · pid 4711 on build-7 · started \
                      2026-03-01 12:00:00 UTC · window 0 s – 9.8 s"
                .to_owned(),
        },
        peak_ns: 0,
        end_ns: demo::WINDOW_END_NS,
        high_water_bytes: Some(133 << 20),
        marks: vec![Mark { time_ns: 6_900_000_000, label: "idle from here".to_owned() }],
        pools: Vec::new(),
    }
}

fn pool(start: u64, bytes: u64, destroyed_ns: Option<u64>) -> PoolFacts {
    PoolFacts {
        name: "x".repeat(5000),
        start,
        bytes,
        created_ns: start,
        destroyed_ns,
        live_bytes: Some(u64::MAX),
        live_blocks: Some(1),
        free_bytes: None,
        peak_live_bytes: None,
        acquired: None,
        released: None,
    }
}

/// Two columns of two bands with one cell each.
fn small() -> HeapMap {
    let band = |start, label: &str| Band { start, cells: 1, label: label.to_owned() };
    HeapMap {
        cell_bytes: 4096,
        bands: vec![band(0x1000, "brk heap"), band(0x7f00_0000_0000, "mapped blocks")],
        times_ns: vec![0, 1_000_000_000],
        columns: vec![
            vec![Cell::Used { live: 255, held: 255 }, Cell::Unused],
            vec![Cell::Used { live: 0, held: 255 }, Cell::GivenBack],
        ],
        owners: None,
    }
}

#[test]
fn each_cell_has_its_colour_at_its_place() {
    let options = PictureOptions { width: 800, height: 500, theme: Theme::Light };
    let palette = Palette::of(options.theme);
    let image = testing::decode(&draw(&small(), &MapExtras::default(), &options).unwrap());
    assert_eq!((image.width, image.height), (800, 500));
    // Early is left, low addresses are below.
    assert_eq!(image.at(250, 370), palette.filled(1.0));
    assert_eq!(image.at(560, 370), palette.empty);
    assert_eq!(image.at(250, 160), palette.unused);
    assert_eq!(image.at(560, 160), palette.given_back);
}

#[test]
fn the_same_map_gives_the_same_bytes() {
    let options = PictureOptions::default();
    assert_eq!(draw(&small(), &extras(), &options), draw(&small(), &extras(), &options));
}

#[test]
fn no_map_is_too_strange_to_draw() {
    let map = small();
    let strange = [
        HeapMap { bands: vec![], times_ns: vec![], columns: vec![], ..map.clone() },
        HeapMap { times_ns: vec![], columns: vec![], ..map.clone() },
        HeapMap { times_ns: vec![u64::MAX, 0], ..map.clone() },
        HeapMap { times_ns: vec![7], columns: vec![vec![]], ..map.clone() },
        HeapMap { columns: vec![vec![]; 5], ..map.clone() },
        HeapMap { cell_bytes: u64::MAX, ..map.clone() },
        HeapMap { cell_bytes: 0, ..map.clone() },
        HeapMap {
            bands: vec![Band { start: u64::MAX, cells: usize::MAX, label: "é".repeat(500) }; 2],
            ..map.clone()
        },
        HeapMap { bands: vec![map.bands[0].clone(); 1000], ..map },
    ];
    let mark = |time_ns| Mark { time_ns, label: "a long remark ".repeat(20) };
    let extras = MapExtras {
        title: Title {
            headline: "x".repeat(5000),
            verdict: "y ".repeat(1000),
            subline: "\n\t\u{1F980}".to_owned(),
        },
        peak_ns: u64::MAX,
        end_ns: u64::MAX,
        high_water_bytes: Some(u64::MAX),
        marks: vec![mark(0), mark(u64::MAX), mark(5)],
        pools: vec![pool(0, u64::MAX, Some(0)), pool(u64::MAX, u64::MAX, None), pool(0, 0, None)],
    };
    for map in &strange {
        for (width, height) in [(480, 320), (480, 700)] {
            let options = PictureOptions { width, height, theme: Theme::Dark };
            assert!(draw(map, &extras, &options).is_ok(), "{width}x{height}");
            assert!(draw(map, &MapExtras::default(), &options).is_ok());
        }
    }
}

#[test]
fn a_picture_without_room_is_refused() {
    let options = PictureOptions { width: 100, height: 100, theme: Theme::Light };
    let refused = draw(&small(), &extras(), &options);
    assert_eq!(refused, Err(RenderError::TooSmall { width: 100, height: 100 }));
}

#[test]
fn the_demo_is_drawn_at_the_size_asked_for() {
    for (width, height, theme) in [(480, 320, Theme::Dark), (1280, 720, Theme::Light)] {
        let options = &PictureOptions { width, height, theme };
        let image = testing::decode(&draw(&demo::heap_map(), &extras(), options).unwrap());
        assert_eq!((image.width, image.height), (width, height));
    }
}

#[test]
#[ignore = "slow without optimisation; leaves pictures for people to look at"]
fn the_demo_can_be_looked_at() {
    testing::show("map", |options| draw(&demo::heap_map(), &extras(), options));
}
