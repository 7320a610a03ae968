//! From what the driver found out to the figures of a run.
//!
//! The resident set of a run is the allocator's memory in the driver, and beside it what the
//! recorded program had in memory that was no heap: code, stacks, files, its own mappings. That
//! part does not depend on the allocator, and with it the figure is the one that the program
//! would show.

use super::moments::Moment;
use super::run::Run;
use crate::measure::{Analysis, JohnstoneWilson};
use fragtrace_shootout_driver::results::{Sample, TOTALS, Total};

/// Ratios to live bytes say nothing where next to nothing is live: moments with less than this
/// share of the peak are left out.
const LEAST_LIVE_SHARE: u64 = 10;
/// A fall of live bytes by this share of the peak is a drop.
const DROP_SHARE: f64 = 0.5;
/// The drop is over when live bytes are this near to the least, as a share of the fall.
const DROP_REST_SHARE: f64 = 0.002;

/// What the driver has in memory before any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Baseline {
    /// Anonymous pages.
    pub anon_bytes: u64,
    /// Private writable address space.
    pub mapped_bytes: u64,
    /// Pages of files.
    pub file_bytes: u64,
    /// Page faults.
    pub faults: u64,
}

/// What a driver's results say, as words of its file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file of results.
    pub words: &'a [u64],
    /// Why the run did not come to its end, if it did not.
    pub error: Option<&'a str>,
}

impl Source<'_> {
    pub(super) fn total(&self, total: Total) -> u64 {
        self.words.get(total as usize).copied().unwrap_or(0)
    }

    /// The samples that were taken.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> {
        let taken = usize::try_from(self.total(Total::Samples)).unwrap_or(0);
        let words = self.words.get(TOTALS..).unwrap_or(&[]).chunks_exact(Sample::WORDS);
        words.take(taken).map(|words| Sample::read([words[0], words[1], words[2]]))
    }

    /// System calls of the allocator, where they were counted in a run that came to its end.
    pub fn system_calls(&self) -> Option<u64> {
        let is_whole = self.error.is_none() && self.total(Total::Done) == 1;
        self.total(Total::SystemCalls).checked_sub(1).filter(|_| is_whole)
    }

    /// The driver's own part: of a run without steps.
    pub fn baseline(&self) -> Baseline {
        let last = self.samples().last().unwrap_or_default();
        Baseline {
            anon_bytes: last.anon_bytes,
            mapped_bytes: last.mapped_bytes,
            file_bytes: last.file_bytes,
            faults: self.total(Total::Faults),
        }
    }
}

/// A moment of a run: what was live, what the heap had in memory, and the whole process.
#[derive(Debug, Clone, Copy)]
struct Point {
    time_ns: u64,
    live_bytes: u64,
    heap_bytes: u64,
    rss_bytes: u64,
}

/// So many looks on either side say whether what one says is sound.
const NEIGHBOURS: usize = 2;

