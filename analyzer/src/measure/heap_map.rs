//! What the heap map draws: which stretches of address space, and how full at which moment.
//!
//! Two passes: the first finds out where blocks ever lay, which decides on the bands and on
//! the size of a cell; the second fills in the cells, moment by moment.

use super::moment::{end_ns, start_ns};
use super::playback::stop_at_times;
use super::{Band, Cell, HeapMap};
use crate::read::Trace;
use crate::replay::{Kind, Replay};
use std::ops::Range;

/// More bands than this cannot be told apart.
const MAX_BANDS: usize = 12;
/// Gaps of this share of the heap are broken out of the axis.
const GAP_SHARE: u64 = 64;
const LEAST_GAP_BYTES: u64 = 1 << 20;
/// Columns beyond this show nothing more.
const MAX_COLUMNS: usize = 1200;

/// A stretch that will be a band, and how many of its bytes are of which kind.
#[derive(Debug, Clone)]
struct Cluster {
    range: Range<u64>,
    by_kind: Vec<(Kind, u64)>,
}

/// The heap over time: at most about `columns` moments and `rows` cells of address space.
pub fn heap_map(trace: &Trace, columns: usize, rows: usize) -> HeapMap {
    let (replay, _) = stop_at_times(trace, &[], |_, _| {}, |_, _| {});
    let page_bytes = trace.process().page_bytes;
    let clusters = clusters(&replay);
    let span: u64 = clusters.iter().map(|cluster| cluster.range.end - cluster.range.start).sum();
    let mut cell_bytes = page_bytes;
    while span / cell_bytes > rows.max(1) as u64 {
        cell_bytes *= 2;
    }
    let bands: Vec<Band> = clusters.iter().map(|cluster| band(cluster, cell_bytes)).collect();
    let moments = columns.clamp(1, MAX_COLUMNS) as u64;
    let start_ns = start_ns(trace);
    let length_ns = end_ns(trace) - start_ns;
    let times_ns: Vec<u64> = (0..moments)
        .map(|index| {
            let share = u128::from(length_ns) * u128::from(index) / u128::from(moments.max(2) - 1);
            start_ns + share as u64
        })
        .collect();
    let mut map = HeapMap { cell_bytes, bands, times_ns, columns: Vec::new() };
    let times_ns = map.times_ns.clone();
    stop_at_times(
        trace,
        &times_ns,
        |_, _| {},
        |_, replay| {
            let column = column(replay, &map);
            map.columns.push(column);
        },
    );
    map
}

/// Where blocks ever lay, what is close together taken together.
fn clusters(replay: &Replay<'_>) -> Vec<Cluster> {
    let used: u64 =
        replay.space().territory().iter().map(|(range, _)| range.end - range.start).sum();
    let mut gap = (used / GAP_SHARE).max(LEAST_GAP_BYTES);
    loop {
        let clusters = cluster(replay, gap);
        let span: u64 = clusters.iter().map(|one| one.range.end - one.range.start).sum();
        // More bands than wished are better than a map that shows mostly gaps.
        let sparse = cluster(replay, gap * 2);
        let wider: u64 = sparse.iter().map(|one| one.range.end - one.range.start).sum();
        if clusters.len() <= MAX_BANDS || (wider > 2 * used && wider > span) {
            return clusters;
        }
        gap *= 2;
    }
}

fn cluster(replay: &Replay<'_>, gap: u64) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for (range, kind) in replay.space().territory().iter() {
        let bytes = range.end - range.start;
        match clusters.last_mut() {
            Some(last) if range.start - last.range.end <= gap => {
                last.range.end = range.end;
                match last.by_kind.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, known)) => *known += bytes,
                    None => last.by_kind.push((kind, bytes)),
                }
            }
            _ => clusters.push(Cluster { range, by_kind: vec![(kind, bytes)] }),
        }
    }
    clusters
}

fn band(cluster: &Cluster, cell_bytes: u64) -> Band {
    let start = cluster.range.start & !(cell_bytes - 1);
    let cells = (cluster.range.end - start).div_ceil(cell_bytes) as usize;
    let label = match cluster.by_kind.iter().max_by_key(|(_, bytes)| *bytes) {
        Some((Kind::MappedBlock, _)) => "mapped blocks".to_owned(),
        Some((kind, _)) => kind.label().to_owned(),
        None => String::new(),
    };
    Band { start, cells, label }
}

fn column(replay: &Replay<'_>, map: &HeapMap) -> Vec<Cell> {
    /// Bytes in a cell that were touched, that are live, that ever held a block.
    #[derive(Clone, Copy, Default)]
    struct Sums {
        touched: u64,
        live: u64,
        ever: u64,
    }
    let mut column = Vec::new();
    for band in &map.bands {
        let end = band.start + band.cells as u64 * map.cell_bytes;
        let mut cells = vec![Sums::default(); band.cells];
        replay.space().for_each_stretch(band.start..end, |stretch| {
            // Live bytes of a stretch that is longer than a tile are spread evenly: it is
            // all live or not at all.
            let whole = stretch.bytes;
            let mut at = stretch.start;
            let stretch_end = stretch.start + whole;
            while at < stretch_end {
                let index = ((at - band.start) / map.cell_bytes) as usize;
                let cell_end = band.start + (index as u64 + 1) * map.cell_bytes;
                let part = cell_end.min(stretch_end) - at;
                let sums = &mut cells[index];
                sums.touched += if stretch.touched { part } else { 0 };
                sums.ever += if stretch.ever { part } else { 0 };
                sums.live +=
                    (u128::from(stretch.live_bytes) * u128::from(part) / u128::from(whole)) as u64;
                at += part;
            }
        });
        column.extend(cells.into_iter().map(|Sums { touched, live, ever }| {
            match (touched, ever) {
                (0, 0) => Cell::Unused,
                (0, _) => Cell::GivenBack,
                (touched, _) => {
                    let share = |part: u64, whole: u64| (part * 255 / whole).min(255) as u8;
                    Cell::Used {
                        live: share(live, touched).max(u8::from(live > 0)),
                        held: share(touched, touched.max(ever)).max(1),
                    }
                }
            }
        }));
    }
    column
}
