//! Who is blamed for the waste: held against a naive division, page by page and byte by
//! byte, and against heaps whose answer is known.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::measure;
use fragtrace_analyzer::measure::blame::{Blame, By, PinnedHeap, SiteFacts, Weight, heap_at};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::symbols::{Places, Rules, Symbols};
use fragtrace_format::event::{Acquire, Flags};
use fragtrace_format::pages::{TILE_PAGES, TilePages, TileWriter};
use fragtrace_format::record::{Cold, Look, Scan};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::naive::{Block, Naive};
use support::{Builder, Said, free, malloc_by};

const PAGE: u64 = 4096;
const HEAP: u64 = 0x5555_5560_0000;
const MAPPINGS: u64 = 0x7e00_0000_0000;

fn symbols(trace: &Trace) -> Symbols<'_> {
    Symbols::new(trace, Places::default(), Rules::default())
}

fn blame_at(trace: &Trace, at_ns: u64, by: By) -> Blame {
    let replay = heap_at(trace, at_ns);
    PinnedHeap::new(trace, &replay, at_ns, by).blame(&mut symbols(trace))
}

fn blame_at_end(trace: &Trace, by: By) -> Blame {
    let (_, replay) = measure::analyze_to_end(trace);
    PinnedHeap::at_end(trace, &replay, by).blame(&mut symbols(trace))
}

#[derive(Debug, Clone)]
enum Step {
    Acquire { stack: u32, offset: u64, size: u64 },
    Map { stack: u32, slot: u64, size: u64 },
    Release { which: prop::sample::Index },
    GiveBack { offset: u64, bytes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 0..200u64, 2 => 0..5000u64, 1 => 0..40_000u64];
    prop_oneof![
        8 => (0..6u32, 0..4000u64, size).prop_map(|(stack, offset, size)| Step::Acquire {
            stack,
            offset: offset * 16,
            size
        }),
        1 => (0..6u32, 0..3u64, 100_000..300_000u64)
            .prop_map(|(stack, slot, size)| Step::Map { stack, slot, size }),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::Release { which }),
        1 => (0..16u64, 1..5u64)
            .prop_map(|(page, pages)| Step::GiveBack { offset: page * PAGE, bytes: pages * PAGE }),
    ]
}

/// A heap as the trace tells it, and as the naive simulation has it.
struct Both {
    builder: Builder,
    naive: Naive,
    stacks: BTreeMap<u64, u32>,
    now: u64,
    scanned: bool,
}

impl Both {
    fn new() -> Both {
        let mut builder = Builder::default();
        // Five stacks; the last two have their innermost call in common.
        for addresses in [[0x10, 0x1], [0x20, 0x1], [0x30, 0x2], [0x40, 0x1], [0x40, 0x3]] {
            builder.stack(&addresses);
        }
        let naive = Naive::new(PAGE);
        let mut both = Both { builder, naive, stacks: BTreeMap::new(), now: 1000, scanned: false };
        // The heap begins with a block: what lies below it is the allocator's.
        both.step(&Step::Acquire { stack: 1, offset: 0, size: 24 });
        both.naive.head(HEAP..HEAP + 8);
        both
    }

    /// Numbers of the stacks that were built, 0 among them.
    fn number(&self, stack: u32) -> u32 {
        [0, 2, 3, 5, 6, 8][stack as usize]
    }

    fn live(&mut self, address: u64, stack: u32, block: Block) {
        self.naive.acquire(address, block);
        self.stacks.insert(address, stack);
    }

    fn overlaps(&self, block: &Block) -> bool {
        let mut all = self.naive.live.values().map(|known| &known.extent).chain(&self.naive.heads);
        all.any(|known| known.start < block.extent.end && block.extent.start < known.end)
    }

    fn step(&mut self, step: &Step) {
        self.now += 100;
        match *step {
            Step::Acquire { stack, offset, size } => {
                let address = HEAP + 16 + offset;
                let block = Block::glibc(address, size);
                if self.overlaps(&block) {
                    return;
                }
                let stack = self.number(stack);
                self.live(address, stack, block);
                self.builder.say(1, self.now, malloc_by(stack, address, size));
            }
            Step::Map { stack, slot, size } => {
                let address = MAPPINGS + slot * 0x10_0000 + 16;
                let block = Block::mapped(address, size, PAGE);
                if self.overlaps(&block) {
                    return;
                }
                let (stack, usable) = (self.number(stack), Some(block.usable));
                self.live(address, stack, block);
                let said = Acquire { address, size, stack, usable, ..Acquire::default() };
                let said = Acquire { mapped_offset: Some(16), ..said };
                self.builder.say(1, self.now, Said::Acquire(said));
            }
            Step::Release { which } => {
                if self.naive.live.is_empty() {
                    return;
                }
                let index = which.index(self.naive.live.len());
                let address = *self.naive.live.keys().nth(index).expect("one of them");
                self.naive.release(address);
                self.builder.say(1, self.now, free(address));
            }
            Step::GiveBack { offset, bytes } => {
                let address = HEAP + offset;
                self.naive.give_back(&(address..address + bytes));
                let cold = Cold::Advise { address, bytes, advice: 4 };
                self.builder.say(1, self.now, Said::Cold(cold));
            }
        }
    }

