//! What is measured from a checkpoint on is what a replay of all that went before would measure.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::measure::{self, Analysis};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::{Block, Replay};
use fragtrace_format::record::{Call, Cold, Look};
use proptest::prelude::*;
use std::ops::Range;
use support::{Builder, Said, anonymous, free, malloc, realloc_from, realloc_to};

const HEAP: u64 = 0x7f00_0000_0000;
const HEAP_BYTES: u64 = 64 << 20;
const EVENTS: u64 = 6000;
const STEP: u64 = 500;

/// Three lanes with blocks in places that they share, and a realloc now and then, in many chunks.
fn trace(mut random: u64) -> Trace {
    let mut builder = Builder::default();
    for at in [1, EVENTS / 2 * STEP, EVENTS * STEP * 19 / 20] {
        let look = Look { stamp: at, monotonic_ns: at, ..Look::default() };
        builder.look(look, vec![anonymous(HEAP, HEAP_BYTES)]);
    }
    let mut live = vec![false; 500];
    for event in 1..=EVENTS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (stamp, lane) = (event * STEP + random % 100, (random >> 20) as u32 % 3 + 1);
        let place = random >> 24;
        let place = place as usize % live.len();
        let address = HEAP + 0x10_010 + place as u64 * 0x2000;
        let size = random >> 40 & 0x1fff;
        let taken = std::mem::replace(&mut live[place], true);
        if !taken {
            builder.say(lane, stamp, malloc(address, size));
        } else if random >> 33 & 7 == 0 {
            builder.say(lane, stamp, realloc_from(address));
            builder.say(lane, stamp + 1, realloc_to(address, size));
        } else {
            builder.say(lane, stamp, free(address));
            live[place] = false;
        }
        if event % 1000 == 0 {
            let call = Call::Malloc;
            builder.say(lane, stamp + 2, Said::Cold(Cold::Timed { call, ticks: event }));
        }
    }
    builder.open()
}

/// The blocks and holes of a heap, in order.
type Heap = (Vec<(u64, Block)>, Vec<Range<u64>>);

fn heap(replay: &Replay<'_>) -> Heap {
    let mut blocks: Vec<_> = replay.blocks().iter().collect();
    blocks.sort_unstable_by_key(|(address, _)| *address);
    let mut holes = Vec::new();
    replay.space().for_each_hole(|hole| holes.push(hole));
    (blocks, holes)
}

fn until(trace: &Trace, at_ns: u64, kept: bool) -> (Analysis, Heap) {
    let checkpoint = if kept { measure::analyze_to_exit(trace).2 } else { None };
    assert_eq!(checkpoint.is_some(), kept, "the process exited");
    let (analysis, replay) = measure::analyze_until(trace, at_ns, checkpoint);
    let heap = heap(&replay);
    (analysis, heap)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_checkpoint_is_as_good_as_the_beginning(random in 1..u64::MAX, late in 900..=1000u64) {
        let trace = trace(random);
        let (start_ns, end_ns) = (trace.clock().time_ns(trace.window_start()),
            trace.clock().time_ns(trace.last_stamp()));
        let at_ns = start_ns + (end_ns - start_ns) * late / 1000;
        let (from_checkpoint, from_beginning) = (until(&trace, at_ns, true), until(&trace, at_ns, false));
        prop_assert!(from_beginning.1.0.len() > 100 && from_beginning.1.1.len() > 10);
        prop_assert_eq!(&from_checkpoint.1, &from_beginning.1);
        let said = |analysis: &Analysis| format!("{analysis:?}");
        prop_assert_eq!(said(&from_checkpoint.0), said(&from_beginning.0));
    }

    /// What comes earlier than the checkpoint is measured from the beginning.
    #[test]
    fn a_checkpoint_that_is_too_late_is_not_used(random in 1..u64::MAX) {
        let trace = trace(random);
        let at_ns = trace.clock().time_ns(trace.last_stamp()) / 2;
        let said = |(analysis, heap): (Analysis, _)| (format!("{analysis:?}"), heap);
        prop_assert_eq!(said(until(&trace, at_ns, true)), said(until(&trace, at_ns, false)));
    }
}
