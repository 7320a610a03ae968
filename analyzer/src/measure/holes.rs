//! The holes at one moment: how many, how large, where, and what would fit.

use super::moment::{self, end_ns, start_ns};
use super::playback::{heap_at, stop_at_times};
use super::refills::{Refill, refills};
use super::state::PAGE_BUCKETS;
use crate::allocators::glibc::ARENA_HEAP_BYTES;
use crate::read::Trace;
use crate::replay::{Kind, Replay};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

/// Moments at which it is asked what would fit.
const FIT_MOMENTS: u64 = 100;

/// Holes of about one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The least size, a power of two; sizes go up to twice that.
    pub from_bytes: u64,
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// One hole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hole {
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What it lies in.
    pub region: Option<String>,
    /// Bytes asked for of the block that ends where the hole begins.
    pub before: Option<u64>,
    /// Bytes asked for of the block that begins where the hole ends.
    pub after: Option<u64>,
    /// How long ago the last block on it was released; `None`: no release is on record.
    pub age_ns: Option<u64>,
    /// Share of it that blocks fill again within the cycle that was observed.
    pub refill_ratio: f64,
}

/// The holes of one heap, or of all that is of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolesIn {
    /// What it is.
    pub region: &'static str,
    /// First address; of arena heaps and the brk heap alone.
    pub start: Option<u64>,
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The largest.
    pub largest_bytes: u64,
    /// Of their bytes, those that are filled again within the cycle that was observed.
    pub reserve_bytes: u64,
}

/// How full the heap's pages in memory are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageUse {
    /// Pages by the sixteenth that their live share is in; those without live bytes are not here.
    pub by_share: [u64; PAGE_BUCKETS],
    /// Pages without live bytes.
    pub empty: Option<u64>,
}

/// All holes at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Holes {
    /// Nanoseconds since the start.
    pub at_ns: u64,
    /// Bytes of all holes.
    pub free_bytes: Option<u64>,
    /// Of these, what blocks fill again within the cycle that was observed: a reserve.
    pub reserve_bytes: Option<u64>,
    /// How many holes there are.
    pub hole_count: Option<u64>,
    /// By size.
    pub histogram: Vec<Bucket>,
    /// By heap, in order of kind and address.
    pub by_region: Vec<HolesIn>,
    /// The largest, largest first.
    pub largest: Vec<Hole>,
    /// How full pages are; `None` where no scan of them is on record.
    #[serde(skip)]
    pub pages: Option<PageUse>,
    /// Size and number of holes, for [`Holes::fit_share`].
    #[serde(skip)]
    pub(crate) sizes: BTreeMap<u64, u64>,
}

impl Holes {
    /// Share of the free bytes that lies in holes of at least `size` bytes; `None` when
    /// nothing is free or it is not known.
    pub fn fit_share(&self, size: u64) -> Option<f64> {
        let free_bytes = self.free_bytes.filter(|bytes| *bytes > 0)?;
        let fitting: u64 = self.sizes.range(size..).map(|(bytes, count)| bytes * count).sum();
        Some(fitting as f64 / free_bytes as f64)
    }
}

/// What would fit at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FitMoment {
    /// Nanoseconds since the start.
    pub time_ns: u64,
    /// Share of the free bytes in holes that hold the size; `None`: nothing is free.
    pub share_ratio: Option<f64>,
}

/// The holes at a moment, in nanoseconds since the start, with the `listed` largest one by
/// one. Where it is not known where blocks end nothing is said.
pub fn holes_at(trace: &Trace, at_ns: u64, listed: usize) -> Holes {
    let mut replay = heap_at(trace, at_ns);
    let state = moment::state(&mut replay.heap, trace.clock(), at_ns);
    let pages = state.page_live_histogram.map(|by_share| PageUse {
        by_share,
        empty: state.releasable_bytes.map(|bytes| bytes / trace.process().page_bytes.max(1)),
    });
    if !replay.knows_extents() {
        return Holes { at_ns, pages, ..Holes::default() };
    }
    let mut all = Vec::new();
    replay.space().for_each_hole(|hole| all.push(hole));
    let refills = refills(trace, at_ns, &all);
    let mut holes = Holes { pages, ..collect(&replay, at_ns, listed) };
    holes.by_region = by_region(&replay, &all, &refills);
    holes.reserve_bytes = Some(refills.iter().map(|refill| refill.reserve_bytes).sum());
    for hole in &mut holes.largest {
        let refill = &refills[all.partition_point(|other| other.start < hole.address)];
        hole.refill_ratio = refill.reserve_bytes as f64 / hole.bytes as f64;
        let age_ns = |stamp| at_ns.saturating_sub(trace.clock().time_ns(stamp));
        hole.age_ns = refill.last_release.map(age_ns);
    }
    holes
}

