//! What is judged, and what several pathologies ask of it.

use crate::measure::blame::{Blame, COHORTS, CallFacts, SiteFacts};
use crate::measure::{Analysis, HeapShape, State};
use crate::words;
use serde_json::{Value, json};

/// A heap that never held more is mostly what any process has.
const SMALL_HEAP_BYTES: u64 = 4 << 20;
/// Allocators other than glibc's keep several MB of their own before the first block.
const SMALL_FOREIGN_HEAP_BYTES: u64 = 16 << 20;
/// Memory outside of the heap that makes the heap a side issue, with [`OUTSIDE_SHARE`].
const OUTSIDE_BYTES: u64 = 64 << 20;
const OUTSIDE_SHARE: u64 = 4;
/// What is judged has to have lasted this part of the recorded time.
const LASTING_PART: u64 = 10;

/// What was filled again so often, by work that comes in cycles, is filled again.
const LEAST_FILLS: u32 = 2;

/// Live bytes that change by less, or by a smaller part than [`STILL_PART`], stay as they are.
const MOST_STILL_BYTES: u64 = 1 << 20;
const STILL_PART: u64 = 16;

/// A process to be judged, as it was at the end.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its figures.
    pub analysis: &'a Analysis,
    /// Who pins memory at the end.
    pub blame: &'a Blame,
    /// What the heap is made of at the end.
    pub shape: &'a HeapShape,
}

impl Case<'_> {
    /// Why nothing can be concluded, if so.
    pub(super) fn cannot_tell(&self) -> Option<String> {
        let Analysis { trace, peak_footprint, end, damage, .. } = self.analysis;
        let most = peak_footprint.footprint_bytes.unwrap_or(0);
        let least = if self.shape.glibc { SMALL_HEAP_BYTES } else { SMALL_FOREIGN_HEAP_BYTES };
        if trace.dropped_events > 0 || !damage.is_empty() {
            return Some("events are missing from the trace, so its figures may be off".into());
        }
        if most < least {
            return Some(format!(
                "the heap never held more than {}; below {} what any process and its allocator \
                 keep for themselves weighs most",
                words::bytes(most),
                words::bytes(least)
            ));
        }
        if end.heap_resident_bytes.is_none() || end.pinned_waste_bytes.is_none() {
            return Some(
                "it is not known which pages of the heap were in memory: no scan of them is on \
                 record, or pages are not of 4 KiB"
                    .into(),
            );
        }
        // Of a heap that was once large and gave all back, little but this is left.
        let own = end.own_bytes().unwrap_or(0);
        if own > most / 2 {
            return Some(format!(
                "{} of the {} that the heap held at most are the allocator's own metadata",
                words::bytes(own.min(most)),
                words::bytes(most)
            ));
        }
        let outside = end.rss_bytes.unwrap_or(0).saturating_sub(most);
        if outside > OUTSIDE_BYTES && outside / OUTSIDE_SHARE > most {
            return Some(format!(
                "{} of the process's memory lie outside of the heap that malloc's blocks are in",
                words::bytes(outside)
            ));
        }
        None
    }

    /// What the heap has in memory at the end.
    pub(super) fn held_bytes(&self) -> u64 {
        let end = &self.analysis.end;
        end.heap_resident_bytes.or(end.footprint_bytes).unwrap_or(0)
    }

    /// What the heap held but did not use at any time of the last tenth of the run: holes that
    /// come and go are none of it. Where live bytes were still on their way down then, the time
    /// from the beginning of that way counts as well: a program that frees all before it exits
    /// holds nothing for long, however long that takes.
    pub(super) fn lasting_idle_bytes(&self) -> u64 {
        let trace = &self.analysis.trace;
        let length_ns = trace.duration_ns.saturating_sub(trace.window_start_ns);
        let from_ns = trace.duration_ns - length_ns / LASTING_PART;
        let series = &self.analysis.series;
        let last = series.partition_point(|state| state.time_ns < from_ns);
        let first = descent(series, last, self.analysis.end.live_bytes);
        let idle =
            |state: &State| state.footprint_bytes.unwrap_or(0).saturating_sub(state.live_bytes);
        series[first..].iter().chain([&self.analysis.end]).map(idle).min().unwrap_or(0)
    }

    /// Whether most of `bytes`, which are free at the end, were live at once: what the heap held at its
    /// largest beyond what was ever live is less than half of them.
    pub(super) fn full_at_once(&self, bytes: u64) -> bool {
        let most = self.analysis.peak_footprint.footprint_bytes.unwrap_or(0);
        most.saturating_sub(self.analysis.peak.live_bytes) < bytes / 2
    }

    /// What came free at the end of the run, if it is most of what the heap holds.
    pub(super) fn freed_late_bytes(&self) -> Option<u64> {
        let idle = self.held_bytes().saturating_sub(self.analysis.end.live_bytes);
        let late = idle.saturating_sub(self.lasting_idle_bytes());
        (late > self.held_bytes() / 2).then_some(late)
    }

    /// Whether most of `bytes`, which are idle at the end, have been so for long enough.
    pub(super) fn lasts(&self, bytes: u64) -> bool {
        self.lasting_idle_bytes() >= bytes / 2
    }

    /// What was live at the end of each eighth of the recorded time.
    pub(super) fn live_by_eighths(&self) -> [u64; COHORTS] {
        let trace = &self.analysis.trace;
        let length_ns = trace.duration_ns.saturating_sub(trace.window_start_ns);
        std::array::from_fn(|eighth| {
            let part = u128::from(length_ns) * (eighth as u128 + 1) / COHORTS as u128;
            let until_ns = trace.window_start_ns + part as u64;
            let before = self.analysis.series.iter().take_while(|state| state.time_ns <= until_ns);
            before.last().map_or(0, |state| state.live_bytes)
        })
    }

    /// Whether the heap was filled again and again, and has not been idle for longer than it was
    /// between two of these times: then what is idle is a reserve, as far as can be seen.
    pub(super) fn is_reserve(&self) -> bool {
        is_reserve(&self.analysis.series, self.analysis.trace.duration_ns)
    }

    /// The same in words for an explanation: nothing where it was not.
    pub(super) fn reserve_in_words(&self) -> &'static str {
        if self.is_reserve() {
            " The heap was filled again and again, and has not been idle for longer than between two of \
             these times: what lies idle may be its reserve, so it is no more than worth knowing."
        } else {
            ""
        }
    }

    /// Who filled what is empty now, in words for an explanation: nothing where it is not known.
    pub(super) fn filled_by(&self) -> String {
        self.shape.usage.emptied.as_ref().map_or_else(String::new, |(site, bytes)| {
            format!(
                " What is gone is mostly from {}, which had {} live at once.",
                site.in_words(),
                words::bytes(*bytes)
            )
        })
    }

    /// The same as evidence.
    pub(super) fn filling_site(&self) -> Value {
        self.shape.usage.emptied.as_ref().map_or(Value::Null, |(site, _)| place(site))
    }

    /// How often what was live fell below half of its peak and came back to three quarters: a
    /// heap that is filled again and again keeps a reserve, no waste.
    pub(super) fn refills(&self) -> u64 {
        let peak = self.analysis.peak.live_bytes;
        let (mut low, mut refills, mut filled) = (false, 0, false);
        for state in &self.analysis.series {
            if state.live_bytes >= peak - peak / 4 {
                refills += u64::from(low && filled);
                (low, filled) = (false, true);
            } else if state.live_bytes < peak / 2 {
                low = true;
            }
        }
        refills
    }
}

