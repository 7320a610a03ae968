//! Events whose stamps are inverted between threads lead to the same heap as in their true
//! order.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::order;
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::{Counts, Replay};
use fragtrace_format::event::Flags;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use support::naive::{Block, Naive};
use support::{Builder, Said, free, malloc, realloc_from, realloc_to};

const HEAP: u64 = 0x7f00_0000_0000;
/// The first block begins a page behind the heap's start, so its head is known.
const FIRST: u64 = HEAP + 4096 + 16;
const SPACING_NS: u64 = 1000;

fn replayed(trace: &Trace) -> Replay<'_> {
    let mut replay = Replay::new(trace);
    for event in order::events(trace).flatten() {
        replay.apply(&event);
    }
    replay.finish();
    replay
}

/// An event of a true history, in its place.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Happened {
    lane: u32,
    address: u64,
    /// Of an acquisition.
    size: Option<u64>,
    realloc: bool,
}

impl Happened {
    fn said(&self) -> Said {
        match (self.size, self.realloc) {
            (Some(size), false) => malloc(self.address, size),
            (Some(size), true) => realloc_to(self.address, size),
            (None, false) => free(self.address),
            (None, true) => realloc_from(self.address),
        }
    }
}

/// The trace in which neighbours are exchanged where `exchange` says so and their lanes
/// allow it. No event is exchanged twice.
fn trace_of(history: &[Happened], exchange: &[bool]) -> Trace {
    let mut builder = Builder::default();
    let mut said: Vec<(u64, Happened)> = Vec::new();
    let mut stamp = 0;
    for (index, happened) in history.iter().enumerate() {
        stamp += SPACING_NS;
        let exchanged = said.last().is_some_and(|(last, _)| *last > stamp - SPACING_NS);
        if let Some((last_stamp, last)) = said.last_mut()
            && exchange[index]
            && !exchanged
            && last.lane != happened.lane
        {
            *last_stamp = stamp + SPACING_NS / 4;
        }
        said.push((stamp, *happened));
    }
    for (stamp, happened) in said {
        builder.say(happened.lane, stamp, happened.said());
    }
    builder.open()
}

/// All sequences of `length` numbers from 1 to 3.
fn lanes_of(length: u32) -> impl Iterator<Item = Vec<u32>> {
    (0..3u32.pow(length))
        .map(move |code| (0..length).map(|at| code / 3u32.pow(at) % 3 + 1).collect())
}

fn cross_thread_frees(history: &[Happened]) -> u64 {
    let crosses = |pair: &[Happened]| pair[1].size.is_none() && pair[0].lane != pair[1].lane;
    history.windows(2).filter(|pair| crosses(pair)).count() as u64
}

/// Who freed blocks of whom: how many, and what was asked for.
fn handovers(history: &[Happened]) -> BTreeMap<(u32, u32), (u64, u64)> {
    let mut pairs: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
    for pair in history.windows(2) {
        if let (Some(size), None) = (pair[0].size, pair[1].size)
            && pair[0].lane != pair[1].lane
        {
            let handed = pairs.entry((pair[0].lane, pair[1].lane)).or_default();
            *handed = (handed.0 + 1, handed.1 + size);
        }
    }
    pairs
}

#[test]
fn exchanges_at_one_address_are_undone_exactly() {
    for length in 1..=5u32 {
        for lanes in lanes_of(length) {
            let history: Vec<Happened> = (0u64..)
                .zip(&lanes)
                .map(|(at, lane)| {
                    let size = (at % 2 == 0).then_some(100 + at);
                    Happened { lane: *lane, address: FIRST, size, realloc: false }
                })
                .collect();
            for exchanges in 0..1 << length {
                let exchange: Vec<bool> = (0..length).map(|at| exchanges >> at & 1 == 1).collect();
                let trace = trace_of(&history, &exchange);
                let replay = replayed(&trace);
                let told = format!("lanes {lanes:?}, exchanged {exchange:?}");
                let last = u64::from(length - 1);
                let live = (length % 2 == 1).then_some(100 + last);
                assert_eq!(replay.blocks().get(FIRST).map(|block| block.size), live, "{told}");
                let counts = Counts {
                    events: length.into(),
                    allocs: u64::from(length).div_ceil(2),
                    frees: u64::from(length) / 2,
                    cross_thread_frees: cross_thread_frees(&history),
                    ..Counts::default()
                };
                assert_eq!(replay.counts(), counts, "{told}");
                let pairs = replay.handovers().pairs().into_iter();
                let pairs: BTreeMap<(u32, u32), (u64, u64)> =
                    pairs.map(|(pair, handed)| (pair, (handed.blocks, handed.bytes))).collect();
                assert_eq!(pairs, handovers(&history), "{told}");
                let heads = replay.space().head_bytes();
                let usable = live.map_or(0, |size| Block::glibc(FIRST, size).usable + 8);
                assert_eq!(replay.space().covered_bytes(), heads + usable, "{told}");
            }
        }
    }
}

