//! `lazy-free`: memory that was given back with MADV_FREE still counts as resident.
//!
//! *Signature*: LazyFree of smaps_rollup at the end. The kernel takes such pages when it needs
//! them, so this is an illusion of the figure and no illness: never more than "info".
//!
//! *At stake*: these bytes, which RSS shows too much.

use super::case::Case;
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let end = &case.analysis.end;
    let bytes = end.lazyfree_bytes.filter(|bytes| *bytes > 0)?;
    let advice = "judge by RSS less LazyFree (/proc/PID/smaps_rollup), in monitoring too.";
    Some(Finding {
        title: format!("RSS shows {} too much: they are given back already", words::bytes(bytes)),
        bytes,
        most: Severity::Info,
        of: Of::Else,
        evidence: BTreeMap::from([
            ("lazyfree_bytes", json!(bytes)),
            ("rss_bytes", json!(end.rss_bytes)),
        ]),
        explanation: format!(
            "{} were given back with MADV_FREE; they count as resident until the kernel needs \
             them.",
            words::bytes(bytes)
        ),
        remedy: Remedy { c: advice.into(), rust: "the same.".into(), setting: None },
    })
}
