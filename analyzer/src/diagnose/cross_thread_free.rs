//! `cross-thread-free`: what one thread acquires another frees, and the memory goes back to an
//! arena that the thread which frees cannot use.
//!
//! With glibc a freed chunk belongs to the arena that it came from (but for the few that the thread
//! which frees it caches). Threads on another arena do not get it. jemalloc and mimalloc give such
//! memory back to the kernel only when the thread that it came from calls them again, or ends.
//!
//! *Signature*: heaps of secondary arenas (glibc), or stretches of 1 MiB (jemalloc, mimalloc), in which
//! most of the bytes freed were freed by another thread than acquired them, and which have pages
//! without a live byte for the last tenth of the run.
//!
//! jemalloc and mimalloc also keep for a while what a thread frees itself. So nothing is said of them
//! unless that while is over: twice `dirty_decay_ms`, of mimalloc where settings have it give back at
//! once.
//!
//! *Threshold*: half of the freed bytes: with less, an arena serves its own threads first of all.
//! How much of all frees is another thread's is no illness by itself: with N workers that steal
//! work it is (N − 1) / N.
//!
//! *At stake*: the empty pages of these heaps. If they were live all at once, no others were taken while
//! they lay free: on glibc giving back is named first then.

use super::case::{Case, place, share};
use super::claims::Of;
use super::remedy::{Allocator, Remedy};
use super::{Finding, Severity};
use crate::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let crossed = &case.shape.usage.crossed;
    let bytes = crossed.empty_bytes;
    let trace = &case.analysis.trace;
    let allocator = Allocator::of(trace, case.shape.glibc);
    let idle_ns = trace.duration_ns.saturating_sub(crossed.last_ns);
    let is_kept = keeps_for_ns(allocator, &trace.allocator_env).is_none_or(|kept| idle_ns <= kept);
    if bytes == 0 || is_kept || !case.lasts(bytes) {
        return None;
    }
    let site = crossed.site.as_ref();
    let name = site.map_or_else(|| "blocks".to_owned(), |site| site.in_words());
    let (acquired_by, freed_by) = crossed.threads?;
    let whose = if case.shape.glibc { "in arenas" } else { "with threads" };
    Some(Finding {
        title: format!(
            "{} are stranded {whose} whose blocks other threads free, most of them from {name}",
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
            "In {} {} {} of the bytes freed were freed by another thread than acquired them, such \
             as {name} by thread {freed_by} instead of thread {acquired_by}. {}",
            words::count(crossed.heaps),
            if case.shape.glibc { "of the heaps of secondary arenas" } else { "MiB of the heap" },
            share(crossed.crossed_bytes, crossed.freed_bytes),
            if case.shape.glibc {
                "They went back to the arena of the thread that acquired them; threads of other \
                 arenas cannot use them."
            } else {
                "They went back to the thread that acquired them, and from it to the kernel only \
                 when it calls the allocator again, or ends."
            }
        ),
        remedy: remedy(allocator, &name, case.full_at_once(bytes)),
    })
}

/// What was full at once would be so whoever frees it: there giving back comes first.
fn remedy(allocator: Allocator, name: &str, full_at_once: bool) -> Remedy {
    let setting = Some(setting(allocator));
    let (c, rust) = (
        format!(
            "let the thread that frees the blocks of {name} allocate them and hand them out, or send \
             them back to be freed"
        ),
        format!(
            "send used buffers of {name} back over a channel to be filled again, or run one runtime a \
             core instead of one that steals work."
        ),
    );
    match allocator {
        Allocator::Glibc if full_at_once => Remedy {
            c: format!(
                "call `malloc_trim(0);` (#include <malloc.h>) when such work is over: it gives whole \
                 pages of all arenas back; or {c}."
            ),
            rust: format!(
                "call `unsafe {{ libc::malloc_trim(0) }};` when such work is over; or {rust}"
            ),
            setting,
        },
        Allocator::Glibc => Remedy {
            c: c + now(allocator),
            rust: rust
                + " `unsafe { libc::malloc_trim(0) };` gives whole pages of all arenas back.",
            setting,
        },
        _ => Remedy { c: c + now(allocator), rust, setting },
    }
}

/// For how long the allocator keeps what a thread frees of its own; `None`: that is not known, or
/// without an end as long as the thread does nothing.
fn keeps_for_ns(allocator: Allocator, settings: &[String]) -> Option<u64> {
    /// jemalloc(3), opt.dirty_decay_ms.
    const DECAY_MS: u64 = 10_000;
    match allocator {
        Allocator::Glibc => Some(0),
        Allocator::Jemalloc(_) => {
            let said = settings.iter().find_map(|text| text.split_once("dirty_decay_ms:"));
            let digits = said.map(|(_, rest)| rest.split(',').next().unwrap_or(rest));
            let decay_ms = digits.map_or(Some(DECAY_MS), |digits| digits.parse().ok());
            decay_ms.map(|decay_ms: u64| decay_ms.saturating_mul(2_000_000))
        }
        Allocator::Mimalloc => {
            let at_once = ["MIMALLOC_PURGE_DELAY=0", "MIMALLOC_RESET_DELAY=0"];
            settings.iter().any(|text| at_once.contains(&text.as_str())).then_some(0)
        }
        Allocator::Other => None,
    }
}

/// What gives it back without another way of freeing it.
fn now(allocator: Allocator) -> &'static str {
    match allocator {
        Allocator::Glibc => "; `malloc_trim(0);` gives whole pages of all arenas back.",
        Allocator::Jemalloc(_) => {
            "; `mallctl(\"arena.4096.purge\", NULL, NULL, NULL, 0);` gives back what is free in all \
             arenas."
        }
        Allocator::Mimalloc => "; or have that thread call `mi_collect(true);` when it is idle.",
        Allocator::Other => ".",
    }
}

fn setting(allocator: Allocator) -> String {
    let own = match allocator {
        Allocator::Glibc => "MALLOC_ARENA_MAX=1 has all threads share one arena".to_owned(),
        Allocator::Jemalloc(variable) => {
            format!("{variable}=background_thread:true gives back what idle threads have, too")
        }
        Allocator::Mimalloc | Allocator::Other => "none is known of this allocator".to_owned(),
    };
    format!("{own}; snmalloc is made for blocks that are freed elsewhere.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_allocator_keeps_a_threads_own_goes_by_its_settings() {
        let kept = |allocator, setting: &str| keeps_for_ns(allocator, &[setting.to_owned()]);
        let jemalloc = Allocator::Jemalloc("MALLOC_CONF");
        assert_eq!(kept(Allocator::Glibc, ""), Some(0));
        assert_eq!(kept(jemalloc, ""), Some(20_000_000_000));
        let setting = "MALLOC_CONF=narenas:2,dirty_decay_ms:100,muzzy_decay_ms:0";
        assert_eq!(kept(jemalloc, setting), Some(200_000_000));
        assert_eq!(kept(jemalloc, "MALLOC_CONF=dirty_decay_ms:-1"), None, "for ever");
        assert_eq!(kept(Allocator::Mimalloc, ""), None);
        assert_eq!(kept(Allocator::Mimalloc, "MIMALLOC_RESET_DELAY=0"), Some(0));
    }
}
