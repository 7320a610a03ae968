//! The heap map: columns that were taken on the way, before the axis was known, are those of a replay
//! that knows it.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::measure::{self, Cell, HeapMap};
use fragtrace_analyzer::read::Trace;
use fragtrace_format::record::{Cold, Look};
use proptest::prelude::*;
use support::{Builder, Said, anonymous, free, malloc};

/// Far from each other, so that the map has bands.
const REGIONS: [u64; 3] = [0x5555_0000_0000, 0x7f00_0000_0000, 0x7f60_0000_0000];
const REGION_BYTES: u64 = 256 << 20;
const EVENTS: u64 = 5000;
/// In stamps: so long that the series has all of its moments.
const STEP: u64 = 1000;
const PLACES: u64 = 4000;

/// Blocks all over the regions, of which more and more is used as time goes on, so that cells become
/// larger on the way; some pages are given back.
fn trace(mut random: u64) -> Trace {
    let mut builder = Builder::default();
    let regions = REGIONS.map(|start| anonymous(start, REGION_BYTES));
    builder.look(Look { stamp: 1, monotonic_ns: 1, ..Look::default() }, regions.to_vec());
    let mut live = vec![0; PLACES as usize];
    for event in 1..=EVENTS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let stamp = event * STEP + random % 100;
        // Up to half of them soon, the rest by the end.
        let reach = PLACES.min(100 + event * PLACES / EVENTS);
        let place = (random >> 24) % reach;
        let address = REGIONS[(place % 3) as usize] + 16 + place / 3 * 0x8000;
        let taken = &mut live[place as usize];
        if *taken == 0 {
            *taken = random >> 40 & 0x7fff;
            builder.say(1, stamp, malloc(address, *taken));
        } else {
            builder.say(1, stamp, free(address));
            if random >> 60 == 0 {
                let address = address & !0xfff;
                let advice = 4; // MADV_DONTNEED
                let given_back = Cold::Advise { address, bytes: 0x4000, advice };
                builder.say(1, stamp + 1, Said::Cold(given_back));
            }
            *taken = 0;
        }
    }
    builder.open()
}

/// The same map by a replay that knows the axis before.
fn known_before(trace: &Trace, rows: usize, columns: usize) -> HeapMap {
    let axis = measure::heap_axis(trace, &measure::analyze_to_end(trace).1, rows);
    measure::heap_map(trace, columns, axis, None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    #[test]
    fn columns_taken_on_the_way_are_those_of_another_replay(random in 1..u64::MAX) {
        let trace = trace(random);
        // Cells of the axis from the smallest to some that hold many of what was kept.
        for rows in [3, 900, 10_000] {
            let (_, map, _, _) = measure::analyze_with_map(&trace, rows);
            let known = known_before(&trace, rows, map.columns.len());
            prop_assert_eq!(map.columns.len(), 1001);
            prop_assert_eq!(&map.times_ns, &known.times_ns);
            prop_assert_eq!((&map.bands, map.cell_bytes), (&known.bands, known.cell_bytes));
            prop_assert_eq!(&map.columns, &known.columns);
            let cells: Vec<Cell> = map.columns.concat();
            prop_assert!(cells.contains(&Cell::GivenBack) || rows < 10_000);
            let is_live = |cell: &Cell| matches!(cell, Cell::Used { live: 1.., .. });
            prop_assert!(cells.iter().any(is_live));
        }
    }
}
