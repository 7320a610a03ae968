//! Pools: memory that the program cuts up by itself, and told of.

use super::area::AreaBytes;
use super::source::Source;
use fragtrace_format::Stamp;
use fragtrace_format::record::{self, PoolEvent};
use std::ops::Range;

/// More records than fit in the 1 MiB that the area has.
const MOST_RECORDS: u32 = 1 << 16;

/// A pool that the program told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its number.
    pub number: u32,
    /// As the program calls it.
    pub name: Box<str>,
    /// Where it lies.
    pub addresses: Range<u64>,
    /// From when to when it was there; without an end that is on record: [`Stamp::MAX`].
    pub there: Range<Stamp>,
}

/// All of them, in the order in which they came.
pub(super) fn read(area: &AreaBytes, source: &Source, damage: &mut Vec<String>) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    let mut left = MOST_RECORDS;
    area.for_each_record(source, "pool", damage, |payload| {
        let Some(rest) = left.checked_sub(1) else { return };
        left = rest;
        match record::decode::<PoolEvent<'_>>(payload) {
            Some((PoolEvent::Created { stamp, pool, start, bytes, name }, _)) => {
                pools.push(Pool {
                    number: pool,
                    name: name.into(),
                    addresses: start..start.saturating_add(bytes),
                    there: stamp..Stamp::MAX,
                });
            }
            Some((PoolEvent::Destroyed { stamp, pool }, _)) => {
                if let Some(known) = pools.iter_mut().rfind(|known| known.number == pool) {
                    known.there.end = stamp.max(known.there.start);
                }
            }
            None => {}
        }
    });
    pools
}
