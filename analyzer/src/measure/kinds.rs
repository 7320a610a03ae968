//! What pictures tell blocks apart by besides how full their pages are: the site or the thread
//! that acquired them, their size, their age. A handful of kinds each, so that a legend can
//! name them and an eye can hold them.

use super::SiteNumbers;
use super::blame::{Held, Piece, Pins};
use crate::read::Trace;
use crate::replay::{Block, Replay};
use crate::symbols::Symbols;
use crate::words;
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Sites or threads that get a kind of their own; the rest together is one more.
pub const NAMED: usize = 7;
/// Where one kind of size ends and the next begins; the last is what glibc maps at first.
const SIZE_BOUNDS: [u64; 6] = [32, 128, 512, 4096, 32 << 10, 128 << 10];
/// Kinds of age: up to 1/64 of the recorded time, to 1/32, … to the half, older.
const AGES: u32 = 7;

/// What kinds go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindsBy {
    /// The site that acquired the block.
    Site,
    /// The thread that did.
    Thread,
    /// What was asked for.
    Size,
    /// Since when it has been there.
    Age,
}

/// The kinds of one picture.
pub struct Kinds<'a, 't> {
    by: KindsBy,
    symbols: &'a mut Symbols<'t>,
    sites: SiteNumbers,
    /// What sites or threads pin and have live, summed over the moments that were asked.
    weights: FxHashMap<u32, u64>,
    names: FxHashMap<u32, String>,
    /// The kinds of the heaviest.
    ranks: FxHashMap<u32, u8>,
    labels: Vec<String>,
    window: (Stamp, Stamp),
}

impl<'a, 't> Kinds<'a, 't> {
    /// For one trace.
    pub fn new(by: KindsBy, trace: &Trace, symbols: &'a mut Symbols<'t>) -> Kinds<'a, 't> {
        let window = (trace.window_start(), trace.last_stamp());
        let labels = match by {
            KindsBy::Site | KindsBy::Thread => Vec::new(),
            KindsBy::Size => Scale::of_sizes().labels,
            KindsBy::Age => Scale::of_ages(trace).labels,
        };
        Kinds {
            by,
            symbols,
            sites: SiteNumbers::default(),
            weights: FxHashMap::default(),
            names: FxHashMap::default(),
            ranks: FxHashMap::default(),
            labels,
            window,
        }
    }

    /// What kinds go by.
    pub fn by(&self) -> KindsBy {
        self.by
    }

    /// What the kinds are called, from 1 on.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    fn key(&mut self, block: &Block) -> u32 {
        match self.by {
            KindsBy::Site => self.sites.of(block, self.symbols),
            _ => block.thread,
        }
    }

    /// Takes in who pins memory and has it live at one moment: whoever does most gets a colour.
    pub fn weigh(&mut self, replay: &Replay<'_>, page_bytes: u64) {
        if !matches!(self.by, KindsBy::Site | KindsBy::Thread) {
            return;
        }
        let mut pieces = Vec::with_capacity(replay.blocks().count() as usize);
        // Threads may have any number: a pass over pages wants them without gaps.
        let mut numbers: FxHashMap<u32, u32> = FxHashMap::default();
        let mut keys = Vec::new();
        for (_, block) in replay.blocks().iter() {
            let key = self.key(&block);
            let number = *numbers.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() as u32 - 1
            });
            let weight = self.weights.entry(key).or_default();
            *weight = weight.saturating_add(block.extent.end - block.extent.start);
            if !block.extent.is_empty() {
                let Block { extent, birth, .. } = block;
                pieces.push(Piece { extent, birth, key: number, ..Piece::default() });
            }
        }
        let groups: Vec<u32> = (0..keys.len() as u32).collect();
        let held = Held::of(replay.space(), page_bytes);
        let pins = Pins::new(pieces, held, replay.space().heads(), page_bytes);
        let charges = pins.charge(&groups, keys.len()).groups;
        for (key, charge) in keys.iter().zip(&charges) {
            if charge.pinned_bytes > 0 {
                let weight = self.weights.entry(*key).or_default();
                *weight = weight.saturating_add(charge.pinned_bytes);
            }
        }
        if self.by == KindsBy::Thread {
            for thread in self.weights.keys() {
                if let Some(name) = replay.sources().thread_name(*thread) {
                    self.names.insert(*thread, name.to_owned());
                }
            }
        }
    }

    /// Gives the heaviest a kind of their own.
    pub fn rank(&mut self) {
        let mut heaviest: Vec<(u32, u64)> = self.weights.drain().collect();
        heaviest.sort_unstable_by_key(|(key, weight)| (Reverse(*weight), *key));
        for (rank, (key, _)) in heaviest.iter().take(NAMED).enumerate() {
            self.ranks.insert(*key, rank as u8 + 1);
            let name = self.names.get(key).map(String::as_str);
            self.labels.push(match self.by {
                KindsBy::Site => self.sites.in_words(*key),
                _ => thread_label(*key, name),
            });
        }
        if heaviest.len() > NAMED {
            let noun = if self.by == KindsBy::Site { "sites" } else { "threads" };
            self.labels.push(format!("{} other {noun}", heaviest.len() - NAMED));
        }
    }

    /// The kind of a block at a moment, from 1 on.
    #[inline]
    pub fn of(&mut self, block: &Block, now: Stamp) -> u8 {
        match self.by {
            KindsBy::Site | KindsBy::Thread => {
                let key = self.key(block);
                let other = self.labels.len().max(1) as u8;
                self.ranks.get(&key).copied().unwrap_or(other)
            }
            KindsBy::Size => size_kind(block.size),
            KindsBy::Age => age_kind(
                now.saturating_sub(block.birth),
                self.window.1.saturating_sub(self.window.0),
            ),
        }
    }
}

