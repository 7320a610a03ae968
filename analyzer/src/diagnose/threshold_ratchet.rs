//! `threshold-ratchet`: the free of one mapped block moved glibc's thresholds up, and large blocks
//! have come from the heap ever since, which keeps their memory.
//!
//! Blocks of 128 KiB and more have mappings of their own, which go back when they are freed. But
//! the free of such a block of up to 32 MiB raises the mmap threshold to its size and the trim
//! threshold to twice that (malloc/malloc.c, `__libc_free`, 2.26 to 2.42), for good.
//!
//! *Signature* (glibc only): such a free; after it, blocks of 128 KiB and more came from a heap;
//! and heap pages are empty for the last tenth of the run, no more than twice as many as such
//! blocks once held together.
//!
//! *Threshold*: half of the empty pages: of less, small blocks are the greater part, and it is
//! `retained-after-burst`.
//!
//! *At stake*: the empty pages, as far as such blocks held them.

use super::case::{Case, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let (shape, reclaim) = (case.shape, &case.shape.reclaim);
    let empty: u64 = shape.brk.iter().chain(&shape.arenas).map(|part| part.empty_bytes).sum();
    let bytes = empty.min(reclaim.most_large_bytes.saturating_sub(reclaim.large_bytes));
    if !shape.glibc || bytes == 0 || bytes < empty / 2 || !case.lasts(bytes) {
        return None;
    }
    let site = shape.usage.raised_by.as_ref();
    let name = site.map_or_else(|| "a block".to_owned(), |site| site.in_words());
    let raised = reclaim.largest_mapped_freed;
    Some(Finding {
        title: format!(
            "{} stay in the heap since the free of a block of {} from {name} raised glibc's \
             thresholds",
            words::bytes(bytes),
            words::bytes(raised)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("raised_to_bytes", json!(raised)),
            ("most_large_bytes_in_heap", json!(reclaim.most_large_bytes)),
            ("large_bytes_in_heap", json!(reclaim.large_bytes)),
            ("empty_page_bytes", json!(empty)),
            ("site", site.map_or(Value::Null, place)),
        ]),
        explanation: format!(
            "Since then blocks of up to {} come from the heap, which is trimmed only where {} or \
             more are free at its top. Blocks of 128 KiB and more held up to {} there at once; {} of \
             the heap's empty pages are what they left. With a mapping of their own these would \
             have gone back.",
            words::bytes(raised),
            words::bytes(2 * raised),
            words::bytes(reclaim.most_large_bytes),
            share(bytes, empty)
        ),
        remedy: Remedy {
            c: "call `mallopt(M_MMAP_THRESHOLD, 128 * 1024);` (#include <malloc.h>) first in main: \
                the thresholds then stay where they are."
                .into(),
            rust: "call `unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024) };` first in \
                   main."
                .into(),
            setting: Some("GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072".into()),
        },
    })
}
