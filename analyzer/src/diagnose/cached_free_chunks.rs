//! `cached-free-chunks`: small freed chunks that glibc keeps as they are hold pages in memory.
//!
//! Freed chunks of up to 128 bytes go to fast bins and thread caches. There they still count as
//! in use: chunks beside them are not merged over them, and the top of the heap is not trimmed
//! below them, until a request of 1 KiB or more or a free chunk of 64 KiB merges all.
//!
//! *Signature* (glibc only): empty pages in memory, no live block that holds them, and since the
//! last such event at least one small chunk was freed for each 64 KiB of them. With fewer, some
//! free chunk would have reached 64 KiB and merged all: then it is another illness.
//!
//! *At stake*: the empty pages of glibc's own heaps.

use super::case::{Case, share};
use super::claims::Of;
use super::remedy::{CACHES_OFF, Remedy};
use super::{Finding, Severity, top_pinned};
use crate::allocators::glibc;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

/// A free chunk of this size makes glibc merge all (FASTBIN_CONSOLIDATION_THRESHOLD).
const MERGING_BYTES: u64 = 64 << 10;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let bytes = held_bytes(case);
    if bytes == 0 || top_pinned::held_bytes(case) > bytes / 2 || !case.lasts(bytes) {
        return None;
    }
    let chunks = case.shape.reclaim.fast_chunks;
    Some(Finding {
        title: format!(
            "{} of pages without a live block are held by small freed chunks that glibc caches",
            words::bytes(bytes)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("cached_chunks", json!(chunks)),
            ("empty_page_bytes", json!(bytes)),
            ("live_bytes", json!(case.analysis.end.live_bytes)),
            ("site", case.filling_site()),
            ("heap_resident_bytes", json!(case.held_bytes())),
        ]),
        explanation: format!(
            "{} chunks of up to 128 bytes were freed and, as far as sizes tell, not merged since: \
             glibc keeps such chunks in fast bins and thread caches, where they count as in use and \
             keep their free neighbours apart. Nothing is live on {} of the heap's {}.{}",
            words::count(chunks),
            share(bytes, case.held_bytes()),
            words::bytes(case.held_bytes()),
            case.filled_by()
        ),
        remedy: Remedy {
            c: "call `malloc_trim(0);` (#include <malloc.h>) when the small blocks are freed: it \
                merges them and gives whole pages back."
                .into(),
            rust: "call `unsafe { libc::malloc_trim(0) };` there.".into(),
            setting: Some(format!(
                "{CACHES_OFF}; or an allocator that purges by itself, such as jemalloc."
            )),
        },
    })
}

/// Bytes that cached chunks hold; 0 where they are too few for that.
pub(super) fn held_bytes(case: &Case<'_>) -> u64 {
    let shape = case.shape;
    let off = glibc::has_no_fast_bins(&case.analysis.trace.allocator_env);
    if !shape.glibc || off {
        return 0;
    }
    let empty: u64 = shape.brk.iter().chain(&shape.arenas).map(|part| part.empty_bytes).sum();
    if shape.reclaim.fast_chunks >= (empty / MERGING_BYTES).max(1) { empty } else { 0 }
}
