//! Where the driver keeps blocks between the steps that are about them.
//!
//! Threads that take turns need no more than that. Threads that run [freely](crate::free) need to
//! know when a block that another one hands over is there: so each slot counts how often a block was
//! put into it, taken out, or written to, and whoever comes next waits for the count that the script
//! says.
//!
//! ```text
//!  thread 1   malloc ─► slot 7, count 1 ─────────┐
//!  thread 2            await slot 7, count 1 ────┴─► free(slot 7), count 2
//! ```

use crate::kernel::{futex_wait, futex_wake};
use crate::memory::Table;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};
use core::sync::atomic::{Ordering::Relaxed, Ordering::Release};

/// In a count: a thread sleeps until it changes.
const ASLEEP: u32 = 1 << 31;
/// How often a thread looks for a block before it sleeps.
const SPINS: u32 = 300;
/// So long at most, as whoever counts might not see that somebody just fell asleep: it counts by a
/// plain store, which costs the calls around it less than an atomic addition.
const NAP_NS: u64 = 1_000_000;

/// The slots of a script.
#[derive(Clone, Copy)]
pub struct Slots {
    blocks: Table<*mut c_void>,
    counts: Option<Table<u32>>,
}

impl Slots {
    /// So many, and whether they count. `None`: there is no room.
    pub fn new(slots: usize, counting: bool) -> Option<Slots> {
        let counts = if counting { Some(Table::new(slots)?) } else { None };
        Some(Slots { blocks: Table::new(slots)?, counts })
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        self.blocks.bytes() + self.counts.map_or(0, |counts| counts.bytes())
    }

    /// Whether threads run freely.
    #[inline]
    pub fn are_counting(&self) -> bool {
        self.counts.is_some()
    }

    /// Takes a block out; null where none is.
    #[inline]
    pub fn take(&self, slot: u32) -> *mut c_void {
        let Some(at) = self.blocks.at(slot as usize) else { return null_mut() };
        // SAFETY: a slot of the table, which is the calling thread's: it has the turn, or its count
        // has been waited for.
        let block = unsafe { at.replace(null_mut()) };
        self.count(slot);
        block
    }

    /// The block in it, which stays.
    #[inline]
    pub fn block(&self, slot: u32) -> *mut c_void {
        // SAFETY: as above.
        self.blocks.at(slot as usize).map_or(null_mut(), |at| unsafe { at.read() })
    }

    /// Puts a block in. To be [counted](Slots::count) when it was written.
    #[inline]
    pub fn put(&self, slot: u32, block: *mut c_void) {
        if let Some(at) = self.blocks.at(slot as usize) {
            // SAFETY: as above.
            unsafe { at.write(block) };
        }
    }

    fn counter(&self, slot: u32) -> Option<&AtomicU32> {
        let at = self.counts?.at(slot as usize)?;
        // SAFETY: the table stays as long as the process, and is used as atomics alone.
        Some(unsafe { AtomicU32::from_ptr(at.as_ptr()) })
    }

    /// The calling thread is done with a slot for now.
    #[inline]
    pub fn count(&self, slot: u32) {
        let Some(counter) = self.counter(slot) else { return };
        let before = counter.load(Relaxed);
        counter.store(before.wrapping_add(1) & !ASLEEP, Release);
        if before & ASLEEP != 0 {
            futex_wake(counter, u32::MAX >> 1);
        }
    }

    /// Waits until a slot has counted this far.
    #[inline]
    pub fn wait(&self, slot: u32, count: u32) {
        let Some(counter) = self.counter(slot) else { return };
        let mut spins = 0;
        loop {
            let now = counter.load(Acquire);
            if now.wrapping_sub(count) & !ASLEEP < ASLEEP / 2 {
                return;
            }
            spins += 1;
            if spins < SPINS {
                spin_loop();
                continue;
            }
            let asleep = now | ASLEEP;
            if now == asleep || counter.compare_exchange(now, asleep, AcqRel, Acquire).is_ok() {
                futex_wait(counter, asleep, Some(NAP_NS));
            }
        }
    }
}
