//! What the figures say, in sentences that are arithmetic on them and nothing more.

use super::{plural, scale};
use crate::measure::{Analysis, Interval, State};

/// Below this a heap is mostly what any process has, and ratios say nothing.
const SMALL_HEAP_BYTES: u64 = 4 << 20;

/// The sentences, most telling first.
pub(super) fn all(analysis: &Analysis) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(out_of_memory(analysis));
    out.extend(held_at_end(&analysis.end));
    out.extend(fall_from_peaks(analysis));
    out.extend(freed_in_vain(analysis));
    out.extend(share_of_rss(&analysis.end));
    out.extend(latency(analysis));
    out.extend(drift(analysis));
    out.extend(too_small(analysis));
    out
}

/// How far the heap's extent was from the kernel's mappings when looks came to correct it.
fn drift(analysis: &Analysis) -> Option<String> {
    let drift = &analysis.trace.drift;
    analysis.peak_footprint.footprint_bytes.filter(|bytes| *bytes > 0)?;
    let most = drift.most_bytes?;
    let looks = plural(drift.looks, "look");
    let Some(at_ns) = drift.most_at_ns.filter(|_| most > 0) else {
        return Some(format!(
            "Events told the heap's extent as {looks} at the kernel's mappings found it."
        ));
    };
    Some(format!(
        "Of {looks} at the kernel's mappings {} corrected the heap's extent as events had told it, by \
         {} at most, at {}.",
        scale::count(drift.corrected_looks),
        scale::bytes(most),
        scale::duration(at_ns)
    ))
}

/// From so many calls on, the slowest of a hundred is more than one of them.
const TELLING_CALLS: u64 = 200;
/// The course is told when the median of the last fifth of calls is so many times that of the first.
const TELLING_CHANGE: f64 = 1.5;

fn latency(analysis: &Analysis) -> Option<String> {
    let latency = analysis.latency.as_ref().filter(|known| known.all.timed >= TELLING_CALLS)?;
    let mut text = format!(
        "A call of the allocator took {} in the median, {} at the 99th percentile, {} at most (of {} \
         that were timed, clock included)",
        scale::duration(latency.all.median_ns),
        scale::duration(latency.all.p99_ns),
        scale::duration(latency.all.max_ns),
        scale::count(latency.calls_timed)
    );
    // Stretches with many calls weigh more: medians of medians would not.
    let median = |part: &[Interval]| {
        let calls: u64 = part.iter().map(|stretch| stretch.calls.timed).sum();
        let sum: u64 =
            part.iter().map(|stretch| stretch.calls.median_ns * stretch.calls.timed).sum();
        (calls >= TELLING_CALLS / 5).then(|| sum as f64 / calls as f64)
    };
    let fifth = latency.over_time.len().div_ceil(5);
    let (first, last) = latency.over_time.split_at(latency.over_time.len() - fifth);
    let first = median(&first[..fifth.min(first.len())]);
    if let (Some(first), Some(last)) = (first, median(last))
        && (last > first * TELLING_CHANGE || first > last * TELLING_CHANGE)
    {
        text += &format!(
            "; {} in the first fifth of the time, {} in the last",
            scale::duration(first as u64),
            scale::duration(last as u64)
        );
    }
    Some(text + ".")
}

/// From this part of its cgroup's limit on, a process that is gone without a word may have been
/// killed for it: the page cache of its files counts there as well.
const NEAR_LIMIT: (u64, u64) = (3, 4);

fn out_of_memory(analysis: &Analysis) -> Option<String> {
    let limit = analysis.trace.cgroup_limit_bytes?;
    let end = &analysis.end;
    let rss = end.rss_bytes.map(|rss| rss + end.tracer_resident_bytes.unwrap_or(0));
    // The footprint is as of the last event, RSS as of the last look before it.
    let held = end.footprint_bytes.max(rss)?;
    let killed = matches!(&*analysis.trace.end, "unknown" | "signal 9");
    (killed && held >= limit / NEAR_LIMIT.1 * NEAR_LIMIT.0).then(|| {
        format!(
            "This is consistent with an OOM kill: the heap's last footprint was {}, the process had \
             {} in memory, and the limit of its cgroup is {}.",
            end.footprint_bytes.map_or_else(|| "not known".into(), scale::bytes),
            rss.map_or_else(|| "an unknown part".into(), scale::bytes),
            scale::bytes(limit)
        )
    })
}

/// A part of a whole as a percentage; `whole` must not be 0.
fn share(part: u64, whole: u64) -> String {
    scale::percent(part as f64 / whole as f64)
}

fn held_at_end(end: &State) -> Option<String> {
    let footprint = end.footprint_bytes.filter(|footprint| *footprint > 0)?;
    let free = end.free_bytes?;
    let mut text = format!(
        "At the end {} are live while the heap holds {}: {} of the footprint is free",
        scale::bytes(end.live_bytes),
        scale::bytes(footprint),
        share(free, footprint)
    );
    if let (Some(count @ 1..), Some(largest)) = (end.hole_count, end.largest_hole_bytes) {
        text += &format!(", in {}, the largest {}", plural(count, "hole"), scale::bytes(largest));
    }
    Some(text + ".")
}

