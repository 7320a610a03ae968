//! Diagnosis: which illness the figures show, how much is at stake, and what to do.
//!
//! Pure: the analysis, the blame and the shape of the heap go in, findings come out. Each
//! pathology has a file of its own with its signature, its thresholds and their reasons.
//!
//! **Severity**, for all of them: by the bytes at stake and their share of what the heap has in
//! memory at the end ([`Severity::of`]): serious from 32 MiB and a half on, a warning from
//! 8 MiB and a quarter on, else info; below 4 MiB or a twentieth nothing is said. A ratio alone
//! condemns small heaps, in which what any process has weighs most; bytes alone condemn large
//! ones, in which the same is noise. Where time is at stake and no memory, the pathology's file
//! says what it takes.
//!
//! The heap is judged as it is at the end, if it has been so for the last tenth of the recorded
//! time: what a program frees while it exits would else count as memory that it held.

mod address_growth;
mod arena_proliferation;
mod cache_growth;
mod cached_free_chunks;
mod case;
mod churn;
mod claims;
mod cross_thread_free;
mod huge_page_bloat;
mod lazy_free;
mod leak;
mod pinned_pages;
mod purge_churn;
mod realloc_ladder;
mod remedy;
mod retained_after_burst;
mod rss_stairs;
mod since;
mod size_class_slop;
mod threshold_ratchet;
mod top_pinned;

pub use case::Case;

use claims::Of;
use remedy::Remedy;
use serde::Serialize;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
/// Less at stake is not worth a word: it is what an allocator keeps in the best of times.
const LEAST_BYTES: u64 = 4 * MIB;
/// Nor is less than this part of the heap.
const LEAST_PART: u64 = 20;

/// Looks for one pathology.
type Find = fn(&Case<'_>) -> Option<Finding>;

/// The pathologies that are judged: of those that explain the same bytes, the more specific first.
const PATHOLOGIES: [(&str, Find); 17] = [
    ("top-pinned", top_pinned::find),
    ("cached-free-chunks", cached_free_chunks::find),
    ("realloc-ladder", realloc_ladder::find),
    ("pinned-pages", pinned_pages::find),
    ("rss-stairs", rss_stairs::find),
    ("cross-thread-free", cross_thread_free::find),
    ("arena-proliferation", arena_proliferation::find),
    ("huge-page-bloat", huge_page_bloat::find),
    ("threshold-ratchet", threshold_ratchet::find),
    ("retained-after-burst", retained_after_burst::find),
    ("address-growth", address_growth::find),
    ("leak", leak::find),
    ("cache-growth", cache_growth::find),
    ("size-class-slop", size_class_slop::find),
    ("churn", churn::find),
    ("purge-churn", purge_churn::find),
    ("lazy-free", lazy_free::find),
];
/// What is freed in the end was not lost.
const OF_WHAT_IS_NEVER_FREED: [&str; 2] = ["leak", "cache-growth"];
/// How the heap came to its size is told even where all that it left is counted elsewhere.
const TOLD_ANYWAY: &str = "rss-stairs";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth doing something about.
    Warning,
    /// Most of the heap is at stake.
    Serious,
}

impl Severity {
    /// Of so many bytes at stake, of so many that the heap holds.
    pub fn of(bytes: u64, held_bytes: u64) -> Severity {
        if bytes >= 32 * MIB && bytes >= held_bytes / 2 {
            Severity::Serious
        } else if bytes >= 8 * MIB && bytes >= held_bytes / 4 {
            Severity::Warning
        } else {
            Severity::Info
        }
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Serious => "serious",
        }
    }
}

/// One illness that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Which; stable.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What it is, in a line.
    pub title: String,
    /// What is at stake: about what would come back.
    pub bytes: u64,
    /// The figures that it follows from.
    pub evidence: BTreeMap<&'static str, Value>,
    /// What to do, a line a language.
    pub remedy: String,
    /// How it is known, in sentences.
    pub explanation: String,
    /// Since when what is at stake has lain idle, in nanoseconds since the start; `None` where no
    /// idle memory is at stake.
    pub since_ns: Option<u64>,
}

