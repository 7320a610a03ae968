//! Since when what is at stake lies idle: the moment to look at.
//!
//! Of a finding about memory that no block uses: from when on the heap never again had clearly
//! less idle than that. To the nearest moment of the series before it; not known where the heap
//! has less idle in the end, or where live bytes or time are at stake.

use super::claims::Of;
use crate::measure::State;

/// Idle memory may be less by this part in between: the ebb of what else goes on.
const EBB_PART: u64 = 10;

pub(super) fn since_ns(series: &[State], of: Of, bytes: u64) -> Option<u64> {
    if bytes == 0 || !matches!(of, Of::PinnedPages | Of::EmptyPages | Of::Idle) {
        return None;
    }
    let least = bytes - bytes / EBB_PART;
    let is_idle = |state: &State| {
        state.footprint_bytes.is_some_and(|held| held.saturating_sub(state.live_bytes) >= least)
    };
    let busy = series.iter().rposition(|state| !is_idle(state));
    let first = busy.map_or(0, |busy| busy + 1);
    series.get(first).map(|state| state.time_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(idle: &[u64]) -> Vec<State> {
        let state = |(at, idle): (usize, &u64)| State {
            time_ns: at as u64,
            live_bytes: 1000,
            footprint_bytes: Some(1000 + idle),
            ..State::default()
        };
        idle.iter().enumerate().map(state).collect()
    }

    #[test]
    fn it_is_the_last_time_that_so_much_came_free() {
        let series = states(&[0, 500, 0, 91, 120, 100, 95]);
        assert_eq!(since_ns(&series, Of::PinnedPages, 100), Some(3));
        assert_eq!(since_ns(&series, Of::Idle, 200), None, "the end has less");
        assert_eq!(since_ns(&series, Of::EmptyPages, 0), None, "nothing is at stake");
        assert_eq!(since_ns(&series, Of::Else, 100), None, "what is at stake is live");
        assert_eq!(since_ns(&states(&[100, 100]), Of::Idle, 100), Some(0));
    }
}