/// A heap is full when three quarters of its footprint are live, and idle when less than half is.
fn is_reserve(series: &[State], end_ns: u64) -> bool {
    let (mut fills, mut longest_ns) = (0, 0);
    let (mut full_ns, mut idle) = (None, false);
    for state in series {
        let held = state.footprint_bytes.unwrap_or(0);
        if state.live_bytes >= held - held / 4 {
            if let Some(full_ns) = full_ns.filter(|_| idle) {
                fills += 1;
                longest_ns = longest_ns.max(state.time_ns - full_ns);
            }
            (full_ns, idle) = (Some(state.time_ns), false);
        } else if state.live_bytes < held / 2 {
            idle = true;
        }
    }
    fills >= LEAST_FILLS && full_ns.is_some_and(|full_ns| end_ns - full_ns <= longest_ns)
}

/// Where the descent of live bytes began that was under way at `last` and ended at `end_bytes`;
/// `last` itself if there was none.
fn descent(series: &[State], last: usize, end_bytes: u64) -> usize {
    let Some(here) = series.get(last).map(|state| state.live_bytes) else { return last };
    if here <= end_bytes + MOST_STILL_BYTES.max(here / STILL_PART) {
        return last;
    }
    let (mut first, mut top) = (last, here);
    for (index, state) in series[..last].iter().enumerate().rev() {
        if state.live_bytes + MOST_STILL_BYTES.max(top / STILL_PART) < top {
            break;
        }
        if state.live_bytes > top {
            (first, top) = (index, state.live_bytes);
        }
    }
    first
}

/// A call as evidence.
pub(super) fn place(call: &CallFacts) -> Value {
    json!({
        "function": call.function.as_deref(),
        "file": call.file.as_deref(),
        "line": call.line,
        "module": call.module.as_deref(),
        "offset": call.offset,
    })
}

/// Whether a site is code, not the allocator itself or a stack that is not known.
pub(super) fn is_code(site: &SiteFacts) -> bool {
    site.live_blocks > 0 && site.site != CallFacts::default()
}

/// A part of a whole as a percentage.
pub(super) fn share(part: u64, whole: u64) -> String {
    words::percent(part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_again_in_each_cycle_is_a_reserve_until_a_cycle_passes_without() {
        let series = |live: &[u64]| -> Vec<State> {
            let state = |(time_ns, live_bytes): (usize, &u64)| State {
                time_ns: time_ns as u64,
                live_bytes: *live_bytes,
                footprint_bytes: Some(100),
                ..State::default()
            };
            live.iter().enumerate().map(state).collect()
        };
        let cycles = series(&[80, 10, 10, 90, 49, 75, 40, 40]);
        assert!(is_reserve(&cycles, 8), "as long as the longest pause, from 0 to 3");
        assert!(!is_reserve(&cycles, 9));
        assert!(!is_reserve(&series(&[80, 10, 10, 90, 50, 75, 40, 40]), 8), "once only");
        assert!(!is_reserve(&series(&[10, 10]), 2), "never");
    }

    #[test]
    fn a_descent_that_is_not_over_counts_from_its_beginning() {
        let series = |live: &[u64]| -> Vec<State> {
            let state = |live: &u64| State { live_bytes: live << 20, ..State::default() };
            live.iter().map(state).collect()
        };
        let teardown = series(&[10, 90, 40, 100, 99, 70, 40, 20, 10]);
        assert_eq!(descent(&teardown, 7, 0), 3);
        let burst = series(&[10, 100, 50, 10, 10, 10, 10]);
        assert_eq!(descent(&burst, 6, 10 << 20), 6, "it was over before");
        assert_eq!(descent(&burst, 7, 0), 7, "nothing is on record of the last part");
    }
}
