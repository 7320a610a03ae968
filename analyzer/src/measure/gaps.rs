//! Gaps between looks: what the kernel was asked for long ago is not drawn as if it still held.
//!
//! A figure's age stands beside it in the JSON. In a picture it would be a level line, which says
//! that nothing happened while nobody looked.

use super::State;

/// A look that is so many usual intervals old is too old.
const MOST_INTERVALS: u64 = 5;
/// But not within this part of the time that is drawn,
const LEAST_PART: u64 = 50;
/// and in any case beyond this one.
const MOST_PART: u64 = 5;

/// The states of a series, without what looks found where the last one was too long ago.
pub fn with_gaps(states: &[State]) -> Vec<State> {
    let most_ns = most_age_ns(states);
    let shown = |state: &State| {
        let mut shown = state.clone();
        if state.look_age_ns.is_some_and(|age_ns| age_ns > most_ns) {
            shown.heap_resident_bytes = None;
            shown.rss_bytes = None;
            shown.fragmentation_ratio = None;
            shown.pinned_waste_bytes = None;
        }
        shown
    };
    states.iter().map(shown).collect()
}

fn most_age_ns(states: &[State]) -> u64 {
    let span_ns = match states {
        [first, .., last] => last.time_ns.saturating_sub(first.time_ns),
        _ => return u64::MAX,
    };
    let looked = |state: &State| Some(state.time_ns.saturating_sub(state.look_age_ns?));
    let mut looks_ns: Vec<u64> = states.iter().filter_map(looked).collect();
    // Two conversions of one stamp are the same to the nanosecond.
    looks_ns.dedup();
    let mut intervals: Vec<u64> =
        looks_ns.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    intervals.sort_unstable();
    let usual_ns = intervals.get(intervals.len() / 2).copied().unwrap_or(0);
    (usual_ns * MOST_INTERVALS).max(span_ns / LEAST_PART).min(span_ns / MOST_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments 1 ms apart, with looks at some of them.
    fn series(moments: u64, looks: impl Fn(u64) -> bool) -> Vec<State> {
        let mut looked = 0;
        let state = |at: u64| {
            looked = if looks(at) { at } else { looked };
            State {
                time_ns: at * 1_000_000,
                look_age_ns: Some((at - looked) * 1_000_000),
                rss_bytes: Some(7),
                heap_resident_bytes: Some(5),
                footprint_bytes: Some(9),
                ..State::default()
            }
        };
        (0..moments).map(state).collect()
    }

    #[test]
    fn between_looks_that_come_as_usual_there_is_no_gap() {
        let states = series(1000, |at| at % 10 == 0);
        assert_eq!(with_gaps(&states), states);
        assert!(with_gaps(&[]).is_empty());
    }

    #[test]
    fn while_nobody_looks_there_is_one() {
        let shown = with_gaps(&series(1000, |at| at % 10 == 0 && !(300..600).contains(&at)));
        let known: Vec<usize> = (0..1000).filter(|at| shown[*at].rss_bytes.is_some()).collect();
        // The last look before is at 290, and holds for five intervals of 10.
        assert!(known.iter().all(|at| *at <= 340 || *at >= 600), "{known:?}");
        assert_eq!(known.len(), 341 + 400);
        assert!(shown.iter().all(|state| state.footprint_bytes.is_some()), "events tell that");
        assert_eq!(shown[400].heap_resident_bytes, None);
    }

    #[test]
    fn looks_at_start_and_end_alone_tell_nothing_of_what_is_between() {
        let shown = with_gaps(&series(1001, |at| at == 0 || at == 1000));
        let known = shown.iter().filter(|state| state.rss_bytes.is_some()).count();
        assert_eq!(known, 200 + 1 + 1);
    }
}
