//! What base and ring must come to: a map of live blocks, and every event that was ever
//! written, in the order of writing.

use super::program::{Happened, LANES};
use super::recorded::{Recorded, Said};
use fragtrace_format::Stamp;
use fragtrace_format::base::Entry;
use fragtrace_format::event::{Acquire, Flags};
use fragtrace_format::header::{Count, Cut};
use fragtrace_format::record::Cold;
use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

/// Blocks, and what is remembered of a lane's realloc until its second half.
#[derive(Debug, Clone, Default)]
struct Heap {
    live: BTreeMap<u64, Entry>,
    reallocs: BTreeMap<usize, (u64, Option<Entry>)>,
    /// Lanes whose last call that took mappings away was mremap, not munmap.
    remaps: BTreeSet<usize>,
    counts: Counts,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    allocs: u64,
    frees: u64,
    reallocs: u64,
    cross_thread_frees: u64,
    unknown_frees: u64,
    mappings: [u64; 5],
}

impl Counts {
    fn of(cut: &Cut) -> Counts {
        let mappings =
            [Count::Mmaps, Count::Munmaps, Count::Mremaps, Count::Madvises, Count::BrkChanges];
        Counts {
            allocs: cut.count(Count::Allocs),
            frees: cut.count(Count::Frees),
            reallocs: cut.count(Count::Reallocs),
            cross_thread_frees: cut.count(Count::CrossThreadFrees),
            unknown_frees: cut.count(Count::UnknownFrees),
            mappings: mappings.map(|what| cut.count(what)),
        }
    }
}

impl Heap {
    fn apply(&mut self, lane: usize, stamp: Stamp, thread: u32, said: &Said) {
        let counts = &mut self.counts;
        match said {
            Said::Acquire(block) if block.flags.has(Flags::AGAIN) => {
                if let Some((address, Some(entry))) = self.reallocs.remove(&lane) {
                    self.live.insert(address, entry);
                }
            }
            Said::Acquire(block) => {
                // The table keeps one of the flags.
                let zeroed = block.flags.has(Flags::ZEROED);
                let flags = if zeroed { Flags::ZEROED } else { Flags::NONE };
                counts.allocs += u64::from(!block.flags.has(Flags::REALLOC));
                let entry = Entry { birth: stamp, thread, block: Acquire { flags, ..*block } };
                self.live.insert(block.address, entry);
            }
            Said::Release { address, flags } => {
                let gone = self.live.remove(address);
                if flags.has(Flags::REALLOC) {
                    counts.reallocs += 1;
                    self.reallocs.insert(lane, (*address, gone));
                } else {
                    counts.frees += 1;
                    counts.unknown_frees += u64::from(gone.is_none());
                    counts.cross_thread_frees +=
                        u64::from(gone.is_some_and(|gone| gone.thread != thread));
                }
            }
            Said::Cold(Cold::ReallocFreed { .. }) => {
                counts.reallocs -= 1;
                counts.frees += 1;
                let gone = self.reallocs.remove(&lane).and_then(|(_, gone)| gone);
                counts.cross_thread_frees +=
                    u64::from(gone.is_some_and(|gone| gone.thread != thread));
            }
            Said::Cold(Cold::Undo { .. }) => {
                counts.mappings[1 + usize::from(self.remaps.contains(&lane))] -= 1;
            }
            Said::Cold(cold) => {
                let which = match cold {
                    Cold::Map { .. } => 0,
                    Cold::Unmap { .. } => 1,
                    Cold::Remap { .. } => 2,
                    Cold::Advise { .. } => 3,
                    Cold::Brk { .. } => 4,
                    _ => return,
                };
                counts.mappings[which] += 1;
                self.note(lane, cold);
            }
            Said::HandOver { .. } => {}
        }
    }

    /// Notes what an undoing on a lane would undo.
    fn note(&mut self, lane: usize, cold: &Cold<'_>) {
        match cold {
            Cold::Unmap { .. } => drop(self.remaps.remove(&lane)),
            Cold::Remap { .. } => drop(self.remaps.insert(lane)),
            _ => {}
        }
    }
}

/// All that was written.
#[derive(Debug)]
pub(super) struct Model {
    /// In the order of writing, each with the thread that said it.
    written: Vec<(Happened, u32)>,
    threads: Vec<u32>,
    /// Stamps may be too early: then whose block a release was of is a guess.
    inverted: bool,
}

impl Model {
    pub fn new(inverted: bool) -> Model {
        Model { written: Vec::new(), threads: LANES.to_vec(), inverted }
    }

    pub fn write(&mut self, happened: &Happened) {
        if let Said::HandOver { thread } = happened.said {
            self.threads[happened.lane] = thread;
        }
        self.written.push((happened.clone(), self.threads[happened.lane]));
    }

