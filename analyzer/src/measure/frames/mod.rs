//! The heap at a bounded number of moments, as the HTML page shows it: pages, sites, holes at
//! each, and single blocks at two of them.
//!
//! Frames are taken in the pass that also takes the measures, at every n-th of its samples.
//! Each costs a walk over all live blocks; where that comes to too many, every other frame is
//! dropped and n doubles, so that frames stay evenly spread whatever the trace.
//!
//! The replay waits meanwhile. So what can be found out side by side is: the holes while the blocks
//! are brought up to date, then who pins the pages, and what is in each cell.

mod cells;
mod detail;
mod followed;
mod numbering;
mod traits;

pub use cells::{FrameCell, Most};
pub use detail::{Detail, DetailBlock};

use super::analyze::{Checkpoint, Observe, SAMPLES, analyze_observed};
use super::blame::{CallFacts, Charges, Held, Pins};
use super::heap_map::bands_of;
use super::kinds::Scale;
use super::moment::end_ns;
use super::{Analysis, Band, Bucket, SiteNumbers};
use crate::read::Trace;
use crate::replay::{AddressSpace, Changes, Replay};
use crate::symbols::Symbols;
use cells::Telling;
use followed::{Followed, Naming};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZero;
use traits::TraitsMet;

/// Frames at most, but for the one at the end.
const MOST_FRAMES: u64 = 250;
/// A frame at every so many samples, at first.
const FIRST_STRIDE: NonZero<usize> = NonZero::new((SAMPLES / MOST_FRAMES) as usize).unwrap();
/// Cells that ever held a block, at most, in one frame.
const MOST_CELLS: usize = 1 << 16;
/// Blocks that are walked over before frames are thinned out.
const MOST_VISITED: u64 = 100_000_000;
/// Sites that are listed at each moment.
const MOST_LISTED: usize = 40;
/// Holes that are listed at each moment.
const MOST_HOLES: usize = 12;
/// A moment takes the place of the one with most live if it has more by this part.
const MORE_LIVE_PART: u64 = 50;

/// What a site pins and has live at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SiteCharge {
    /// Its number.
    pub site: u32,
    /// As in [`super::blame::SiteFacts`].
    pub pinned_bytes: u64,
    /// As there.
    pub sole_pinned_bytes: u64,
    /// As there.
    pub unlock_bytes: u64,
    /// As there.
    pub pages: u64,
    /// As there.
    pub live_bytes: u64,
    /// As there.
    pub live_blocks: u64,
    /// As there.
    pub age_ns: Option<u64>,
}

/// One moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Nanoseconds since the start.
    pub time_ns: u64,
    /// All cells that ever held a block, by number.
    pub cells: Vec<FrameCell>,
    /// The sites that pin most or have most live.
    pub sites: Vec<SiteCharge>,
    /// Sites with live blocks that are not listed.
    pub more_sites: u64,
    /// Holes by size. Empty where holes are not known.
    pub holes: Vec<Bucket>,
    /// The largest holes, address and bytes.
    pub largest_holes: Vec<(u64, u64)>,
}

/// The heap over time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frames {
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Bytes of a cell.
    pub cell_bytes: u64,
    /// In order of time; the last is the end.
    pub frames: Vec<Frame>,
    /// Where cells are.
    pub bands: Vec<Band>,
    /// Sites by number: each with its callers, outwards. Empty: not known.
    pub sites: Vec<Vec<CallFacts>>,
    /// The number that stands for all sites that have none of their own.
    pub other_sites: u32,
    /// How many these are.
    pub other_sites_count: u64,
    /// The names of threads.
    pub threads: BTreeMap<u32, String>,
    /// The threads that have a kind of their own, from kind 1 on: those that pin or have most.
    pub named_threads: Vec<u32>,
    /// How many threads the kind behind these stands for.
    pub other_threads: u64,
    /// The kinds of sizes.
    pub sizes: Scale,
    /// The kinds of ages.
    pub ages: Scale,
    /// Single blocks.
    pub details: Vec<Detail>,
}

/// The trace's measures, its frames, the heap at the end, and a way back to before the process
/// began to exit: one pass.
pub fn frames<'t>(
    trace: &'t Trace,
    symbols: &mut Symbols<'t>,
) -> (Analysis, Frames, Replay<'t>, Option<Checkpoint<'t>>) {
    let mut taking = Taking::new(trace, symbols);
    let (analysis, replay, checkpoint) = analyze_observed(trace, Some(FIRST_STRIDE), &mut taking);
    let frames = taking.finish(&replay);
    (analysis, frames, replay, checkpoint)
}

struct Taking<'a, 't> {
    trace: &'t Trace,
    naming: Naming<'a, 't>,
    /// A frame at every so many samples.
    stride: u64,
    visited: u64,
    cell_bytes: u64,
    /// The live blocks of the last frame.
    live: Followed,
    frames: Vec<(u64, Frame)>,
    most_live: Option<(u64, Detail)>,
    /// By site: the most that it pinned and had live at one moment.
    weights: Vec<u64>,
    /// The same by thread.
    thread_weights: Vec<u64>,
}

