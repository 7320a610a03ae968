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
            // Lazily: a value made in vain would give the lock back.
            .then(|| Held(&self.0))
    }

    /// Leaves the lock, whoever held it: for a child of fork, in which its holder may not be.
    pub(crate) fn leave(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_however_often_others_try() {
        let lock = TryLock::new();
        let held = lock.try_take();
        assert!(held.is_some());
        assert!(lock.try_take().is_none());
        assert!(lock.try_take().is_none(), "a try in vain does not give the lock back");
        drop(held);
        assert!(lock.try_take().is_some());
    }
}
