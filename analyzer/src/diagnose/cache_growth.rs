//! `cache-growth`: what is live rose and then levelled, while its blocks come and go.
//!
//! *Signature*: live bytes at the end are at least nine tenths of their peak and at most a tenth
//! more than the first half of the recorded time knew already (its peak, not its last moment: a
//! cache that was emptied just then fills up again without growing); and at the site with most live bytes, at
//! most a quarter of these are from the first half, although it filled up then: old ones die.
//!
//! This is what a cache with a bound looks like, and a working set. Neither is an illness: never
//! more than "info", said so that growth is not taken for a leak.
//!
//! *At stake*: what the site has live, if the bound were smaller.

use super::case::{Case, is_code, place};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::measure::blame::COHORTS;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let live = case.live_by_eighths();
    if !levels(&live) {
        return None;
    }
    let code = case.blame.sites.iter().filter(|site| is_code(site));
    let site = code.max_by_key(|site| site.live_bytes)?;
    let old: u64 = site.cohorts[..COHORTS / 2].iter().sum();
    if old > site.live_bytes / 4 {
        return None;
    }
    let name = site.site.in_words();
    Some(Finding {
        title: format!("live bytes rose and levelled at {name}: a cache or a working set, no leak"),
        bytes: site.live_bytes,
        most: Severity::Info,
        of: Of::Else,
        evidence: BTreeMap::from([
            ("live_bytes_by_eighth_of_time", json!(live)),
            ("site_live_bytes", json!(site.live_bytes)),
            ("site_live_bytes_by_eighth_of_time", json!(site.cohorts)),
            ("site", place(&site.site)),
        ]),
        explanation: format!(
            "In the first half up to {} were live, {} at the end; of the blocks of {name} most from \
             the first half are gone.",
            words::bytes(live[..COHORTS / 2].iter().copied().max().unwrap_or(0)),
            words::bytes(live[COHORTS - 1])
        ),
        remedy: Remedy {
            c: "if it holds too much, lower the bound of this cache.".into(),
            rust: "the same; crates such as `lru` or `moka` bound a cache by bytes.".into(),
            setting: None,
        },
    })
}

/// Whether live bytes stay where they once were in the first half. `live` is at the end of each
/// eighth.
fn levels(live: &[u64; COHORTS]) -> bool {
    let peak = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (first, all, last) = (peak(&live[..COHORTS / 2]), peak(live), live[COHORTS - 1]);
    last >= all - all / 10 && last <= first + first / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_levels_is_told_from_what_rises() {
        assert!(levels(&[10, 40, 70, 80, 80, 82, 80, 81]));
        assert!(levels(&[40, 80, 80, 0, 80, 82, 80, 81]), "emptied half-way");
        assert!(!levels(&[10, 20, 30, 40, 50, 60, 70, 80]));
        assert!(!levels(&[80, 80, 80, 80, 40, 40, 40, 40]), "it fell");
    }
}
