//! What the page knows besides the cells, as JSON: short keys, and columns rather than rows
//! where there are many of a kind.

use super::{HtmlExtras, MOST_POOLS};
use crate::diagnose::Diagnoses;
use crate::measure::blame::CallFacts;
use crate::measure::frames::{Detail, Frame, Frames};
use crate::measure::{Analysis, KindsBy, PoolFacts, Scale, State, thread_label, with_gaps};
use crate::render::picture::palette::{Palette, Theme};
use serde_json::{Value, json};
use std::cmp::Reverse;

const NS_PER_MS: u64 = 1_000_000;
/// Extents are multiples of this.
const GRANULE_BYTES: u64 = 8;
/// Calls that are told of a stack, and letters of each.
const MOST_CALLS: usize = 40;
const MOST_LETTERS: usize = 300;

/// The whole object.
pub(super) fn of(
    analysis: &Analysis,
    diagnoses: &Diagnoses,
    frames: &Frames,
    extras: &HtmlExtras,
    left_out: &[String],
) -> Value {
    json!({
        "trace": analysis.trace,
        "began": extras.began,
        "peak_ns": analysis.peak.time_ns,
        "series": series(&analysis.series),
        "bursts": analysis.steps.iter().filter(|s| s.is_burst())
            .map(|s| json!([s.peak_ns, s.bytes])).collect::<Vec<_>>(),
        "diagnoses": diagnoses.list,
        "cannot_tell": diagnoses.cannot_tell,
        "page_bytes": frames.page_bytes,
        "cell_bytes": frames.cell_bytes,
        "bands": frames.bands.iter()
            .map(|band| json!([band.start, band.cells, band.label])).collect::<Vec<_>>(),
        "frames": frames.frames.iter().map(frame).collect::<Vec<_>>(),
        "sites": frames.sites.iter().map(|calls| site(calls)).collect::<Vec<_>>(),
        "other_sites": [frames.other_sites, frames.other_sites_count],
        "threads": frames.threads,
        "kinds": kinds(frames),
        "details": frames.details.iter().map(detail).collect::<Vec<_>>(),
        "pools": pools(&extras.pools),
        "left_out": left_out,
        "palettes": { "light": palette(Theme::Light, frames), "dark": palette(Theme::Dark, frames) },
    })
}

/// The largest pools, in the order in which they came.
fn pools(all: &[PoolFacts]) -> Vec<&PoolFacts> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| Reverse(all[*at].bytes));
    order.truncate(MOST_POOLS);
    order.sort_unstable();
    order.into_iter().map(|at| &all[at]).collect()
}

/// What kinds of size, age and thread are called, and which values are of which.
fn kinds(frames: &Frames) -> Value {
    let name = |thread: &u32| thread_label(*thread, frames.threads.get(thread).map(String::as_str));
    let mut threads: Vec<String> = frames.named_threads.iter().map(name).collect();
    if frames.other_threads > 0 {
        threads.push(format!("{} other threads", frames.other_threads));
    }
    let scale = |scale: &Scale| json!({ "labels": scale.labels, "bounds": scale.bounds });
    json!({
        "size": scale(&frames.sizes),
        "age": scale(&frames.ages),
        "thread": { "labels": threads, "bounds": frames.named_threads },
    })
}

/// The colours of the pictures, for the page to take the same.
fn palette(theme: Theme, frames: &Frames) -> Value {
    let palette = Palette::of(theme);
    let scale = |by, kinds: &[String]| {
        let kinds = 1..=kinds.len() as u8;
        kinds.clone().map(|kind| palette.kind(by, kind, kinds.len())).collect::<Vec<_>>()
    };
    json!({
        "ground": palette.ground,
        "text": palette.text,
        "muted": palette.muted,
        "grid": palette.grid,
        "unused": palette.unused,
        "given_back": palette.given_back,
        "empty": palette.empty,
        "idle": palette.idle,
        "filled": palette.filled,
        "named": palette.named,
        "size": scale(KindsBy::Size, &frames.sizes.labels),
        "age": scale(KindsBy::Age, &frames.ages.labels),
        "series": {
            "live": palette.series.live,
            "usable": palette.series.usable,
            "footprint": palette.series.footprint,
            "resident": palette.series.resident,
            "rss": palette.series.rss,
        },
    })
}

