//! A program that exists in a test only: threads that acquire and release blocks, handlers that
//! interrupt them, threads that are stopped in the middle of an event.
//!
//! It says what the tracer would be told, in the order in which it would be written, which is
//! the true order of the events of each address. Stamps follow it as they do in a process:
//! never falling on one lane, somewhat too early now and then, and long past where a thread
//! was stopped between taking its stamp and writing.

use super::recorded::Said;
use core::fmt;
use fragtrace_format::Stamp;
use fragtrace_format::event::{Acquire, Flags};
use fragtrace_format::record::{Call, Cold};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::vec;
use std::vec::Vec;

/// Lanes, and the threads whose they are at first. The last is one of a thread that has another
/// one: its handlers' events.
pub(super) const LANES: [u32; 4] = [1, 2, 3, 1];
/// Where blocks are: in both halves of the address space.
const HEAPS: [u64; 2] = [0x5555_0000_0000, 0x7f00_0000_0000];
/// Where blocks were before tracing began.
const BEFORE: u64 = 0x7e00_0000_0000;
/// Where it maps memory.
const MAPPED: u64 = 0x7d00_0000_0000;
/// When the program begins.
const START: Stamp = 1 << 20;

/// Something that a lane's thread does.
#[derive(Clone)]
pub(super) struct Step {
    pub lane: usize,
    /// Stamps since the step before.
    pub elapsed: Stamp,
    /// How much too early stamps are taken.
    pub skew: Stamp,
    pub stop: Stop,
    pub what: What,
}

impl fmt::Debug for Step {
    /// A line a step, also where a history is shown that fails.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { lane, elapsed, skew, stop, what } = self;
        write!(out, "lane {lane}, {elapsed} later, stamped {skew} early, stops {stop:?}: {what:?}")
    }
}

/// Where in a step its thread is stopped, until its next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stop {
    Not,
    /// Behind the taking of a stamp.
    Stamped,
    /// Behind the first of two events.
    Between,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Malloc {
        slot: u64,
        block: Acquire,
    },
    Free {
        which: usize,
    },
    Realloc {
        which: usize,
        slot: u64,
        block: Acquire,
        outcome: Outcome,
    },
    /// Of a block from before.
    FreeUnknown {
        slot: u64,
    },
    Cold(Cold<'static>),
    /// The kernel refuses to take a mapping away, or to move it.
    Undone {
        first: Cold<'static>,
    },
    /// Another thread gets the lane.
    HandOver {
        thread: u32,
    },
    /// So many bytes of events are folded.
    Fold {
        bytes: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Moved,
    InPlace,
    Refused,
    /// realloc(p, 0).
    Freed,
}

/// An event, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happened {
    pub lane: usize,
    pub stamp: Stamp,
    pub said: Said,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Live,
    /// A thread is about to acquire or release it.
    Busy,
}

#[derive(Debug, Default)]
struct Lane {
    last: Stamp,
    /// What its thread is about to say, and the stamp of the first, if it has one yet.
    saying: VecDeque<Said>,
    stamped: Option<Stamp>,
}

#[derive(Debug)]
pub(super) struct Program {
    pub now: Stamp,
    lanes: Vec<Lane>,
    slots: BTreeMap<u64, Slot>,
    /// Stamps of the last event of each address, and of the latest one before.
    said: BTreeMap<u64, (Stamp, Stamp)>,
    happened: Vec<Happened>,
}

/// The address of a slot; every eighth is not aligned to 16 bytes.
fn address(slot: u64) -> u64 {
    HEAPS[slot as usize % 2] + slot * 64 + if slot % 8 == 7 { 8 } else { 0 }
}

impl Program {
    pub fn new() -> Program {
        let lanes = LANES.iter().map(|_| Lane { last: START, ..Lane::default() }).collect();
        let (slots, said) = (BTreeMap::new(), BTreeMap::new());
        Program { now: START, lanes, slots, said, happened: Vec::new() }
    }

    /// Takes a step: what is written by that.
    pub fn take(&mut self, step: &Step) -> Vec<Happened> {
        self.now += step.elapsed;
        if !matches!(step.what, What::Fold { .. }) {
            self.go_on(step.lane, step.skew);
            if let Some(saying) = self.says(&step.what) {
                self.begin(step, saying);
            }
        }
        core::mem::take(&mut self.happened)
    }