/// What would fit over time, at evenly spread moments. Empty where holes are not known.
pub fn fit_over_time(trace: &Trace, size: u64) -> Vec<FitMoment> {
    let (start_ns, length_ns) = (start_ns(trace), end_ns(trace) - start_ns(trace));
    let count = FIT_MOMENTS.min(length_ns).max(1);
    let offset = |index| (u128::from(length_ns) * u128::from(index) / u128::from(count)) as u64;
    let times_ns: Vec<u64> = (1..=count).map(|index| start_ns + offset(index)).collect();
    let mut moments = Vec::new();
    stop_at_times(trace, &times_ns, |index, replay| {
        if replay.knows_extents() {
            let (mut free, mut fitting) = (0, 0);
            replay.space().for_each_hole(|hole| {
                let bytes = hole.end - hole.start;
                free += bytes;
                fitting += if bytes >= size { bytes } else { 0 };
            });
            let share_ratio = (free > 0).then(|| fitting as f64 / free as f64);
            moments.push(FitMoment { time_ns: times_ns[index], share_ratio });
        }
    });
    moments
}

fn by_region(replay: &Replay<'_>, holes: &[Range<u64>], refills: &[Refill]) -> Vec<HolesIn> {
    let mut regions: BTreeMap<(Kind, Option<u64>), HolesIn> = BTreeMap::new();
    let brk = replay.space().heap_regions().find(|(_, kind)| *kind == Kind::Brk);
    let brk_start = brk.map(|(range, _)| range.start);
    for (hole, refill) in holes.iter().zip(refills) {
        // Pages are touched in heap alone.
        let Some(kind) = replay.space().kind_at(hole.start) else { continue };
        let start = match kind {
            Kind::Arena => Some(hole.start & !(ARENA_HEAP_BYTES - 1)),
            Kind::Brk => brk_start,
            Kind::MappedBlock | Kind::Segment | Kind::Mapping => None,
        };
        let (region, bytes) = (kind.label(), hole.end - hole.start);
        let nothing =
            HolesIn { region, start, count: 0, bytes: 0, largest_bytes: 0, reserve_bytes: 0 };
        let holes = regions.entry((kind, start)).or_insert(nothing);
        holes.count += 1;
        holes.bytes += bytes;
        holes.largest_bytes = holes.largest_bytes.max(bytes);
        holes.reserve_bytes += refill.reserve_bytes;
    }
    regions.into_values().collect()
}

fn collect(replay: &Replay<'_>, at_ns: u64, listed: usize) -> Holes {
    let mut buckets: BTreeMap<u64, Bucket> = BTreeMap::new();
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    let mut largest: BinaryHeap<Reverse<(u64, Reverse<u64>)>> = BinaryHeap::new();
    let (mut free_bytes, mut count) = (0, 0);
    replay.space().for_each_hole(|Range { start, end }| {
        let bytes = end - start;
        count += 1;
        free_bytes += bytes;
        *sizes.entry(bytes).or_default() += 1;
        let from_bytes = 1 << bytes.ilog2();
        let bucket = buckets.entry(from_bytes).or_insert(Bucket { from_bytes, count: 0, bytes: 0 });
        bucket.count += 1;
        bucket.bytes += bytes;
        largest.push(Reverse((bytes, Reverse(start))));
        if largest.len() > listed {
            largest.pop();
        }
    });
    // The heap is of reversed entries, so sorted it has the largest first.
    let largest: Vec<(u64, u64)> = largest
        .into_sorted_vec()
        .into_iter()
        .map(|Reverse((bytes, Reverse(start)))| (start, bytes))
        .collect();
    Holes {
        at_ns,
        free_bytes: Some(free_bytes),
        hole_count: Some(count),
        histogram: buckets.into_values().collect(),
        largest: describe(replay, &largest),
        by_region: Vec::new(),
        reserve_bytes: None,
        pages: None,
        sizes,
    }
}

/// Adds what stands on both sides: one walk over the live blocks for all holes together.
fn describe(replay: &Replay<'_>, holes: &[(u64, u64)]) -> Vec<Hole> {
    let mut listed: Vec<Hole> = holes
        .iter()
        .map(|(address, bytes)| Hole {
            address: *address,
            bytes: *bytes,
            region: replay.space().kind_at(*address).map(|kind| kind.label().to_owned()),
            before: None,
            after: None,
            age_ns: None,
            refill_ratio: 0.0,
        })
        .collect();
    let starts: BTreeMap<u64, usize> =
        listed.iter().enumerate().map(|(index, hole)| (hole.address, index)).collect();
    let ends: BTreeMap<u64, usize> =
        listed.iter().enumerate().map(|(index, hole)| (hole.address + hole.bytes, index)).collect();
    for (_, block) in replay.blocks().iter() {
        if let Some(index) = starts.get(&block.extent.end) {
            listed[*index].before = Some(block.size);
        }
        if let Some(index) = ends.get(&block.extent.start) {
            listed[*index].after = Some(block.size);
        }
    }
    listed
}
