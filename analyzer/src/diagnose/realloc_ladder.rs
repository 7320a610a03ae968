//! `realloc-ladder`: blocks that grow by realloc moved up in steps, and left holes that their next
//! size did not fit.
//!
//! *Signature*: places that realloc moved a block away from, to a larger size, are free, and the
//! block that they led to is still live: at the end of the run nothing has used them.
//!
//! *Threshold*: the holes are at least a quarter of what is live: less is what a few buffers that
//! double leave behind in the best of times.
//!
//! *At stake*: these holes, as far as they have been idle for the last tenth of the run.

use super::case::{Case, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The holes are at least one part in so many of what is live.
const LIVE_PART: u64 = 4;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let ladder = &case.shape.usage.ladder;
    let end = &case.analysis.end;
    let bytes = ladder.bytes.min(case.lasting_idle_bytes());
    if ladder.bytes == 0 || ladder.bytes < end.live_bytes / LIVE_PART {
        return None;
    }
    let site = ladder.site.as_ref();
    let name = site.map_or_else(|| "blocks".to_owned(), |site| site.in_words());
    Some(Finding {
        title: format!(
            "{} lie free where blocks were before realloc moved them up, most of them of {name}",
            words::bytes(bytes)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::Idle,
        evidence: BTreeMap::from([
            ("hole_bytes", json!(ladder.bytes)),
            ("holes", json!(ladder.holes)),
            ("blocks", json!(ladder.blocks)),
            ("reallocs", json!(case.analysis.trace.reallocs)),
            ("live_bytes", json!(end.live_bytes)),
            ("site", site.map_or(Value::Null, place)),
        ]),
        explanation: format!(
            "{} live blocks grew by realloc and left {} holes below, too small for their next size: \
             {} of what the heap has in memory.",
            words::count(ladder.blocks),
            words::count(ladder.holes),
            share(bytes, case.held_bytes())
        ),
        remedy: Remedy {
            c: format!(
                "ask for the final size at once in {name}, or for an estimate of it; else let the \
                 capacity grow by half or more, not by a fixed step."
            ),
            rust: format!(
                "`Vec::with_capacity` or `reserve` in {name}, not `reserve_exact` in a loop."
            ),
            setting: None,
        },
    })
}