/// Slots of 64 bytes; a block takes some that adjoin, as after coalescing.
#[derive(Debug, Clone)]
enum Step {
    Acquire { slot: u64, slots: u64 },
    Release { which: usize },
    Realloc { which: usize, slot: u64, slots: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let which = || any::<prop::sample::Index>().prop_map(|which| which.index(1 << 16));
    prop_oneof![
        3 => (0..24u64, 1..6u64).prop_map(|(slot, slots)| Step::Acquire { slot, slots }),
        2 => which().prop_map(|which| Step::Release { which }),
        1 => (which(), 0..24u64, 1..6u64)
            .prop_map(|(which, slot, slots)| Step::Realloc { which, slot, slots }),
    ]
}

#[derive(Debug)]
struct History {
    naive: Naive,
    events: Vec<Happened>,
}

impl History {
    fn new() -> History {
        let mut history = History { naive: Naive::new(4096), events: Vec::new() };
        // A block that stays, and with it the heap's head.
        history.acquire(1, FIRST - 64, 24, false);
        history.naive.head(HEAP..FIRST - 64 - 8);
        history
    }

    fn acquire(&mut self, lane: u32, address: u64, size: u64, realloc: bool) {
        self.events.push(Happened { lane, address, size: Some(size), realloc });
        self.naive.acquire(address, Block::glibc(address, size));
    }

    fn acquire_slots(&mut self, lane: u32, slot: u64, slots: u64, realloc: bool) -> bool {
        let address = FIRST + slot * 64;
        let extent: Range<u64> = address - 8..address + slots * 64 - 8;
        let meets =
            |block: &Block| block.extent.start < extent.end && extent.start < block.extent.end;
        let room = !self.naive.live.values().any(meets);
        if room {
            self.acquire(lane, address, slots * 64 - 8, realloc);
        }
        room
    }

    fn release(&mut self, lane: u32, which: usize, realloc: bool) -> Option<(u64, u64)> {
        let others = self.naive.live.len() - 1;
        let (address, block) = self.naive.live.iter().nth(which.checked_rem(others)? + 1)?;
        let gone = (*address, block.size);
        self.events.push(Happened { lane, address: gone.0, size: None, realloc });
        self.naive.release(gone.0);
        Some(gone)
    }