/// What a pathology finds, before it is weighed.
struct Finding {
    title: String,
    bytes: u64,
    /// No more than this, whatever the bytes.
    most: Severity,
    /// What kind of bytes these are.
    of: Of,
    evidence: BTreeMap<&'static str, Value>,
    explanation: String,
    remedy: Remedy,
}

/// All that was found, or why nothing can be said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnoses {
    /// Most serious first; of these, most at stake first.
    pub list: Vec<Diagnosis>,
    /// Why the heap cannot be judged; then nothing is listed.
    pub cannot_tell: Option<String>,
    /// Most of what the heap holds came free too late in the run to be judged: so much.
    pub freed_late_bytes: Option<u64>,
    /// So much lies idle, a warning by its size, of which it is not certain that it is wrong.
    pub uncertain_bytes: Option<u64>,
    /// The moment that is judged; `None`: the end.
    pub judged_at_ns: Option<u64>,
}

impl Diagnoses {
    /// The gravest of what was found.
    pub fn worst(&self) -> Option<Severity> {
        self.list.first().map(|first| first.severity)
    }
}

/// Judges the heap.
pub fn diagnose(case: &Case<'_>) -> Diagnoses {
    if let Some(why) = case.cannot_tell() {
        return Diagnoses { cannot_tell: Some(why), ..Diagnoses::default() };
    }
    let held_bytes = case.held_bytes();
    let found = PATHOLOGIES.iter().filter_map(|(id, find)| Some((*id, find(case)?)));
    let is_worth =
        |found: &Finding| found.of == Of::Work || is_worth_a_word(found.bytes, held_bytes);
    let worth = found.filter(|(_, finding)| is_worth(finding)).collect();
    let mut settled = claims::settle(case, worth);
    settled.retain(|(id, finding)| is_worth(finding) || *id == TOLD_ANYWAY);
    let mut list: Vec<Diagnosis> =
        settled.into_iter().map(|(id, finding)| finding.weighed(id, case, held_bytes)).collect();
    list.sort_by_key(|found| Reverse((found.severity, found.bytes)));
    let uncertain = |found: &&Diagnosis| {
        found.since_ns.is_some()
            && found.severity == Severity::Info
            && Severity::of(found.bytes, held_bytes) > Severity::Info
    };
    let uncertain_bytes = list.iter().filter(uncertain).map(|found| found.bytes).max();
    Diagnoses {
        list,
        cannot_tell: None,
        freed_late_bytes: case.freed_late_bytes(),
        uncertain_bytes,
        judged_at_ns: None,
    }
}

/// Judges the heap as it was before the program freed all that it had, to exit: at `at_ns`, where
/// the case ends.
pub fn diagnose_before_teardown(case: &Case<'_>, at_ns: u64) -> Diagnoses {
    let mut found = diagnose(case);
    found.list.retain(|finding| !OF_WHAT_IS_NEVER_FREED.contains(&finding.id));
    Diagnoses { judged_at_ns: Some(at_ns), ..found }
}

fn is_worth_a_word(bytes: u64, held_bytes: u64) -> bool {
    bytes >= LEAST_BYTES && bytes >= held_bytes / LEAST_PART
}

impl Finding {
    fn weighed(self, id: &'static str, case: &Case<'_>, held_bytes: u64) -> Diagnosis {
        let severity = match self.of {
            Of::Work => self.most,
            _ => Severity::of(self.bytes, held_bytes).min(self.most),
        };
        let remedy: Vec<String> = [Some(self.remedy.text()), remedy::to_try(id, &self.evidence)]
            .into_iter()
            .flatten()
            .collect();
        Diagnosis {
            id,
            severity,
            title: self.title,
            bytes: self.bytes,
            evidence: self.evidence,
            remedy: remedy.join("\n"),
            explanation: self.explanation,
            since_ns: is_worth_a_word(self.bytes, held_bytes)
                .then(|| since::since_ns(&case.analysis.series, self.of, self.bytes))
                .flatten(),
        }
    }
}

#[cfg(test)]
mod tests;
