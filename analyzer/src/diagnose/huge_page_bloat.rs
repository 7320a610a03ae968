//! `huge-page-bloat`: transparent huge pages bring 2 MiB into memory for each few bytes.
//!
//! *Signature*: AnonHugePages at the end, and heap pages in memory that never held a block:
//! with pages of 4 KiB nobody would have touched them.
//!
//! *Threshold*: none of its own. What an allocator keeps for itself never holds a block either,
//! so no more counts than huge pages hold.
//!
//! *At stake*: these pages.

use super::case::Case;
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let huge = case.analysis.end.huge_bytes?;
    let unused = case.shape.never_used_bytes?;
    let bytes = unused.min(huge);
    let setting = "with glibc, GLIBC_TUNABLES=glibc.malloc.hugetlb=0; for the whole machine, \
                   /sys/kernel/mm/transparent_hugepage/enabled = madvise, or a small \
                   khugepaged/max_ptes_none.";
    (bytes > 0).then(|| Finding {
        title: format!(
            "{} are in memory only because huge pages are used: no block was ever there",
            words::bytes(bytes)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("huge_bytes", json!(huge)),
            ("never_used_bytes", json!(unused)),
            ("heap_resident_bytes", json!(case.held_bytes())),
        ]),
        explanation: format!(
            "{} of the process are huge pages of 2 MiB, and {} of the heap in memory never held \
             a block.",
            words::bytes(huge),
            words::bytes(unused)
        ),
        remedy: Remedy {
            c: "call `prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);` first in main, and \
                `madvise(…, MADV_HUGEPAGE)` for large contiguous blocks only."
                .into(),
            rust: "the same, by `libc::prctl` and `libc::madvise`.".into(),
            setting: Some(setting.into()),
        },
    })
}