/// The resident set that was no heap, at each moment: as at the last one where it is known. Where no
/// look could scan the heap (a process that gave up its user), its footprint stands for what it had
/// in memory.
///
/// A look reads the resident set first and scans the heap then. What other threads free in between
/// seems to be no heap: so it is the median of a few looks that counts. The last look stands by
/// itself: at the end of a process hardly anything else goes on.
pub(super) fn others(moments: &[Moment]) -> Vec<u64> {
    let is_scanned = moments.iter().any(|moment| moment.other_bytes.is_some());
    let other_bytes = |moment: &Moment| match is_scanned {
        true => moment.other_bytes,
        false => Some(moment.rss_bytes?.saturating_sub(moment.footprint_bytes?)),
    };
    let known: Vec<u64> = moments.iter().filter_map(other_bytes).collect();
    let median = |index: usize| {
        if index + 1 == known.len() {
            return known[index];
        }
        let from = index.saturating_sub(NEIGHBOURS);
        let mut near = known[from..known.len().min(index + NEIGHBOURS + 1)].to_vec();
        near.sort_unstable();
        near.get(near.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    };
    let mut seen = 0;
    moments
        .iter()
        .map(|moment| {
            seen += usize::from(other_bytes(moment).is_some());
            median(seen.saturating_sub(1))
        })
        .collect()
}

/// The moment of the end: the last look.
fn end_of(moments: &[Moment]) -> Option<usize> {
    moments.iter().rposition(|moment| moment.rss_bytes.is_some())
}

/// The two moments of a drop, by what was live: when it was over, and the last one before live
/// bytes rise again.
fn drop_of(moments: &[Moment]) -> Option<(usize, usize)> {
    let (peak_at, peak) = moments.iter().enumerate().max_by_key(|(_, moment)| moment.live_bytes)?;
    let after = &moments[peak_at..];
    let least = after.iter().map(|moment| moment.live_bytes).min()?;
    let fall = peak.live_bytes.saturating_sub(least);
    if peak.live_bytes == 0 || (fall as f64) < DROP_SHARE * peak.live_bytes as f64 {
        return None;
    }
    let low = least + (fall as f64 * DROP_REST_SHARE) as u64;
    let begin = after.iter().position(|moment| moment.live_bytes <= low)?;
    let length = after[begin..].iter().position(|moment| moment.live_bytes > low);
    let end = length.map_or(after.len(), |length| begin + length) - 1;
    // A moment at which the recorded program was looked at, so that all are compared at it.
    let looked = after[begin..=end].iter().position(|moment| moment.rss_bytes.is_some());
    Some((peak_at + begin + looked.unwrap_or(0), peak_at + end))
}

/// What ratios over time come to, of the points that count.
#[derive(Debug, Clone, Copy, Default)]
struct Ratios {
    mean: Option<f64>,
    worst: Option<f64>,
}

fn ratios(points: &[Point]) -> Ratios {
    let most = points.iter().map(|point| point.live_bytes).max().unwrap_or(0);
    let least = (most / LEAST_LIVE_SHARE).max(1);
    let ratio = |point: &Point| {
        (point.live_bytes >= least).then(|| point.heap_bytes as f64 / point.live_bytes as f64 - 1.0)
    };
    let (mut sum, mut time) = (0.0, 0.0);
    for pair in points.windows(2) {
        if let Some(ratio) = ratio(&pair[0]) {
            let lasted = (pair[1].time_ns - pair[0].time_ns) as f64;
            sum += ratio * lasted;
            time += lasted;
        }
    }
    Ratios {
        mean: (time > 0.0).then(|| sum / time),
        worst: points.iter().filter_map(ratio).max_by(f64::total_cmp),
    }
}

fn johnstone_wilson(points: &[Point], peak_heap: u64, mean: Option<f64>) -> JohnstoneWilson {
    let beyond = |heap: u64, live: u64| (live > 0).then(|| heap as f64 / live as f64 - 1.0);
    let peak_live = points.iter().max_by_key(|point| point.live_bytes);
    let peak_held = points.iter().max_by_key(|point| point.heap_bytes);
    JohnstoneWilson {
        mean_ratio: mean,
        at_peak_live_ratio: peak_live.and_then(|point| beyond(point.heap_bytes, point.live_bytes)),
        at_peak_footprint_ratio: peak_held
            .and_then(|point| beyond(point.heap_bytes, point.live_bytes)),
        peak_to_peak_ratio: peak_live.and_then(|point| beyond(peak_heap, point.live_bytes)),
    }
}

/// How many calls are made in a second.
pub(super) fn per_second(calls: u64, time_ns: u64) -> Option<u64> {
    let in_a_second = || u128::from(calls) * 1_000_000_000 / u128::from(time_ns);
    (time_ns > 0).then(|| in_a_second() as u64)
}

impl Run {
    /// What is counted alike, however the threads ran.
    pub(super) fn counted(source: Source<'_>, baseline: &Baseline) -> Run {
        let refused = source.total(Total::Refused);
        let refusal = (refused > 0).then(|| format!("{refused} calls returned no block"));
        Run {
            calls: Some(source.total(Total::Calls)),
            run_time_ns: Some(source.total(Total::ElapsedNs)),
            faults: Some(source.total(Total::Faults).saturating_sub(baseline.faults)),
            error: source.error.map(ToOwned::to_owned).or(refusal),
            ..Run::default()
        }
    }

    /// What the recorded program itself had.
    pub fn recorded(analysis: &Analysis, moments: &[Moment]) -> Run {
        let others = others(moments);
        let points: Vec<Point> = moments
            .iter()
            .zip(&others)
            .filter_map(|(moment, other_bytes)| {
                let known = moment.rss_bytes.map(|rss| rss.saturating_sub(*other_bytes));
                let heap_bytes = known.or(moment.heap_resident_bytes)?;
                let rss_bytes = moment.rss_bytes?;
                let Moment { time_ns, live_bytes, .. } = *moment;
                Some(Point { time_ns, live_bytes, heap_bytes, rss_bytes })
            })
            .collect();
        let seen = points.iter().map(|point| point.rss_bytes).max();
        // Between looks it may have been more: the kernel keeps the greatest, the tracer's pages
        // included.
        let tracer = analysis.series.iter().filter_map(|state| state.tracer_resident_bytes).max();
        let kept =
            analysis.trace.rss_peak_bytes.zip(tracer).map(|(all, own)| all.saturating_sub(own));
        let other_bytes = others.iter().copied().max().unwrap_or(0);
        let facts = &analysis.trace;
        let mut run = Run {
            peak_rss_bytes: seen.max(kept),
            peak_mapped_bytes: moments.iter().filter_map(|moment| moment.heap_mapped_bytes).max(),
            calls: Some(facts.allocs + facts.reallocs + facts.frees),
            ..Run::default()
        };
        run.peak_heap_bytes = run.peak_rss_bytes.map(|peak| peak.saturating_sub(other_bytes));
        run.measure(&points, moments, run.peak_heap_bytes);
        run
    }

    /// What an allocator had in the driver. `is_recorded`: it is the recorded one, whose code is in
    /// the recorded program's resident set already.
    pub fn replayed(
        moments: &[Moment],
        source: Source<'_>,
        baseline: &Baseline,
        is_recorded: bool,
    ) -> Run {
        let others = others(moments);
        let mut peak_mapped_bytes = None;
        let points: Vec<Point> = moments
            .iter()
            .zip(&others)
            .zip(source.samples())
            .map(|((moment, other_bytes), sample)| {
                let heap_bytes = sample.anon_bytes.saturating_sub(baseline.anon_bytes);
                let mapped_bytes = sample.mapped_bytes.saturating_sub(baseline.mapped_bytes);
                peak_mapped_bytes = peak_mapped_bytes.max(Some(mapped_bytes));
                let code_bytes = match is_recorded {
                    true => 0,
                    false => sample.file_bytes.saturating_sub(baseline.file_bytes),
                };
                let rss_bytes = heap_bytes + other_bytes + code_bytes;
                let Moment { time_ns, live_bytes, .. } = *moment;
                Point { time_ns, live_bytes, heap_bytes, rss_bytes }
            })
            .collect();
        let greatest = points.iter().max_by_key(|point| point.rss_bytes);
        // The kernel keeps the peak between samples too.
        let between = match source.total(Total::PeakAnonBytes) {
            0 => None,
            peak => Some(peak.saturating_sub(baseline.anon_bytes)),
        };
        let rss_between = between
            .zip(greatest)
            .map(|(heap_bytes, point)| heap_bytes + (point.rss_bytes - point.heap_bytes));
        let call_ns = source.total(Total::CallNs);
        let peak_heap_bytes = points.iter().map(|point| point.heap_bytes).max().max(between);
        let mut run = Run {
            peak_rss_bytes: greatest.map(|point| point.rss_bytes).max(rss_between),
            peak_heap_bytes,
            peak_mapped_bytes,
            alloc_time_ns: Some(call_ns),
            calls_per_second: per_second(source.total(Total::Calls), call_ns),
            ..Run::counted(source, baseline)
        };
        run.measure(&points, moments, peak_heap_bytes);
        run
    }

    fn measure(&mut self, points: &[Point], moments: &[Moment], peak_heap_bytes: Option<u64>) {
        let at = |index: usize| {
            let time_ns = moments.get(index)?.time_ns;
            points.iter().rfind(|point| point.time_ns <= time_ns)
        };
        let whole = points.last().map(|point| point.time_ns)
            >= end_of(moments).map(|end| moments[end].time_ns);
        let end = end_of(moments).and_then(at).filter(|_| whole);
        self.end_rss_bytes = end.map(|point| point.rss_bytes);
        self.end_heap_bytes = end.map(|point| point.heap_bytes);
        if let Some((begin, decayed)) = drop_of(moments).filter(|_| whole) {
            // Of the recorded program only looks tell: one may have come a little later.
            let span = moments[begin].time_ns..=moments[decayed].time_ns;
            let mut low = points.iter().filter(|point| span.contains(&point.time_ns));
            let (first, last) = (low.next(), low.next_back());
            self.after_drop_rss_bytes = first.map(|point| point.rss_bytes);
            self.after_decay_rss_bytes = last.or(first).map(|point| point.rss_bytes);
            self.returned_ratio = first
                .zip(peak_heap_bytes.filter(|peak| *peak > 0))
                .map(|(after, peak)| 1.0 - after.heap_bytes as f64 / peak as f64);
        }
        let ratios = ratios(points);
        self.mean_fragmentation_ratio = ratios.mean;
        self.worst_fragmentation_ratio = ratios.worst;
        self.johnstone_wilson = johnstone_wilson(points, peak_heap_bytes.unwrap_or(0), ratios.mean);
        self.curve = points.iter().map(|point| (point.time_ns, point.rss_bytes)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(time_ns: u64, live_bytes: u64, rss: Option<u64>, other: Option<u64>) -> Moment {
        Moment { time_ns, live_bytes, rss_bytes: rss, other_bytes: other, ..Moment::default() }
    }

    fn words(samples: &[(u64, u64, u64)]) -> Vec<u64> {
        let mut words = vec![0; TOTALS];
        words[Total::Samples as usize] = samples.len() as u64;
        words.extend(samples.iter().flat_map(|(anon, mapped, file)| [*anon, *mapped, *file]));
        words
    }

    #[test]
    fn a_look_amid_a_fall_says_nothing_of_what_is_no_heap() {
        let known = [10, 11, 500, 12, 40, 41, 42, 43];
        let moments = known.map(|other| moment(0, 0, Some(1000), Some(other)));
        assert_eq!(others(&moments), [11, 11, 12, 40, 41, 41, 41, 43]);
        assert_eq!(others(&[moment(0, 0, None, None)]), [0]);
        let held = |footprint| Moment {
            footprint_bytes: Some(footprint),
            ..moment(0, 0, Some(1000), None)
        };
        assert_eq!(others(&[held(900), held(950), held(800)]), [100, 100, 200]);
    }

    #[test]
    fn a_run_is_the_drivers_heap_and_the_programs_rest() {
        let moments = [
            moment(0, 0, Some(60), Some(60)),
            moment(10, 100, None, None),
            moment(20, 10, Some(90), Some(60)),
            moment(30, 10, Some(80), Some(60)),
        ];
        let words = words(&[(5, 7, 9), (205, 400, 11), (105, 300, 12), (45, 300, 12)]);
        let source = Source { words: &words, error: None };
        let baseline = Baseline { anon_bytes: 5, mapped_bytes: 7, file_bytes: 10, faults: 0 };
        let run = Run::replayed(&moments, source, &baseline, false);
        assert_eq!(run.peak_rss_bytes, Some(261));
        assert_eq!((run.end_rss_bytes, run.end_heap_bytes), (Some(102), Some(40)));
        assert_eq!(run.peak_mapped_bytes, Some(393));
        assert_eq!(run.after_drop_rss_bytes, Some(162));
        assert_eq!(run.after_decay_rss_bytes, Some(102));
        assert_eq!(run.returned_ratio, Some(0.5));
        // 100 live with 200 held for 10, then 10 with 100 for 10.
        assert_eq!(run.mean_fragmentation_ratio, Some((1.0 * 10.0 + 9.0 * 10.0) / 20.0));
        assert_eq!(run.worst_fragmentation_ratio, Some(9.0));
        assert_eq!(run.johnstone_wilson.at_peak_live_ratio, Some(1.0));
    }

    #[test]
    fn a_run_that_was_stopped_has_no_end() {
        let moments = [moment(0, 1, Some(50), Some(50)), moment(10, 100, Some(150), Some(50))];
        let words = words(&[(5, 7, 9)]);
        let source = Source { words: &words, error: Some("stopped") };
        let run = Run::replayed(&moments, source, &Baseline::default(), true);
        assert_eq!((run.peak_rss_bytes, run.end_rss_bytes), (Some(55), None));
        assert_eq!(run.error.as_deref(), Some("stopped"));
    }

    #[test]
    fn without_a_drop_nothing_is_said_of_it() {
        let moments = [moment(0, 100, Some(1), None), moment(10, 90, Some(1), None)];
        assert_eq!(drop_of(&moments), None);
        let rises = [(0, 5), (10, 100), (20, 1), (30, 1), (40, 60)];
        let moments = rises.map(|(time_ns, live)| moment(time_ns, live, None, None));
        assert_eq!(drop_of(&moments), Some((2, 3)));
    }
}
