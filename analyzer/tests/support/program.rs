//! A program that exists in a test only: what it says, what that comes to, and how far it may
//! be folded.

use super::naive::{self, Naive};
use super::{Builder, Said};
use fragtrace_analyzer::replay::Counts;
use fragtrace_format::base::Entry;
use fragtrace_format::event::{Acquire, Flags};
use fragtrace_format::record::{Call, Cold};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub const LANES: core::ops::RangeInclusive<u32> = 1..=3;
/// What threads are called, by index.
pub const NAMES: [&str; 6] = ["", "main", "worker-1", "worker-2", "sixteen bytes na", "pool"];
const PAGE: u64 = 4096;
const HEAP: u64 = 0x7f00_0000_0000;
const SLOT_BYTES: u64 = 0x800;
/// Where blocks with a mapping of their own lie.
const MAPPINGS: u64 = 0x7e00_0000_0000;
/// Where blocks were before tracing began, and where the program maps memory.
const BEFORE: u64 = 0x7c00_0000_0000;
const MAPPED: u64 = 0x7d00_0000_0000;

#[derive(Debug, Clone)]
pub enum Step {
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
    FreeUnknown {
        slot: u64,
    },
    HandOver {
        thread: u32,
    },
    Cold(Cold<'static>),
    /// Taken away, or moved: refused, or not.
    Unmap {
        bytes: u64,
        remap: bool,
        refused: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    Moved,
    Refused,
    /// realloc(p, 0).
    Freed,
}

/// An event of the true history.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    pub lane: u32,
    pub thread: u32,
    pub stamp: u64,
    pub said: Said,
}

impl Happened {
    /// The block that it is about.
    pub fn address(&self) -> Option<u64> {
        match &self.said {
            Said::Acquire(block) => Some(block.address),
            Said::Release { address, .. } | Said::Cold(Cold::ReallocFreed { address }) => {
                Some(*address)
            }
            Said::Cold(_) => None,
        }
    }

    /// Whether it is about mappings: then what it says is kept when it is folded.
    pub fn on_mappings(&self) -> Option<Cold<'static>> {
        match self.said {
            Said::Cold(Cold::Thread { .. } | Cold::ReallocFreed { .. } | Cold::Timed { .. }) => {
                None
            }
            Said::Cold(cold) => Some(cold),
            _ => None,
        }
    }

    /// The first half of a realloc.
    fn reallocs(&self) -> Option<u64> {
        match self.said {
            Said::Release { address, flags } if flags.has(Flags::REALLOC) => Some(address),
            _ => None,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(&self.said, Said::Acquire(block) if block.flags.has(Flags::AGAIN))
    }
}

/// A block, of which the address is still to be said.
fn block() -> impl Strategy<Value = Acquire> {
    let size = prop_oneof![3 => 0..200u64, 1 => 0..1500u64];
    (size, 0..3u32, any::<bool>(), 0..9u32).prop_map(|(size, stack, zeroed, rare)| {
        let flags = if zeroed { Flags::ZEROED } else { Flags::NONE };
        let usable = (rare == 8).then(|| (size + 8).div_ceil(16) * 16 + 40);
        Acquire { size, stack, flags, usable, ..Acquire::default() }
    })
}

pub fn step() -> impl Strategy<Value = Step> {
    let which = || any::<usize>();
    let outcome = prop_oneof![Just(Outcome::Moved), Just(Outcome::Refused), Just(Outcome::Freed)];
    let (address, bytes) = (MAPPED, 1 << 16);
    let cold = prop_oneof![
        Just(Cold::Map { address, bytes, protection: 3, flags: 34, file: false, heap: false }),
        Just(Cold::Advise { address, bytes, advice: 4 }),
        Just(Cold::Protect { address, bytes, protection: 0 }),
        Just(Cold::Brk { end: 0x5555_0001_0000 }),
        Just(Cold::Timed { call: Call::Free, ticks: 70 }),
    ];
    prop_oneof![
        12 => (0..16u64, block()).prop_map(|(slot, block)| Step::Malloc { slot, block }),
        8 => which().prop_map(|which| Step::Free { which }),
        6 => (which(), 0..16u64, block(), outcome)
            .prop_map(|(which, slot, block, outcome)| Step::Realloc { which, slot, block, outcome }),
        1 => (0..4u64).prop_map(|slot| Step::FreeUnknown { slot }),
        1 => (1..NAMES.len() as u32).prop_map(|thread| Step::HandOver { thread }),
        2 => cold.prop_map(Step::Cold),
        2 => (1..4u64, any::<bool>(), any::<bool>()).prop_map(|(pages, remap, refused)| {
            Step::Unmap { bytes: pages * PAGE, remap, refused }
        }),
    ]
}

/// A block where a slot says. Every fourth slot is for blocks with mappings of their own.
fn placed(slot: u64, block: Acquire) -> Acquire {
    if slot % 4 != 3 {
        return Acquire { address: HEAP + PAGE + 16 + slot * SLOT_BYTES, ..block };
    }
    let address = MAPPINGS + (slot << 22) + 16;
    let size = block.size + 200_000;
    let usable = Some(naive::Block::mapped(address, size, PAGE).usable);
    Acquire { address, size, usable, mapped_offset: Some(16), ..block }
}

/// What the program says.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub events: Vec<Happened>,
    threads: BTreeMap<u32, u32>,
    live: BTreeSet<u64>,
    stamp: u64,
}

