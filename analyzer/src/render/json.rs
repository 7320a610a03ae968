//! The report as JSON: the object that docs and scripts rely on.
//!
//! A key a line, and a moment of the series a line: one object for programs, and still
//! something that `grep` and `diff` can work with.

use super::blame;
use crate::diagnose::Diagnoses;
use crate::measure::blame::SiteFacts;
use crate::measure::{Analysis, JohnstoneWilson, Parts, State, TraceFacts};
use serde::Serialize;
use std::io::{self, Write};

/// Version of the object: raised when a key changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// Sites that are listed; `fragtrace blame --json` lists all.
const MOST_SITES: usize = 50;

/// What the heap is made of, at two moments.
#[derive(Debug, Clone, Copy)]
pub struct PartsTwice<'a> {
    /// At the end.
    pub end: &'a Parts,
    /// When most was live.
    pub peak: &'a Parts,
}

/// Writes the report of one trace, with the sites that pin most at its end.
///
/// # Errors
/// Whatever writing says.
pub fn report(
    analysis: &Analysis,
    diagnoses: &Diagnoses,
    parts: &PartsTwice<'_>,
    sites: &[SiteFacts],
    out: &mut impl Write,
) -> io::Result<()> {
    let Analysis { trace, peak, peak_footprint, end, series, latency, .. } = analysis;
    write!(out, "{{\n\"schema\": {SCHEMA},\n\"trace\": ")?;
    value(trace, out)?;
    for (key, state) in [("peak", peak), ("peak_footprint", peak_footprint), ("end", end)] {
        write!(out, ",\n\"{key}\": ")?;
        value(state, out)?;
    }
    out.write_all(b",\n\"johnstone_wilson\": ")?;
    value(&JohnstoneWilson::of(analysis), out)?;
    out.write_all(b",\n\"latency\": ")?;
    value(latency, out)?;
    out.write_all(b",\n\"series\": [")?;
    for (index, state) in series.iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        value(state, out)?;
    }
    out.write_all(b"\n],\n\"diagnoses\": [")?;
    for (index, found) in diagnoses.list.iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        value(found, out)?;
    }
    out.write_all(b"],\n\"cannot_tell\": ")?;
    value(&diagnoses.cannot_tell, out)?;
    out.write_all(b",\n\"judged_at_ns\": ")?;
    value(&diagnoses.judged_at_ns, out)?;
    out.write_all(b",\n\"heaps\": ")?;
    value(&parts.end.heaps, out)?;
    out.write_all(b",\n\"arenas\": ")?;
    value(&parts.end.arenas, out)?;
    out.write_all(b",\n\"threads\": ")?;
    value(&parts.end.threads, out)?;
    out.write_all(b",\n\"pools\": ")?;
    value(&parts.end.pools, out)?;
    out.write_all(b",\n\"free_places\": ")?;
    value(&parts.end.free_places, out)?;
    out.write_all(b",\n\"slop_by_class\": ")?;
    value(&parts.end.slop_by_class, out)?;
    out.write_all(b",\n\"page_utilisation\": ")?;
    value(&parts.end.page_utilisation, out)?;
    out.write_all(b",\n\"at_peak\": ")?;
    value(parts.peak, out)?;
    out.write_all(b",\n\"sites\": ")?;
    blame::list(&sites[..sites.len().min(MOST_SITES)], out)?;
    out.write_all(b"\n}\n")
}

/// Writes the report of one trace among many: a line, without the series.
///
/// # Errors
/// Whatever writing says.
pub fn list_line(analysis: &Analysis, path: &str, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: u32,
        path: &'a str,
        trace: &'a TraceFacts,
        peak: &'a State,
        peak_footprint: &'a State,
        end: &'a State,
    }
    let Analysis { trace, peak, peak_footprint, end, .. } = analysis;
    value(&Line { schema: SCHEMA, path, trace, peak, peak_footprint, end }, out)?;
    out.write_all(b"\n")
}

/// Writes one value without blanks.
///
/// # Errors
/// Whatever writing says.
pub fn value<T: Serialize>(value: &T, out: &mut impl Write) -> io::Result<()> {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    static NOTHING: LazyLock<Parts> = LazyLock::new(Parts::default);

    fn nothing() -> PartsTwice<'static> {
        PartsTwice { end: &NOTHING, peak: &NOTHING }
    }

    #[test]
    fn every_key_of_the_contract_is_there() {
        let mut out = Vec::new();
        let analysis = Analysis { series: vec![State::default(); 3], ..Analysis::default() };
        report(&analysis, &Diagnoses::default(), &nothing(), &[], &mut out).expect("written");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let keys: Vec<&str> =
            json.as_object().expect("an object").keys().map(String::as_str).collect();
        for key in [
            "schema",
            "trace",
            "peak",
            "peak_footprint",
            "end",
            "johnstone_wilson",
            "latency",
            "series",
            "diagnoses",
            "heaps",
            "arenas",
            "threads",
            "free_places",
            "slop_by_class",
            "page_utilisation",
            "at_peak",
            "sites",
        ] {
            assert!(keys.contains(&key), "{key} is missing");
        }
        assert_eq!(json["schema"], 1);
        assert_eq!(json["series"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["end"]["footprint_bytes"], serde_json::Value::Null, "unknown is null");
        let state = json["peak"].as_object().expect("an object");
        assert!(state.contains_key("page_live_histogram") && state.contains_key("region_count"));
    }

    #[test]
    fn a_ratio_that_is_no_number_is_null() {
        let end = State { fragmentation_ratio: Some(f64::INFINITY), ..State::default() };
        let mut out = Vec::new();
        let analysis = Analysis { end, ..Analysis::default() };
        report(&analysis, &Diagnoses::default(), &nothing(), &[], &mut out).expect("written");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(json["end"]["fragmentation_ratio"], serde_json::Value::Null);
    }
}