    /// All that threads are in the middle of is done.
    pub fn settle(&mut self) -> Vec<Happened> {
        for lane in 0..LANES.len() {
            self.now += 1;
            self.go_on(lane, 0);
        }
        core::mem::take(&mut self.happened)
    }

    fn begin(&mut self, step: &Step, saying: Vec<Said>) {
        let stamp = self.stamp(step.lane, step.skew, saying.first());
        let lane = &mut self.lanes[step.lane];
        lane.saying = saying.into();
        lane.stamped = Some(stamp);
        match step.stop {
            Stop::Not => self.go_on(step.lane, step.skew),
            Stop::Stamped => {}
            Stop::Between => self.write_next(step.lane, 0),
        }
    }

    /// A lane's thread says what it is in the middle of saying.
    fn go_on(&mut self, lane: usize, skew: Stamp) {
        while !self.lanes[lane].saying.is_empty() {
            self.write_next(lane, skew);
        }
    }

    /// Of the events of an address, two that follow each other may change their places, no
    /// more: what came last there is told by nothing then.
    fn stamp(&self, lane: usize, skew: Stamp, said: Option<&Said>) -> Stamp {
        let address = said.and_then(Said::address);
        let (_, before) = address.and_then(|at| self.said.get(&at)).copied().unwrap_or_default();
        self.lanes[lane].last.max(self.now - skew).max(before + 1)
    }

    fn write_next(&mut self, number: usize, skew: Stamp) {
        let stamp = self.stamp(number, skew, self.lanes[number].saying.front());
        let lane = &mut self.lanes[number];
        let Some(said) = lane.saying.pop_front() else { return };
        let stamp = lane.stamped.take().unwrap_or(stamp);
        lane.last = stamp;
        if let Some(address) = said.address() {
            let (last, before) = self.said.entry(address).or_default();
            (*last, *before) = (stamp, *before.max(last));
        }
        let goes_on = matches!(lane.saying.front(), Some(Said::Acquire(next))
            if Some(next.address) == said.address());
        match said {
            Said::Acquire(block) => drop(self.slots.insert(block.address, Slot::Live)),
            // Whoever gets the address next gets it behind this.
            Said::Release { address, .. } if !goes_on => drop(self.slots.remove(&address)),
            _ => {}
        }
        self.happened.push(Happened { lane: number, stamp, said });
    }

    /// What a thread says when it does this; `None`: it cannot be done now.
    fn says(&mut self, what: &What) -> Option<Vec<Said>> {
        Some(match what {
            What::Malloc { slot, block } => {
                let address = self.claim(*slot)?;
                vec![Said::Acquire(Acquire { address, ..*block })]
            }
            What::Free { which } => {
                let address = self.choose(*which)?;
                vec![Said::Release { address, flags: Flags::NONE }]
            }
            What::Realloc { which, slot, block, outcome } => {
                let old = self.choose(*which)?;
                let flags = Flags::REALLOC;
                let moved = (*outcome == Outcome::Moved).then(|| self.claim(*slot)).flatten();
                let new = Acquire { address: moved.unwrap_or(old), flags, ..*block };
                let refused = Acquire { flags: flags.with(Flags::AGAIN), ..new };
                let second = match outcome {
                    Outcome::Moved | Outcome::InPlace => Said::Acquire(new),
                    Outcome::Refused => Said::Acquire(refused),
                    Outcome::Freed => Said::Cold(Cold::ReallocFreed { address: old }),
                };
                vec![Said::Release { address: old, flags }, second]
            }
            What::FreeUnknown { slot } => {
                vec![Said::Release { address: BEFORE + slot * 16, flags: Flags::NONE }]
            }
            What::Cold(event) => vec![Said::Cold(*event)],
            What::Undone { first } => {
                vec![Said::Cold(*first), Said::Cold(Cold::Undo { address: MAPPED })]
            }
            What::HandOver { thread } => vec![Said::HandOver { thread: *thread }],
            What::Fold { .. } => return None,
        })
    }

    /// A free slot, for a thread that is about to acquire it.
    fn claim(&mut self, slot: u64) -> Option<u64> {
        let address = address(slot);
        if self.slots.contains_key(&address) {
            return None;
        }
        self.slots.insert(address, Slot::Busy);
        Some(address)
    }