    /// A last look that finds some of the touched pages in memory, and no others.
    fn scan(&mut self, keep: u64) {
        let kept = |page: &u64| keep.rotate_left(*page as u32) & 3 != 0;
        let resident: BTreeSet<u64> = self.naive.touched.iter().copied().filter(kept).collect();
        let tile_bytes = PAGE * TILE_PAGES;
        let ranges = [HEAP..HEAP + 4 * tile_bytes, MAPPINGS..MAPPINGS + 4 * tile_bytes];
        let mut buffers = [[0; 512]; 2];
        let scans: Vec<Scan<'_>> = ranges
            .iter()
            .zip(&mut buffers)
            .map(|(range, bytes)| {
                let first = range.start / tile_bytes;
                let mut tiles = TileWriter::new(bytes, first);
                for tile in first..range.end / tile_bytes {
                    let mut told = TilePages::default();
                    for (bit, page) in (tile * TILE_PAGES..(tile + 1) * TILE_PAGES).enumerate() {
                        let is = u64::from(resident.contains(&page));
                        told.resident[bit / 64] |= is << (bit % 64);
                    }
                    assert!(tiles.put(tile, &told), "there is room");
                }
                let len = tiles.len();
                Scan { start: range.start, bytes: range.end - range.start, tiles: &bytes[..len] }
            })
            .collect();
        self.now += 100;
        self.scanned = true;
        let look = Look {
            stamp: self.now,
            swapped: Some(0),
            scans: 2,
            scans_end: true,
            ..Look::default()
        };
        self.builder.look_at(&look, &[], &scans);
        for range in ranges {
            self.naive.scan(&range, &resident);
        }
    }

    /// Live bytes on a page by group, and of the allocator's own.
    fn on_page(&self, page: u64, group: impl Fn(u32) -> u32) -> (BTreeMap<u32, u64>, u64) {
        let (start, end) = (page * PAGE, (page + 1) * PAGE);
        let part = |range: &std::ops::Range<u64>| {
            range.end.min(end).saturating_sub(range.start.max(start))
        };
        let mut groups = BTreeMap::new();
        for (address, block) in &self.naive.live {
            let bytes = part(&block.extent);
            if bytes > 0 {
                *groups.entry(group(self.stacks[address])).or_default() += bytes;
            }
        }
        (groups, self.naive.heads.iter().map(part).sum())
    }

    /// The figures of all groups, and the waste and what could go back.
    fn expected(&self, group: impl Fn(u32) -> u32) -> (BTreeMap<u32, Figures>, u64, u64) {
        let mut all: BTreeMap<u32, Figures> = BTreeMap::new();
        let (mut waste, mut releasable) = (0, 0);
        for (address, block) in &self.naive.live {
            all.entry(group(self.stacks[address])).or_default().live += block.size;
        }
        for page in self.held() {
            let (groups, head) = self.on_page(*page, &group);
            let live: u64 = groups.values().sum();
            if live == 0 && head > 0 {
                // The allocator's own, by no number that a group has.
                waste += PAGE - head;
                let figures = all.entry(u32::MAX).or_default();
                figures.shared += (PAGE - head) as f64;
                figures.sole += PAGE - head;
                figures.pages += 1;
                continue;
            }
            if live == 0 {
                releasable += PAGE;
                continue;
            }
            let unused = PAGE - live - head;
            waste += unused;
            for (group, bytes) in &groups {
                let figures = all.entry(*group).or_default();
                figures.shared += unused as f64 * *bytes as f64 / live as f64;
                figures.pages += u64::from(unused > 0);
                figures.parts += self.naive.live.len() as f64;
                if groups.len() == 1 {
                    figures.sole += unused;
                    figures.unlock += if head == 0 { PAGE } else { 0 };
                }
            }
        }
        (all, waste, releasable)
    }

    /// What would come free if all of these groups' blocks were not there.
    fn without(&self, gone: &BTreeSet<u32>, group: impl Fn(u32) -> u32) -> u64 {
        let frees = |page: &&u64| {
            let (groups, head) = self.on_page(**page, &group);
            head == 0 && !groups.is_empty() && groups.keys().all(|group| gone.contains(group))
        };
        self.held().iter().filter(frees).count() as u64 * PAGE
    }