impl Program {
    /// Steps: on which lane, and how much later than the one before.
    pub fn run(steps: &[(u32, u64, Step)]) -> Program {
        let mut program = Program::default();
        for (lane, later, step) in steps {
            // On one lane several things may happen within one stamp.
            let same_lane = program.events.last().is_some_and(|last| last.lane == *lane);
            program.stamp += if same_lane { *later } else { later + 1 };
            program.take(*lane, step);
        }
        program
    }

    fn say(&mut self, lane: u32, said: Said) {
        let thread = self.threads.entry(lane).or_insert(lane);
        if let Said::Cold(Cold::Thread { thread: next, .. }) = said {
            *thread = next;
        }
        self.events.push(Happened { lane, thread: *thread, stamp: self.stamp, said });
    }

    fn choose(&self, which: usize) -> Option<u64> {
        self.live.iter().nth(which.checked_rem(self.live.len())?).copied()
    }

    fn acquire(&mut self, lane: u32, block: Acquire) {
        self.live.insert(block.address);
        self.say(lane, Said::Acquire(block));
    }

    fn release(&mut self, lane: u32, address: u64, flags: Flags) {
        self.live.remove(&address);
        self.say(lane, Said::Release { address, flags });
    }

    fn take(&mut self, lane: u32, step: &Step) {
        match *step {
            Step::Malloc { slot, block } => {
                let block = placed(slot, block);
                if !self.live.contains(&block.address) {
                    self.acquire(lane, block);
                }
            }
            Step::Free { which } => {
                if let Some(address) = self.choose(which) {
                    self.release(lane, address, Flags::NONE);
                }
            }
            Step::Realloc { which, slot, block, outcome } => {
                if let Some(address) = self.choose(which) {
                    self.release(lane, address, Flags::REALLOC);
                    self.end_realloc(lane, address, placed(slot, block), outcome);
                }
            }
            Step::FreeUnknown { slot } => {
                self.release(lane, BEFORE + slot * 16, Flags::NONE);
            }
            Step::HandOver { thread } => {
                let name = NAMES[thread as usize];
                self.say(lane, Said::Cold(Cold::Thread { thread, tid: 1000 + thread, name }));
            }
            Step::Cold(cold) => self.say(lane, Said::Cold(cold)),
            Step::Unmap { bytes, remap, refused } => {
                let address = MAPPED;
                let (first, done) = if remap {
                    (Cold::Remap { address, bytes, new_bytes: 2 * bytes }, Some(bytes * 2))
                } else {
                    (Cold::Unmap { address, bytes }, None)
                };
                self.say(lane, Said::Cold(first));
                match done {
                    _ if refused => self.say(lane, Said::Cold(Cold::Undo { address })),
                    Some(bytes) => self.say(lane, Said::Cold(Cold::Remapped { address, bytes })),
                    None => {}
                }
            }
        }
    }

    fn end_realloc(&mut self, lane: u32, old: u64, block: Acquire, outcome: Outcome) {
        let flags = Flags::REALLOC;
        let free = !self.live.contains(&block.address);
        match outcome {
            Outcome::Moved if free => {
                self.acquire(lane, Acquire { flags: flags.with(block.flags), ..block });
            }
            Outcome::Freed => self.say(lane, Said::Cold(Cold::ReallocFreed { address: old })),
            Outcome::Moved | Outcome::Refused => {
                let again = flags.with(Flags::AGAIN);
                let size = block.size;
                let block = Acquire { address: old, flags: again, size, ..Acquire::default() };
                self.acquire(lane, block);
            }
        }
    }

    /// The trace of all that was said.
    pub fn builder(&self) -> Builder {
        let mut builder = Builder::default();
        for Happened { lane, stamp, said, .. } in &self.events {
            builder.say(*lane, *stamp, said.clone());
        }
        builder
    }

