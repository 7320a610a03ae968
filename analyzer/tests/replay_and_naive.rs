//! The replay agrees with a naive simulation about every figure, after every step of random
//! histories: several heaps, blocks of all sizes, reallocs, blocks with mappings of their
//! own, pages given back and unmapped, on several lanes.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::measure;
use fragtrace_analyzer::order;
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::Replay;
use fragtrace_format::event::{Acquire, Flags};
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};
use fragtrace_format::record::{Cold, Look, Scan, UsableRule};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use support::naive::{Block, Naive};
use support::{Builder, Said};

/// The brk heap, and two heaps at multiples of 64 MiB.
const HEAPS: [u64; 3] = [0x5555_5560_0000, 0x7f00_0000_0000, 0x7f00_1000_0000];
/// Where blocks with a mapping of their own lie.
const MAPPINGS: u64 = 0x7e00_0000_0000;
/// glibc keeps at most this much below the first block of a heap.
const MAX_HEAD: u64 = 8 << 10;
const MADV_DONTNEED: u32 = 4;

#[derive(Debug, Clone)]
enum Step {
    Acquire { heap: usize, offset: u64, size: u64 },
    Map { slot: u64, size: u64 },
    Release { which: usize },
    Realloc { which: usize, heap: usize, offset: u64, size: u64 },
    GiveBack { heap: usize, offset: u64, bytes: u64 },
    Unmap { heap: usize, offset: u64, bytes: u64, refused: bool },
    Scan { heap: usize, offset: u64, bytes: u64, keep: u64 },
}

fn offset() -> impl Strategy<Value = u64> {
    // Dense near the start, and far enough for several leaves of the tree.
    prop_oneof![4 => 0..3000u64, 1 => 0..60_000u64, 1 => 0..200_000u64].prop_map(|at| at * 16)
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200u64, 3 => 0..5000u64, 1 => 0..100_000u64, 1 => 0..1_500_000u64]
}

fn range_bytes() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1..20_000u64, 1 => 1..2_000_000u64]
}

fn step() -> impl Strategy<Value = Step> {
    let heap = 0..HEAPS.len();
    prop_oneof![
        10 => (heap.clone(), offset(), size())
            .prop_map(|(heap, offset, size)| Step::Acquire { heap, offset, size }),
        1 => (0..4u64, 100_000..3_000_000u64).prop_map(|(slot, size)| Step::Map { slot, size }),
        6 => any::<prop::sample::Index>()
            .prop_map(|which| Step::Release { which: which.index(1 << 16) }),
        2 => (any::<prop::sample::Index>(), heap.clone(), offset(), size()).prop_map(
            |(which, heap, offset, size)| Step::Realloc { which: which.index(1 << 16), heap, offset, size }
        ),
        1 => (heap.clone(), offset(), range_bytes())
            .prop_map(|(heap, offset, bytes)| Step::GiveBack { heap, offset, bytes }),
        1 => (heap.clone(), offset(), range_bytes(), any::<bool>())
            .prop_map(|(heap, offset, bytes, refused)| Step::Unmap { heap, offset, bytes, refused }),
        2 => (heap, offset(), range_bytes(), 0..u64::MAX)
            .prop_map(|(heap, offset, bytes, keep)| Step::Scan { heap, offset, bytes, keep }),
    ]
}

/// Every figure of one moment.
#[derive(Debug, Clone, PartialEq)]
struct Figures {
    live: (u64, u64),
    usable: u64,
    footprint: u64,
    free: u64,
    high_water: u64,
    growth: (u64, u64),
    holes: Vec<Range<u64>>,
    largest_hole: u64,
    hole_count: u64,
    resident: u64,
    /// Only of pages of 4 KiB.
    fullness: Option<(u64, [u64; 16], u64)>,
    touched: Vec<Range<u64>>,
    live_blocks: Vec<(u64, u64)>,
}

fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.dedup_by(|next, last| {
        let joins = last.end == next.start;
        if joins {
            last.end = next.end;
        }
        joins
    });
    ranges
}

impl Figures {
    fn of_naive(naive: &Naive) -> Figures {
        let holes = naive.holes();
        let lengths = || holes.iter().map(|hole| hole.end - hole.start);
        let page = naive.page;
        let pages = naive.touched.iter().map(|number| number * page..(number + 1) * page);
        Figures {
            live: (naive.live_bytes(), naive.live.len() as u64),
            usable: naive.usable_bytes(),
            footprint: naive.touched.len() as u64 * page,
            free: lengths().sum(),
            high_water: naive.ever.len() as u64 * page,
            growth: naive.growth_despite_fit,
            largest_hole: lengths().max().unwrap_or(0),
            hole_count: holes.len() as u64,
            resident: naive.resident.len() as u64 * page,
            fullness: (page == 4096).then(|| naive.fullness()),
            touched: joined(pages.collect()),
            live_blocks: naive.live.iter().map(|(address, block)| (*address, block.size)).collect(),
            holes,
        }
    }

