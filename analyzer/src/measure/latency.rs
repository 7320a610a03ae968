//! How long the allocator itself takes, over time: free lists that grow long, and heaps in pieces,
//! make its calls slower.

use super::moment::{end_ns, start_ns};
use crate::read::{Clock, Trace};
use crate::replay::{TimedCall, TimedCalls};
use fragtrace_format::record::Call;
use serde::Serialize;
use std::collections::BTreeMap;

/// Stretches of time, as many as a curve needs.
const INTERVALS: u64 = 100;

/// Some of the allocator's calls. Times are nanoseconds, and hold what reading the clock takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Calls {
    /// How many were timed, of those that are kept.
    pub timed: u64,
    /// Half of them took at most this.
    pub median_ns: u64,
    /// 99 in 100 did.
    pub p99_ns: u64,
    /// All of them did.
    pub max_ns: u64,
}

/// The calls in one of a hundred stretches of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// When it ends.
    pub time_ns: u64,
    /// The calls in it.
    #[serde(flatten)]
    pub calls: Calls,
}

/// How long the allocator's calls took, one in about 1,024 of which was timed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Latency {
    /// Calls that were timed.
    pub calls_timed: u64,
    /// All of them.
    #[serde(flatten)]
    pub all: Calls,
    /// By function.
    pub by_call: BTreeMap<&'static str, Calls>,
    /// Over time; stretches without a call are left out.
    pub over_time: Vec<Interval>,
}

impl Latency {
    /// What the calls of a process took. `None`: none was timed.
    pub(super) fn of(trace: &Trace, timed: &TimedCalls) -> Option<Latency> {
        // In a child of fork its parent's come first.
        let since = timed.kept().partition_point(|call| call.stamp < trace.window_start());
        let kept = &timed.kept()[since..];
        if kept.is_empty() {
            return None;
        }
        let (clock, shift) = (trace.clock(), trace.header().clock_shift);
        let took = |call: &TimedCall| ticks_in_ns(clock, shift, call.ticks);
        let mut by_call: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
        for call in kept {
            by_call.entry(Call::name(call.call)).or_default().push(took(call));
        }
        let span = (start_ns(trace), end_ns(trace));
        let at = |call: &TimedCall| (clock.time_ns(call.stamp), took(call));
        let mut all = Calls::of(kept.iter().map(took).collect());
        // It may be among those that were left out to keep few.
        let slowest = timed.slowest().filter(|call| call.stamp >= trace.window_start());
        all.max_ns = all.max_ns.max(slowest.map_or(0, |call| took(&call)));
        Some(Latency {
            calls_timed: timed.count() - since as u64,
            all,
            by_call: by_call.into_iter().map(|(name, took)| (name, Calls::of(took))).collect(),
            over_time: over_time(kept.iter().map(at), span),
        })
    }
}

impl Calls {
    fn of(mut took_ns: Vec<u64>) -> Calls {
        took_ns.sort_unstable();
        let of_hundred = |part: usize| {
            let rank = (took_ns.len() * part).div_ceil(100).max(1);
            took_ns.get(rank - 1).copied().unwrap_or_default()
        };
        Calls {
            timed: took_ns.len() as u64,
            median_ns: of_hundred(50),
            p99_ns: of_hundred(99),
            max_ns: of_hundred(100),
        }
    }
}

/// Ticks of the raw clock in nanoseconds. Few ticks are a fraction of a stamp.
fn ticks_in_ns(clock: &Clock, shift: u32, ticks: u64) -> u64 {
    const FINER: u32 = 10;
    clock.duration_ns(ticks.saturating_mul(1 << FINER)) >> (FINER + shift.min(32))
}

/// Times and what was taken, in stretches of equal length; times are about in order.
fn over_time(calls: impl Iterator<Item = (u64, u64)>, (start, end): (u64, u64)) -> Vec<Interval> {
    let length_ns = (end.saturating_sub(start) / INTERVALS).max(1);
    let mut stretches: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (time_ns, took_ns) in calls {
        let number = (time_ns.saturating_sub(start) / length_ns).min(INTERVALS - 1);
        stretches.entry(number).or_default().push(took_ns);
    }
    let interval = |(number, took_ns): (u64, Vec<u64>)| Interval {
        time_ns: start + (number + 1) * length_ns,
        calls: Calls::of(took_ns),
    };
    stretches.into_iter().map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_hundred_are_those_of_the_sorted_calls() {
        let calls = Calls::of((1..=200).rev().collect());
        let expected = Calls { timed: 200, median_ns: 100, p99_ns: 198, max_ns: 200 };
        assert_eq!(calls, expected);
        let one = Calls::of(vec![7]);
        assert_eq!((one.median_ns, one.p99_ns, one.max_ns), (7, 7, 7));
        assert_eq!(Calls::of(Vec::new()), Calls::default());
    }

    #[test]
    fn stretches_are_even_and_those_without_a_call_are_left_out() {
        let calls = [(1000, 5), (1999, 7), (90_000, 9), (101_000, 11)];
        let stretches = over_time(calls.into_iter(), (1000, 101_000));
        let told: Vec<_> =
            stretches.iter().map(|at| (at.time_ns, at.calls.timed, at.calls.max_ns)).collect();
        assert_eq!(told, [(2000, 2, 7), (91_000, 1, 9), (101_000, 1, 11)]);
    }
}
