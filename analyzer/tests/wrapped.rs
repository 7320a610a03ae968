//! Of a ring that went round, base and kept events are the whole history: wherever the cut is,
//! and whatever moment of a fold the process died at.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::order;
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::{Block, Counts, Replay};
use fragtrace_format::base::Entry;
use fragtrace_format::header::{COUNTS, Cut};
use fragtrace_format::record::{self, Cold};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};
use support::exercise::exercise;
use support::folding::{Folded, Prefix, chosen, steps};
use support::program::NAMES;
use support::wrapped::{Region, Wrapped};
use support::{Said, open, put_u32};

fn replayed(trace: &Trace) -> Replay<'_> {
    let mut replay = Replay::new(trace);
    order::events(trace).flatten().for_each(|event| replay.apply(&event));
    replay.finish();
    replay
}

fn live(replay: &Replay<'_>) -> BTreeMap<u64, Block> {
    replay.blocks().iter().collect()
}

/// Base and kept events come to what the whole history comes to.
fn check(folded: &Folded<'_>) -> Result<(), TestCaseError> {
    let unfolded = folded.program.builder();
    let wrapped = folded.wrapped();
    let cut = wrapped.cuts[(folded.folding & 1) as usize];
    let mut builder = unfolded.clone();
    builder.wrapped = Some(wrapped);
    let (unfolded, trace) = (unfolded.open(), builder.open());
    prop_assert_eq!(trace.damage(), &[] as &[String]);
    let (unknown, knows_frees) = folded.unknown();
    check_base(folded, &trace, cut, &unknown)?;

    let (whole, replay) = (replayed(&unfolded), replayed(&trace));
    let (mut expected, mut found) = (live(&whole), live(&replay));
    let truth = folded.program.heap_of_all();
    let naive = truth.naive();
    prop_assert!(expected.keys().eq(naive.live.keys()), "the whole history is the naive one");
    prop_assert!(found.keys().eq(naive.live.keys()), "the same addresses are live");
    if unknown.is_empty() {
        prop_assert_eq!(replay.live().bytes, naive.live_bytes());
        prop_assert_eq!(replay.live().usable_bytes(), Some(naive.usable_bytes()));
    }
    for (address, _) in unknown.iter().filter(|(address, birth)| {
        truth.live.get(address).is_some_and(|entry| entry.birth == *birth)
    }) {
        expected.remove(address);
        found.remove(address);
    }
    prop_assert_eq!(found, expected);

    let mut counts = replay.counts();
    prop_assert_eq!(whole.counts(), truth.counts);
    if !knows_frees {
        counts.cross_thread_frees = truth.counts.cross_thread_frees;
    }
    prop_assert_eq!(counts, truth.counts);
    for event in &folded.program.events {
        if let Said::Cold(Cold::Thread { thread, .. }) = event.said {
            let name = NAMES[thread as usize];
            prop_assert_eq!(replay.sources().thread_name(thread), Some(name));
        }
    }
    Ok(())
}