impl<'t> Observe<'t> for &mut Taking<'_, 't> {
    fn changes(&mut self, changes: &Changes) {
        self.live.note(changes);
    }

    fn blocks(&mut self, number: usize, time_ns: u64, replay: &Replay<'t>) {
        self.sample(number, time_ns, replay);
    }
}

impl<'a, 't> Taking<'a, 't> {
    fn new(trace: &'t Trace, symbols: &'a mut Symbols<'t>) -> Self {
        Taking {
            trace,
            naming: Naming {
                symbols,
                numbers: SiteNumbers::default(),
                traits: TraitsMet::default(),
            },
            stride: FIRST_STRIDE.get() as u64,
            visited: 0,
            cell_bytes: trace.process().page_bytes,
            live: Followed::default(),
            frames: Vec::new(),
            most_live: None,
            weights: Vec::new(),
            thread_weights: Vec::new(),
        }
    }

    fn sample(&mut self, index: usize, time_ns: u64, replay: &Replay<'t>) {
        let index = index as u64;
        if !index.is_multiple_of(self.stride) {
            return;
        }
        self.visited += replay.blocks().count();
        if self.visited > MOST_VISITED {
            (self.visited, self.stride) = (0, self.stride * 2);
            self.frames.retain(|(index, _)| index.is_multiple_of(self.stride));
        }
        let frame = self.frame(time_ns, replay);
        self.frames.push((index, frame));
        let live = replay.live().bytes;
        let before = self.most_live.as_ref().map_or(0, |(live, _)| *live);
        if live > before.saturating_add(before / MORE_LIVE_PART) {
            let detail = self.detail((time_ns, "most live"));
            self.most_live = Some((live, detail));
        }
    }

    /// The blocks of the last frame, one by one.
    fn detail(&self, moment: (u64, &'static str)) -> Detail {
        Detail::of(self.trace, moment, (&self.live.pieces, &self.live.sizes), &self.naming.traits)
    }

    fn frame(&mut self, time_ns: u64, replay: &Replay<'t>) -> Frame {
        let space = replay.space();
        let (page_bytes, is_glibc) = (self.trace.process().page_bytes, replay.is_glibc());
        let (mut held, mut found) = (Held::default(), Holes::default());
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| {
                held = Held::of(space, page_bytes);
                if is_glibc {
                    found = holes(space);
                }
            });
            // Who knows the symbols stays on this thread.
            self.live.catch_up(replay.blocks(), &mut self.naming);
        });
        let pins =
            Pins::new(std::mem::take(&mut self.live.pieces), held, space.heads(), page_bytes);
        // Before anything is gathered: one block may be larger than all memory there is.
        let mut bytes = 0u64;
        space.for_each_stretch(0..u64::MAX, |stretch| bytes = bytes.saturating_add(stretch.bytes));
        while bytes / self.cell_bytes > MOST_CELLS as u64 {
            self.double_cells();
        }
        let traits = self.naming.traits.list();
        let telling = Telling {
            traits,
            now: self.trace.clock().stamp_at(time_ns),
            window: self.trace.last_stamp().saturating_sub(self.trace.window_start()),
        };
        let groups: Vec<u32> = traits.iter().map(|traits| traits.site).collect();
        let (charges, mut cells) = rayon::join(
            || pins.charge(&groups, self.live.sums.len()),
            || cells::gather(space, pins.pieces(), telling, self.cell_bytes),
        );
        self.live.pieces = pins.into_pieces();
        let sums = self.charge(&charges, time_ns);
        self.weigh_threads(&charges);
        while cells.len() > MOST_CELLS {
            cells::coarsen(&mut cells);
            self.double_cells();
        }
        let (sites, more_sites) = list(sums);
        let (holes, largest_holes) = found;
        Frame { time_ns, cells, sites, more_sites, holes, largest_holes }
    }

    fn double_cells(&mut self) {
        self.frames.iter_mut().for_each(|(_, frame)| cells::coarsen(&mut frame.cells));
        self.cell_bytes *= 2;
    }

    /// What the sites have live and pin. Takes note of the greatest.
    fn charge(&mut self, charges: &Charges, time_ns: u64) -> Vec<SiteCharge> {
        let sums = &self.live.sums;
        self.weights.resize(self.weights.len().max(sums.len()), 0);
        let sites = sums.iter().zip(&charges.groups).enumerate().map(|(site, (sum, charge))| {
            let birth_ns = charge.mean_birth().map(|birth| self.trace.clock().time_ns(birth));
            let weight = charge.pinned_bytes.saturating_add(sum.bytes);
            self.weights[site] = self.weights[site].max(weight);
            SiteCharge {
                site: site as u32,
                pinned_bytes: charge.pinned_bytes,
                sole_pinned_bytes: charge.sole_pinned_bytes,
                unlock_bytes: charge.unlock_bytes,
                pages: charge.pages,
                live_bytes: sum.bytes,
                live_blocks: sum.blocks,
                age_ns: birth_ns.map(|birth_ns| time_ns.saturating_sub(birth_ns)),
            }
        });
        sites.collect()
    }

    /// Takes note of what threads pin and have live.
    fn weigh_threads(&mut self, charges: &Charges) {
        let mut sums = vec![0u64; self.naming.traits.threads().len()];
        if sums.len() > 1 {
            let thread_of = |key: usize| self.naming.traits.list()[key].thread as usize;
            for piece in &self.live.pieces {
                let sum = &mut sums[thread_of(piece.key as usize)];
                *sum = sum.saturating_add(piece.extent.end - piece.extent.start);
            }
            for (key, pinned_bytes) in charges.pinned_by_key.iter().enumerate() {
                let sum = &mut sums[thread_of(key)];
                *sum = sum.saturating_add(*pinned_bytes);
            }
        }
        self.thread_weights.resize(sums.len(), 0);
        for (weight, sum) in self.thread_weights.iter_mut().zip(sums) {
            *weight = (*weight).max(sum);
        }
    }

    fn finish(mut self, replay: &Replay<'t>) -> Frames {
        let end_ns = end_ns(self.trace);
        let end = self.frame(end_ns, replay);
        let at_end = self.detail((end_ns, "the end"));
        let mut details: Vec<Detail> = self.most_live.take().map(|(_, d)| d).into_iter().collect();
        details.push(at_end);
        let mut frames: Vec<Frame> = self.frames.into_iter().map(|(_, frame)| frame).collect();
        frames.push(end);
        let mut taken = Frames {
            page_bytes: self.trace.process().page_bytes,
            cell_bytes: self.cell_bytes,
            frames,
            details,
            sizes: Scale::of_sizes(),
            ages: Scale::of_ages(self.trace),
            ..Frames::default()
        };
        taken.number_threads(self.naming.traits.threads(), &self.thread_weights);
        taken.name_threads(replay);
        taken.place(replay);
        taken.number_sites(&self.naming.numbers, &self.weights);
        taken
    }
}

