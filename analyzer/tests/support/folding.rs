//! A program's events, folded up to some cut, or on their way to another: the file as a process
//! leaves it that died there.

use super::Said;
use super::program::{Heap, LANES, Program, Step, step};
use super::wrapped::{Region, Wrapped};
use fragtrace_format::base::{Entry, Words};
use fragtrace_format::header::{COUNTS, Count, Cut};
use fragtrace_format::record::Cold;
use fragtrace_format::threads;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};

/// Events of each lane, from its first on.
pub type Prefix = BTreeMap<u32, usize>;

/// What is made up about how a program's events were folded.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Of each lane: events folded when the process died, and behind the fold under way.
    cuts: [(Index, Index); 3],
    folds: u64,
    given_back: bool,
    /// Free entries between those of the table.
    gaps: Vec<bool>,
    /// Which effects of the fold under way are done, and which takes the entry of a block
    /// that goes.
    done: Vec<(bool, bool)>,
    /// The first effect that is not done is written so far.
    torn: usize,
    /// Where the regions area went on in its other half, and which half that was.
    other_half: (Index, bool),
    /// Of the events of the fold under way, how many are copied.
    copied: Index,
    /// What stands in the cut and the words that are not in force.
    stale: (u64, Index),
}

pub fn chosen() -> impl Strategy<Value = Chosen> {
    let index = any::<Index>;
    let some = || prop::collection::vec(any::<bool>(), 16);
    let done = prop::collection::vec((any::<bool>(), any::<bool>()), 16);
    let (places, numbers) = (
        (prop::array::uniform3((index(), index())), 0..5u64, any::<bool>(), some(), done),
        (0..6usize, (index(), any::<bool>()), index(), (any::<u64>(), index())),
    );
    (places, numbers).prop_map(|((cuts, folds, given_back, gaps, done), numbers)| {
        let (torn, other_half, copied, stale) = numbers;
        Chosen { cuts, folds, given_back, gaps, done, torn, other_half, copied, stale }
    })
}

pub fn steps() -> impl Strategy<Value = Vec<(u32, u64, Step)>> {
    let later = prop_oneof![1 => Just(0), 4 => 1..3000u64];
    prop::collection::vec((LANES, later, step()), 1..300)
}

/// A program whose events are folded up to one cut, and perhaps on their way to another.
pub struct Folded<'c> {
    chosen: &'c Chosen,
    pub program: Program,
    /// Events folded of each lane: behind the last fold done, and behind the last one begun.
    pub now: Prefix,
    pub ahead: Prefix,
    folds: u64,
    pub folding: u64,
}

