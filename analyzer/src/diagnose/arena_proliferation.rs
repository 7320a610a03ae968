//! `arena-proliferation`: many arenas of glibc, each with little live and much free.
//!
//! Each thread that finds the others' arenas busy gets one of its own, up to 8 a core, and what
//! is free in one serves no thread of another.
//!
//! *Signature* (glibc only): at least four secondary arenas that hold 1 MiB or more and are at most
//! a quarter live, and whose pages without a live byte have been so for the last tenth
//! of the run.
//!
//! *Thresholds*: four, as a program of two or three threads gains nothing by sharing; a quarter,
//! as half-full arenas are what threads that work leave behind.
//!
//! *At stake*: the pages of these arenas without a live byte. What lies unused on pages with live
//! blocks is not counted: fewer arenas would not give it back, the blocks pin it.
//!
//! *What to do* goes by what sharing could spare at most: what the heap held at its largest beyond what
//! was ever live at once. Arenas that were full at the same time would have made one as large as they
//! are; giving back is what helps there.

use super::case::Case;
use super::claims::Of;
use super::remedy::{Allocator, Remedy, give_back};
use super::{Finding, MIB, Severity};
use crate::measure::HeapPart;
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;

const LEAST_ARENAS: usize = 4;
const LEAST_RESIDENT_BYTES: u64 = MIB;
const MOST_LIVE_PART: u64 = 4;

/// Arenas that hold much and use little.
struct Sparse {
    arenas: usize,
    live_bytes: u64,
    resident_bytes: u64,
    empty_bytes: u64,
}

fn sparse(case: &Case<'_>) -> Option<Sparse> {
    let mut arenas: BTreeMap<u64, HeapPart> = BTreeMap::new();
    for heap in &case.shape.arenas {
        let arena = arenas.entry(heap.first_heap).or_default();
        arena.live_bytes += heap.live_bytes;
        arena.resident_bytes += heap.resident_bytes;
        arena.empty_bytes += heap.empty_bytes;
    }
    let mut sparse = Sparse { arenas: 0, live_bytes: 0, resident_bytes: 0, empty_bytes: 0 };
    for arena in arenas.values() {
        if arena.resident_bytes >= LEAST_RESIDENT_BYTES
            && arena.live_bytes <= arena.resident_bytes / MOST_LIVE_PART
        {
            sparse.arenas += 1;
            sparse.live_bytes += arena.live_bytes;
            sparse.resident_bytes += arena.resident_bytes;
            sparse.empty_bytes += arena.empty_bytes;
        }
    }
    (sparse.arenas >= LEAST_ARENAS).then_some(sparse)
}

/// Bytes that lie free in many arenas; 0 where there are few.
pub(super) fn held_bytes(case: &Case<'_>) -> u64 {
    sparse(case).map_or(0, |sparse| sparse.empty_bytes)
}

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let sparse = sparse(case)?;
    let Sparse { arenas: count, live_bytes: live, resident_bytes: resident, .. } = sparse;
    let bytes = sparse.empty_bytes;
    if !case.lasts(bytes) {
        return None;
    }
    let threads = case.analysis.trace.threads;
    let full_at_once = case.full_at_once(bytes);
    let at_once = match full_at_once {
        true => format!(
            " {} were live at once, so fewer arenas would have grown as large.",
            words::bytes(case.analysis.peak.live_bytes)
        ),
        false => String::new(),
    };
    Some(Finding {
        title: format!(
            "{} lie free in {count} arenas, each of which serves its own threads only",
            words::bytes(bytes)
        ),
        bytes,
        most: Severity::Serious,
        of: Of::EmptyPages,
        evidence: BTreeMap::from([
            ("sparse_arenas", json!(count)),
            ("arena_heaps", json!(case.shape.arenas.len())),
            ("resident_bytes", json!(resident)),
            ("empty_page_bytes", json!(bytes)),
            ("live_bytes", json!(live)),
            ("threads", json!(threads)),
            ("site", case.filling_site()),
        ]),
        explanation: format!(
            "{} threads ran; {count} secondary arenas have {} in memory and only {} live \
             in them; {} are whole pages without a live block.{at_once}{}",
            words::count(threads),
            words::bytes(resident),
            words::bytes(live),
            words::bytes(bytes),
            case.filled_by()
        ),
        remedy: if full_at_once {
            Remedy { setting: None, ..give_back(Allocator::Glibc) }
        } else {
            share_arenas()
        },
    })
}

fn share_arenas() -> Remedy {
    Remedy {
        c: "call `mallopt(M_ARENA_MAX, 2);` (#include <malloc.h>) before the first thread starts, or \
            use fewer threads; `malloc_trim(0);` empties arenas whose work is over."
            .into(),
        rust: "call `unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };` first in main, or give the \
               runtime fewer threads (tokio: `worker_threads`)."
            .into(),
        setting: Some("MALLOC_ARENA_MAX=2, or GLIBC_TUNABLES=glibc.malloc.arena_max=2".into()),
    }
}