    /// A live block, for a thread that is about to release it.
    fn choose(&mut self, which: usize) -> Option<u64> {
        let live = self.slots.values().filter(|slot| **slot == Slot::Live).count();
        let chosen = which.checked_rem(live)?;
        let mut blocks = self.slots.iter_mut().filter(|(_, slot)| **slot == Slot::Live);
        let (address, slot) = blocks.nth(chosen)?;
        *slot = Slot::Busy;
        Some(*address)
    }
}

/// What a program with so many slots may acquire.
fn block() -> impl Strategy<Value = Acquire> {
    let plain = (0..3000u64).prop_map(|size| Acquire { size, ..Acquire::default() });
    let rare = (
        prop_oneof![0..3000u64, Just(1 << 20), Just(1 << 40)],
        prop::option::of(0..5000u64),
        prop::option::of((0..9u64).prop_map(|units| units * 16)),
        0..7u8,
        (any::<bool>(), 0..3u32, 0..3u32),
    );
    let rare = rare.prop_map(|(size, usable, mapped_offset, align_log2, (zeroed, stack, pool))| {
        let flags = if zeroed { Flags::ZEROED } else { Flags::NONE };
        Acquire { address: 0, size, flags, align_log2, usable, mapped_offset, stack, pool }
    });
    prop_oneof![1 => plain, 1 => rare]
}

fn cold() -> impl Strategy<Value = Cold<'static>> {
    let (address, bytes) = (MAPPED, 1 << 16);
    prop_oneof![
        Just(Cold::Map { address, bytes, protection: 3, flags: 34, file: false, heap: false }),
        Just(Cold::Unmap { address, bytes }),
        Just(Cold::Remap { address, bytes, new_bytes: bytes / 2 }),
        Just(Cold::Remapped { address, bytes }),
        Just(Cold::Advise { address, bytes, advice: 4 }),
        Just(Cold::Protect { address, bytes, protection: 1 }),
        Just(Cold::Brk { end: 0x5556_0000_0000 }),
        Just(Cold::Timed { call: Call::Malloc, ticks: 70 }),
    ]
}

fn undone() -> impl Strategy<Value = Cold<'static>> {
    let (address, bytes) = (MAPPED, 1 << 16);
    prop_oneof![
        Just(Cold::Unmap { address, bytes }),
        Just(Cold::Remap { address, bytes, new_bytes: bytes * 2 }),
    ]
}

fn what(slots: u64) -> impl Strategy<Value = What> {
    let which = || any::<usize>();
    let outcome = prop_oneof![
        Just(Outcome::Moved),
        Just(Outcome::InPlace),
        Just(Outcome::Refused),
        Just(Outcome::Freed),
    ];
    prop_oneof![
        40 => (0..slots, block()).prop_map(|(slot, block)| What::Malloc { slot, block }),
        30 => which().prop_map(|which| What::Free { which }),
        10 => (which(), 0..slots, block(), outcome)
            .prop_map(|(which, slot, block, outcome)| What::Realloc { which, slot, block, outcome }),
        1 => (0..4u64).prop_map(|slot| What::FreeUnknown { slot }),
        4 => cold().prop_map(What::Cold),
        2 => undone().prop_map(|first| What::Undone { first }),
        1 => (1..5u32).prop_map(|thread| What::HandOver { thread }),
        4 => prop_oneof![1..200usize, 1..4000usize].prop_map(|bytes| What::Fold { bytes }),
    ]
}

/// Steps of a program with so many slots for blocks, whose stamps are up to so much too early.
pub(super) fn step(slots: u64, skew: Stamp) -> impl Strategy<Value = Step> {
    let stop =
        prop_oneof![8 => Just(Stop::Not), 1 => Just(Stop::Stamped), 1 => Just(Stop::Between)];
    let elapsed = prop_oneof![6 => 1..40u64, 2 => 40..400u64, 1 => 400..10_000u64];
    let skew = prop_oneof![2 => Just(0), 1 => 0..=skew];
    (0..LANES.len(), elapsed, skew, stop, what(slots))
        .prop_map(|(lane, elapsed, skew, stop, what)| Step { lane, elapsed, skew, stop, what })
}