impl Frames {
    /// Finds where cells are; gaps that are drawn count as cells too.
    fn place(&mut self, replay: &Replay<'_>) {
        loop {
            self.bands = bands_of(replay, self.cell_bytes);
            let cells: usize = self.bands.iter().map(|band| band.cells).sum();
            if cells <= 2 * MOST_CELLS {
                return;
            }
            self.double_cells();
        }
    }

    /// Makes one cell of two, everywhere.
    fn double_cells(&mut self) {
        self.frames.iter_mut().for_each(|frame| cells::coarsen(&mut frame.cells));
        self.cell_bytes *= 2;
    }

    /// Makes one cell of two, bands included.
    pub fn coarsen(&mut self) {
        self.double_cells();
        for band in &mut self.bands {
            let end = band.start + band.cells as u64 * self.cell_bytes / 2;
            band.start &= !(self.cell_bytes - 1);
            band.cells = (end - band.start).div_ceil(self.cell_bytes) as usize;
        }
    }

    /// Lists half as many sites at each moment; whether there were enough for that.
    pub fn shorten_tables(&mut self) -> bool {
        let longest = self.frames.iter().map(|frame| frame.sites.len()).max().unwrap_or(0);
        for frame in &mut self.frames {
            let before = frame.sites.len();
            frame.sites.truncate(longest / 2);
            frame.more_sites += (before - frame.sites.len()) as u64;
        }
        longest > 1
    }

    /// Drops every other frame; the last one stays.
    pub fn thin_out(&mut self) {
        let last = self.frames.len().saturating_sub(1);
        let mut at = 0;
        self.frames.retain(|_| {
            at += 1;
            (last + 1 - at).is_multiple_of(2)
        });
    }
}

/// The sites with most, and how many others there are.
fn list(mut sums: Vec<SiteCharge>) -> (Vec<SiteCharge>, u64) {
    sums.retain(|sum| sum.live_blocks > 0);
    sums.sort_by_key(|sum| (Reverse((sum.pinned_bytes, sum.live_bytes)), sum.site));
    let more = sums.len().saturating_sub(MOST_LISTED) as u64;
    sums.truncate(MOST_LISTED);
    (sums, more)
}

/// Holes by size, and the largest: address and bytes.
type Holes = (Vec<Bucket>, Vec<(u64, u64)>);

fn holes(space: &AddressSpace) -> Holes {
    let mut buckets: BTreeMap<u64, Bucket> = BTreeMap::new();
    let mut largest: Vec<(u64, u64)> = Vec::with_capacity(MOST_HOLES + 1);
    space.for_each_hole(|hole| {
        let bytes = hole.end - hole.start;
        let from_bytes = 1 << bytes.ilog2();
        let bucket = buckets.entry(from_bytes).or_insert(Bucket { from_bytes, count: 0, bytes: 0 });
        bucket.count += 1;
        bucket.bytes += bytes;
        if largest.len() < MOST_HOLES || largest.last().is_some_and(|(_, least)| bytes > *least) {
            let place = largest.partition_point(|(_, larger)| *larger >= bytes);
            largest.insert(place, (hole.start, bytes));
            largest.truncate(MOST_HOLES);
        }
    });
    (buckets.into_values().collect(), largest)
}
