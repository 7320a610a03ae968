//! `purge-churn`: pages are given back and taken again, over and over.
//!
//! Each time the kernel clears the page and the program faults: 26 µs a MiB more than keeping it
//! (MADV_DONTNEED against MADV_FREE, 1 MiB written, advised and written again). Allocators do so
//! by madvise; glibc by a mapping for each large block, and by trimming the top of its heap.
//!
//! *Signature*: blocks took pages that had held others before and had been given back since
//! (unmapped, cut off by brk, advised away, or found not in memory), in all 1 GiB or more and
//! sixteen times the greatest footprint.
//!
//! *Thresholds*: sixteen times, as a heap that is emptied and filled a few times does what is
//! asked of it. 1 GiB costs some 25 ms.
//!
//! *At stake*: time, no memory; a warning.

use super::case::{Case, place};
use super::claims::Of;
use super::remedy::{Allocator, Remedy};
use super::{Finding, MIB, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LEAST_BYTES: u64 = 1024 * MIB;
const LEAST_TIMES: u64 = 16;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let refilled = &case.shape.usage.refilled;
    let most = case.analysis.peak_footprint.footprint_bytes?;
    if refilled.bytes < LEAST_BYTES || refilled.bytes < most.saturating_mul(LEAST_TIMES) {
        return None;
    }
    let site = refilled.site.as_ref();
    let name = site.map_or_else(|| "blocks".to_owned(), |site| site.in_words());
    Some(Finding {
        title: format!(
            "{} of pages were given back and taken again, most of them by {name}",
            words::bytes(refilled.bytes)
        ),
        bytes: 0,
        most: Severity::Warning,
        of: Of::Work,
        evidence: BTreeMap::from([
            ("refilled_bytes", json!(refilled.bytes)),
            ("refilled_times", json!(refilled.times)),
            ("peak_footprint_bytes", json!(most)),
            ("site", site.map_or(Value::Null, place)),
            ("site_refilled_bytes", json!(refilled.site_bytes)),
            ("madvises", json!(case.analysis.trace.madvises)),
        ]),
        explanation: format!(
            "The heap never held more than {}, so each page of it came back some {} times, and each \
             time the kernel cleared it. {name} took {} of it. What is at stake is the time that \
             takes, no memory.",
            words::bytes(most),
            words::count(refilled.bytes / most.max(1)),
            words::bytes(refilled.site_bytes)
        ),
        remedy: Remedy {
            c: format!("keep the buffers of {name} and use them again."),
            rust: format!("keep the `Vec`s of {name} and `clear()` them: their pages stay."),
            setting: setting(Allocator::of(&case.analysis.trace, case.shape.glibc)),
        },
    })
}

/// How this allocator keeps pages for longer.
fn setting(allocator: Allocator) -> Option<String> {
    match allocator {
        Allocator::Glibc => Some(
            "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864 \
             keeps blocks of up to 32 MiB in the heap."
                .into(),
        ),
        Allocator::Jemalloc(variable) => {
            Some(format!("{variable}=dirty_decay_ms:10000,muzzy_decay_ms:10000"))
        }
        Allocator::Mimalloc => Some("MIMALLOC_PURGE_DELAY=1000 (before 2.1: MIMALLOC_RESET_DELAY=1000)".into()),
        Allocator::Other => None,
    }
}