    /// The events, each with whether it is among so many of its lane.
    pub fn split<'p>(
        &'p self,
        lanes: &'p BTreeMap<u32, usize>,
    ) -> impl Iterator<Item = (&'p Happened, bool)> {
        let mut left = lanes.clone();
        self.events.iter().map(move |event| {
            let left = left.entry(event.lane).or_default();
            let among = *left > 0;
            *left -= usize::from(among);
            (event, among)
        })
    }

    /// The greatest part of so many events of each lane in which no event is without the one
    /// before it at its address: such a one had been written when it was stamped.
    pub fn closed(&self, mut lanes: BTreeMap<u32, usize>) -> BTreeMap<u32, usize> {
        loop {
            let mut missing: BTreeSet<u64> = BTreeSet::new();
            let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
            let mut closed = lanes.clone();
            for (event, among) in self.split(&lanes) {
                let seen = seen.entry(event.lane).or_default();
                if let Some(address) = event.address() {
                    if !among {
                        missing.insert(address);
                    } else if missing.contains(&address) {
                        let lane = closed.entry(event.lane).or_default();
                        *lane = (*lane).min(*seen);
                    }
                }
                *seen += 1;
            }
            if closed == lanes {
                return lanes;
            }
            lanes = closed;
        }
    }

    /// What so many events of each lane come to.
    pub fn heap(&self, lanes: &BTreeMap<u32, usize>) -> Heap {
        let mut heap = Heap::default();
        self.split(lanes).filter(|(_, among)| *among).for_each(|(event, _)| heap.apply(event));
        heap
    }

    /// What all events come to.
    pub fn heap_of_all(&self) -> Heap {
        let mut heap = Heap::default();
        self.events.iter().for_each(|event| heap.apply(event));
        heap
    }

    /// Reallocs cut in half by so many events of each lane: the blocks whose size a reader
    /// does not know when they turn out to live on, by address and birth; and whether it does
    /// not know either who had acquired what a realloc freed.
    pub fn cut_in_half(&self, lanes: &BTreeMap<u32, usize>) -> (BTreeSet<(u64, u64)>, bool) {
        let (mut unknown, mut freed) = (BTreeSet::new(), false);
        let mut half: BTreeMap<u32, u64> = BTreeMap::new();
        let mut heap = Heap::default();
        for (event, among) in self.split(lanes) {
            heap.apply(event);
            if !among && let Some(address) = half.remove(&event.lane) {
                freed |= matches!(event.said, Said::Cold(Cold::ReallocFreed { .. }));
                let born = heap.live.get(&address).filter(|_| event.is_refusal());
                unknown.extend(born.map(|entry| (address, entry.birth)));
            }
            half.remove(&event.lane);
            half.extend(event.reallocs().filter(|_| among).map(|address| (event.lane, address)));
        }
        (unknown, freed)
    }
}

/// What events come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heap {
    pub live: BTreeMap<u64, Entry>,
    pub counts: Counts,
    /// By lane: what its last realloc released, and whether it last took mappings by mremap.
    reallocs: BTreeMap<u32, Option<Entry>>,
    remapped: BTreeMap<u32, bool>,
}

impl Heap {
    fn freed(&mut self, gone: Option<Entry>, thread: u32) {
        self.counts.frees += 1;
        self.counts.cross_thread_frees += u64::from(gone.is_some_and(|of| of.thread != thread));
    }

    pub fn apply(&mut self, Happened { lane, thread, stamp, said }: &Happened) {
        self.counts.events += 1;
        match said {
            Said::Acquire(block) if block.flags.has(Flags::AGAIN) => {
                let lives_on = self.reallocs.remove(lane).flatten();
                self.live.extend(lives_on.map(|entry| (block.address, entry)));
            }
            Said::Acquire(block) => {
                self.counts.allocs += u64::from(!block.flags.has(Flags::REALLOC));
                // The table keeps one of the flags.
                let zeroed = block.flags.has(Flags::ZEROED);
                let flags = if zeroed { Flags::ZEROED } else { Flags::NONE };
                let block = Acquire { flags, ..*block };
                self.live.insert(block.address, Entry { birth: *stamp, thread: *thread, block });
            }
            Said::Release { address, flags } => {
                let gone = self.live.remove(address);
                if flags.has(Flags::REALLOC) {
                    self.counts.reallocs += 1;
                    self.reallocs.insert(*lane, gone);
                } else {
                    self.counts.unknown_frees += u64::from(gone.is_none());
                    self.freed(gone, *thread);
                }
            }
            Said::Cold(cold) => self.rare(*lane, *thread, cold),
        }
    }

    fn rare(&mut self, lane: u32, thread: u32, cold: &Cold<'_>) {
        let counts = &mut self.counts;
        match cold {
            Cold::ReallocFreed { .. } => {
                counts.reallocs -= 1;
                let gone = self.reallocs.remove(&lane).flatten();
                self.freed(gone, thread);
            }
            Cold::Map { .. } => counts.mmaps += 1,
            Cold::Unmap { .. } => {
                counts.munmaps += 1;
                self.remapped.insert(lane, false);
            }
            Cold::Remap { .. } => {
                counts.mremaps += 1;
                self.remapped.insert(lane, true);
            }
            Cold::Undo { .. } if self.remapped[&lane] => counts.mremaps -= 1,
            Cold::Undo { .. } => counts.munmaps -= 1,
            Cold::Advise { .. } => counts.madvises += 1,
            Cold::Brk { .. } => counts.brk_changes += 1,
            _ => {}
        }
    }

    /// The same blocks, in the naive simulation.
    pub fn naive(&self) -> Naive {
        let mut naive = Naive::new(PAGE);
        for (address, Entry { block, .. }) in &self.live {
            let plain = naive::Block::glibc(*address, block.size);
            let usable = block.usable.unwrap_or(plain.usable);
            let block = match block.mapped_offset {
                Some(_) => naive::Block::mapped(*address, block.size, PAGE),
                None => naive::Block { usable, ..plain },
            };
            naive.live.insert(*address, block);
        }
        naive
    }
}
