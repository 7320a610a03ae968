//! Where the heap of a program cannot be seen, the report says so first: else a small live
//! set next to a large RSS reads like fragmentation.

use super::{file_name, plural, program_name, scale};
use crate::measure::{Analysis, State};

/// What a process may gain outside of the heap without a word: libraries, stacks, buffers.
const ORDINARY_GAIN_BYTES: u64 = 16 << 20;
/// The heap counts as unseen when blocks never held this part of what the process gained.
const SEEN_SHARE: u64 = 4;
/// Below this part, hardly a block was seen.
const HARDLY_SHARE: u64 = 32;

/// The warning, if the memory of the process grew and malloc's blocks account for little.
pub(super) fn warning(analysis: &Analysis) -> Option<String> {
    let trace = &analysis.trace;
    // The tracer knows best.
    if let Some(known) = trace.unseen_allocators.first() {
        return Some(format!(
            "{known}. `fragtrace doctor {}` tells what to do.",
            trace.exe.as_deref().unwrap_or("PROGRAM")
        ));
    }
    // Where events are missing, blocks are missing for that reason.
    if trace.dropped_events > 0 || !analysis.damage.is_empty() {
        return None;
    }
    let gained = gained_outside_heap(&analysis.series)?;
    let most_live = analysis.peak.live_bytes;
    if gained < ORDINARY_GAIN_BYTES || most_live > gained / SEEN_SHARE {
        // What a child of fork has may all be its parent's.
        if trace.allocs > 0 || trace.forked_from.is_some() {
            return None;
        }
        return Some(format!(
            "No block was seen: {} never called the malloc that the tracer stands before.",
            program_name(trace)
        ));
    }
    let what = if most_live < gained / HARDLY_SHARE {
        "Mappings grow and hardly a block is seen"
    } else {
        "Most of this program's memory is not malloc's"
    };
    Some(format!(
        "{what}: outside the heap that is seen here it gained {}, while malloc's blocks never \
         held more than {} ({}). {}",
        scale::bytes(gained),
        scale::bytes(most_live),
        plural(trace.allocs, "alloc"),
        reason(trace.exe.as_deref())
    ))
}

/// Resident memory that is not the heap's, from its first known value to its greatest.
fn gained_outside_heap(series: &[State]) -> Option<u64> {
    let mut outside = series.iter().filter_map(|state| {
        let heap = state.heap_resident_bytes.or(state.footprint_bytes).unwrap_or(0);
        Some(state.rss_bytes?.saturating_sub(heap))
    });
    let first = outside.next()?;
    Some(outside.max().unwrap_or(first).saturating_sub(first))
}

fn reason(exe: Option<&str>) -> String {
    let name = exe.map_or("", file_name);
    let known = [
        (
            "python",
            "Python keeps small objects in arenas of its own: PYTHONMALLOC=malloc shows them.",
        ),
        ("node", "JavaScript objects live in V8's own heap."),
        ("java", "Java objects live in the JVM's own heap."),
    ];
    match known.iter().find(|(start, _)| name.starts_with(start)) {
        Some((_, reason)) => (*reason).into(),
        None => format!(
            "Its allocator may be linked in under other names, or it maps memory by itself: \
             `fragtrace doctor {}` tells more.",
            exe.unwrap_or("PROGRAM")
        ),
    }
}
