//! `retained-after-burst`: the work is over, nothing is live on many pages, and they stay.
//!
//! *Signature*: what is live fell to at most half of its peak; pages in memory without a live
//! byte are what is left of it, and they have been idle for the last tenth of the run.
//! A heap that outgrew all that was ever live by `address-growth` is told of there.
//! What `cached-free-chunks`, `top-pinned` and `arena-proliferation` account for is left out, and
//! what other allocators than glibc's have given back by MADV_FREE (`lazy-free`): that is no longer kept.
//!
//! *Thresholds*: half of the peak, so that the ordinary ebb of a server is no burst. A heap that
//! was refilled to three quarters of its peak twice or more keeps a reserve that it needs: that
//! is said, and no more than "info".
//!
//! *At stake*: the empty pages. glibc gives back the top of a heap only, and that only above the
//! trim threshold, which follows the largest freed mapping (malloc/malloc.c, 2.26 to 2.42).

use super::case::{Case, share};
use super::claims::Of;
use super::remedy::{Allocator, CACHES_OFF, give_back};
use super::{
    Finding, Severity, address_growth, arena_proliferation, cached_free_chunks, top_pinned,
};
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

/// Blocks of this size in the mean are kept in glibc's caches when they are freed.
const MOST_SMALL_BYTES: u64 = 120;
/// A reserve is what was needed again so often.
const RESERVE_REFILLS: u64 = 2;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let (peak, end) = (&case.analysis.peak, &case.analysis.end);
    let empty = case.shape.empty_bytes?;
    let others = cached_free_chunks::held_bytes(case)
        .max(top_pinned::held_bytes(case))
        .max(arena_proliferation::held_bytes(case));
    let lazily = if case.shape.glibc { None } else { end.lazyfree_bytes };
    let bytes = empty.saturating_sub(others + lazily.unwrap_or(0));
    let grown = address_growth::outgrew_what_was_live(case);
    if end.live_bytes > peak.live_bytes / 2 || !case.lasts(bytes) || grown {
        return None;
    }
    let refills = case.refills();
    let evidence = BTreeMap::from([
        ("peak_live_bytes", json!(peak.live_bytes)),
        ("peak_time_ns", json!(peak.time_ns)),
        ("end_live_bytes", json!(end.live_bytes)),
        ("heap_resident_bytes", json!(case.held_bytes())),
        ("empty_page_bytes", json!(empty)),
        ("largest_hole_bytes", json!(end.largest_hole_bytes)),
        ("refills", json!(refills)),
        ("site", case.filling_site()),
        ("largest_mapped_freed_bytes", json!(case.shape.reclaim.largest_mapped_freed)),
    ]);
    let reserve = refills >= RESERVE_REFILLS || case.is_reserve();
    let allocator = Allocator::of(&case.analysis.trace, case.shape.glibc);
    let mut remedy = give_back(allocator);
    if allocator == Allocator::Glibc && peak.live_bytes <= peak.live_blocks * MOST_SMALL_BYTES {
        remedy.setting = Some(format!(
            "{CACHES_OFF}: most blocks are small, and small freed chunks that are kept in them hold what \
             lies between; or an allocator that purges by itself, such as jemalloc."
        ));
    }
    Some(Finding {
        title: format!(
            "{} stay in memory after a burst, although nothing is live on these pages",
            words::bytes(bytes)
        ),
        bytes,
        most: if reserve { Severity::Info } else { Severity::Serious },
        of: Of::EmptyPages,
        evidence,
        explanation: explanation(case, bytes, refills),
        remedy,
    })
}

fn explanation(case: &Case<'_>, bytes: u64, refills: u64) -> String {
    let (peak, end) = (&case.analysis.peak, &case.analysis.end);
    let mut text = format!(
        "{} were live at {}, {} at the end; the heap still has {} in memory, and {} of it are \
         whole pages without a live block: nothing pins them, the allocator keeps them.",
        words::bytes(peak.live_bytes),
        words::duration(peak.time_ns),
        words::bytes(end.live_bytes),
        words::bytes(case.held_bytes()),
        share(bytes, case.held_bytes())
    );
    text += &case.filled_by();
    let raised = case.shape.reclaim.largest_mapped_freed;
    if case.shape.glibc && raised > 0 {
        text += &format!(
            " The free of a block of {} raised glibc's trim threshold to {}: less at the top of \
             the heap is not given back.",
            words::bytes(raised),
            words::bytes(2 * raised)
        );
    } else if case.shape.glibc {
        text += " glibc by itself gives back only what lies at the top of a heap.";
    }
    if refills >= RESERVE_REFILLS {
        text += &format!(
            " But it was filled again {} times: as long as that goes on it is a reserve, no loss.",
            words::count(refills)
        );
        return text;
    }
    text + case.reserve_in_words()
}
