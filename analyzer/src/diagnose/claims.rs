//! Whose bytes are whose: several findings may explain the same memory, and each byte of it
//! comes back only once.
//!
//! What the heap holds idle is of two kinds, which do not overlap: unused bytes on pages with
//! live blocks, and pages without any. A finding says which of them it is about. The one that
//! explains most takes its bytes first; of two that explain about the same (within a tenth) the
//! one that stands first in the list of pathologies, in which the more specific come first. What
//! it took is not at stake for the others, whose severity goes by what is left. A finding that is worth
//! no more than knowing takes what others leave.

use super::case::Case;
use super::{Finding, Severity};
use crate::words;
use serde_json::json;

/// Findings that differ by no more than this part explain about the same.
const SAME_PART: u64 = 10;

/// What the bytes at stake are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Unused parts of pages with live blocks.
    PinnedPages,
    /// Pages without a live byte.
    EmptyPages,
    /// Both.
    Idle,
    /// Neither: live bytes, or nothing that a block could use.
    Else,
    /// No bytes, but the time of calls and page faults.
    Work,
}

/// What of the idle memory no finding has taken.
#[derive(Debug, Clone, Copy)]
struct Left {
    pinned_bytes: u64,
    empty_bytes: u64,
}

impl Left {
    fn for_finding(self, finding: &Finding) -> u64 {
        match finding.of {
            Of::PinnedPages => finding.bytes.min(self.pinned_bytes),
            Of::EmptyPages => finding.bytes.min(self.empty_bytes),
            Of::Idle => finding.bytes.min(self.pinned_bytes + self.empty_bytes),
            Of::Else | Of::Work => finding.bytes,
        }
    }

    fn take(&mut self, of: Of, bytes: u64) {
        let pinned_bytes = match of {
            Of::PinnedPages | Of::Idle => bytes.min(self.pinned_bytes),
            Of::EmptyPages | Of::Else | Of::Work => 0,
        };
        self.pinned_bytes -= pinned_bytes;
        if matches!(of, Of::EmptyPages | Of::Idle) {
            self.empty_bytes -= bytes - pinned_bytes;
        }
    }
}

/// Takes from each finding what others explain, and says so in it.
pub(super) fn settle(
    case: &Case<'_>,
    found: Vec<(&'static str, Finding)>,
) -> Vec<(&'static str, Finding)> {
    let pinned = found.iter().filter(|(_, finding)| finding.of == Of::PinnedPages);
    // Whole pages that come free are more than what is unused on them.
    let unlocked = pinned.map(|(_, finding)| finding.bytes).max().unwrap_or(0);
    let waste = case.analysis.end.pinned_waste_bytes.unwrap_or(0);
    let mut left = Left {
        pinned_bytes: waste.max(unlocked),
        empty_bytes: case.shape.empty_bytes.unwrap_or(0),
    };
    let mut open = found;
    let mut settled: Vec<(&'static str, Finding)> = Vec::new();
    while !open.is_empty() {
        let is_more = |(_, finding): &&(_, Finding)| finding.most > Severity::Info;
        let all_info = !open.iter().any(|found| is_more(&found));
        let is_next = |found: &&(_, Finding)| all_info || is_more(found);
        let bytes_of = |(_, finding): &(_, Finding)| left.for_finding(finding);
        let most = open.iter().filter(is_next).map(bytes_of).max().unwrap_or(0);
        let about = most - most / SAME_PART;
        let first = open.iter().position(|found| is_next(&found) && bytes_of(found) >= about);
        let (id, mut finding) = open.remove(first.unwrap_or(0));
        let bytes = left.for_finding(&finding);
        left.take(finding.of, bytes);
        if bytes < finding.bytes {
            discount(&mut finding, bytes, &settled);
        }
        settled.push((id, finding));
    }
    settled
}

fn discount(finding: &mut Finding, bytes: u64, settled: &[(&'static str, Finding)]) {
    let others: Vec<&str> = settled
        .iter()
        .filter(|(_, other)| !matches!(other.of, Of::Else | Of::Work) && other.bytes > 0)
        .map(|(id, _)| *id)
        .collect();
    let explained = finding.bytes - bytes;
    // Where no other has it, it was more than is idle.
    if !others.is_empty() {
        finding.explanation += &format!(
            " Of its {}, {} are counted under {}.",
            words::bytes(finding.bytes),
            words::bytes(explained),
            others.join(" and ")
        );
    }
    finding.evidence.insert("explained_elsewhere_bytes", json!(explained));
    finding.bytes = bytes;
}