    fn of_replay(replay: &mut Replay<'_>) -> Figures {
        let gaps = replay.space_mut().gaps();
        let fullness = replay.space_mut().fullness();
        let (blocks, space) = (replay.blocks(), replay.space());
        let growth = space.growth_despite_fit();
        let (mut holes, mut touched) = (Vec::new(), Vec::new());
        space.for_each_hole(|hole| holes.push(hole));
        space.for_each_stretch(0..1 << 57, |stretch| {
            if stretch.touched {
                touched.push(stretch.start..stretch.start + stretch.bytes);
            }
        });
        let mut live: Vec<(u64, u64)> =
            blocks.iter().map(|(address, block)| (address, block.size)).collect();
        live.sort_unstable();
        Figures {
            live: (replay.live().bytes, blocks.count()),
            usable: replay.live().usable_bytes().expect("known of every block"),
            footprint: space.footprint_bytes(),
            free: space.free_bytes(),
            high_water: space.high_water_bytes(),
            growth: (growth.count, growth.bytes),
            holes,
            largest_hole: gaps.largest,
            hole_count: gaps.count,
            resident: space.resident_bytes(),
            fullness: fullness.map(|sum| (sum.empty_tiles, sum.tiles, sum.waste_bytes)),
            touched: joined(touched),
            live_blocks: live,
        }
    }
}

/// Takes steps, as naive simulation and as events at once.
struct Walk {
    naive: Naive,
    rule: UsableRule,
    begun: [bool; 3],
    builder: Builder,
    /// Tiles as looks told them last.
    told: BTreeMap<u64, TilePages>,
    events: u64,
    /// Where blocks were released, and with which event.
    releases: Vec<(Range<u64>, u64)>,
    /// After so many events, these are the figures.
    expected: Vec<(u64, Figures)>,
}

impl Walk {
    fn new(rule: UsableRule, page_bytes: u32) -> Walk {
        let mut builder = Builder { usable_rule: rule, page_bytes, ..Builder::default() };
        let mut events = 0;
        if rule == UsableRule::Glibc {
            builder.say(1, 1, Said::Cold(Cold::Brk { end: HEAPS[0] }));
            events = 1;
        }
        let naive = Naive::new(page_bytes.into());
        let told = BTreeMap::new();
        let (releases, expected) = (Vec::new(), Vec::new());
        Walk { naive, rule, begun: [false; 3], builder, told, events, releases, expected }
    }

    fn say(&mut self, lane: u32, said: Said) {
        self.events += 1;
        self.builder.say(lane, self.events * 1000, said);
    }

    fn block(&self, address: u64, size: u64) -> Block {
        match self.rule {
            UsableRule::Glibc => Block::glibc(address, size),
            _ => {
                // Size classes of 64 bytes.
                let usable = size.next_multiple_of(64).max(64);
                Block { size, usable, extent: address..address + usable, own_mapping: false }
            }
        }
    }

    fn overlaps(&self, extent: &Range<u64>) -> bool {
        let meets = |other: &Range<u64>| other.start < extent.end && extent.start < other.end;
        self.naive.live.values().any(|block| meets(&block.extent))
            || self.naive.heads.iter().any(meets)
    }

    /// The block at a place, if there is room.
    fn acquire(&mut self, lane: u32, flags: Flags, heap: usize, offset: u64, size: u64) -> bool {
        let address = HEAPS[heap] + 16 + offset;
        let block = self.block(address, size);
        if self.overlaps(&block.extent) {
            return false;
        }
        let usable = (self.rule != UsableRule::Glibc).then_some(block.usable);
        let acquire = Acquire { address, size, flags, usable, ..Acquire::default() };
        self.say(lane, Said::Acquire(acquire));
        let head = HEAPS[heap]..block.extent.start;
        let first = !std::mem::replace(&mut self.begun[heap], true);
        self.naive.acquire(address, block);
        if first && self.rule == UsableRule::Glibc && head.end - head.start <= MAX_HEAD {
            self.naive.head(head);
        }
        true
    }

    fn release(&mut self, lane: u32, which: usize, flags: Flags) -> Option<u64> {
        let count = self.naive.live.len();
        let address = *self.naive.live.keys().nth(which.checked_rem(count)?)?;
        self.say(lane, Said::Release { address, flags });
        self.releases.push((self.naive.live[&address].extent.clone(), self.events));
        self.naive.release(address);
        Some(address)
    }

