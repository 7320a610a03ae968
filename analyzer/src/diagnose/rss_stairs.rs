//! `rss-stairs`: the heap grows in jumps, each a burst that ends and whose memory stays.
//!
//! *Signature*: three or more jumps of the footprint, each by 2 MiB and a tenth of the greatest
//! or more within a sixteenth of the recorded time; after each, what is live falls back by half
//! of the jump or more before the next, and the footprint does not.
//!
//! *Thresholds*: three, as two steps are how many programs start; a tenth, so that a slow rise
//! counts as none.
//!
//! *At stake*: what lies idle for the last tenth of the run, at most the jumps together.

use super::case::Case;
use super::remedy::Remedy;
use super::{Finding, MIB, Severity};
use crate::measure::State;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

const LEAST_JUMPS: usize = 3;
const LEAST_JUMP_BYTES: u64 = 2 * MIB;
const JUMP_PART: u64 = 10;
const JUMP_TIME_PART: u64 = 16;
/// A rise is over when nothing happens for this part of the time that a jump may take.
const PAUSE_PART: u64 = 4;
/// So many jumps are told one by one.
const TOLD: usize = 4;

/// A rise of the footprint that stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jump {
    time_ns: u64,
    bytes: u64,
    live_bytes: u64,
    live_after_bytes: u64,
}

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let analysis = case.analysis;
    let trace = &analysis.trace;
    let length_ns = trace.duration_ns.saturating_sub(trace.window_start_ns);
    let most = analysis.peak_footprint.footprint_bytes?;
    let least = (most / JUMP_PART).max(LEAST_JUMP_BYTES);
    let jumps = jumps(&analysis.series, least, length_ns / JUMP_TIME_PART);
    let risen: u64 = jumps.iter().map(|jump| jump.bytes).sum();
    if jumps.len() < LEAST_JUMPS {
        return None;
    }
    let bytes = risen.min(case.lasting_idle_bytes());
    let told = jumps.iter().take(TOLD).map(|jump| {
        format!(
            "at {} by {} ({} live then, {} after)",
            words::duration(jump.time_ns),
            words::bytes(jump.bytes),
            words::bytes(jump.live_bytes),
            words::bytes(jump.live_after_bytes)
        )
    });
    let told: Vec<String> = told.collect();
    let survivor = case.blame.sites.first().map(|site| site.site.in_words());
    let keeper =
        survivor.map_or_else(String::new, |site| format!(" Of what survived, {site} pins most."));
    let list = jumps.iter().map(|jump| {
        json!({
            "time_ns": jump.time_ns,
            "bytes": jump.bytes,
            "live_bytes": jump.live_bytes,
            "live_after_bytes": jump.live_after_bytes,
        })
    });
    Some(Finding {
        title: format!("the heap grew in {} jumps and never came down", jumps.len()),
        bytes,
        most: Severity::Serious,
        evidence: BTreeMap::from([("jumps", list.collect()), ("risen_bytes", json!(risen))]),
        explanation: format!(
            "It rose {}{}.{keeper}",
            told.join(", "),
            if jumps.len() > TOLD { ", and so on" } else { "" }
        ),
        remedy: Remedy {
            c: "see what each burst leaves behind (`fragtrace blame --at TIME` after a jump), and \
                take that from a pool of its own; or call `malloc_trim(0);` after each burst."
                .into(),
            rust: "the same; keep what outlives a request in one `Vec` or arena, apart from what \
                   the request needs."
                .into(),
            setting: None,
        },
    })
}

/// Where a rise ends that is under way at `at`: nothing higher comes within `pause_ns`.
fn top_of_rise(series: &[State], mut at: usize, pause_ns: u64) -> usize {
    let held = |index: usize| series[index].footprint_bytes.unwrap_or(0);
    loop {
        let until_ns = series[at].time_ns.saturating_add(pause_ns);
        let soon = (at + 1..series.len())
            .take_while(|next| *next == at + 1 || series[*next].time_ns <= until_ns);
        match soon.filter(|next| held(*next) > held(at)).last() {
            Some(higher) => at = higher,
            None => return at,
        }
    }
}

/// Jumps that stayed, in order of time.
fn jumps(series: &[State], least_bytes: u64, most_ns: u64) -> Vec<Jump> {
    let held = |state: &State| state.footprint_bytes.unwrap_or(0);
    let mut jumps = Vec::new();
    let mut from = 0;
    let mut at = 1;
    while at < series.len() {
        while series[at].time_ns - series[from].time_ns > most_ns && from + 1 < at {
            from += 1;
        }
        if held(&series[at]) < held(&series[from]) + least_bytes {
            at += 1;
            continue;
        }
        at = top_of_rise(series, at, most_ns / PAUSE_PART);
        let bytes = held(&series[at]) - held(&series[from]);
        let later = &series[at..];
        let next = later.iter().position(|state| held(state) > held(&series[at]) + least_bytes / 2);
        let plateau = &later[..next.unwrap_or(later.len())];
        let live_after = plateau.iter().map(|state| state.live_bytes).min().unwrap_or(0);
        // The burst may be over by the moment of its last new page.
        let burst = series[from..=at].iter().map(|state| state.live_bytes);
        let live_bytes = burst.max().unwrap_or(0);
        let stays = later.iter().all(|state| held(state) + bytes / 2 >= held(&series[at]));
        if stays && live_after + bytes / 2 <= live_bytes {
            let time_ns = series[at].time_ns;
            jumps.push(Jump { time_ns, bytes, live_bytes, live_after_bytes: live_after });
        }
        from = at;
        at += 1;
    }
    jumps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(moments: &[(u64, u64)]) -> Vec<State> {
        let state = |(time_ns, (live, held)): (usize, &(u64, u64))| State {
            time_ns: time_ns as u64 * 10,
            live_bytes: live * MIB,
            footprint_bytes: Some(held * MIB),
            ..State::default()
        };
        moments.iter().enumerate().map(state).collect()
    }

    #[test]
    fn stairs_are_jumps_that_stay() {
        let stairs = series(&[(1, 1), (20, 20), (2, 20), (2, 20), (22, 40), (3, 40), (3, 40)]);
        let found = jumps(&stairs, 4 * MIB, 20);
        let heights: Vec<u64> = found.iter().map(|jump| jump.bytes / MIB).collect();
        assert_eq!(heights, [19, 20]);
        assert_eq!(found[0].live_after_bytes, 2 * MIB);
    }

    #[test]
    fn what_comes_down_or_stays_live_is_no_stair() {
        let ebb = series(&[(1, 1), (20, 20), (2, 2), (20, 20), (2, 2)]);
        assert_eq!(jumps(&ebb, 4 * MIB, 20), []);
        let growth = series(&[(1, 1), (20, 20), (20, 20), (40, 40), (40, 40)]);
        assert_eq!(jumps(&growth, 4 * MIB, 20), []);
        let slow = series(&[(1, 1), (4, 4), (7, 7), (10, 10), (1, 10)]);
        assert_eq!(jumps(&slow, 4 * MIB, 5), []);
    }
}
