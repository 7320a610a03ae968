//! Which threads free what others acquired.

use rustc_hash::FxHashMap;

/// Blocks that one thread acquired and another one freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handed {
    /// How many.
    pub blocks: u64,
    /// What was asked for.
    pub bytes: u64,
}

/// Frees on other threads, by pair: who acquired, and who freed. Since events are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handovers {
    by_pair: FxHashMap<(u32, u32), Handed>,
}

impl Handovers {
    #[inline]
    pub(super) fn freed(&mut self, acquired_by: u32, freed_by: u32, bytes: u64) {
        if acquired_by != freed_by {
            let pair = self.by_pair.entry((acquired_by, freed_by)).or_default();
            pair.blocks += 1;
            pair.bytes = pair.bytes.saturating_add(bytes);
        }
    }

    /// All pairs, those with most blocks first.
    pub fn pairs(&self) -> Vec<((u32, u32), Handed)> {
        let mut pairs: Vec<((u32, u32), Handed)> =
            self.by_pair.iter().map(|(pair, handed)| (*pair, *handed)).collect();
        pairs.sort_unstable_by_key(|(pair, handed)| (u64::MAX - handed.blocks, *pair));
        pairs
    }
}
