//! `cross-thread-free`: what one thread acquires another frees, and the memory goes back to an
//! arena that the thread which frees cannot use.
//!
//! With glibc a freed chunk belongs to the arena that it came from (but for the few that the thread
//! which frees it caches). Threads on another arena do not get it.
//!
//! *Signature* (glibc only, whose arenas can be told apart by address): heaps of secondary arenas
//! in which most of the bytes freed were freed by another thread than acquired them, and which
//! have pages without a live byte for the last tenth of the run.
//!
//! *Threshold*: half of the freed bytes: with less, an arena serves its own threads first of all.
//! How much of all frees is another thread's is no illness by itself: with N workers that steal
//! work it is (N − 1) / N.
//!
//! *At stake*: the empty pages of these heaps.

use super::case::{Case, place, share};
use super::claims::Of;
use super::remedy::Remedy;
use super::{Finding, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let crossed = &case.shape.usage.crossed;
    let bytes = crossed.empty_bytes;
    if !case.shape.glibc || bytes == 0 || !case.lasts(bytes) {
        return None;
    }
    let site = crossed.site.as_ref();
    let name = site.map_or_else(|| "blocks".to_owned(), |site| site.in_words());
    let (acquired_by, freed_by) = crossed.threads?;
    let trace = &case.analysis.trace;
    Some(Finding {
        title: format!(
            "{} are stranded in arenas whose blocks other threads free, most of them from {name}",
            words::bytes(bytes)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("arena_heaps", json!(crossed.heaps)),
            ("empty_page_bytes", json!(bytes)),
            ("freed_bytes", json!(crossed.freed_bytes)),
            ("crossed_bytes", json!(crossed.crossed_bytes)),
            ("cross_thread_frees", json!(case.analysis.end.cross_thread_frees)),
            ("frees", json!(trace.frees)),
            ("acquired_by_thread", json!(acquired_by)),
            ("freed_by_thread", json!(freed_by)),
            ("site", site.map_or(Value::Null, place)),
        ]),
        explanation: format!(
            "In {} of the heaps of secondary arenas {} of the bytes freed were freed by another \
             thread than acquired them, such as {name} by thread {freed_by} instead of thread \
             {acquired_by}. They went back to the arena of the thread that acquired them; threads \
             of other arenas cannot use them.",
            words::count(crossed.heaps),
            share(crossed.crossed_bytes, crossed.freed_bytes)
        ),
        remedy: Remedy {
            c: format!(
                "let the thread that frees the blocks of {name} allocate them and hand them out, or \
                 send them back to be freed; `malloc_trim(0);` gives whole pages of all arenas back."
            ),
            rust: format!(
                "send used buffers of {name} back over a channel to be filled again, or run one \
                 runtime a core instead of one that steals work."
            ),
            setting: Some(
                "MALLOC_ARENA_MAX=1 has all threads share one arena; snmalloc is made for blocks \
                 that are freed elsewhere."
                    .into(),
            ),
        },
    })
}
