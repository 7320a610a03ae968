//! A lock that nobody waits for.

use core::sync::atomic::{AtomicBool, Ordering};

/// Taken or left: whoever finds it taken goes on without.
pub(crate) struct TryLock(AtomicBool);

/// Gives the lock back when dropped.
pub(crate) struct Held<'a>(&'a AtomicBool);

impl TryLock {
    pub(crate) const fn new() -> Self {
        TryLock(AtomicBool::new(false))
    }

    pub(crate) fn try_take(&self) -> Option<Held<'_>> {
        self.0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then_some(Held(&self.0))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
