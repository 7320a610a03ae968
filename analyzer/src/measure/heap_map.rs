//! What the heap map draws: which stretches of address space, and how full at which moment.
//!
//! Over time, where blocks ever lay decides on the bands and on the size of a cell, which is known at the
//! end of the trace; the columns are taken on the way there ([`MapColumns`]). Where it is asked whose the
//! blocks are, it must be known first who has most, and one more pass fills in the cells. For one moment
//! the heap is replayed up to there.

use super::analyze::{Checkpoint, SAMPLES, analyze_observed};
use super::map_columns::MapColumns;
use super::moment::{end_ns, start_ns};
use super::playback::{heap_at, heap_at_times, stop_at_times};
use super::{Analysis, Band, Cell, HeapMap, Kinds, Owners};
use crate::read::Trace;
use crate::replay::{AddressSpace, Kind, Replay, Stretch};
use fragtrace_format::Stamp;
use std::ops::Range;

/// More bands than this cannot be told apart.
const MAX_BANDS: usize = 12;
/// Gaps of this share of the heap are broken out of the axis.
const GAP_SHARE: u64 = 64;
const LEAST_GAP_BYTES: u64 = 1 << 20;
/// As many columns as the series has moments, and one at the end: more show nothing more.
const MAX_COLUMNS: usize = SAMPLES as usize + 1;
/// The same where each column asks all live blocks what kind they are of.
const MAX_COLUMNS_OF_KINDS: usize = 400;
/// Moments at which it is asked who has most, for the kinds of the whole run.
const WEIGHED: u64 = 12;

/// A stretch that will be a band, and how many of its bytes are of which kind.
#[derive(Debug, Clone)]
struct Cluster {
    range: Range<u64>,
    by_kind: Vec<(Kind, u64)>,
}

/// The trace's measures, and the heap over time in at most about `rows` cells of address space, at
/// the moments of the series; with the heap as it is in the end, and a way back to before the process began
/// to exit. One pass.
pub fn analyze_with_map(
    trace: &Trace,
    rows: usize,
) -> (Analysis, HeapMap, Replay<'_>, Option<Checkpoint<'_>>) {
    let mut columns = MapColumns::new(trace.process().page_bytes, rows);
    let (analysis, replay, checkpoint) = analyze_observed(trace, None, &mut columns);
    columns.take(end_ns(trace), replay.space());
    let axis = heap_axis(trace, &replay, rows);
    let map = columns.on(&axis).unwrap_or_else(|| heap_map(trace, MAX_COLUMNS, axis, None));
    (analysis, map, replay, checkpoint)
}

/// A map of the heap without moments yet: at most about `rows` cells of address space, wherever blocks
/// lay up to the end of the trace, as `ended` has it.
pub fn heap_axis(trace: &Trace, ended: &Replay<'_>, rows: usize) -> HeapMap {
    bands(ended, trace.process().page_bytes, rows)
}

/// The heap over time, on such an axis: at most about `columns` moments; with `kinds`, which of them has
/// most of each cell, for which the trace is replayed once more.
pub fn heap_map(
    trace: &Trace,
    columns: usize,
    axis: HeapMap,
    kinds: Option<&mut Kinds<'_, '_>>,
) -> HeapMap {
    let most = if kinds.is_some() { MAX_COLUMNS_OF_KINDS } else { MAX_COLUMNS };
    let times_ns = spread(trace, columns.clamp(1, most) as u64);
    let mut map = HeapMap { times_ns: times_ns.clone(), ..axis };
    let Some(kinds) = kinds else {
        heap_at_times(trace, &times_ns, |_, heap| {
            let cells = column(heap.space(), &map);
            map.columns.push(cells);
        });
        return map;
    };
    let page_bytes = trace.process().page_bytes;
    stop_at_times(trace, &spread(trace, WEIGHED), |_, replay| kinds.weigh(replay, page_bytes));
    map.owners = Some(ranked(kinds));
    stop_at_times(trace, &times_ns, |index, replay| {
        let now = trace.clock().stamp_at(times_ns[index]);
        add_column(&mut map, replay, Some(&mut *kinds), now);
    });
    map
}

/// The kinds that were weighed, those first that have most.
fn ranked(kinds: &mut Kinds<'_, '_>) -> Owners {
    kinds.rank();
    Owners { by: kinds.by(), labels: kinds.labels().to_vec(), columns: Vec::new() }
}

/// The heap at one moment, in at most about `cells` cells: a map of one column.
pub fn heap_pages(
    trace: &Trace,
    at_ns: u64,
    cells: usize,
    mut kinds: Option<&mut Kinds<'_, '_>>,
) -> HeapMap {
    let page_bytes = trace.process().page_bytes;
    let replay = heap_at(trace, at_ns);
    let mut map = HeapMap { times_ns: vec![at_ns], ..bands(&replay, page_bytes, cells) };
    map.owners = kinds.as_mut().map(|kinds| {
        kinds.weigh(&replay, page_bytes);
        ranked(kinds)
    });
    add_column(&mut map, &replay, kinds, trace.clock().stamp_at(at_ns));
    map
}