    /// How many events of each lane are folded, given those that are kept: the others.
    fn folded(&self, recorded: &Recorded) -> Vec<usize> {
        let mut folded = vec![0; LANES.len()];
        for (lane, folded) in folded.iter_mut().enumerate() {
            let written: Vec<_> = self
                .written
                .iter()
                .filter(|(happened, _)| happened.lane == lane)
                .map(|(happened, _)| (happened.stamp, happened.said.clone()))
                .collect();
            let none = Vec::new();
            let kept = recorded.kept.get(&(lane as u32 + 1)).unwrap_or(&none);
            *folded = written.len().checked_sub(kept.len()).expect("no more is kept than written");
            assert_eq!(kept[..], written[*folded..], "lane {lane}: kept is a suffix of it");
        }
        folded
    }

    /// Holds the file against what was written.
    pub fn check(&self, recorded: &Recorded) {
        assert_eq!(recorded.dropped_events, 0);
        let mut left = self.folded(recorded);
        let is_folded = |happened: &Happened| {
            let left = &mut left[happened.lane];
            let folded = *left > 0;
            *left -= usize::from(folded);
            folded
        };
        let folded: Vec<bool> = self.written.iter().map(|(one, _)| one).map(is_folded).collect();
        self.check_cut(recorded, &folded);
        self.check_blocks(recorded, &folded);
    }

    /// The cut counts what is folded, and what the table holds.
    fn check_cut(&self, recorded: &Recorded, folded: &[bool]) {
        let mut heap = Heap::default();
        for ((happened, thread), _) in
            self.written.iter().zip(folded).filter(|(_, folded)| **folded)
        {
            heap.apply(happened.lane, happened.stamp, *thread, &happened.said);
        }
        let cut = &recorded.cut;
        let mut counts = Counts::of(cut);
        // A realloc that freed and is folded in two halves: whose block it was is not told by then.
        let halved = self.written.iter().zip(folded).filter(|((happened, _), folded)| {
            **folded && matches!(happened.said, Said::Cold(Cold::ReallocFreed { .. }))
        });
        let apart = counts.cross_thread_frees.abs_diff(heap.counts.cross_thread_frees);
        if self.inverted || apart <= halved.count() as u64 {
            counts.cross_thread_frees = heap.counts.cross_thread_frees;
        }
        assert_eq!(counts, heap.counts);
        assert_eq!(
            cut.count(Count::Events),
            folded.iter().filter(|folded| **folded).count() as u64
        );
        assert_eq!(cut.count(Count::OrderAnomalies), 0);
        let blocks = recorded.table.values();
        assert_eq!(cut.live_blocks, blocks.len() as u64);
        assert_eq!(cut.live_bytes, blocks.map(|entry| entry.block.size).sum::<u64>());
        assert!(cut.peak_live_bytes >= cut.live_bytes);
    }

    /// The table and the events that are kept come to what was written.
    fn check_blocks(&self, recorded: &Recorded, folded: &[bool]) {
        let mut truth = Heap::default();
        let (live, counts) = (recorded.table.clone(), Counts::of(&recorded.cut));
        let mut replay = Heap { live, counts, ..Heap::default() };
        // Blocks whose refused realloc is folded by half: just then a reader knows no more
        // than that they live.
        let mut halves: BTreeMap<usize, u64> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        let mut all_known = true;
        for ((happened, thread), folded) in self.written.iter().zip(folded) {
            let Happened { lane, stamp, said } = happened;
            truth.apply(*lane, *stamp, *thread, said);
            match said {
                Said::Release { address, flags } if flags.has(Flags::REALLOC) => {
                    halves.remove(lane);
                    if unknown.remove(address) || *folded {
                        halves.insert(*lane, *address);
                    }
                }
                Said::Acquire(block) if block.flags.has(Flags::AGAIN) => {
                    if let Some(address) = halves.remove(lane).filter(|_| !*folded) {
                        unknown.insert(address);
                        all_known = false;
                        continue;
                    }
                }
                Said::Acquire(block) => drop(unknown.remove(&block.address)),
                Said::Release { address, .. } => drop(unknown.remove(address)),
                _ => {}
            }
            // What is folded of mappings is kept elsewhere.
            if let Said::Cold(cold) = said {
                replay.note(*lane, cold);
            }
            if !folded {
                replay.apply(*lane, *stamp, *thread, said);
            }
        }
        // Whose block it was that half a realloc freed is not told.
        replay.counts.cross_thread_frees = truth.counts.cross_thread_frees;
        if !all_known {
            replay.counts.unknown_frees = truth.counts.unknown_frees;
        }
        assert_eq!(replay.counts, truth.counts);
        truth.live.retain(|address, _| !unknown.contains(address));
        for address in truth.live.keys().chain(replay.live.keys()) {
            let (found, expected) = (replay.live.get(address), truth.live.get(address));
            assert_eq!(found, expected, "{address:#x}: {}", self.history_of(*address, folded));
        }
    }

    fn history_of(&self, address: u64, folded: &[bool]) -> String {
        let events = self.written.iter().zip(folded);
        let of_address =
            events.filter(|((happened, _), _)| happened.said.address() == Some(address));
        let lines = of_address.map(|((Happened { lane, stamp, said }, _), folded)| {
            let place = if *folded { "folded" } else { "kept" };
            format!("lane {lane}, {stamp}, {place}: {said:?}\n")
        });
        lines.collect()
    }
}