/// A thread in a legend.
pub(crate) fn thread_label(thread: u32, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("thread {thread} ({name})"),
        None => format!("thread {thread}"),
    }
}

/// The kind of a size, from 1 on.
#[inline]
pub(super) fn size_kind(size: u64) -> u8 {
    1 + SIZE_BOUNDS.partition_point(|bound| *bound < size) as u8
}

/// The kind of an age, from 1 on, in a window so long.
#[inline]
pub(super) fn age_kind(age: u64, length: u64) -> u8 {
    let halvings = (1..AGES).take_while(|halvings| age <= length >> halvings).count();
    AGES as u8 - halvings as u8
}

/// Kinds that are steps of a scale: sizes in bytes, or ages in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scale {
    /// The greatest value of each kind but the last, rising.
    pub bounds: Vec<u64>,
    /// What kinds are called, from 1 on.
    pub labels: Vec<String>,
}

impl Scale {
    /// Sizes of blocks.
    pub(super) fn of_sizes() -> Scale {
        Scale::new(SIZE_BOUNDS.to_vec(), words::bytes, "larger")
    }

    /// Ages, for the window of a trace.
    pub(super) fn of_ages(trace: &Trace) -> Scale {
        let [from, to] =
            [trace.window_start(), trace.last_stamp()].map(|stamp| trace.clock().time_ns(stamp));
        let length_ns = to.saturating_sub(from);
        let bounds = (1..AGES).rev().map(|halvings| length_ns >> halvings).collect();
        Scale::new(bounds, words::duration, "older")
    }

    fn new(bounds: Vec<u64>, in_words: fn(u64) -> String, beyond: &str) -> Scale {
        let mut labels: Vec<String> =
            bounds.iter().map(|bound| format!("to {}", in_words(*bound))).collect();
        labels.push(beyond.to_owned());
        Scale { bounds, labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_and_age_has_a_label() {
        let sizes = Scale::of_sizes();
        assert_eq!(sizes.labels.len(), usize::from(size_kind(u64::MAX)));
        for (kind, bound) in (1..).zip(&sizes.bounds) {
            assert_eq!((size_kind(*bound), size_kind(bound + 1)), (kind, kind + 1));
        }
        let length = 64_000_000_000;
        let bounds = (1..AGES).rev().map(|halvings| length >> halvings).collect();
        let ages = Scale::new(bounds, words::duration, "older");
        assert_eq!(ages.labels.len(), usize::from(age_kind(u64::MAX, length)));
        for (kind, bound) in (1..).zip(&ages.bounds) {
            assert_eq!((age_kind(*bound, length), age_kind(bound + 1, length)), (kind, kind + 1));
        }
        let [first, .., last, beyond] = &*ages.labels else { panic!("{ages:?}") };
        assert_eq!((&**first, &**last, &**beyond), ("to 1.00 s", "to 32.0 s", "older"));
    }
}