/// The states, a column for each figure.
fn series(states: &[State]) -> Value {
    let states = with_gaps(states);
    let column = |figure: &dyn Fn(&State) -> Value| states.iter().map(figure).collect::<Vec<_>>();
    json!({
        "time_ns": column(&|s| json!(s.time_ns)),
        "live": column(&|s| json!(s.live_bytes)),
        "footprint": column(&|s| json!(s.footprint_bytes)),
        "resident": column(&|s| json!(s.heap_resident_bytes)),
        "rss": column(&|s| json!(s.rss_bytes)),
        "ratio": column(&|s| json!(s.fragmentation_ratio)),
        "free": column(&|s| json!(s.free_bytes)),
        "holes": column(&|s| json!(s.hole_count)),
        "pinned": column(&|s| json!(s.pinned_waste_bytes)),
        "releasable": column(&|s| json!(s.releasable_bytes)),
        "pages": column(&|s| json!(s.page_live_histogram)),
    })
}

fn frame(frame: &Frame) -> Value {
    let sites = frame.sites.iter().map(|s| {
        json!([
            s.site,
            s.pinned_bytes,
            s.sole_pinned_bytes,
            s.unlock_bytes,
            s.live_bytes,
            s.live_blocks,
            s.pages,
            s.age_ns.map(|age_ns| age_ns / NS_PER_MS)
        ])
    });
    json!({
        "t": frame.time_ns,
        "sites": sites.collect::<Vec<_>>(),
        "more": frame.more_sites,
        "holes": frame.holes.iter()
            .map(|h| json!([h.from_bytes, h.count, h.bytes])).collect::<Vec<_>>(),
        "largest": frame.largest_holes,
    })
}

fn site(calls: &[CallFacts]) -> Value {
    let call = calls.first().cloned().unwrap_or_default();
    json!({
        "name": shortened(call.name()),
        "words": shortened(call.in_words()),
        "function": call.function.as_deref(),
        "file": call.file.as_deref(),
        "offset": call.offset,
        "module": call.module_name(),
        "stack": calls.iter().skip(1).take(MOST_CALLS)
            .map(|call| shortened(call.in_words())).collect::<Vec<_>>(),
    })
}

fn shortened(words: String) -> String {
    match words.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// Single blocks in columns; starts as steps from block to block.
fn detail(detail: &Detail) -> Value {
    let mut before = 0;
    let mut step = |start: u64| {
        let step = start.saturating_sub(before) / GRANULE_BYTES;
        before = start;
        step
    };
    let blocks = &detail.blocks;
    json!({
        "t": detail.at_ns,
        "label": detail.label,
        "all": detail.all_blocks,
        "whole": detail.whole_pages.as_ref().map(|pages| {
            pages.iter().map(|range| json!([range.start, range.end])).collect::<Vec<_>>()
        }),
        "start": blocks.iter().map(|b| step(b.extent.start)).collect::<Vec<_>>(),
        "bytes": blocks.iter()
            .map(|b| (b.extent.end - b.extent.start) / GRANULE_BYTES).collect::<Vec<_>>(),
        "size": blocks.iter().map(|b| b.size).collect::<Vec<_>>(),
        "site": blocks.iter().map(|b| b.site).collect::<Vec<_>>(),
        "thread": blocks.iter().map(|b| b.thread).collect::<Vec<_>>(),
        "age_ms": blocks.iter().map(|b| b.age_ns / NS_PER_MS).collect::<Vec<_>>(),
    })
}
