//! A lock that nobody waits for.

use crate::sys;
use core::sync::atomic::{AtomicBool, Ordering};

/// Taken or left: whoever finds it taken goes on without.
pub(crate) struct TryLock(AtomicBool);

/// Gives the lock back when dropped.
pub(crate) struct Held<'a>(&'a AtomicBool);

/// Gives the lock back when dropped, and then the signals.
pub(crate) struct Uninterrupted<'a> {
    _held: Held<'a>,
    _signals: Signals,
}

/// Keeps all signals from this thread until it is dropped; which were kept before.
pub(crate) struct Signals(Option<u64>);

impl Signals {
    pub(crate) fn block() -> Self {
        Signals(sys::block_signals())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            sys::restore_signals(before);
        }
    }
}

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

    /// Takes it with signals blocked until it is left. A handler that interrupts the holder and
    /// waits for the lock would wait in vain; one that jumps away would leave it taken for good.
    pub(crate) fn try_take_uninterrupted(&self) -> Option<Uninterrupted<'_>> {
        let signals = Signals::block();
        self.try_take().map(|held| Uninterrupted { _held: held, _signals: signals })
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