    /// The pages that count.
    fn held(&self) -> &BTreeSet<u64> {
        if self.scanned { &self.naive.resident } else { &self.naive.touched }
    }
}

#[derive(Debug, Default)]
struct Figures {
    live: u64,
    shared: f64,
    sole: u64,
    unlock: u64,
    pages: u64,
    /// How often something was rounded, at most.
    parts: f64,
}

/// Which group a site is, told by the address that it is known by.
fn group_of(site: &SiteFacts) -> u32 {
    site.site.offset.map_or(0, |offset| (offset + 1) as u32)
}

fn check(
    both: &Both,
    blame: &Blame,
    group: impl Fn(u32) -> u32 + Copy,
    of: impl Fn(&SiteFacts) -> u32,
) {
    let (expected, waste, releasable) = both.expected(group);
    assert_eq!((blame.pinned_waste_bytes, blame.releasable_bytes), (waste, releasable));
    assert_eq!((blame.held_bytes, blame.resident), (both.held().len() as u64 * PAGE, both.scanned));
    let shared: u64 = blame.sites.iter().map(|site| site.pinned_bytes).sum();
    assert_eq!(shared, waste, "all of the waste is charged, and nothing twice");
    assert_eq!(blame.sites.len(), expected.len());
    let of = |site: &SiteFacts| if site.live_blocks == 0 { u32::MAX } else { of(site) };
    let mut gone = BTreeSet::new();
    for site in &blame.sites {
        let figures = &expected[&of(site)];
        assert!((site.pinned_bytes as f64 - figures.shared).abs() <= figures.parts + 1.0);
        assert_eq!(
            (site.live_bytes, site.sole_pinned_bytes, site.unlock_bytes, site.pages),
            (figures.live, figures.sole, figures.unlock, figures.pages)
        );
        gone.insert(of(site));
        assert_eq!(site.unlock_cumulative_bytes, both.without(&gone, group));
    }
    let falls = |pair: &[SiteFacts]| pair[0].pinned_bytes >= pair[1].pinned_bytes;
    assert!(blame.sites.windows(2).all(falls), "most pinned first");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn waste_is_divided_as_by_hand(
        steps in prop::collection::vec(step(), 1..120), scan in prop::option::of(any::<u64>())
    ) {
        let mut both = Both::new();
        for step in &steps {
            both.step(step);
        }
        if let Some(keep) = scan {
            both.scan(keep);
        }
        let trace = both.builder.open();
        let (analysis, _) = measure::analyze_to_end(&trace);
        let known = |bytes| scan.map(|_| bytes);
        let blame = blame_at_end(&trace, By::Stack);
        prop_assert_eq!(analysis.end.pinned_waste_bytes, known(blame.pinned_waste_bytes));
        prop_assert_eq!(analysis.end.releasable_bytes, known(blame.releasable_bytes));
        // Each stack by itself: told by the address of its innermost frame and its caller's.
        let by_stack = |site: &SiteFacts| match site.stack.get(1).and_then(|call| call.offset) {
            Some(0x2) if group_of(site) == 0x40 => 8,
            _ => match group_of(site) { 0x10 => 2, 0x20 => 3, 0x30 => 5, 0x40 => 6, _ => 0 },
        };
        check(&both, &blame, |stack| stack, by_stack);
        let site = |stack| match stack { 2 => 0x10, 3 => 0x20, 5 => 0x30, 6 | 8 => 0x40, _ => 0 };
        check(&both, &blame_at_end(&trace, By::Function), site, group_of);
        let thread = |found: &SiteFacts| found.thread.expect("a thread") - 1;
        check(&both, &blame_at_end(&trace, By::Thread), |_| 0, thread);
    }
}

/// A heap that one stack's small blocks pin: another's fill it and go.
fn burst(pages: u64) -> Builder {
    let mut builder = Builder::default();
    let sessions = builder.stack(&[0x1000, 0x9000]);
    let requests = builder.stack(&[0x2000, 0x9000]);
    let mut stamp = 1_000_000;
    for page in 0..pages {
        let at = HEAP + page * PAGE + 16;
        builder.say(1, stamp, malloc_by(sessions, at, 40));
        builder.say(1, stamp + 1, malloc_by(requests, at + 48, 4000));
        stamp += 1000;
    }
    for page in 0..pages {
        builder.say(1, stamp + page, free(HEAP + page * PAGE + 16 + 48));
    }
    builder
}