fn fall_from_peaks(analysis: &Analysis) -> Option<String> {
    let (peak, end) = (&analysis.peak, &analysis.end);
    let most = analysis.peak_footprint.footprint_bytes.filter(|most| *most > 0)?;
    let held = end.footprint_bytes?;
    // Without a fall there is nothing to compare it with.
    let fallen = peak.live_bytes.checked_sub(end.live_bytes).filter(|fallen| *fallen > 0)?;
    Some(format!(
        "Since {}, when {} were live, live bytes fell by {}; the footprint fell by {} from its \
         greatest, {}.",
        scale::duration(peak.time_ns),
        scale::bytes(peak.live_bytes),
        share(fallen, peak.live_bytes),
        share(most.saturating_sub(held), most),
        scale::bytes(most)
    ))
}

/// So many holes with so much in them are told of.
const TELLING_HOLES: u64 = 100;
const TELLING_FREE_BYTES: u64 = 128 << 10;
/// Of what is free, at most one part in so many is on whole pages.
const HARDLY_ANY: u64 = 100;

/// When most of what was freed lay beside live blocks on every page: then RSS does not move.
fn freed_in_vain(analysis: &Analysis) -> Option<String> {
    let peak = &analysis.peak;
    let after = analysis.series.iter().filter(|state| state.time_ns >= peak.time_ns);
    let (state, free, releasable) = after
        .filter(|state| state.hole_count.is_some_and(|count| count >= TELLING_HOLES))
        .filter_map(|state| Some((state, state.free_bytes?, state.releasable_bytes?)))
        .filter(|(state, free, releasable)| {
            state.live_bytes < peak.live_bytes
                && *free >= TELLING_FREE_BYTES
                && *releasable <= free / HARDLY_ANY
        })
        .max_by_key(|(_, free, _)| *free)?;
    let pages = match releasable {
        0 => "no page in memory was without a live block, so nothing of it could go back".into(),
        whole => format!(
            "only {} of it were whole pages in memory, and nothing else could go back",
            scale::bytes(whole)
        ),
    };
    Some(format!(
        "At {} {} less were live than at the peak, and {} lay free in {}, the largest {}: {pages}.",
        scale::duration(state.time_ns),
        scale::bytes(peak.live_bytes - state.live_bytes),
        scale::bytes(free),
        plural(state.hole_count?, "hole"),
        scale::bytes(state.largest_hole_bytes?)
    ))
}

fn share_of_rss(end: &State) -> Option<String> {
    let rss = end.rss_bytes.filter(|rss| *rss > 0)?;
    let footprint = end.footprint_bytes?;
    let text = if footprint <= rss {
        format!(
            "The process has {} in memory (RSS); the heap's footprint is {} of it.",
            scale::bytes(rss),
            share(footprint, rss)
        )
    } else {
        let why = match end.swapped_bytes {
            Some(0) => "was given back unseen, or never touched",
            _ => "is swapped out, was given back unseen, or never touched",
        };
        format!(
            "The process has {} in memory (RSS), less than the heap's footprint of {}: part of \
             the heap {why}.",
            scale::bytes(rss),
            scale::bytes(footprint)
        )
    };
    Some(text)
}

fn too_small(analysis: &Analysis) -> Option<String> {
    let most = analysis.peak_footprint.footprint_bytes?;
    (most < SMALL_HEAP_BYTES).then(|| {
        format!(
            "The heap never held more than {}: too little to judge its fragmentation by.",
            scale::bytes(most)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 5,000 blocks of 64 bytes were freed between as many of 4 KiB; then those, too.
    #[test]
    fn what_was_freed_beside_live_blocks_on_every_page_is_said_to_stay() {
        let peak = State { time_ns: 1_000_000, live_bytes: 20 << 20, ..State::default() };
        let freed = |time_ns, releasable_bytes| State {
            time_ns,
            live_bytes: (20 << 20) - (320 << 10),
            free_bytes: Some(400 << 10),
            hole_count: Some(5000),
            largest_hole_bytes: Some(80),
            releasable_bytes: Some(releasable_bytes),
            ..State::default()
        };
        let of = |series: Vec<State>| {
            freed_in_vain(&Analysis { peak: peak.clone(), series, ..Analysis::default() })
        };
        let text = of(vec![peak.clone(), freed(2_000_000, 0), State::default()]);
        assert_eq!(
            text.as_deref(),
            Some(
                "At 2.00 ms 320 KiB less were live than at the peak, and 400 KiB lay free in 5,000 \
                 holes, the largest 80 B: no page in memory was without a live block, so nothing \
                 of it could go back."
            )
        );
        let whole_pages = of(vec![freed(2_000_000, 8 << 10), freed(500_000, 0)]);
        assert_eq!(whole_pages, None, "much of it is whole pages, or it was before the peak");
        let text = of(vec![freed(2_000_000, 4 << 10)]).unwrap_or_default();
        assert!(text.contains("only 4.00 KiB of it were whole pages"), "{text}");
    }
}
