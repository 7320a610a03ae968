//! Gathering what is blamed: live blocks, and by call stack (or thread) their sums.

use super::facts::COHORTS;
use super::pins::{Charge, Piece};
use crate::replay::{Block, Replay};
use fragtrace_format::Stamp;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Sums over the blocks of one call stack, or one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Key {
    /// Number of the stack, or of the thread. 0 = not known.
    pub id: u32,
    /// Calls that returned a new block; of threads not counted.
    pub allocs: u64,
    /// What was asked for, of live blocks.
    pub live_bytes: u64,
    /// Live blocks.
    pub live_blocks: u64,
    /// Usable bytes that were not asked for.
    pub slop_bytes: u64,
    /// When the newest live block came.
    pub newest: Option<Stamp>,
    /// Live bytes by when they came.
    pub cohorts: [u64; COHORTS],
}

/// The keys, by number.
#[derive(Debug, Default)]
pub struct Keys {
    pub list: Vec<Key>,
}

/// Sums over the keys of one group.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    pub allocs: u64,
    pub live_bytes: u64,
    pub live_blocks: u64,
    pub slop_bytes: u64,
    pub cohorts: [u64; COHORTS],
    /// The key that pins most.
    pub leader: u32,
    /// How much: pinned bytes, then live ones.
    most: Option<(u64, u64)>,
}

/// All live blocks, and all stacks or threads that have some or had some.
/// `window`: the recorded time up to now.
pub fn collect(replay: &Replay<'_>, by_thread: bool, window: &Range<Stamp>) -> (Keys, Vec<Piece>) {
    let mut by_id: FxHashMap<u32, Key> = FxHashMap::default();
    if !by_thread {
        for (id, allocs) in replay.sources().allocs() {
            by_id.insert(id, Key { id, allocs, ..Key::default() });
        }
    }
    let id_of = |thread, stack| if by_thread { thread } else { stack };
    let mut pieces = Vec::with_capacity(replay.blocks().count() as usize);
    for (_, block) in replay.blocks().iter() {
        let id = id_of(block.thread, block.stack);
        let key = by_id.entry(id).or_insert(Key { id, ..Key::default() });
        key.live_bytes = key.live_bytes.wrapping_add(block.size);
        key.live_blocks += 1;
        let slop = block.usable.map_or(0, |usable| usable.saturating_sub(block.size));
        key.slop_bytes = key.slop_bytes.wrapping_add(slop);
        let cohort = &mut key.cohorts[cohort(block.birth, window)];
        *cohort = cohort.wrapping_add(block.size);
        key.newest = key.newest.max(Some(block.birth));
        if !block.extent.is_empty() {
            let Block { extent, birth, .. } = block;
            pieces.push(Piece { extent, birth, key: id, ..Piece::default() });
        }
    }
    let mut list: Vec<Key> = by_id.into_values().collect();
    list.sort_unstable_by_key(|key| key.id);
    let numbers: FxHashMap<u32, u32> =
        list.iter().enumerate().map(|(number, key)| (key.id, number as u32)).collect();
    for piece in &mut pieces {
        piece.key = numbers.get(&piece.key).copied().unwrap_or(0);
    }
    (Keys { list }, pieces)
}

/// Which of the equal parts of the window a block came in; blocks from before count to the
/// first.
fn cohort(birth: Stamp, window: &Range<Stamp>) -> usize {
    let length = u128::from(window.end.saturating_sub(window.start)) + 1;
    let part = u128::from(birth.saturating_sub(window.start)) * COHORTS as u128 / length;
    (part as usize).min(COHORTS - 1)
}

/// Sums up the keys by group; `charges` are those of the keys by themselves.
pub fn sums(keys: &[Key], groups: &[u32], charges: &[Charge], count: usize) -> Vec<Sum> {
    let mut sums = vec![Sum::default(); count];
    for (number, ((key, group), charge)) in keys.iter().zip(groups).zip(charges).enumerate() {
        let sum = &mut sums[*group as usize];
        sum.allocs += key.allocs;
        sum.live_bytes = sum.live_bytes.wrapping_add(key.live_bytes);
        sum.live_blocks += key.live_blocks;
        sum.slop_bytes = sum.slop_bytes.wrapping_add(key.slop_bytes);
        for (sum, bytes) in sum.cohorts.iter_mut().zip(key.cohorts) {
            *sum = sum.wrapping_add(bytes);
        }
        // Of equal ones the first, which has the lowest number.
        let weight = Some((charge.pinned_bytes, key.live_bytes));
        if weight > sum.most {
            (sum.most, sum.leader) = (weight, number as u32);
        }
    }
    sums
}
