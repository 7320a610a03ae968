//! Slop by size class: what blocks may use beyond what was asked for, by how much they may use.
//!
//! Classes are an allocator's own, and few below 1 KiB or so; above that each row is an eighth of
//! a power of two, so that the table stays short where classes are 16 bytes or a page apart.

use crate::replay::Replay;
use serde::Serialize;
use std::collections::BTreeMap;

/// Usable sizes of up to this each have a row: what glibc's thread caches hold is as large.
const MOST_EXACT_BYTES: u64 = 1_032;
/// Rows between a power of two and the next.
const ROWS_LOG2: u32 = 3;

/// Live blocks of about one usable size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct SlopClass {
    /// The least usable size.
    pub from_bytes: u64,
    /// The greatest.
    pub to_bytes: u64,
    /// How many blocks.
    pub blocks: u64,
    /// What was asked for.
    pub live_bytes: u64,
    /// What may be used.
    pub usable_bytes: u64,
    /// The difference.
    pub slop_bytes: u64,
}

/// The classes that have live blocks, smallest first. `None`: what may be used is not known of
/// some block.
pub(super) fn by_class(replay: &Replay<'_>) -> Option<Vec<SlopClass>> {
    replay.live().usable_bytes()?;
    let mut classes: BTreeMap<u64, SlopClass> = BTreeMap::new();
    for (_, block) in replay.blocks().iter() {
        let usable = block.usable?;
        let (from_bytes, to_bytes) = row(usable);
        let class = classes.entry(from_bytes).or_default();
        (class.from_bytes, class.to_bytes) = (from_bytes, to_bytes);
        class.blocks += 1;
        class.live_bytes = class.live_bytes.saturating_add(block.size);
        class.usable_bytes = class.usable_bytes.saturating_add(usable);
        class.slop_bytes = class.slop_bytes.saturating_add(usable.saturating_sub(block.size));
    }
    Some(classes.into_values().collect())
}

/// The usable sizes that share a row.
fn row(usable: u64) -> (u64, u64) {
    if usable <= MOST_EXACT_BYTES {
        return (usable, usable);
    }
    let step = 1 << (usable.ilog2() - ROWS_LOG2);
    let from = usable / step * step;
    ((MOST_EXACT_BYTES + 1).max(from), from.saturating_add(step - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_exact_below_and_eighths_above_and_leave_nothing_out() {
        assert_eq!(row(24), (24, 24));
        assert_eq!(row(1_032), (1_032, 1_032));
        assert_eq!(row(1_040), (1_033, 1_151));
        assert_eq!(row(1_152), (1_152, 1_279));
        assert_eq!(row(u64::MAX).1, u64::MAX);
        let mut next = MOST_EXACT_BYTES + 1;
        for _ in 0..100 {
            let (from, to) = row(next);
            assert_eq!((from, row(to)), (next, (from, to)));
            next = to + 1;
        }
    }
}
