//! `churn`: one site acquires and frees blocks of one size, very many, of which few are live at
//! once: a buffer that is asked for anew each time.
//!
//! *Signature*: of the call stacks that share a site and a size, none ever had more than 64
//! blocks live, and together they acquired at least a million and half of all blocks.
//!
//! *Thresholds*: a million, as a pair of malloc and free takes some 20 ns: with less it is over in
//! a fiftieth of a second. Half of all, so that it is what the allocator is used for: programs
//! that work on small pieces everywhere would gain little from one pool. Counts only, so that a
//! slow machine makes no difference.
//!
//! *At stake*: time, no memory; a warning.

use super::case::{Case, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::measure::blame::CallFacts;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

const LEAST_ALLOCS: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let churn = case.shape.usage.churn.as_ref()?;
    let trace = &case.analysis.trace;
    let known = churn.site != CallFacts::default();
    if !known || churn.allocs < LEAST_ALLOCS || churn.allocs < trace.allocs / 2 {
        return None;
    }
    let (site, size) = (churn.site.in_words(), words::bytes(churn.size));
    Some(Finding {
        title: format!(
            "{} short-lived blocks of {size} come from {site}",
            words::count(churn.allocs)
        ),
        bytes: 0,
        most: Severity::Warning,
        of: Of::Work,
        evidence: BTreeMap::from([
            ("site", place(&churn.site)),
            ("block_bytes", json!(churn.size)),
            ("site_allocs", json!(churn.allocs)),
            ("most_live_at_once", json!(churn.most_live)),
            ("allocs", json!(trace.allocs)),
            ("duration_ns", json!(trace.duration_ns)),
        ]),
        explanation: format!(
            "That is {} of all allocations, and no more than {} of them were live at once from one \
             call stack. What is at stake is the time of these calls, no memory.",
            share(churn.allocs, trace.allocs),
            words::count(u64::from(churn.most_live))
        ),
        remedy: Remedy {
            c: format!(
                "allocate the {size} of {site} once and use them again, on the stack or in a pool \
                 (at most {} at once).",
                words::count(u64::from(churn.most_live))
            ),
            rust: format!(
                "keep one `Vec` or `String` outside of the loop of {site} and `clear()` it: its \
                 capacity stays; or an arena (`bumpalo`) that is reset after each round."
            ),
            setting: None,
        },
    })
}