    fn take(&mut self, lane: u32, step: &Step) {
        match *step {
            Step::Acquire { slot, slots } => {
                self.acquire_slots(lane, slot, slots, false);
            }
            Step::Release { which } => {
                self.release(lane, which, false);
            }
            Step::Realloc { which, slot, slots } => {
                let Some((address, size)) = self.release(lane, which, true) else { return };
                if !self.acquire_slots(lane, slot, slots, true) {
                    self.acquire(lane, address, size, true);
                }
            }
        }
    }
}

fn histories() -> impl Strategy<Value = Vec<(u32, Step, bool)>> {
    prop::collection::vec((1..5u32, step(), any::<bool>()), 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Blocks of different addresses overlap for a moment here: one came too early, the
    /// other went too late.
    #[test]
    fn exchanged_neighbours_lead_to_the_same_heap(steps in histories()) {
        let mut history = History::new();
        for (lane, step, _) in &steps {
            history.take(*lane, step);
        }
        let exchange: Vec<bool> =
            (0..history.events.len()).map(|at| steps[at % steps.len()].2).collect();
        let trace = trace_of(&history.events, &exchange);
        let replay = replayed(&trace);
        let mut live: Vec<(u64, u64)> =
            replay.blocks().iter().map(|(address, block)| (address, block.size)).collect();
        live.sort_unstable();
        let expected: Vec<(u64, u64)> =
            history.naive.live.iter().map(|(address, block)| (*address, block.size)).collect();
        prop_assert_eq!(live, expected);
        let mut holes = Vec::new();
        replay.space().for_each_hole(|hole| holes.push(hole));
        prop_assert_eq!(holes, history.naive.holes());
        let counts = replay.counts();
        prop_assert_eq!((counts.order_anomalies, counts.unknown_frees), (0, 0));
        prop_assert_eq!(replay.live().bytes, history.naive.live_bytes());
    }

    /// Stamps wrong by up to three events in any direction: of blocks that overlap, it may
    /// not be known any more which came last; which addresses are live always is.
    #[test]
    fn whatever_the_inversions_live_addresses_are_known(
        lanes in prop::collection::vec((1..5u32, 0..4u64, 0..3000u64), 1..200)
    ) {
        let mut builder = Builder::default();
        let mut live = [false; 4];
        let mut last = [0; 5];
        for (at, (lane, slot, delay)) in (1u64..).zip(&lanes) {
            let address = FIRST + slot * 64;
            let said = if live[*slot as usize] { free(address) } else { malloc(address, 24) };
            live[*slot as usize] ^= true;
            let stamp = (at * SPACING_NS + delay).max(last[*lane as usize]);
            last[*lane as usize] = stamp;
            builder.say(*lane, stamp, said);
        }
        let trace = builder.open();
        let replay = replayed(&trace);
        let counts = replay.counts();
        prop_assert_eq!((counts.order_anomalies, counts.unknown_frees), (0, 0));
        for (slot, live) in live.into_iter().enumerate() {
            let address = FIRST + slot as u64 * 64;
            prop_assert_eq!(replay.blocks().get(address).is_some(), live);
        }
    }
}

#[test]
fn a_free_of_what_was_never_seen_is_counted_and_nothing_else() {
    let mut builder = Builder::default();
    builder.say(1, 1000, free(FIRST)).say(1, 2000, malloc(FIRST, 10)).say(2, 900_000, free(FIRST));
    let trace = builder.open();
    let replay = replayed(&trace);
    assert_eq!(replay.counts().unknown_frees, 1);
    assert_eq!(replay.counts().order_anomalies, 0);
    assert_eq!(replay.blocks().count(), 0);
}

#[test]
fn a_release_that_never_comes_is_an_anomaly() {
    let mut builder = Builder::default();
    builder.say(1, 1000, malloc(FIRST, 10)).say(1, 2000, malloc(FIRST, 20));
    // Far too late to be the one that is missing.
    builder.say(2, 900_000, free(FIRST));
    let trace = builder.open();
    let replay = replayed(&trace);
    assert_eq!((replay.counts().order_anomalies, replay.counts().unknown_frees), (1, 0));
    assert_eq!(replay.blocks().count(), 0);
}

#[test]
fn a_refused_realloc_leaves_the_block_as_it_was() {
    let mut builder = Builder::default();
    builder.say(1, 1000, malloc(FIRST, 10));
    let again = Said::Acquire(fragtrace_format::event::Acquire {
        address: FIRST,
        size: 999,
        flags: Flags::REALLOC.with(Flags::AGAIN),
        ..Default::default()
    });
    builder.say(2, 2000, realloc_from(FIRST)).say(2, 3000, again);
    let trace = builder.open();
    let replay = replayed(&trace);
    let block = replay.blocks().get(FIRST).expect("it lives on");
    assert_eq!((block.size, block.birth, block.thread), (10, 1000, 1));
    assert_eq!((replay.counts().allocs, replay.counts().reallocs), (1, 1));
}

#[test]
fn a_realloc_stamped_before_its_block_came_is_a_realloc_of_that_block() {
    let mut builder = Builder::default();
    builder.say(1, 2000, malloc(FIRST, 10)).say(2, 1900, realloc_from(FIRST));
    let again = Said::Acquire(fragtrace_format::event::Acquire {
        address: FIRST,
        size: 999,
        flags: Flags::REALLOC.with(Flags::AGAIN),
        ..Default::default()
    });
    let mut moved = builder.clone();
    let trace = builder.say(2, 3000, again).open();
    let replay = replayed(&trace);
    let block = replay.blocks().get(FIRST).expect("it was refused, so it lives on");
    assert_eq!((block.size, block.birth, block.thread), (10, 2000, 1));

    let trace = moved.say(2, 3000, realloc_to(FIRST + 64, 20)).open();
    let counts = replayed(&trace).counts();
    let expected = Counts { events: 3, allocs: 1, reallocs: 1, ..Counts::default() };
    assert_eq!(counts, expected, "a realloc on another thread is no free on another thread");
}

#[test]
fn a_realloc_to_nothing_is_a_free() {
    let mut builder = Builder::default();
    builder.say(1, 1000, malloc(FIRST, 10)).say(2, 2000, realloc_from(FIRST));
    builder.say(2, 3000, Said::Cold(fragtrace_format::record::Cold::ReallocFreed { address: 0 }));
    let trace = builder.open();
    let counts = replayed(&trace).counts();
    assert_eq!((counts.frees, counts.reallocs, counts.cross_thread_frees), (1, 0, 1));
}