impl<'c> Folded<'c> {
    /// All folds are done.
    pub fn whole(steps: &[(u32, u64, Step)], chosen: &'c Chosen) -> Folded<'c> {
        let mut folded = Folded::half_way(steps, chosen);
        folded.folds += 1;
        folded.now = folded.ahead.clone();
        folded
    }

    /// The process died in the middle of a fold.
    pub fn half_way(steps: &[(u32, u64, Step)], chosen: &'c Chosen) -> Folded<'c> {
        let program = Program::run(steps);
        let said = |lane: u32| program.events.iter().filter(|event| event.lane == lane).count();
        let wanted = |which: fn((usize, usize)) -> usize| -> Prefix {
            let cuts = LANES.zip(&chosen.cuts).map(|(lane, (one, other))| {
                let (one, other) = (one.index(said(lane) + 1), other.index(said(lane) + 1));
                (lane, which((one.min(other), one.max(other))))
            });
            cuts.collect()
        };
        let none = LANES.map(|lane| (lane, 0)).collect();
        // Before the first fold nothing is folded.
        let now = if chosen.folds == 0 { none } else { program.closed(wanted(|cut| cut.0)) };
        let ahead = program.closed(wanted(|cut| cut.1));
        let (folds, folding) = (chosen.folds, chosen.folds + 1);
        Folded { chosen, program, now, ahead, folds, folding }
    }

    pub fn wrapped(&self) -> Wrapped {
        let (before, behind) = (self.program.heap(&self.now), self.program.heap(&self.ahead));
        let mut table = self.table(&before);
        self.fold(&mut table, &before, &behind);
        let (noise, stale) = &self.chosen.stale;
        // Two folds ago less was folded.
        let earlier = self.now.iter().map(|(lane, folded)| (*lane, stale.index(folded + 1)));
        let mut folded = [earlier.clone().collect(), earlier.collect()];
        let mut cuts = [Cut { stamp: *noise, counts: [*noise; COUNTS], ..Cut::default() }; 2];
        for (number, lanes, heap) in
            [(self.folds, &self.now, &before), (self.folding, &self.ahead, &behind)]
        {
            folded[(number & 1) as usize] = lanes.clone();
            cuts[(number & 1) as usize] = self.cut(lanes, heap);
        }
        let Folded { folds, folding, chosen, .. } = *self;
        let (regions, threads) = (self.regions(), self.threads());
        let given_back = chosen.given_back;
        Wrapped { folds, folding, cuts, table, folded, given_back, regions, threads }
    }

    fn cut(&self, lanes: &Prefix, heap: &Heap) -> Cut {
        let folded = self.program.split(lanes).filter(|(_, folded)| *folded);
        let stamp = folded.map(|(event, _)| event.stamp).max().unwrap_or(0);
        let live_bytes = heap.live.values().map(|entry| entry.block.size).sum();
        let live_blocks = heap.live.len() as u64;
        let mut cut = Cut { stamp, live_bytes, live_blocks, ..Cut::default() };
        let counts = &heap.counts;
        for (what, count) in [
            (Count::Events, counts.events),
            (Count::Allocs, counts.allocs),
            (Count::Frees, counts.frees),
            (Count::Reallocs, counts.reallocs),
            (Count::Mmaps, counts.mmaps),
            (Count::Munmaps, counts.munmaps),
            (Count::Mremaps, counts.mremaps),
            (Count::Madvises, counts.madvises),
            (Count::BrkChanges, counts.brk_changes),
            (Count::CrossThreadFrees, counts.cross_thread_frees),
            (Count::UnknownFrees, counts.unknown_frees),
        ] {
            cut.counts[what as usize] = count;
        }
        cut
    }

    /// The table as the last fold done left it.
    fn table(&self, heap: &Heap) -> Vec<Words> {
        let mut table = Vec::new();
        for (entry, gap) in heap.live.values().zip(self.chosen.gaps.iter().cycle()) {
            if *gap {
                // A free entry names the next one, and keeps the rest of what it held.
                table.push([0, 7, 64, 1 << 32, 0, 0]);
            }
            table.push(entry.words());
        }
        table
    }

    /// Does to the table some of what leads from one heap to another.
    fn fold(&self, table: &mut Vec<Words>, before: &Heap, behind: &Heap) {
        let find = |table: &[Words], address: u64| {
            let of_address = |words: &Words| {
                Entry::from_words(*words).is_some_and(|e| e.block.address == address)
            };
            table.iter().position(of_address)
        };
        let gone = |address: &&u64| !behind.live.contains_key(address);
        let mut going: Vec<usize> =
            before.live.keys().filter(gone).filter_map(|address| find(table, *address)).collect();
        let mut effects: Vec<(usize, Words)> = Vec::new();
        let mut choices = self.chosen.done.iter().cycle();
        for (address, entry) in &behind.live {
            let place = match before.live.get(address) {
                Some(same) if same == entry => continue,
                Some(_) => find(table, *address),
                None => going.pop().filter(|_| choices.next().is_some_and(|(_, takes)| *takes)),
            };
            let place = place.unwrap_or_else(|| {
                table.push([0; 6]);
                table.len() - 1
            });
            effects.push((place, entry.words()));
        }
        let taken: BTreeSet<usize> = effects.iter().map(|(place, _)| *place).collect();
        let left = before.live.keys().filter(gone).filter_map(|address| find(table, *address));
        effects.extend(left.filter(|place| !taken.contains(place)).map(|place| (place, [0; 6])));
        let mut torn = Some(self.chosen.torn);
        for ((place, words), (done, _)) in effects.into_iter().zip(choices) {
            if *done || self.folds == self.folding {
                table[place] = words;
            } else if let Some(written) = torn.take().filter(|_| words[0] != 0) {
                // The first word comes last.
                table[place][1..=written.min(5)].copy_from_slice(&words[1..=written.min(5)]);
            }
        }
    }

    /// The events on mappings that are folded, and the number of the fold that took each.
    pub fn on_mappings(&self) -> Vec<Region> {
        let both = self.program.split(&self.now).zip(self.program.split(&self.ahead));
        let mut regions = Vec::new();
        for ((event, now), (_, ahead)) in both {
            if let Some(cold) = event.on_mappings().filter(|_| ahead) {
                let fold = if now { self.folds } else { self.folding };
                let (stamp, lane) = (event.stamp, event.lane);
                regions.push(Region { fold, stamp, lane, event: cold });
            }
        }
        regions
    }

    /// The regions area: what was folded, and a part of what the fold under way takes.
    fn regions(&self) -> [Vec<Region>; 2] {
        let (mut regions, mut copied): (Vec<Region>, Vec<Region>) =
            self.on_mappings().into_iter().partition(|region| region.fold == self.folds);
        copied.truncate(self.chosen.copied.index(copied.len() + 1));
        regions.append(&mut copied);
        let (from, swap) = self.chosen.other_half;
        // A half holds the events of more than one moment.
        let first = regions.first().map_or(0, |region| region.stamp);
        let moment = regions.iter().take_while(|region| region.stamp == first).count();
        let newer = regions.split_off(moment + from.index(regions.len() - moment + 1));
        if swap { [newer, regions] } else { [regions, newer] }
    }

    /// A thread's name is there when the event that says it is folded.
    fn threads(&self) -> Vec<threads::Entry<'static>> {
        let folded = self.program.split(&self.ahead).filter(|(_, folded)| *folded);
        let named = folded.filter_map(|(event, _)| match event.said {
            Said::Cold(Cold::Thread { thread, tid, name }) => {
                Some((thread, threads::Entry { thread, tid, name }))
            }
            _ => None,
        });
        named.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Blocks of which a reader knows only where they are: reallocs that were refused, and are
    /// folded by half. And whether it knows of all frees whose blocks they were.
    pub fn unknown(&self) -> (BTreeSet<(u64, u64)>, bool) {
        let (by_now, _) = self.program.cut_in_half(&self.now);
        let (by_ahead, freed) = self.program.cut_in_half(&self.ahead);
        let unknown: BTreeSet<_> = by_now.union(&by_ahead).copied().collect();
        let knows_frees = unknown.is_empty() && !freed;
        (unknown, knows_frees)
    }
}
