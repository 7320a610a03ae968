//! The calls that the tracer timed: how long the allocator itself took, one call in about 1,024.

use fragtrace_format::Stamp;
use fragtrace_format::record::Call;

/// So many are kept. Of a longer trace every other one is dropped, then of those that come as many
/// less, so that what is kept is spread evenly over all of it.
const MOST_KEPT: usize = 1 << 18;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedCall {
    /// When.
    pub stamp: Stamp,
    /// What was called.
    pub call: Call,
    /// Ticks of the raw clock, which is not shifted as stamps are.
    pub ticks: u64,
}

/// All of them, or an even part.
#[derive(Debug, Clone, Default)]
pub struct TimedCalls {
    kept: Vec<TimedCall>,
    seen: u64,
    /// One in 2 to this power is kept.
    thinned: u32,
    slowest: Option<TimedCall>,
}

impl TimedCalls {
    /// The next one.
    pub(super) fn note(&mut self, timed: TimedCall) {
        if self.slowest.is_none_or(|slowest| slowest.ticks < timed.ticks) {
            self.slowest = Some(timed);
        }
        if self.seen & ((1 << self.thinned) - 1) == 0 {
            if self.kept.len() == MOST_KEPT {
                let mut index = 0;
                self.kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.thinned += 1;
            }
            self.kept.push(timed);
        }
        self.seen += 1;
    }

    /// Those that are kept, in their order.
    pub fn kept(&self) -> &[TimedCall] {
        &self.kept
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.seen
    }

    /// The slowest of all.
    pub fn slowest(&self) -> Option<TimedCall> {
        self.slowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_an_even_part_is_kept_and_the_slowest() {
        let mut timed = TimedCalls::default();
        let count = 5 * MOST_KEPT as u64 / 2;
        for stamp in 0..count {
            let ticks = if stamp == 12_345 { 1_000_000 } else { 1 };
            timed.note(TimedCall { stamp, call: Call::Free, ticks });
        }
        assert_eq!(timed.count(), count);
        assert_eq!(timed.slowest().map(|slowest| slowest.stamp), Some(12_345));
        let steps = timed.kept().windows(2).map(|pair| pair[1].stamp - pair[0].stamp);
        assert!(steps.clone().all(|step| step == 4), "{:?}", steps.max());
        assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&timed.kept().len()));
    }
}
