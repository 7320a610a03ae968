//! `top-pinned`: a few live blocks next to the end of the brk heap keep everything below them.
//!
//! glibc gives the brk heap back from its end only, so one small block there holds all.
//!
//! *Signature* (glibc only): the live blocks within 64 KiB of the heap's last one are all there
//! is above a stretch of empty pages, and these are at least half of the heap's empty ones.
//! With less than half, the end is not what holds the memory.
//!
//! *At stake*: the empty pages right below these blocks.

use super::case::{Case, place};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, LEAST_BYTES, Severity};
use crate::measure::TopBlocks;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let bytes = held_bytes(case);
    let top = case.shape.top.as_ref().filter(|_| bytes > 0 && case.lasts(bytes))?;
    let mut site = place(&top.site);
    site["address"] = json!(top.address);
    Some(Finding {
        title: format!(
            "{} cannot go back: {} at the end of the heap, from {}",
            words::bytes(bytes),
            what(top),
            top.site.in_words()
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("empty_below_bytes", json!(bytes)),
            ("top_blocks", json!(top.blocks)),
            ("top_live_bytes", json!(top.live_bytes)),
            ("age_ns", json!(top.age_ns)),
            ("stream_buffer", json!(top.stream_buffer)),
            ("site", site),
        ]),
        explanation: format!(
            "glibc gives the heap back from its end only. Next to that lies what {} holds: {} of {}, \
             the lowest at {:#x}, {} old. Right below, {} are in memory with nothing live.",
            top.site.in_words(),
            blocks(top),
            words::bytes(top.live_bytes),
            top.address,
            words::duration(top.age_ns),
            words::bytes(bytes)
        ),
        remedy: remedy(top),
    })
}

fn what(top: &TopBlocks) -> String {
    if top.stream_buffer { "the buffer of stdout or of a file".to_owned() } else { blocks(top) }
}

fn blocks(top: &TopBlocks) -> String {
    match top.blocks {
        1 => "1 live block".to_owned(),
        count => format!("{} live blocks", words::count(count)),
    }
}

fn remedy(top: &TopBlocks) -> Remedy {
    let site = top.site.in_words();
    let early = if top.stream_buffer {
        "print something before the large work begins, so that the buffer of stdout lies below it"
    } else {
        "allocate that block before the large work begins, or free it after each burst"
    };
    Remedy {
        c: format!(
            "{early} ({site}); or call `malloc_trim(0);` (#include <malloc.h>), which also \
            gives back pages below live blocks."
        ),
        rust: format!("{early}; or call `unsafe {{ libc::malloc_trim(0) }};`."),
        setting: None,
    }
}

/// Bytes that the blocks at the top hold; 0 where these do not matter.
pub(super) fn held_bytes(case: &Case<'_>) -> u64 {
    let below = case.shape.top.as_ref().map_or(0, |top| top.below_bytes);
    let empty = case.shape.brk.map_or(0, |brk| brk.empty_bytes);
    if below >= LEAST_BYTES && below >= empty / 2 { below } else { 0 }
}
