//! What stamps mean in time.
//!
//! Stamps count ticks of whatever clock the tracer found. Two readings of both clocks, at
//! the start and when last looked at, give the unit; between them time is taken as linear.

use super::Look;
use fragtrace_format::Stamp;
use fragtrace_format::header::{ClockKind, ClockReading, HeaderInfo};

/// How far stamps of two threads may be inverted: far more than was ever seen, far less
/// than it takes to free a block on one thread and have it come back on another by chance.
const INVERSION_WINDOW_NS: u64 = 50_000;

/// Turns stamps into nanoseconds since the start of the recording, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    start: ClockReading,
    /// So many nanoseconds pass in so many stamps; neither is 0.
    elapsed_ns: u64,
    elapsed_stamps: u64,
    known: bool,
}

impl Clock {
    pub(super) fn new(header: &HeaderInfo, looks: &[Look]) -> Clock {
        let start = header.clock_start;
        let last_look = looks.last().map(|look| (look.stamp, look.monotonic_ns));
        let last = (header.clock_last.stamp, header.clock_last.monotonic_ns);
        // A process that ended at once may have read its clocks only once.
        for (stamp, monotonic_ns) in [Some(last), last_look].into_iter().flatten() {
            if stamp > start.stamp && monotonic_ns > start.monotonic_ns {
                return Clock {
                    start,
                    elapsed_ns: monotonic_ns - start.monotonic_ns,
                    elapsed_stamps: stamp - start.stamp,
                    known: true,
                };
            }
        }
        let unit_ns = 1 << header.clock_shift.min(32);
        let known = header.clock_kind == ClockKind::Monotonic;
        Clock { start, elapsed_ns: unit_ns, elapsed_stamps: 1, known }
    }

    /// False: the trace does not tell the unit of stamps, and times are guesses.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Nanoseconds since the start of the recording; 0 for stamps before it.
    pub fn time_ns(&self, stamp: Stamp) -> u64 {
        self.duration_ns(stamp.saturating_sub(self.start.stamp))
    }

    /// Nanoseconds that a number of stamps takes.
    pub fn duration_ns(&self, stamps: u64) -> u64 {
        scale(stamps, self.elapsed_ns, self.elapsed_stamps)
    }

    /// Stamps that pass in a time.
    pub fn stamps_in(&self, nanoseconds: u64) -> u64 {
        scale(nanoseconds, self.elapsed_stamps, self.elapsed_ns)
    }

    /// Stamps of two threads that are closer than this may be in the wrong order.
    pub fn inversion_window(&self) -> u64 {
        self.stamps_in(INVERSION_WINDOW_NS)
    }

    /// The last stamp whose time is at most `time_ns` since the start.
    pub fn stamp_at(&self, time_ns: u64) -> Stamp {
        // time_ns(start + n) ≤ t  ⇔  n × ns < (t + 1) × stamps
        let bound = (u128::from(time_ns) + 1) * u128::from(self.elapsed_stamps) - 1;
        let stamps = bound / u128::from(self.elapsed_ns);
        self.start.stamp.saturating_add(u64::try_from(stamps).unwrap_or(u64::MAX))
    }

    /// Wall-clock time when the recording began, in nanoseconds since 1970.
    pub fn start_unix_ns(&self) -> u64 {
        self.start.realtime_ns
    }

    /// The stamp when the recording began.
    pub fn start_stamp(&self) -> Stamp {
        self.start.stamp
    }
}

fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(elapsed_ns: u64, elapsed_stamps: u64) -> Clock {
        let start = ClockReading { stamp: 1000, monotonic_ns: 5, realtime_ns: 7 };
        Clock { start, elapsed_ns, elapsed_stamps, known: true }
    }

    #[test]
    fn the_stamp_of_a_time_is_the_last_one_not_after_it() {
        for (ns, stamps) in [(32, 3), (3, 32), (1, 1), (1_000_000_007, 33_333_337)] {
            let clock = clock(ns, stamps);
            for time_ns in [0, 1, 2, 31, 32, 33, 1000, 12_345_678] {
                let stamp = clock.stamp_at(time_ns);
                assert!(clock.time_ns(stamp) <= time_ns);
                assert!(clock.time_ns(stamp + 1) > time_ns);
            }
        }
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(clock(u64::MAX, 1).time_ns(u64::MAX), u64::MAX);
        assert_eq!(clock(1, u64::MAX).stamp_at(u64::MAX), u64::MAX);
        assert_eq!(clock(1, 1).time_ns(0), 0);
    }
}
