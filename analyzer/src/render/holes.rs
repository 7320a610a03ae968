//! The holes of a heap as text and JSON: how many, how large, where, and what would fit.

use super::picture::scale;
use super::text::{self, BOLD, DIM};
use crate::measure::{FitMoment, Hole, Holes, HolesIn};
use serde::Serialize;
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, Write};

const BAR_COLUMNS: usize = 24;

/// What would fit: a size, and the share of the free bytes that lies in holes which hold it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// Bytes of the block that is to be placed.
    pub size: u64,
    /// Share of the free bytes, from 0 to 1; `None` when nothing is free.
    pub share_ratio: Option<f64>,
    /// The same over time, evenly spread.
    pub over_time: Vec<FitMoment>,
}

/// The holes as text.
pub fn report(holes: &Holes, fit: Option<Fit>, unicode: bool) -> String {
    let mut out = String::new();
    let Some(free_bytes) = holes.free_bytes else {
        let _ = writeln!(
            out,
            "The holes at {} are not known: this allocator does not say where its blocks end \
             (malloc_usable_size).",
            scale::duration(holes.at_ns)
        );
        return out;
    };
    let count = text::plural(holes.hole_count.unwrap_or(0), "hole");
    let _ = writeln!(
        out,
        "{BOLD}At {}, {} of the heap are free, in {count}.{BOLD:#}",
        scale::duration(holes.at_ns),
        scale::bytes(free_bytes)
    );
    if let Some(reserve_bytes) = holes.reserve_bytes.filter(|_| free_bytes > 0) {
        let _ = writeln!(
            out,
            "{} of that is a reserve: filled again within the cycle that was observed.",
            scale::percent(reserve_bytes as f64 / free_bytes as f64)
        );
    }
    if let Some(Fit { size, share_ratio: Some(share), over_time }) = &fit {
        let _ = writeln!(
            out,
            "{} of that lies in holes that would hold a block of {}.",
            scale::percent(*share),
            scale::bytes(*size)
        );
        fit_course(over_time, &mut out);
    }
    histogram(holes, unicode, &mut out);
    by_region(&holes.by_region, &mut out);
    largest(&holes.largest, &mut out);
    out
}

/// Between which bounds the share was, over the moments at which something was free.
fn fit_course(over_time: &[FitMoment], out: &mut String) {
    let shares =
        || over_time.iter().filter_map(|moment| Some((moment.share_ratio?, moment.time_ns)));
    let least = shares().min_by(|one, other| one.0.total_cmp(&other.0));
    let most = shares().max_by(|one, other| one.0.total_cmp(&other.0));
    if let (Some(least), Some(most)) = (least, most) {
        let _ = writeln!(
            out,
            "Over time that share was from {} (at {}) to {} (at {}).",
            scale::percent(least.0),
            scale::duration(least.1),
            scale::percent(most.0),
            scale::duration(most.1)
        );
    }
}

fn histogram(holes: &Holes, unicode: bool, out: &mut String) {
    let most = holes.histogram.iter().map(|bucket| bucket.bytes).max().unwrap_or(0).max(1);
    if holes.histogram.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{BOLD}{:>12}{:>12}{:>12}{BOLD:#}", "holes of", "count", "free");
    for bucket in &holes.histogram {
        let columns = (bucket.bytes as f64 / most as f64 * BAR_COLUMNS as f64).ceil() as usize;
        let bar = if unicode { "▇" } else { "#" }.repeat(columns);
        let _ = writeln!(
            out,
            "{:>12}{:>12}{:>12}  {DIM}{bar}{DIM:#}",
            format!("{} up", scale::bytes(bucket.from_bytes)),
            scale::count(bucket.count),
            scale::bytes(bucket.bytes)
        );
    }
}

/// Heaps that are listed, those with most in their holes first.
const LISTED_REGIONS: usize = 12;

fn by_region(regions: &[HolesIn], out: &mut String) {
    if regions.len() < 2 {
        return;
    }
    let _ = writeln!(
        out,
        "\n{BOLD}{:>12}{:>12}{:>12}{:>12}  region{BOLD:#}",
        "holes", "free", "largest", "reserve"
    );
    let mut sorted: Vec<&HolesIn> = regions.iter().collect();
    sorted.sort_by_key(|region| Reverse(region.bytes));
    for region in sorted.iter().take(LISTED_REGIONS) {
        let at = region.start.map_or_else(String::new, |start| format!(" at {start:#x}"));
        let _ = writeln!(
            out,
            "{:>12}{:>12}{:>12}{:>12}  {}{at}",
            scale::count(region.count),
            scale::bytes(region.bytes),
            scale::bytes(region.largest_bytes),
            scale::bytes(region.reserve_bytes),
            region.region
        );
    }
    if regions.len() > LISTED_REGIONS {
        let more = text::plural((regions.len() - LISTED_REGIONS) as u64, "heap");
        let _ = writeln!(out, "{more} more: --json lists all.");
    }
}

fn largest(holes: &[Hole], out: &mut String) {
    if holes.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{BOLD}{:>12}  {:<16}  {:>12}{:>12}{:>12}{:>12}  region{BOLD:#}",
        "largest", "address", "free for", "refilled", "before", "after"
    );
    for hole in holes {
        let block = |size: Option<u64>| size.map_or("-".to_owned(), scale::bytes);
        let _ = writeln!(
            out,
            "{:>12}  {:<16}  {:>12}{:>12}{:>12}{:>12}  {}",
            scale::bytes(hole.bytes),
            format!("{:#x}", hole.address),
            hole.age_ns.map_or("-".to_owned(), scale::duration),
            scale::percent(hole.refill_ratio),
            block(hole.before),
            block(hole.after),
            hole.region.as_deref().unwrap_or("-")
        );
    }
}

/// The holes as the contract's JSON object.
///
/// # Errors
/// Whatever writing says.
pub fn json(holes: &Holes, fit: Option<Fit>, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Page<'a> {
        #[serde(flatten)]
        holes: &'a Holes,
        fit: Option<Fit>,
    }
    super::json::value(&Page { holes, fit }, out)?;
    out.write_all(b"\n")
}
