//! Tables for `report --details`: heap by heap, arena by arena, thread by thread, free bytes by place, slop by
//! size class. JSON has all of it under `heaps`, `arenas`, `threads`, `free_places`, `slop_by_class`.

use super::{BOLD, plural, scale};
use crate::measure::{ArenaFacts, FreePlaces, HeapFacts, Parts, SlopClass, ThreadFacts};
use std::cmp::Reverse;
use std::fmt::Write;

/// Rows of a table; the rest is in JSON.
const MOST_ROWS: usize = 24;

/// All tables, each behind an empty line.
pub(super) fn tables(parts: &Parts) -> String {
    let mut out = heaps(&parts.heaps);
    out += &arenas(parts.arenas.as_deref().unwrap_or_default());
    out += &threads(&parts.threads);
    out += &places(&parts.free_places);
    out += &slop(parts.slop_by_class.as_deref());
    out
}

fn known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "not known".into(), scale::bytes)
}

fn heading(out: &mut String, title: &str, first: &str, columns: &[&str]) {
    let _ = writeln!(out, "\n{BOLD}{title}{BOLD:#}");
    row(out, first, columns.iter().map(|column| (*column).to_owned()));
}

fn row(out: &mut String, first: &str, cells: impl IntoIterator<Item = String>) {
    let _ = write!(out, "{first:<30}");
    for cell in cells {
        let _ = write!(out, "{cell:>14}");
    }
    out.push('\n');
}

fn left_out(out: &mut String, rows: usize, thing: &str) {
    if rows > MOST_ROWS {
        let more = plural((rows - MOST_ROWS) as u64, thing);
        let _ = writeln!(out, "{more} more: --json lists all.");
    }
}

fn heaps(heaps: &[HeapFacts]) -> String {
    let mut out = String::new();
    if heaps.is_empty() {
        return out;
    }
    let columns = ["live", "free", "footprint", "resident", "releasable"];
    heading(&mut out, "Heaps, largest first", "", &columns);
    let mut sorted: Vec<&HeapFacts> = heaps.iter().collect();
    sorted.sort_by_key(|heap| Reverse(heap.footprint_bytes));
    for heap in sorted.iter().take(MOST_ROWS) {
        let at = heap.start.map_or_else(String::new, |start| format!(" at {start:#x}"));
        let figures = [heap.live_bytes, heap.free_bytes, heap.footprint_bytes].map(scale::bytes);
        let seen = [heap.resident_bytes, heap.releasable_bytes].map(known);
        row(&mut out, &format!("{}{at}", heap.kind), figures.into_iter().chain(seen));
    }
    left_out(&mut out, heaps.len(), "heap");
    out
}

fn arenas(arenas: &[ArenaFacts]) -> String {
    let mut out = String::new();
    if arenas.is_empty() {
        return out;
    }
    let columns = ["heaps", "threads", "live", "free", "footprint", "resident"];
    heading(&mut out, "Arenas, largest first", "", &columns);
    let mut sorted: Vec<&ArenaFacts> = arenas.iter().collect();
    sorted.sort_by_key(|arena| Reverse(arena.footprint_bytes));
    for arena in sorted.iter().take(MOST_ROWS) {
        let name = match (arena.start, arena.told) {
            (None, _) => "main".to_owned(),
            (Some(start), true) => format!("at {start:#x}"),
            (Some(start), false) => format!("heap at {start:#x}"),
        };
        let counts = [arena.heaps, arena.threads.len() as u64].map(scale::count);
        let figures = [arena.live_bytes, arena.free_bytes, arena.footprint_bytes].map(scale::bytes);
        let seen = [known(arena.resident_bytes)];
        row(&mut out, &name, counts.into_iter().chain(figures).chain(seen));
    }
    left_out(&mut out, arenas.len(), "arena");
    out
}

fn threads(threads: &[ThreadFacts]) -> String {
    let mut out = String::new();
    if threads.is_empty() {
        return out;
    }
    let columns = ["live", "free", "footprint", "others freed", "freed others"];
    heading(&mut out, "Threads, by the footprint of what they acquired", "", &columns);
    let mut sorted: Vec<&ThreadFacts> = threads.iter().collect();
    sorted.sort_by_key(|thread| Reverse(thread.footprint_bytes));
    for thread in sorted.iter().take(MOST_ROWS) {
        let name = thread.name.as_deref().map_or_else(String::new, |name| format!(" {name}"));
        let figures = [
            thread.live_bytes,
            thread.free_bytes,
            thread.footprint_bytes,
            thread.freed_by_others_bytes,
            thread.freed_of_others_bytes,
        ];
        row(&mut out, &format!("{}{name}", thread.thread), figures.map(scale::bytes));
    }
    left_out(&mut out, threads.len(), "thread");
    out
}

fn places(places: &FreePlaces) -> String {
    let mut out = format!("\n{BOLD}Free bytes by place{BOLD:#}\n");
    let (holes, own) = (&places.as_holes, &places.as_allocator);
    for (name, bytes) in [
        ("beside live blocks", holes.beside_blocks_bytes),
        ("on whole pages in memory", holes.empty_pages_bytes),
        ("on whole pages that are not", holes.absent_pages_bytes),
        ("in thread caches", own.thread_caches_bytes),
        ("in bins", own.bins_bytes),
        ("in thread caches and bins", own.caches_and_bins_bytes),
        ("dirty: whole pages in memory", own.dirty_bytes),
        ("purged: pages not in memory", own.purged_bytes),
        ("at the top of heaps", own.top_bytes),
        ("  in memory", own.top_resident_bytes),
    ] {
        row(&mut out, name, [known(bytes)]);
    }
    out
}

fn slop(classes: Option<&[SlopClass]>) -> String {
    let Some(classes) = classes else {
        return "\nSlop by size class is not known: this allocator does not say what may be used of \
                its blocks.\n"
            .into();
    };
    let mut out = String::new();
    let columns = ["blocks", "asked for", "usable", "slop"];
    heading(&mut out, "Slop by size class, most first", "bytes usable", &columns);
    let mut sorted: Vec<&SlopClass> = classes.iter().collect();
    sorted.sort_by_key(|class| Reverse(class.slop_bytes));
    for class in sorted.iter().take(MOST_ROWS) {
        let SlopClass { from_bytes, to_bytes, .. } = class;
        let name = match from_bytes == to_bytes {
            true => scale::count(*from_bytes),
            false => format!("{} to {}", scale::count(*from_bytes), scale::count(*to_bytes)),
        };
        let figures = [class.live_bytes, class.usable_bytes, class.slop_bytes].map(scale::bytes);
        row(&mut out, &name, [scale::count(class.blocks)].into_iter().chain(figures));
    }
    left_out(&mut out, classes.len(), "row");
    out
}
