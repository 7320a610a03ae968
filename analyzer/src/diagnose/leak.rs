//! `leak`: what is live rises to the end, and the blocks of one site are never freed, or more slowly than
//! they come.
//!
//! *Signature*: live bytes at the end are at least nine tenths of their peak; they grew in three of
//! the last four eighths of the recorded time, by a quarter or more of the mean; and one site
//! holds blocks from all eighths but one, which make up a quarter or more of what is live.
//!
//! *Thresholds*: eighths, so that a cache that fills up has levelled in the later ones, and a
//! program that loads its data once has none in most. All but one, as a process that had to wait
//! for its turn, or for its clients, grew in none of that time.
//!
//! A program that does nothing but load data grows in the same way. Only where at least half of
//! all blocks were freed again, work went on beside the growth, and it is more than "info".
//!
//! Where no site keeps its oldest blocks, but one has at least half of what is live, nothing of it from the
//! first eighth, and freed at least half as many as it has, that one is told of: a queue that is filled
//! faster than it is emptied loses its oldest first. It may be work that has not come to its full size, too,
//! so it is never more than a warning.
//!
//! *At stake*: what the site has live.

use super::case::{Case, is_code, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::measure::blame::{COHORTS, SiteFacts};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of what is live, the site has at least one part in so many.
const SITE_PART: u64 = 4;
/// From each eighth of the time there is at least one part in so many of the site's bytes.
const COHORT_PART: u64 = 32;
/// So many eighths may be without growth.
const MOST_STILL: usize = 1;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let live = case.live_by_eighths();
    if !rises_to_the_end(&live) {
        return None;
    }
    let live_bytes = case.analysis.end.live_bytes;
    let mut code = case.blame.sites.iter().filter(|site| is_code(site));
    let kept = code.clone().find(|site| never_freed(site, live_bytes));
    kept.map(|site| of_kept(case, site)).or_else(|| {
        let outpaced = code.find(|site| outpaced(site, live_bytes))?;
        Some(of_outpaced(case, outpaced, &live))
    })
}

/// Whether work went on beside the growth: a program that loads data frees little.
fn works(case: &Case<'_>) -> bool {
    case.analysis.trace.frees >= case.analysis.trace.allocs / 2
}

/// Bytes that came in the later half of the recorded time, as bytes a second.
fn a_second(case: &Case<'_>, bytes: u64) -> u64 {
    let trace = &case.analysis.trace;
    let length_ns = trace.duration_ns.saturating_sub(trace.window_start_ns);
    (bytes as f64 / (length_ns as f64 / 2e9).max(1e-9)) as u64
}

/// "86 % of it (43 MiB, 48,000 blocks) are from …".
fn whose(site: &SiteFacts, live_bytes: u64) -> String {
    format!(
        "{} of it ({}, {} blocks) are from {}",
        share(site.live_bytes, live_bytes),
        words::bytes(site.live_bytes),
        words::count(site.live_blocks),
        site.site.in_words()
    )
}

fn evidence(case: &Case<'_>, site: &SiteFacts, a_second: u64) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("live_bytes", json!(case.analysis.end.live_bytes)),
        ("site_live_bytes", json!(site.live_bytes)),
        ("site_live_blocks", json!(site.live_blocks)),
        ("site_live_bytes_by_eighth_of_time", json!(site.cohorts)),
        ("growth_bytes_per_second", json!(a_second)),
        ("site", place(&site.site)),
    ])
}

/// The site's oldest blocks are still there.
fn of_kept(case: &Case<'_>, site: &SiteFacts) -> Finding {
    let name = site.site.in_words();
    let a_second = a_second(case, site.cohorts[COHORTS / 2..].iter().sum());
    let doubt = if works(case) {
        ""
    } else {
        " Few blocks of this program are freed at all: it may just be loading data."
    };
    Finding {
        title: format!("{name} allocates more and more and does not free it"),
        bytes: site.live_bytes,
        most: if works(case) { Severity::Serious } else { Severity::Info },
        of: Of::Else,
        evidence: evidence(case, site, a_second),
        explanation: format!(
            "What is live rises to the end; {}, from every part of the recorded time: the oldest are \
             never freed. It grows by {} a second.{doubt}",
            whose(site, case.analysis.end.live_bytes),
            words::bytes(a_second)
        ),
        remedy: Remedy {
            c: format!(
                "free the blocks of {name} when their owner goes; `fragtrace blame --by stack` shows who calls it."
            ),
            rust: format!(
                "look for what keeps the values of {name}: a map without removal, a cycle of `Rc` or `Arc`, `mem::forget`, `Box::leak`, a channel that nobody drains."
            ),
            setting: None,
        },
    }
}

