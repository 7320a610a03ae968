//! A made-up server for the tests of pictures: bursts of requests between long-lived
//! sessions raise the heap in stairs; afterwards nearly every page holds a little.

use crate::measure::{Band, Cell, HeapMap, State};

const CELL_BYTES: u64 = 64 << 10;
const COLUMNS: u64 = 900;
const END_NS: u64 = 9_800_000_000;
/// Where the brk heap, the arena heap and the mapped blocks begin, in cells, and end.
const BANDS: [(usize, usize, u64, &str); 3] = [
    (0, 1500, 0x5581_f3a0_0000, "brk heap"),
    (1500, 2000, 0x7f3a_2800_0000, "arena heap 1"),
    (2000, 2200, 0x7f3b_1040_0000, "mapped blocks"),
];

/// A number from 0 to 1 that looks random and is not.
fn noise(a: usize, b: usize) -> f64 {
    let mut x = (a as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64) << 32;
    x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 32)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A burst fills the heap up to `top` cells from `start` to `end` seconds.
struct Burst {
    start: f64,
    end: f64,
    top: usize,
}

const BRK: [Burst; 4] = [
    Burst { start: 0.9, end: 1.5, top: 450 },
    Burst { start: 2.6, end: 3.3, top: 820 },
    Burst { start: 4.2, end: 4.9, top: 1180 },
    Burst { start: 5.9, end: 6.7, top: 1440 },
];
const ARENA: [Burst; 2] =
    [Burst { start: 1.8, end: 2.3, top: 260 }, Burst { start: 5.0, end: 5.6, top: 470 }];

/// A cell of a band that bursts fill one after the other.
fn burst_cell(cell: usize, seconds: f64, bursts: &[Burst]) -> Cell {
    let mut now = Cell::Unused;
    for (index, burst) in bursts.iter().enumerate().filter(|(_, burst)| cell < burst.top) {
        let older = index.checked_sub(1).map_or(0, |index| bursts[index].top);
        let reached = (seconds - burst.start) / (burst.end - burst.start) * burst.top as f64;
        if reached < cell as f64 {
            break;
        }
        let kept = 0.02 + 0.16 * noise(cell, index).powi(3);
        now = if seconds < burst.end + 0.2 * noise(cell, index + 50) {
            // What an earlier burst left is filled up only in part.
            let share = if cell < older { 0.35 + 0.6 * noise(cell, index + 9) } else { 0.94 };
            Cell::Used { live: (share * 255.0) as u8, held: 255 }
        } else if noise(cell, 99) < 0.07 {
            Cell::Used { live: 0, held: 255 }
        } else if cell + 25 > burst.top {
            Cell::GivenBack
        } else {
            Cell::Used { live: (kept * 255.0).max(1.0) as u8, held: 255 }
        };
    }
    now
}

fn cell(cell: usize, seconds: f64) -> Cell {
    match cell {
        0..90 if seconds * 300.0 > cell as f64 => {
            Cell::Used { live: (225.0 + 30.0 * noise(cell, 1)) as u8, held: 255 }
        }
        0..1500 => burst_cell(cell, seconds, &BRK),
        1500..2000 => burst_cell(cell - 1500, seconds, &ARENA),
        _ => {
            let block = (cell - 2000) / 40;
            let start = 0.5 + 1.7 * block as f64;
            match seconds - start {
                age if age < 0.0 => Cell::Unused,
                age if age < 1.4 => Cell::Used { live: 250, held: 255 },
                _ => Cell::GivenBack,
            }
        }
    }
}

/// The server's heap map.
pub(crate) fn heap_map() -> HeapMap {
    let times_ns: Vec<u64> = (0..COLUMNS).map(|column| column * END_NS / COLUMNS).collect();
    let column = |time: &u64| (0..2200).map(|c| cell(c, *time as f64 / 1e9)).collect();
    let columns = times_ns.iter().map(column).collect();
    let band = |(first, end, start, label): (usize, usize, u64, &str)| Band {
        start,
        cells: end - first,
        label: label.to_owned(),
    };
    let bands = BANDS.into_iter().map(band).collect();
    HeapMap { cell_bytes: CELL_BYTES, bands, times_ns, columns, owners: None }
}

/// The server's states, in keeping with its heap map; residency is not known.
pub(crate) fn states() -> Vec<State> {
    let map = heap_map();
    map.times_ns.iter().zip(&map.columns).map(|(time, column)| state(*time, column)).collect()
}

fn state(time_ns: u64, column: &[Cell]) -> State {
    let mut held = 0;
    let mut live_share = 0u64;
    for cell in column {
        if let Cell::Used { live, .. } = cell {
            held += 1;
            live_share += u64::from(*live);
        }
    }
    let footprint = held * CELL_BYTES;
    let usable = live_share * CELL_BYTES / 255;
    let live = usable / 100 * 93;
    let free = footprint - usable;
    State {
        time_ns,
        live_bytes: live,
        usable_bytes: Some(usable),
        footprint_bytes: Some(footprint),
        heap_mapped_bytes: Some(footprint + (4 << 20)),
        rss_bytes: (!(3_400_000_000..3_900_000_000).contains(&time_ns))
            .then_some(footprint + (6 << 20)),
        free_bytes: Some(free),
        hole_count: Some(free / 1800),
        largest_hole_bytes: Some(free / 14),
        ..State::default()
    }
}

/// When the server's window ends, in nanoseconds.
pub(crate) const WINDOW_END_NS: u64 = END_NS;
