//! `rss-stairs`: the heap grows in jumps, each a burst that ends and whose memory stays.
//!
//! *Signature*: three or more steps of the footprint that stay to the end. In each, live bytes
//! rise and then fall back by at least half of the step before the next one begins; they do not
//! end higher by more than half of it than they began, or the program simply holds more; and
//! something that came in the burst is still live, or nothing of it keeps the memory. Steps and
//! what was live come from every event, not from samples (`measure/stairs.rs`).
//!
//! *Thresholds*: three, as two steps are how many programs start; each of 2 MiB and a
//! thirty-second of the greatest footprint, so that the ebb and flow of a server is none; all
//! together a third of it, or they are not what the heap is made of.
//!
//! A heap that was filled again twice or more, and has not been idle for longer than between two of
//! these times, keeps a reserve, such as a compiler from pass to pass: no more than "info".
//!
//! *At stake*: what lies idle for the last tenth of the run, at most the steps together.

use super::case::{Case, place};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, MIB, Severity};
use crate::measure::{Step, Survivors};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LEAST_JUMPS: usize = 3;
const LEAST_JUMP_BYTES: u64 = 2 * MIB;
const JUMP_PART: u64 = 32;
const RISEN_PART: u64 = 3;
/// So many jumps are told one by one.
const TOLD: usize = 5;

/// A burst whose memory stayed, and what is left of it.
type Jump<'a> = (&'a Step, &'a Survivors);

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let most = case.analysis.peak_footprint.footprint_bytes?;
    let least = (most / JUMP_PART).max(LEAST_JUMP_BYTES);
    let steps = case.analysis.steps.iter().zip(&case.shape.survivors);
    let jumps: Vec<Jump<'_>> = steps.filter(|jump| is_jump(jump, least)).collect();
    let risen: u64 = jumps.iter().map(|(step, _)| step.bytes).sum();
    if jumps.len() < LEAST_JUMPS || risen < most / RISEN_PART {
        return None;
    }
    let keeper = keeper(&jumps);
    // Survivors do not hold pages on which nothing is live.
    let empty = case.shape.empty_bytes.filter(|empty| *empty >= risen / 2).unwrap_or(0);
    Some(Finding {
        title: format!("the heap grew in {} jumps and never came down", jumps.len()),
        bytes: risen.min(case.lasting_idle_bytes()),
        most: if case.is_reserve() { Severity::Info } else { Severity::Serious },
        of: Of::Idle,
        evidence: BTreeMap::from([
            ("jumps", jumps.iter().map(evidence).collect()),
            ("risen_bytes", json!(risen)),
            ("site", keeper.map_or(Value::Null, |left| place(&left.site))),
        ]),
        explanation: explanation(&jumps, keeper, empty) + case.reserve_in_words(),
        remedy: remedy(keeper, case.shape.glibc, empty > 0),
    })
}

fn is_jump((step, left): &Jump<'_>, least_bytes: u64) -> bool {
    step.bytes >= least_bytes
        && step.is_burst()
        && step.live_after_bytes <= step.live_before_bytes + step.bytes / 2
        && left.blocks > 0
}

/// What survived of the burst with the largest step, if it is known where that came from.
fn keeper<'a>(jumps: &[Jump<'a>]) -> Option<&'a Survivors> {
    let (_, left) = jumps.iter().max_by_key(|(step, _)| step.bytes)?;
    (left.site_blocks > 0 && left.site != Default::default()).then_some(*left)
}

fn evidence((step, left): &Jump<'_>) -> Value {
    json!({
        "time_ns": step.peak_ns,
        "start_ns": step.start_ns,
        "end_ns": step.end_ns,
        "bytes": step.bytes,
        "live_before_bytes": step.live_before_bytes,
        "live_bytes": step.live_peak_bytes,
        "live_after_bytes": step.live_after_bytes,
        "survivor_blocks": left.blocks,
        "survivor_bytes": left.live_bytes,
        "survivor_site": place(&left.site),
        "survivor_site_blocks": left.site_blocks,
    })
}

/// `empty_bytes`: on pages without a live block, if that is most of it.
fn explanation(jumps: &[Jump<'_>], keeper: Option<&Survivors>, empty_bytes: u64) -> String {
    let told: Vec<String> = jumps.iter().take(TOLD).map(told).collect();
    let more = if jumps.len() > TOLD { ", and so on" } else { "" };
    let mut text = format!("It rose {}{more}.", told.join("; "));
    if let Some(left) = keeper {
        text += &format!(
            " Of {} blocks that the largest burst left behind, {} are from {}{}.",
            words::count(left.blocks),
            words::count(left.site_blocks),
            left.site.in_words(),
            if empty_bytes == 0 { ": they keep its memory" } else { "" }
        );
    }
    if empty_bytes > 0 {
        text += &format!(
            " But {} of the heap are whole pages without a live block: they are not pinned, the \
             allocator keeps them.",
            words::bytes(empty_bytes)
        );
    }
    text
}

fn told((step, left): &Jump<'_>) -> String {
    format!(
        "by {} in the burst at {} ({} live then, {} after, {} of its blocks to the end)",
        words::bytes(step.bytes),
        words::duration(step.peak_ns),
        words::bytes(step.live_peak_bytes),
        words::bytes(step.live_after_bytes),
        words::count(left.blocks)
    )
}

fn remedy(keeper: Option<&Survivors>, glibc: bool, trim_first: bool) -> Remedy {
    let what = keeper.map_or_else(
        || "what outlives a burst".to_owned(),
        |left| format!("what outlives a burst ({})", left.site.in_words()),
    );
    let apart_in_c =
        format!("take {what} from a pool of its own, allocated before the burst begins");
    let apart_in_rust = format!(
        "keep {what} in one `Vec` with `with_capacity` or in an arena, apart from what the burst needs"
    );
    let with_trim = |apart: String, trim: &str| match (glibc, trim_first) {
        (false, _) => format!("{apart}."),
        (true, false) => {
            format!("{apart}; {trim} after each burst gives back the whole pages between.")
        }
        (true, true) => {
            format!("call {trim} after each burst, which gives back whole pages; and {apart}.")
        }
    };
    Remedy {
        c: with_trim(apart_in_c, "`malloc_trim(0);`"),
        rust: with_trim(apart_in_rust, "`unsafe { libc::malloc_trim(0) };`"),
        setting: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(bytes: u64, live: [u64; 3]) -> Step {
        let [live_before_bytes, live_peak_bytes, live_after_bytes] = live.map(|live| live * MIB);
        let bytes = bytes * MIB;
        Step { bytes, live_before_bytes, live_peak_bytes, live_after_bytes, ..Step::default() }
    }

    #[test]
    fn a_jump_is_a_burst_that_ends_and_leaves_something() {
        let left = Survivors { blocks: 1, ..Survivors::default() };
        let least = 10 * MIB;
        assert!(is_jump(&(&jump(20, [1, 21, 11]), &left), least));
        assert!(!is_jump(&(&jump(20, [1, 21, 12]), &left), least), "it did not fall back");
        assert!(!is_jump(&(&jump(20, [1, 30, 12]), &left), least), "more is in use");
        assert!(!is_jump(&(&jump(9, [1, 21, 1]), &left), least), "too small");
        assert!(!is_jump(&(&jump(20, [1, 21, 11]), &Survivors::default()), least));
    }
}
