//! `huge-page-bloat`: transparent huge pages bring 2 MiB into memory for each few bytes.
//!
//! *Signature*: AnonHugePages, and heap pages in memory at the end that never held a block: with
//! pages of 4 KiB nobody would have touched them.
//!
//! *Threshold*: none of its own. What an allocator keeps for itself never holds a block either,
//! so no more counts than huge pages ever held. Not only those of the end: a huge page of which a
//! part is given back is no longer counted as one, but the rest of it stays in memory.
//!
//! *At stake*: these pages.

use super::case::Case;
use super::claims::Of;
use super::remedy::{Allocator, Remedy};
use super::{Finding, Severity};
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let huge = case.analysis.series.iter().filter_map(|state| state.huge_bytes).max()?;
    let unused = case.shape.never_used_bytes?;
    let bytes = unused.min(huge);
    (bytes > 0).then(|| Finding {
        title: format!(
            "{} are in memory only because huge pages are used: no block was ever there",
            words::bytes(bytes)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("most_huge_bytes", json!(huge)),
            ("huge_bytes", json!(case.analysis.end.huge_bytes)),
            ("never_used_bytes", json!(unused)),
            ("heap_resident_bytes", json!(case.held_bytes())),
        ]),
        explanation: format!(
            "Up to {} of the process were huge pages of 2 MiB, and {} of the heap in memory never \
             held a block.",
            words::bytes(huge),
            words::bytes(unused)
        ),
        remedy: Remedy {
            c: "call `prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);` first in main, and \
                `madvise(…, MADV_HUGEPAGE)` for large contiguous blocks only."
                .into(),
            rust: "the same, by `libc::prctl` and `libc::madvise`.".into(),
            setting: Some(setting(Allocator::of(&case.analysis.trace, case.shape.glibc))),
        },
    })
}

fn setting(allocator: Allocator) -> String {
    let own = match allocator {
        Allocator::Glibc => "GLIBC_TUNABLES=glibc.malloc.hugetlb=0".to_owned(),
        Allocator::Jemalloc(variable) => format!("{variable}=thp:never"),
        Allocator::Mimalloc => "MIMALLOC_LARGE_OS_PAGES=0".to_owned(),
        Allocator::Other => String::new(),
    };
    let separator = if own.is_empty() { "" } else { "; " };
    format!(
        "{own}{separator}for the whole machine, /sys/kernel/mm/transparent_hugepage/enabled = \
         madvise, or a small khugepaged/max_ptes_none."
    )
}