#[test]
fn what_keeps_pages_from_going_back_comes_first() {
    let builder = burst(1000);
    let trace = builder.open();
    let blame = blame_at_end(&trace, By::Function);
    let first = &blame.sites[0];
    assert_eq!(blame.sites.len(), 1, "requests are gone, all of them");
    assert_eq!(first.site.offset, Some(0xfff), "the call is before its return address");
    assert_eq!(
        first.stack.iter().map(|call| call.offset).collect::<Vec<_>>(),
        [Some(0xfff), Some(0x8fff)]
    );
    assert_eq!(first.pinned_bytes, blame.pinned_waste_bytes);
    assert_eq!(first.pages, 1000);
    assert_eq!((first.allocs, first.live_blocks, first.live_bytes), (Some(1000), 1000, 40_000));
    assert!(first.unlock_bytes >= 999 * PAGE, "the first page has the heap's head");
}

#[test]
fn any_moment_can_be_asked_about() {
    let trace = burst(100).open();
    // Behind 50 of each.
    let blame = blame_at(&trace, 1_049_500, By::Function);
    let allocs: Vec<_> = blame.sites.iter().map(|site| site.allocs).collect();
    assert_eq!(allocs, [Some(50), Some(50)]);
    assert_eq!(blame_at(&trace, 0, By::Function), Blame { at_ns: 0, ..Blame::default() });
}

#[test]
fn age_is_that_of_the_blocks_that_pin() {
    let mut builder = Builder::default();
    let stack = builder.stack(&[0x1000]);
    builder.say(1, 1_000, malloc_by(stack, HEAP + 16, 40));
    // As large, on a page of its own, and younger.
    builder.say(1, 5_000, malloc_by(stack, HEAP + 2 * PAGE + 16, 40));
    builder.say(1, 9_000, malloc_by(stack, HEAP + 8 * PAGE + 16, 0));
    builder.say(1, 9_000, free(HEAP + 8 * PAGE + 16));
    let blame = blame_at_end(&builder.open(), By::Function);
    let age = blame.sites[0].age_ns.expect("known");
    assert!((5_990..=6_010).contains(&age), "the mean of 8,000 and 4,000: {age}");
}

#[test]
fn threads_go_by_their_names() {
    let mut builder = Builder::default();
    builder.say(3, 10, Said::Cold(Cold::Thread { thread: 3, tid: 7, name: "worker" }));
    builder.say(3, 20, malloc_by(0, HEAP + 16, 100));
    let blame = blame_at_end(&builder.open(), By::Thread);
    assert_eq!(blame.sites[0].thread, Some(3));
    assert_eq!(blame.sites[0].thread_name.as_deref(), Some("worker"));
    assert_eq!(blame.sites[0].allocs, None, "not counted by thread");
}

#[test]
fn without_stacks_the_waste_is_known_and_nobody_is_named() {
    let mut builder = Builder { stack_depth: 0, ..Builder::default() };
    builder.say(1, 20, malloc_by(0, HEAP + 16, 100));
    let trace = builder.open();
    let blame = blame_at_end(&trace, By::Function);
    assert!(blame.pinned_waste_bytes > 0 && blame.sites.is_empty());
    assert_eq!(trace.process().stack_depth, 0);
}

#[test]
fn reallocated_blocks_belong_to_who_reallocated_them_last() {
    let mut builder = Builder::default();
    let (first, last) = (builder.stack(&[0x1000]), builder.stack(&[0x2000]));
    builder.say(1, 10, malloc_by(first, HEAP + 16, 100));
    builder.say(1, 20, support::realloc_from(HEAP + 16));
    let grown = Acquire { address: HEAP + 16, size: 200, stack: last, ..Acquire::default() };
    builder.say(1, 21, Said::Acquire(Acquire { flags: Flags::REALLOC, ..grown }));
    let blame = blame_at_end(&builder.open(), By::Function);
    assert_eq!(blame.sites.len(), 1);
    assert_eq!((blame.sites[0].site.offset, blame.sites[0].allocs), (Some(0x1fff), Some(0)));
}

#[test]
fn folded_stacks_weigh_what_they_are_asked_for() {
    let trace = burst(10).open();
    let (_, replay) = measure::analyze_to_end(&trace);
    let heap = PinnedHeap::at_end(&trace, &replay, By::Stack);
    let sum = |weight| {
        let folded = heap.folded(weight, &mut symbols(&trace));
        (folded.len(), folded.iter().map(|(_, weight)| weight).sum::<u64>())
    };
    let blame = heap.blame(&mut symbols(&trace));
    assert_eq!(sum(Weight::Pinned), (1, blame.pinned_waste_bytes));
    assert_eq!(sum(Weight::Live), (1, 400));
    assert_eq!(sum(Weight::Allocs), (2, 20), "also of what is gone");
    assert_eq!(sum(Weight::Slop), (0, 0), "40 bytes are a size that glibc has");
}
