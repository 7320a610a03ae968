//! Figures of a run whose threads ran freely: how many calls a second all of them make together,
//! getting into each other's way as they do. There is no moment that is one for all but the end, so
//! of memory only the peak and the end are known.

use super::figures::{Baseline, Source, others, per_second};
use super::moments::Moment;
use super::run::{Run, Shootout};
use crate::words;
use fragtrace_shootout_driver::results::Total;

/// Calls a second that differ by less are about the same.
const LEAST_GAIN: f64 = 0.1;

impl Run {
    /// What an allocator did in the driver; see [`Run::replayed`].
    pub fn contended(
        moments: &[Moment],
        source: Source<'_>,
        baseline: &Baseline,
        is_recorded: bool,
    ) -> Run {
        let others = others(moments);
        let at_peak = (0..moments.len()).max_by_key(|index| moments[*index].live_bytes);
        let last = source.samples().last();
        let code_bytes = match last {
            Some(last) if !is_recorded => last.file_bytes.saturating_sub(baseline.file_bytes),
            _ => 0,
        };
        let heap_bytes = |anon_bytes: u64| anon_bytes.saturating_sub(baseline.anon_bytes);
        let end_heap_bytes = last.map(|last| heap_bytes(last.anon_bytes));
        // The kernel keeps the peak, but not to the page.
        let peak_heap_bytes = match source.total(Total::PeakAnonBytes) {
            0 => None,
            peak => Some(heap_bytes(peak)).max(end_heap_bytes),
        };
        let beside = |other_bytes: Option<&u64>| other_bytes.copied().unwrap_or(0) + code_bytes;
        let (calls, run_ns) = (source.total(Total::Calls), source.total(Total::ElapsedNs));
        Run {
            peak_rss_bytes: peak_heap_bytes
                .map(|heap| heap + beside(at_peak.and_then(|index| others.get(index)))),
            end_rss_bytes: end_heap_bytes.map(|heap| heap + beside(others.last())),
            peak_heap_bytes,
            end_heap_bytes,
            throughput_calls_per_second: per_second(calls, run_ns),
            ..Run::counted(source, baseline)
        }
    }
}

/// One sentence: who makes the most calls a second.
pub(super) fn verdict(found: &Shootout) -> String {
    let throughput = |run: &Run| run.throughput_calls_per_second.filter(|_| run.error.is_none());
    let again = found.reproduced.and_then(|index| found.allocators.get(index));
    let tried = found.allocators.iter().filter_map(|run| Some((run, throughput(run)?)));
    let Some((best, most)) = tried.max_by_key(|(_, calls)| *calls) else {
        return "No allocator came to the end of the run: there is nothing to compare.".to_owned();
    };
    let most_calls = format!("{} calls a second of all threads together", words::count(most));
    let Some((stay, now)) = again.and_then(|run| Some((run, throughput(run)?))) else {
        return format!("The most calls are made on {}: {most_calls}.", best.shown());
    };
    let ratio = most as f64 / now.max(1) as f64;
    if ratio < 1.0 + LEAST_GAIN || std::ptr::eq(best, stay) {
        return format!(
            "Stay with {}: nothing that was tried makes {} more calls a second.",
            stay.name,
            words::percent(LEAST_GAIN)
        );
    }
    format!(
        "The most calls are made on {}: {most_calls}, {} what {} does.",
        best.shown(),
        words::ratio(ratio),
        stay.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shootout::Threads;
    use fragtrace_shootout_driver::results::{Sample, TOTALS};

    #[test]
    fn a_run_is_its_calls_and_the_kernels_peak() {
        let mut words = vec![0; TOTALS + Sample::WORDS];
        for (total, value) in [
            (Total::Samples, 1),
            (Total::Calls, 3000),
            (Total::ElapsedNs, 1_000_000),
            (Total::PeakAnonBytes, 205),
        ] {
            words[total as usize] = value;
        }
        words[TOTALS..].copy_from_slice(&[25, 0, 40]);
        let moment = |live_bytes, other: u64| Moment {
            live_bytes,
            rss_bytes: Some(1000),
            other_bytes: Some(other),
            ..Moment::default()
        };
        let moments = [moment(9, 60), moment(9, 60), moment(1, 50)];
        let source = Source { words: &words, error: None };
        let baseline = Baseline { anon_bytes: 5, file_bytes: 10, ..Baseline::default() };
        let run = Run::contended(&moments, source, &baseline, false);
        assert_eq!(run.throughput_calls_per_second, Some(3_000_000));
        assert_eq!((run.peak_rss_bytes, run.end_rss_bytes), (Some(290), Some(100)));
        assert_eq!((run.alloc_time_ns, run.mean_fragmentation_ratio), (None, None));
    }

    #[test]
    fn who_makes_the_most_calls_is_named() {
        let run = |name: &str, calls| Run {
            name: name.into(),
            throughput_calls_per_second: Some(calls),
            ..Run::default()
        };
        let mut found = Shootout {
            threads: Threads::Free,
            reproduced: Some(0),
            allocators: vec![run("glibc", 2_000_000), run("mimalloc", 5_000_000)],
            ..Shootout::default()
        };
        let text = verdict(&found);
        assert!(text.contains("mimalloc") && text.contains("2.50×"), "{text}");
        found.allocators[1].throughput_calls_per_second = Some(2_100_000);
        assert!(verdict(&found).starts_with("Stay with glibc"), "{}", verdict(&found));
    }
}