fn add_column(
    map: &mut HeapMap,
    replay: &Replay<'_>,
    kinds: Option<&mut Kinds<'_, '_>>,
    now: Stamp,
) {
    let cells = column(replay.space(), map);
    if let (Some(kinds), Some(mut owners)) = (kinds, map.owners.take()) {
        owners.columns.push(owners_of(replay, map, kinds, now));
        map.owners = Some(owners);
    }
    map.columns.push(cells);
}

/// So many moments from the start to the end, evenly spread.
fn spread(trace: &Trace, moments: u64) -> Vec<u64> {
    let start_ns = start_ns(trace);
    let length_ns = end_ns(trace) - start_ns;
    let share = |index| u128::from(length_ns) * u128::from(index) / u128::from(moments.max(2) - 1);
    (0..moments).map(|index| start_ns + share(index) as u64).collect()
}

/// The map's address axis, without moments.
fn bands(replay: &Replay<'_>, page_bytes: u64, rows: usize) -> HeapMap {
    let clusters = clusters(replay);
    let span: u64 = clusters.iter().map(|cluster| cluster.range.end - cluster.range.start).sum();
    let mut cell_bytes = page_bytes;
    while span / cell_bytes > rows.max(1) as u64 {
        cell_bytes *= 2;
    }
    let bands = clusters.iter().map(|cluster| band(cluster, cell_bytes)).collect();
    HeapMap { cell_bytes, bands, times_ns: Vec::new(), columns: Vec::new(), owners: None }
}

/// Where blocks ever lay, in cells of this size.
pub(super) fn bands_of(replay: &Replay<'_>, cell_bytes: u64) -> Vec<Band> {
    clusters(replay).iter().map(|cluster| band(cluster, cell_bytes)).collect()
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

/// Bytes in a cell that were touched, that are live, that ever held a block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    touched: u64,
    live: u64,
    pub(super) ever: u64,
}

impl Sums {
    pub(super) fn add(&mut self, part: Sums) {
        self.touched += part.touched;
        self.live += part.live;
        self.ever += part.ever;
    }
}

impl From<Sums> for Cell {
    fn from(sums: Sums) -> Cell {
        let Sums { touched, live, ever } = sums;
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
    }
}

/// Calls `add` with each cell, by its address in cells, that a stretch has a part in, and that part.
pub(super) fn add_to_cells(stretch: &Stretch, cell_bytes: u64, mut add: impl FnMut(u64, Sums)) {
    let whole = stretch.bytes;
    let end = stretch.start + whole;
    let mut at = stretch.start;
    while at < end {
        // Cells have powers of two, and moments have many: a shift, no division.
        let cell = at >> cell_bytes.trailing_zeros();
        let part = ((cell + 1) * cell_bytes).min(end) - at;
        // Live bytes of a stretch that is longer than a tile are spread evenly: it is all live or not
        // at all.
        let live = match part == whole {
            true => stretch.live_bytes,
            false => (u128::from(stretch.live_bytes) * u128::from(part) / u128::from(whole)) as u64,
        };
        let touched = if stretch.touched { part } else { 0 };
        let ever = if stretch.ever { part } else { 0 };
        add(cell, Sums { touched, live, ever });
        at += part;
    }
}

fn column(space: &AddressSpace, map: &HeapMap) -> Vec<Cell> {
    let mut column = Vec::new();
    for band in &map.bands {
        let end = band.start + band.cells as u64 * map.cell_bytes;
        let first = band.start / map.cell_bytes;
        let mut cells = vec![Sums::default(); band.cells];
        space.for_each_stretch(band.start..end, |stretch| {
            add_to_cells(&stretch, map.cell_bytes, |cell, part| {
                cells[(cell - first) as usize].add(part);
            });
        });
        column.extend(cells.into_iter().map(Cell::from));
    }
    column
}

/// For each cell the kind that has most live bytes in it; 0 where nothing is live.
fn owners_of(replay: &Replay<'_>, map: &HeapMap, kinds: &mut Kinds<'_, '_>, now: Stamp) -> Vec<u8> {
    let cells: usize = map.bands.iter().map(|band| band.cells).sum();
    let width = kinds.labels().len().max(1);
    let mut live = vec![0u64; cells * width];
    let mut first_cells = Vec::with_capacity(map.bands.len());
    let mut first = 0;
    for band in &map.bands {
        first_cells.push(first);
        first += band.cells;
    }
    for (_, block) in replay.blocks().iter() {
        let after = map.bands.partition_point(|band| band.start <= block.extent.start);
        let Some(index) = after.checked_sub(1) else { continue };
        let band = &map.bands[index];
        let end = block.extent.end.min(band.start + band.cells as u64 * map.cell_bytes);
        let kind = usize::from(kinds.of(&block, now)).clamp(1, width) - 1;
        let mut at = block.extent.start;
        while at < end {
            let cell = (at - band.start) / map.cell_bytes;
            let part = (band.start + (cell + 1) * map.cell_bytes).min(end) - at;
            let live = &mut live[(first_cells[index] + cell as usize) * width + kind];
            *live = live.saturating_add(part);
            at += part;
        }
    }
    let most = |kinds: &[u64]| {
        let heaviest = kinds.iter().enumerate().rev().max_by_key(|(_, bytes)| **bytes);
        heaviest.filter(|(_, bytes)| **bytes > 0).map_or(0, |(kind, _)| kind as u8 + 1)
    };
    live.chunks(width).map(most).collect()
}
