//! Pools that the program told of: the largest that are there at the end.

use super::scale;
use crate::measure::PoolFacts;
use std::cmp::Reverse;
use std::fmt::Write;

const LISTED: usize = 8;

/// A line each; empty where there is none.
pub(super) fn table(pools: &[PoolFacts]) -> String {
    let mut out = String::new();
    if pools.is_empty() {
        return out;
    }
    let mut there: Vec<_> = pools.iter().filter(|pool| pool.destroyed_ns.is_none()).collect();
    there.sort_by_key(|pool| Reverse(pool.bytes));
    let _ = writeln!(out, "\nPools, {} of {} are there at the end:", there.len(), pools.len());
    if !there.is_empty() {
        let _ = writeln!(
            out,
            "{:>10} {:>10} {:>10} {:>10}  name",
            "bytes", "live", "blocks", "most live"
        );
    }
    let bytes = |known: Option<u64>| known.map_or_else(|| "not known".into(), scale::bytes);
    for pool in there.iter().take(LISTED) {
        let _ = writeln!(
            out,
            "{:>10} {:>10} {:>10} {:>10}  {}",
            scale::bytes(pool.bytes),
            bytes(pool.live_bytes),
            pool.live_blocks.map_or_else(|| "not known".into(), scale::count),
            bytes(pool.peak_live_bytes),
            pool.name
        );
    }
    out
}
