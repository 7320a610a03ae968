//! `address-growth`: the heap moves on to new pages although a hole would have held the block.
//!
//! A buffer is allocated, something small behind it, then the next buffer before the first is
//! freed: an allocator that does not merge, or may not reuse the hole, never goes back.
//!
//! *Signature*: blocks were put on pages never used before while a free hole of their size was
//! there, at least eight times; these pages, and the holes of that size that were there at one time,
//! are at least half of all that the heap ever used, and as much lies idle for the last tenth of the run.
//! One small hole that nobody takes is there for each page of a heap that grows, and would have
//! spared only itself.
//!
//! Not of allocators that keep sizes apart: their holes serve one class of sizes, and which is not
//! known.
//!
//! Where the heap has several arenas it is worth no more than knowing: their holes count together,
//! but serve their own threads only.
//!
//! *Thresholds*: half, as each thread's first blocks grow its arena while others have holes.
//!
//! Where the heap came to hold four times what was ever live at once in this way, its empty pages are
//! told of here and not as `retained-after-burst`.
//!
//! *At stake*: the growth, as far as there were holes for it and it lies idle.

use super::case::{Case, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LEAST_COUNT: u64 = 8;
/// So many times what was ever live is no burst.
const OUTGROWN: u64 = 4;

/// Whether that is how the heap came to hold far more than was ever live at once: then what is left
/// at the end is not left of a burst.
pub(super) fn outgrew_what_was_live(case: &Case<'_>) -> bool {
    let most = case.analysis.peak_footprint.footprint_bytes.unwrap_or(0);
    let arenas = case.analysis.end.arena_count.unwrap_or(1);
    arenas <= 1 && most / OUTGROWN > case.analysis.peak.live_bytes && find(case).is_some()
}

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let end = &case.analysis.end;
    let (growth, count) = (end.growth_despite_fit_bytes?, end.growth_despite_fit_count?);
    let high_water = end.high_water_bytes?;
    let beside = case.shape.usage.grown_beside_bytes;
    let needless = growth.min(beside);
    if count < LEAST_COUNT || needless < high_water / 2 {
        return None;
    }
    let site = case.shape.usage.grown_by.as_ref();
    let by = site.map_or_else(String::new, |site| format!(", most of it for {}", site.in_words()));
    let (of, within) = match site.map(|site| site.in_words()) {
        Some(name) => (format!(" of {name}"), format!(" in {name}")),
        None => (String::new(), " where these blocks come from, which is not known".to_owned()),
    };
    let arenas = end.arena_count.unwrap_or(1);
    let where_holes = if arenas > 1 {
        format!(" The heap has {arenas} arenas; holes of one do not serve threads of another.")
    } else {
        String::new()
    };
    Some(Finding {
        title: format!(
            "the heap grew by {} while holes of the right size were free{by}",
            words::bytes(growth)
        ),
        bytes: needless.min(case.lasting_idle_bytes()),
        // Of several arenas it is not known which hole could have served which thread.
        most: if arenas > 1 { Severity::Info } else { Severity::Serious },
        of: Of::Idle,
        evidence: BTreeMap::from([
            ("growth_despite_fit_bytes", json!(growth)),
            ("growth_despite_fit_count", json!(count)),
            ("high_water_bytes", json!(high_water)),
            ("holes_beside_bytes", json!(beside)),
            ("arena_count", json!(end.arena_count)),
            ("site", site.map_or(Value::Null, place)),
        ]),
        explanation: format!(
            "{} times a block was put on pages never used before although a hole would have held \
             it: {} of all that the heap ever used. Such holes had {} at once.{where_holes}",
            words::count(count),
            share(growth, high_water),
            words::bytes(beside)
        ),
        remedy: Remedy {
            c: format!(
                "keep the buffer{of} and use it again instead of allocating the next one \
                 before the last is freed; or take an allocator that merges free neighbours."
            ),
            rust: format!(
                "keep one `Vec`{within} and `clear()` it between rounds: its capacity stays."
            ),
            setting: (arenas > 1)
                .then(|| "MALLOC_ARENA_MAX=1 lets all threads share holes.".into()),
        },
    })
}