/// The site's oldest blocks are gone, and yet it has more and more.
fn of_outpaced(case: &Case<'_>, site: &SiteFacts, live: &[u64; COHORTS]) -> Finding {
    let name = site.site.in_words();
    let a_second = a_second(case, live[COHORTS - 1].saturating_sub(live[COHORTS / 2 - 1]));
    Finding {
        title: format!("blocks of {name} come faster than they are freed"),
        bytes: site.live_bytes,
        most: Severity::Warning,
        of: Of::Else,
        evidence: evidence(case, site, a_second),
        explanation: format!(
            "What is live rises to the end, by {} a second; {}. The oldest of these are freed, but more \
             come than go: a queue that is filled faster than it is emptied, or a set that still grows.",
            words::bytes(a_second),
            whose(site, case.analysis.end.live_bytes)
        ),
        remedy: Remedy {
            c: format!(
                "bound what holds the blocks of {name}, and let who fills it wait where it is full."
            ),
            rust: format!(
                "bound what holds the values of {name}: a channel with room for so many \
                 (`tokio::sync::mpsc::channel(n)`, `std::sync::mpsc::sync_channel(n)`), whose senders \
                 wait, instead of an unbounded one."
            ),
            setting: None,
        },
    }
}

/// Whether live bytes grow throughout the later half. `live` is at the end of each eighth.
fn rises_to_the_end(live: &[u64; COHORTS]) -> bool {
    let last = live[COHORTS - 1];
    let peak = live.iter().copied().max().unwrap_or(0);
    let mean = last / COHORTS as u64;
    let steps = live[COHORTS / 2 - 1..].windows(2);
    let still = steps.filter(|pair| pair[1] <= pair[0] + mean / 4).count();
    last >= peak - peak / 10 && still <= MOST_STILL
}

fn never_freed(site: &SiteFacts, live_bytes: u64) -> bool {
    site.live_bytes >= live_bytes / SITE_PART
        && site.cohorts.iter().filter(|bytes| **bytes <= site.live_bytes / COHORT_PART).count()
            <= MOST_STILL
}

/// Whether most is the site's, none of it old, though it has been at work for longer than that.
fn outpaced(site: &SiteFacts, live_bytes: u64) -> bool {
    let freed = site.allocs.map_or(0, |allocs| allocs.saturating_sub(site.live_blocks));
    site.live_bytes >= live_bytes / 2
        && site.cohorts[0] <= site.live_bytes / COHORT_PART
        && freed >= site.live_blocks / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steady_growth_is_a_leak() {
        assert!(rises_to_the_end(&[10, 20, 30, 40, 50, 60, 70, 80]));
        assert!(rises_to_the_end(&[10, 20, 30, 40, 50, 50, 60, 70]), "it waited once");
        assert!(!rises_to_the_end(&[10, 20, 30, 40, 50, 50, 50, 60]), "twice");
        assert!(!rises_to_the_end(&[40, 60, 70, 75, 78, 79, 80, 80]), "it levels");
        assert!(!rises_to_the_end(&[10, 20, 30, 40, 50, 60, 70, 20]), "it was freed");
        assert!(!rises_to_the_end(&[0, 0, 0, 0, 0, 0, 0, 80]), "it came at once");
    }

    #[test]
    fn survivors_are_from_all_of_the_time() {
        let site = |cohorts: [u64; COHORTS]| SiteFacts {
            live_bytes: cohorts.iter().sum(),
            cohorts,
            ..SiteFacts::default()
        };
        assert!(never_freed(&site([10; COHORTS]), 320));
        assert!(!never_freed(&site([10; COHORTS]), 330), "others have more");
        assert!(!never_freed(&site([0, 0, 0, 0, 10, 20, 40, 40]), 100), "old ones die");
    }

    #[test]
    fn a_queue_that_grows_has_freed_its_oldest() {
        let site = |cohorts: [u64; COHORTS], allocs, live_blocks| SiteFacts {
            live_bytes: cohorts.iter().sum(),
            allocs,
            live_blocks,
            cohorts,
            ..SiteFacts::default()
        };
        let late = [0, 0, 0, 0, 0, 20, 40, 40];
        assert!(outpaced(&site(late, Some(300), 100), 200));
        assert!(!outpaced(&site(late, Some(300), 100), 202), "others have more");
        assert!(!outpaced(&site(late, Some(149), 100), 100), "it began late, and freed little");
        assert!(!outpaced(&site(late, None, 100), 100), "what it freed is not known");
        assert!(!outpaced(&site([60, 0, 0, 0, 0, 0, 0, 40], Some(300), 100), 100), "old ones stay");
    }
}