    fn pages(&self, heap: usize, offset: u64, bytes: u64) -> Range<u64> {
        let page = self.naive.page;
        let start = (HEAPS[heap] + offset) / page * page;
        start..start + bytes.next_multiple_of(page)
    }

    fn take(&mut self, lane: u32, step: &Step) {
        match *step {
            Step::Acquire { heap, offset, size } => {
                self.acquire(lane, Flags::NONE, heap, offset, size);
            }
            Step::Map { slot, size } => self.map(lane, slot, size),
            Step::Release { which } => {
                self.release(lane, which, Flags::NONE);
            }
            Step::Realloc { which, heap, offset, size } => {
                if self.release(lane, which, Flags::REALLOC).is_some()
                    && !self.acquire(lane, Flags::REALLOC, heap, offset, size)
                {
                    self.say(lane, Said::Cold(Cold::ReallocFreed { address: 0 }));
                }
            }
            Step::GiveBack { heap, offset, bytes } => {
                // The kernel takes ranges that begin on a page, and rounds their length up;
                // allocators only pass whole pages.
                let range = self.pages(heap, offset, bytes);
                let (address, bytes) = (range.start, range.end - range.start);
                self.say(lane, Said::Cold(Cold::Advise { address, bytes, advice: MADV_DONTNEED }));
                self.naive.give_back(&range);
            }
            Step::Unmap { heap, offset, bytes, refused } => {
                let range = self.pages(heap, offset, bytes);
                let (address, bytes) = (range.start, range.end - range.start);
                self.say(lane, Said::Cold(Cold::Unmap { address, bytes }));
                if refused {
                    self.say(lane, Said::Cold(Cold::Undo { address: 0 }));
                    // Until the next scan it is not known.
                    let pages = range.start / self.naive.page..range.end / self.naive.page;
                    self.naive.resident.retain(|page| !pages.contains(page));
                } else {
                    self.naive.give_back(&range);
                }
            }
            Step::Scan { heap, offset, bytes, keep } => {
                let range = self.pages(heap, offset, bytes);
                self.scan(lane, &range, keep);
            }
        }
        self.expected.push((self.events, Figures::of_naive(&self.naive)));
    }

    /// A look that finds some of the touched pages of a range in memory.
    fn scan(&mut self, lane: u32, range: &Range<u64>, keep: u64) {
        let page = self.naive.page;
        let kept =
            |number: &u64| keep.is_multiple_of(3) || keep.rotate_left(*number as u32) & 3 != 0;
        let resident: BTreeSet<u64> = self.naive.touched.iter().copied().filter(kept).collect();
        let mut bytes = [0; 8192];
        let tile_bytes = page * TILE_PAGES;
        let first = range.start / tile_bytes;
        let mut tiles = TileWriter::new(&mut bytes, first);
        for tile in first..range.end.div_ceil(tile_bytes) {
            let told = self.told.entry(tile).or_default();
            let before = *told;
            for number in (tile * TILE_PAGES..).take(TILE_PAGES as usize) {
                if (range.start / page..range.end / page).contains(&number) {
                    let (word, bit) = (number % TILE_PAGES / 64, 1 << (number % 64));
                    let word = &mut told.resident[word as usize];
                    *word = if resident.contains(&number) { *word | bit } else { *word & !bit };
                }
            }
            if *told != before {
                assert!(tiles.put(tile, told), "there is room");
            }
        }
        let len = tiles.len();
        let scan =
            Scan { start: range.start, bytes: range.end - range.start, tiles: &bytes[..len] };
        let stamp = self.events * 1000 + 500;
        let look = Look { stamp, swapped: Some(0), scans: 1, scans_end: true, ..Look::default() };
        self.builder.look_at(&look, &[], &[scan]);
        self.naive.scan(range, &resident);
        // Looks are taken in with the event behind them: one that says nothing.
        self.say(lane, Said::Cold(Cold::End { kind: 0, status: 0 }));
    }

    fn map(&mut self, lane: u32, slot: u64, size: u64) {
        let address = MAPPINGS + (slot << 22) + 16;
        let block = Block::mapped(address, size, self.naive.page);
        if self.overlaps(&block.extent) {
            return;
        }
        let acquire = Acquire {
            address,
            size,
            usable: Some(block.usable),
            mapped_offset: Some(16),
            ..Acquire::default()
        };
        self.say(lane, Said::Acquire(acquire));
        self.naive.acquire(address, block);
    }

