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
            KindsBy::Size => size_labels(),
            KindsBy::Age => age_labels(
                trace.clock().time_ns(window.1).saturating_sub(trace.clock().time_ns(window.0)),
            ),
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
                pieces.push(Piece { extent: block.extent, birth: block.birth, key: number });
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
            let label = match (self.by, self.names.get(key)) {
                (KindsBy::Site, _) => self.sites.in_words(*key),
                (_, Some(name)) => format!("thread {key} ({name})"),
                (_, None) => format!("thread {key}"),
            };
            self.labels.push(label);
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
            KindsBy::Size => 1 + SIZE_BOUNDS.partition_point(|bound| *bound < block.size) as u8,
            KindsBy::Age => {
                let (age, length) =
                    (now.saturating_sub(block.birth), self.window.1.saturating_sub(self.window.0));
                let halvings = (1..AGES).take_while(|halvings| age <= length >> halvings).count();
                AGES as u8 - halvings as u8
            }
        }
    }
}

fn size_labels() -> Vec<String> {
    let upto = SIZE_BOUNDS.iter().map(|bound| format!("to {}", words::bytes(*bound)));
    let mut labels: Vec<String> = upto.collect();
    labels.push("larger".to_owned());
    labels
}

fn age_labels(length_ns: u64) -> Vec<String> {
    let bounds = (1..AGES).rev().map(|halvings| length_ns >> halvings);
    let mut labels: Vec<String> =
        bounds.map(|bound| format!("to {}", words::duration(bound))).collect();
    labels.push("older".to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_and_age_has_a_label() {
        assert_eq!(size_labels().len(), SIZE_BOUNDS.len() + 1);
        let ages = age_labels(64_000_000_000);
        assert_eq!(ages.len(), AGES as usize);
        assert_eq!((&*ages[0], &*ages[5], &*ages[6]), ("to 1.00 s", "to 32.0 s", "older"));
    }
}
