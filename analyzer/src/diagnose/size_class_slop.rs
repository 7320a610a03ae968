//! `size-class-slop`: blocks are given much more room than was asked for.
//!
//! *Signature*: of what the program may use of its live blocks, it did not ask for a large part.
//!
//! *Threshold*: a quarter. Size classes cost up to a fifth of a block by design (jemalloc's and
//! mimalloc's stand an eighth to a fifth apart, glibc's 16 bytes); above that, sizes lie just
//! above a class again and again, or blocks are far smaller than the least one (glibc: 24 bytes).
//!
//! *At stake*: the room that was not asked for, and with glibc the headers, which go with it
//! when many blocks become one.

use super::case::{Case, is_code, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One part in so many of the usable bytes.
const LEAST_PART: u64 = 4;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let end = &case.analysis.end;
    let usable = end.usable_bytes?;
    let slop = usable.saturating_sub(end.live_bytes);
    if slop < usable / LEAST_PART {
        return None;
    }
    let code = case.blame.sites.iter().filter(|site| is_code(site));
    let site = code.max_by_key(|site| site.slop_bytes).filter(|site| site.slop_bytes > 0);
    let name = site.map_or_else(|| "many small blocks".to_owned(), |site| site.site.in_words());
    let mean = end.live_bytes / end.live_blocks.max(1);
    let headers = match end.metadata_bytes {
        Some(bytes) if bytes > 0 => {
            format!(" Their headers take {} more, which go with them.", words::bytes(bytes))
        }
        _ => String::new(),
    };
    Some(Finding {
        title: format!(
            "{} were given beyond what was asked for, most of them to {name}",
            words::bytes(slop)
        ),
        bytes: slop + end.metadata_bytes.unwrap_or(0),
        most: Severity::Serious,
        of: Of::Else,
        evidence: BTreeMap::from([
            ("usable_bytes", json!(usable)),
            ("live_bytes", json!(end.live_bytes)),
            ("live_blocks", json!(end.live_blocks)),
            ("site", site.map_or(Value::Null, |site| place(&site.site))),
            ("site_slop_bytes", json!(site.map(|site| site.slop_bytes))),
        ]),
        explanation: format!(
            "The {} live blocks asked for {}, {} on average, and got {}, {} on average: {} of it is \
             rounding up to the allocator's sizes.{headers}",
            words::count(end.live_blocks),
            words::bytes(end.live_bytes),
            words::bytes(mean),
            words::bytes(usable),
            words::bytes(usable / end.live_blocks.max(1)),
            share(slop, usable)
        ),
        remedy: Remedy {
            c: format!(
                "allocate the blocks of {name} many at a time, in one array, or make each as large as \
                 what it gets."
            ),
            rust: format!(
                "keep the values of {name} in one `Vec` instead of a `Box` each, or choose \
                 capacities as large as what a block gets."
            ),
            setting: None,
        },
    })
}