    /// Replays what was said and compares after every step.
    fn compare(self) -> Result<(), TestCaseError> {
        let trace = self.builder.open();
        prop_assert_eq!(trace.damage(), &[] as &[String]);
        let mut replay = Replay::new(&trace);
        let mut expected = self.expected.iter().peekable();
        for event in order::events(&trace).flatten() {
            replay.apply(&event);
            while let Some((_, figures)) =
                expected.next_if(|(events, _)| *events == replay.counts().events)
            {
                prop_assert_eq!(&Figures::of_replay(&mut replay), figures);
                // What is remembered is what is found without.
                let residency = replay.space().residency();
                prop_assert_eq!(replay.space_mut().residency_now(), residency);
            }
        }
        replay.finish();
        let counts = replay.counts();
        prop_assert_eq!(counts.events, self.events);
        prop_assert_eq!((counts.order_anomalies, counts.unknown_frees), (0, 0));
        self.compare_peaks(&trace)?;
        let is_glibc = self.rule == UsableRule::Glibc;
        if is_glibc { self.compare_holes(&trace) } else { Ok(()) }
    }

    /// The heap when most was live, and when its footprint was greatest: each for the first time.
    fn compare_peaks(&self, trace: &Trace) -> Result<(), TestCaseError> {
        let analysis = measure::analyze(trace);
        let first_of_most = |of: fn(&Figures) -> u64| {
            let most = self.expected.iter().map(|(_, figures)| of(figures)).max()?;
            self.expected.iter().find(|(_, figures)| of(figures) == most && most > 0)
        };
        let peaks = [
            (first_of_most(|figures| figures.live.0), &analysis.peak),
            (first_of_most(|figures| figures.footprint), &analysis.peak_footprint),
        ];
        for (expected, found) in peaks {
            let Some((events, figures)) = expected else { continue };
            prop_assert_eq!(found.time_ns, trace.clock().time_ns(events * 1000));
            prop_assert_eq!((found.live_bytes, found.live_blocks), figures.live);
            prop_assert_eq!(found.footprint_bytes, Some(figures.footprint));
            prop_assert_eq!(found.free_bytes, Some(figures.free));
            prop_assert_eq!(found.largest_hole_bytes, Some(figures.largest_hole));
            prop_assert_eq!(found.hole_count, Some(figures.hole_count));
            prop_assert_eq!(found.high_water_bytes, Some(figures.high_water));
        }
        Ok(())
    }

    /// Each hole at the end, with what stands around it, and since when nothing was in it.
    fn compare_holes(&self, trace: &Trace) -> Result<(), TestCaseError> {
        let end_ns = measure::resolve_time(trace, measure::TimeSpec::End).expect("it is there");
        let mut found = measure::holes_at(trace, end_ns, usize::MAX).largest;
        found.sort_unstable_by_key(|hole| hole.address);
        let holes = self.naive.holes();
        prop_assert_eq!(found.len(), holes.len());
        for (found, hole) in found.iter().zip(holes) {
            prop_assert_eq!((found.address, found.bytes), (hole.start, hole.end - hole.start));
            let meets = |range: &Range<u64>| range.start < hole.end && hole.start < range.end;
            let last = self.releases.iter().filter(|(range, _)| meets(range)).map(|(_, at)| at);
            let age = last.max().map(|event| end_ns - trace.clock().time_ns(event * 1000));
            prop_assert_eq!(found.age_ns, age);
            let block = |is: &dyn Fn(&Block) -> bool| {
                self.naive.live.values().find(|block| is(block)).map(|block| block.size)
            };
            prop_assert_eq!(found.before, block(&|block| block.extent.end == hole.start));
            prop_assert_eq!(found.after, block(&|block| block.extent.start == hole.end));
        }
        Ok(())
    }
}

fn histories() -> impl Strategy<Value = Vec<(u32, Step)>> {
    prop::collection::vec((1..4u32, step()), 1..120)
}

fn check(rule: UsableRule, page_bytes: u32, steps: &[(u32, Step)]) -> Result<(), TestCaseError> {
    let mut walk = Walk::new(rule, page_bytes);
    for (lane, step) in steps {
        walk.take(*lane, step);
    }
    walk.compare()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_replay_agrees_on_glibc(steps in histories()) {
        check(UsableRule::Glibc, 4096, &steps)?;
    }

    #[test]
    fn the_replay_agrees_on_allocators_with_size_classes(steps in histories()) {
        check(UsableRule::ByClass, 4096, &steps)?;
    }

    #[test]
    fn the_replay_agrees_on_large_pages(steps in histories(), shift in 13..17u32) {
        check(UsableRule::Glibc, 1 << shift, &steps)?;
    }
}
