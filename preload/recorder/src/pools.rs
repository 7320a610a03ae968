//! Pools: memory that the program cuts up by itself, and tells of.
//!
//! A pool's blocks lie in memory that is a block of the allocator's already, or a mapping. On record
//! they are at their addresses with [`IN_POOL`] set, so that nobody takes the one for the other. When
//! the ring goes round they are forgotten: a pool that is thrown away as a whole says nothing of its
//! blocks, so that a table of them would grow for ever.

use crate::journal::Journal;
use crate::stack::Caller;
use crate::sync::TryLock;
use crate::{clock, lane, process, sys};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::event::{Acquire, FIRST_POOL, Flags, IN_POOL};
use fragtrace_format::header::Area;
use fragtrace_format::record::{self, PoolEvent};

/// Longer names are cut.
const MAX_NAME_BYTES: usize = 64;
/// How often a thread waits 100 µs for another one that tells of a pool.
const PATIENCE: u32 = 20;

static JOURNAL: Journal = Journal::new(Area::Pools, 1 << 20);
static LOCK: TryLock = TryLock::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A pool is there; its number, 0 = it is not on record.
pub fn pool_created(name: &[u8], start: usize, bytes: usize) -> u32 {
    let name = &name[..name.len().min(MAX_NAME_BYTES)];
    let name = match core::str::from_utf8(name) {
        Ok(name) => name,
        Err(error) => core::str::from_utf8(&name[..error.valid_up_to()]).unwrap_or_default(),
    };
    let pool = FIRST_POOL.saturating_add(COUNT.fetch_add(1, Relaxed));
    let (start, bytes) = (start as u64, bytes as u64);
    let stamp = clock::stamp();
    let noted = note(&PoolEvent::Created { stamp, pool, start, bytes, name });
    if noted { pool } else { 0 }
}

/// A pool goes, and all blocks in it.
pub fn pool_destroyed(pool: u32) {
    if pool != 0 {
        note(&PoolEvent::Destroyed { stamp: clock::stamp(), pool });
    }
}

/// A block in a pool is there.
pub fn pool_acquired(pool: u32, address: usize, size: usize, caller: Caller) {
    if pool != 0 {
        let block = Acquire {
            address: address as u64 | IN_POOL,
            size: size as u64,
            pool,
            ..Acquire::default()
        };
        lane::acquire_with(&block, caller);
    }
}

/// A block in a pool is about to go.
pub fn pool_released(pool: u32, address: usize) {
    if pool != 0 {
        lane::release_with(address | IN_POOL as usize, Flags::NONE);
    }
}

/// In a child of fork.
pub(crate) fn inherit() {
    LOCK.leave();
    JOURNAL.inherit();
}

/// Writes a record. False: there is no room, or another thread is at it for too long.
fn note(event: &PoolEvent<'_>) -> bool {
    if !process::recording() || sys::forbidden() {
        return false;
    }
    for _ in 0..PATIENCE {
        if let Some(_held) = LOCK.try_take_uninterrupted() {
            return JOURNAL.append(&|out| record::encode(event, out));
        }
        sys::sleep_us(100);
    }
    false
}

/// Bytes of our memory that records of pools take.
pub(crate) fn resident_bytes() -> u64 {
    JOURNAL.resident_bytes()
}
