//! When a program began to free all that it had, to exit: what it held before that is worth
//! judging, and what it holds behind it says nothing.

use super::{Analysis, State};

/// Live bytes that differ by no more are the same.
const SAME_BYTES: u64 = 1 << 20;
/// Of what was live no more than this part is left.
const LEFT_PART: u64 = 8;
/// It takes no more than this part of the recorded time; and for as long before, live bytes were about
/// the same: what has just been filled is no life to be judged.
const TIME_PART: u64 = 10;
/// By this part they may have differed.
const STEADY_PART: u64 = 8;

/// The last moment before a process that exits frees what it had; `None`: it does not, or had done so
/// for longer than a process takes to exit.
pub fn teardown_ns(analysis: &Analysis) -> Option<u64> {
    let trace = &analysis.trace;
    let length_ns = trace.duration_ns.saturating_sub(trace.window_start_ns);
    let from_ns = late_from_ns(trace.window_start_ns, trace.duration_ns);
    let before = analysis.series.partition_point(|state| state.time_ns < from_ns);
    let late = &analysis.series[before..];
    let begun_ns = begins_to_fall(late).filter(|_| trace.clean_exit)?;
    let steady = begun_ns.saturating_sub(length_ns / TIME_PART)..=begun_ns;
    let top = late.iter().map(|state| state.live_bytes).max()?;
    let is_steady = analysis
        .series
        .iter()
        .filter(|state| steady.contains(&state.time_ns))
        .all(|state| state.live_bytes.abs_diff(top) <= top / STEADY_PART);
    is_steady.then_some(begun_ns)
}

/// No teardown of a process that was recorded from `start_ns` to `end_ns` begins earlier.
pub(super) fn late_from_ns(start_ns: u64, end_ns: u64) -> u64 {
    end_ns.saturating_sub(end_ns.saturating_sub(start_ns) / TIME_PART)
}

/// The last moment at which as much was live as at the most, if next to nothing of it is left.
fn begins_to_fall(late: &[State]) -> Option<u64> {
    let left_bytes = late.last()?.live_bytes;
    let top = late.iter().map(|state| state.live_bytes).max()?;
    let last = late.iter().rfind(|state| state.live_bytes + SAME_BYTES >= top)?;
    (top > SAME_BYTES && left_bytes <= top / LEFT_PART).then_some(last.time_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn falls_at(live: &[u64]) -> Option<u64> {
        let state = |(time_ns, live): (usize, &u64)| State {
            time_ns: time_ns as u64,
            live_bytes: live << 20,
            ..State::default()
        };
        begins_to_fall(&live.iter().enumerate().map(state).collect::<Vec<_>>())
    }

    #[test]
    fn a_fall_to_next_to_nothing_begins_where_most_of_it_was_last_there() {
        assert_eq!(falls_at(&[40, 41, 40, 20, 3]), Some(2));
        assert_eq!(falls_at(&[40, 41, 40, 0]), Some(2));
        assert_eq!(falls_at(&[40, 41, 40, 20]), None, "half of it stays");
        assert_eq!(falls_at(&[0, 0]), None);
        assert_eq!(falls_at(&[]), None);
    }

    #[test]
    fn only_the_exit_of_a_process_counts_and_only_while_it_is_short() {
        let series = |live: u64, time_ns| State { live_bytes: live, time_ns, ..State::default() };
        let mut analysis = Analysis {
            series: vec![series(90 << 20, 500), series(50 << 20, 960), series(0, 1000)],
            ..Analysis::default()
        };
        (analysis.trace.duration_ns, analysis.trace.clean_exit) = (1000, true);
        assert_eq!(teardown_ns(&analysis), Some(960));
        analysis.series[1].time_ns = 800;
        assert_eq!(teardown_ns(&analysis), None, "idle for a while, and then it exits");
        analysis.series[1].time_ns = 960;
        analysis.series[0].time_ns = 870;
        assert_eq!(teardown_ns(&analysis), None, "more was live a moment ago");
        analysis.series[0].time_ns = 500;
        analysis.trace.clean_exit = false;
        assert_eq!(teardown_ns(&analysis), None);
    }
}