/// The base is that behind the last fold begun.
fn check_base(
    folded: &Folded<'_>,
    trace: &Trace,
    cut: Cut,
    unknown: &BTreeSet<(u64, u64)>,
) -> Result<(), TestCaseError> {
    let base = trace.base().expect("something is folded");
    prop_assert_eq!(base.cut, cut);
    let known = |entry: &&Entry| {
        let address = entry.block.address;
        unknown.range((address, 0)..=(address, u64::MAX)).next().is_none()
    };
    let behind = folded.program.heap(&folded.ahead).live;
    let expected: Vec<&Entry> = behind.values().filter(known).collect();
    prop_assert_eq!(base.blocks.iter().filter(known).collect::<Vec<_>>(), expected);
    prop_assert!(base.blocks.iter().map(|entry| &entry.block.address).eq(behind.keys()));

    let on_mappings = |event: &Cold<'_>| {
        !matches!(event, Cold::Thread { .. } | Cold::ReallocFreed { .. } | Cold::Timed { .. })
    };
    let found: Vec<(u64, u32, Cold<'_>)> = base
        .events
        .iter()
        .filter_map(|of| Some((of.stamp, of.lane, record::decode::<Cold<'_>>(&of.event)?.0)))
        .filter(|(_, _, event)| on_mappings(event))
        .collect();
    let expected = folded.on_mappings().into_iter().map(|of| (of.stamp, of.lane, of.event));
    prop_assert_eq!(found, expected.collect::<Vec<_>>(), "each is there once, and in order");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_history_folded_up_to_any_cut_is_the_same_history(steps in steps(), chosen in chosen()) {
        check(&Folded::whole(&steps, &chosen))?;
    }

    #[test]
    fn a_fold_that_died_half_way_is_the_same_history(steps in steps(), chosen in chosen()) {
        check(&Folded::half_way(&steps, &chosen))?;
    }
}

/// Numbers that no writer writes, and some that it does.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, 0..1u64 << 47, any::<u64>(), Just(u64::MAX)]
}

fn cold() -> impl Strategy<Value = Cold<'static>> {
    (0..6u32, number(), number()).prop_map(|(which, address, bytes)| match which {
        0 => Cold::Map { address, bytes, protection: 3, flags: 34, file: false, heap: true },
        1 => Cold::Unmap { address, bytes },
        2 => Cold::Remap { address, bytes, new_bytes: bytes },
        3 => Cold::Remapped { address, bytes },
        4 => Cold::Undo { address },
        _ => Cold::ReallocFreed { address },
    })
}

fn region() -> impl Strategy<Value = Region> {
    (0..9u64, number(), 0..5u32, cold()).prop_map(|(fold, stamp, lane, event)| Region {
        fold,
        stamp,
        lane,
        event,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Entries, events, cuts and words that are well formed, and make no sense.
    #[test]
    fn nothing_that_is_folded_makes_the_analyzer_panic(
        steps in steps(),
        chosen in chosen(),
        entries in prop::collection::vec(prop::array::uniform6(number()), 0..8),
        regions in prop::collection::vec(region(), 0..8),
        words in prop::collection::vec((any::<Index>(), any::<bool>(), any::<u32>()), 0..4),
        cut in prop::option::of(number()),
        numbers in prop::option::of((number(), number())),
        edits in prop::collection::vec((any::<Index>(), any::<u64>(), 1..9usize), 0..4),
    ) {
        let folded = Folded::half_way(&steps, &chosen);
        let mut wrapped = folded.wrapped();
        wrapped.table.extend(entries);
        wrapped.regions[0].extend(regions);
        if let Some(count) = cut {
            wrapped.cuts = [Cut { stamp: count, counts: [count; COUNTS], ..Cut::default() }; 2];
        }
        if let Some((folds, folding)) = numbers {
            (wrapped.folds, wrapped.folding) = (folds, folding);
        }
        let mut builder = folded.program.builder();
        let chunk_bytes = builder.chunk_bytes as usize;
        builder.wrapped = Some(wrapped);
        let mut bytes = builder.bytes();
        for (at, which, word) in words {
            // Where chunks are, these are their folded words.
            let at = at.index(bytes.len() / chunk_bytes) * chunk_bytes + 56;
            put_u32(&mut bytes, at + if which { 4 } else { 0 }, word);
        }
        for (at, value, len) in edits {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        if let Ok(trace) = open(&bytes) {
            exercise(&trace);
        }
    }
}

#[test]
fn what_was_not_undone_before_a_damaged_cut_is_not_undone_behind_it() {
    let mut builder = support::Builder::default();
    let address = 0x7d00_0000_0000;
    builder.say(1, 10, Said::Cold(Cold::Unmap { address, bytes: 4096 }));
    builder.say(1, 20, Said::Cold(Cold::Undo { address }));
    let regions = [
        vec![Region { fold: 1, stamp: 10, lane: 1, event: Cold::Unmap { address, bytes: 4096 } }],
        Vec::new(),
    ];
    let folded = [Prefix::new(), Prefix::from([(1, 1)])];
    // The cut says that nothing was counted.
    let wrapped = Wrapped { folds: 1, folding: 1, folded, regions, ..Wrapped::default() };
    builder.wrapped = Some(wrapped);
    let trace = builder.open();
    assert_eq!(replayed(&trace).counts(), Counts { events: 1, ..Counts::default() });
}
