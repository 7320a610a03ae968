//! Pools that the program told of, as they are at one moment.

use crate::read::Trace;
use crate::replay::Replay;
use fragtrace_format::Stamp;
use serde::Serialize;

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolFacts {
    /// As the program calls it.
    pub name: String,
    /// First address.
    pub start: u64,
    /// All of it.
    pub bytes: u64,
    /// When it was created, since the trace's start.
    pub created_ns: u64,
    /// When it was destroyed.
    pub destroyed_ns: Option<u64>,
    /// What is live in it. `None`: events on its blocks are not kept any more.
    pub live_bytes: Option<u64>,
    /// How many blocks.
    pub live_blocks: Option<u64>,
    /// What is not, while the pool is there.
    pub free_bytes: Option<u64>,
    /// The most that was live in it at a time.
    pub peak_live_bytes: Option<u64>,
    /// Blocks acquired in it.
    pub acquired: Option<u64>,
    /// Blocks given back, but for those that went with the pool.
    pub released: Option<u64>,
}

impl PoolFacts {
    /// All pools, in the order in which they came.
    pub fn all(trace: &Trace, replay: &Replay<'_>) -> Vec<PoolFacts> {
        let ns = |stamp| trace.clock().time_ns(stamp);
        let pools = replay.pools().iter();
        let facts = pools.map(|(pool, contents)| {
            // What came before is folded, and no pool's blocks are kept there.
            let whole = trace.base().is_none() || pool.there.start >= trace.kept_from();
            let known = |value| Some(value).filter(|_| whole);
            let bytes = pool.addresses.end - pool.addresses.start;
            let destroyed = pool.there.end != Stamp::MAX;
            let held = if destroyed { 0 } else { bytes };
            PoolFacts {
                name: pool.name.to_string(),
                start: pool.addresses.start,
                bytes,
                created_ns: ns(pool.there.start),
                destroyed_ns: destroyed.then(|| ns(pool.there.end)),
                live_bytes: known(contents.live_bytes),
                live_blocks: known(contents.live_blocks()),
                free_bytes: known(held.saturating_sub(contents.live_bytes)),
                peak_live_bytes: known(contents.peak_live_bytes),
                acquired: known(contents.acquired),
                released: known(contents.released),
            }
        });
        facts.collect()
    }
}
