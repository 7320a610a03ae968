//! Pages that come into the footprint by a look, not by a block.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::measure::analyze;
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};
use fragtrace_format::record::{Look, Scan};
use support::{Builder, anonymous, malloc};

const HEAP: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 4096;
const MS: u64 = 1_000_000;

/// A block, and later a look that finds the whole tile around it in memory.
fn block_and_look() -> Builder {
    let tile_bytes = TILE_PAGES * PAGE;
    let mut builder = Builder::default();
    builder.look(Look::default(), vec![anonymous(HEAP, tile_bytes)]);
    builder.say(1, MS, malloc(HEAP + 16, 1000));
    let mut buffer = [0; 512];
    let mut tiles = TileWriter::new(&mut buffer, HEAP / tile_bytes);
    let all = TilePages { resident: [u64::MAX; 8], ..TilePages::default() };
    assert!(tiles.put(HEAP / tile_bytes, &all), "there is room");
    let len = tiles.len();
    let scan = Scan { start: HEAP, bytes: tile_bytes, tiles: &buffer[..len] };
    let look =
        Look { stamp: 2 * MS, swapped: Some(0), scans: 1, scans_end: true, ..Look::default() };
    builder.look_at(&look, &[], &[scan]);
    builder
}

#[test]
fn pages_that_a_look_behind_the_last_event_finds_count_for_the_greatest_footprint() {
    let trace = block_and_look().open();
    let analysis = analyze(&trace);
    assert_eq!(analysis.end.footprint_bytes, Some(TILE_PAGES * PAGE));
    assert_eq!(analysis.peak_footprint.footprint_bytes, Some(TILE_PAGES * PAGE));
}

#[test]
fn pages_that_a_look_found_have_held_a_block_only_once_one_came() {
    let mut builder = block_and_look();
    builder.say(1, 3 * MS, malloc(HEAP + 5 * PAGE + 16, 1000));
    let analysis = analyze(&builder.open());
    assert_eq!(analysis.end.footprint_bytes, Some(TILE_PAGES * PAGE));
    assert_eq!(analysis.end.high_water_bytes, Some(2 * PAGE));
}
