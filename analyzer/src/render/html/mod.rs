//! The page: one HTML file that asks for nothing from anywhere, with all data inside.
//!
//! Data are JSON and planes of cells, each packed by zlib and written in base 64; browsers
//! unpack them by themselves. The file stays below 5 MB: what does not fit is made coarser step
//! by step, and the page says what was left out. Scripts are plain files under `page/`, joined
//! into one in the order of [`SCRIPTS`].

mod data;
mod planes;

use crate::diagnose::Diagnoses;
use crate::measure::frames::Frames;
use crate::measure::{Analysis, PoolFacts};
use crate::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{self, Write};

/// What the two packed parts may take, in bytes before base 64.
const MOST_PLANES_BYTES: usize = 2_220_000;
const MOST_DATA_BYTES: usize = 1_300_000;
/// How hard each is packed. Planes would become 0.7 % smaller by one level more, which takes half as
/// much time again, or twice as much.
const PLANES_LEVEL: u32 = 6;
const DATA_LEVEL: u32 = 7;
/// Pools that are listed.
const MOST_POOLS: usize = 1000;
/// Cells become larger before there are fewer frames than this.
const LEAST_FRAMES: usize = 32;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const CHART_SCRIPT: &str = include_str!("../../../assets/uplot/uPlot.iife.min.js");
const CHART_STYLE: &str = include_str!("../../../assets/uplot/uPlot.min.css");
/// In this order: each knows those before it.
const SCRIPTS: [&str; 15] = [
    include_str!("page/words.js"),
    include_str!("page/data.js"),
    include_str!("page/state.js"),
    include_str!("page/tables.js"),
    include_str!("page/colours.js"),
    include_str!("page/overview.js"),
    include_str!("page/pages.js"),
    include_str!("page/charts.js"),
    include_str!("page/slider.js"),
    include_str!("page/sites.js"),
    include_str!("page/holes.js"),
    include_str!("page/pools.js"),
    include_str!("page/chosen.js"),
    include_str!("page/findings.js"),
    include_str!("page/main.js"),
];

/// What the page says besides the measures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HtmlExtras {
    /// When the recording began, in words.
    pub began: Option<String>,
    /// Pools that the program told of.
    pub pools: Vec<PoolFacts>,
}

/// The page's bytes. Frames become fewer and coarser until they fit.
///
/// # Errors
/// Only if packing fails.
pub fn page(
    analysis: &Analysis,
    diagnoses: &Diagnoses,
    mut frames: Frames,
    extras: &HtmlExtras,
) -> io::Result<Vec<u8>> {
    let mut left_out = Vec::new();
    let taken = frames.frames.len();
    let planes = loop {
        let packed = pack(&planes::of(&frames), PLANES_LEVEL)?;
        if packed.len() <= MOST_PLANES_BYTES || frames.bands.is_empty() {
            break packed;
        }
        if frames.frames.len() > LEAST_FRAMES {
            frames.thin_out();
        } else {
            frames.coarsen();
        }
    };
    if frames.frames.len() < taken {
        left_out.push(format!(
            "{} of {taken} moments are shown; the others would not have fitted.",
            frames.frames.len()
        ));
    }
    note_coarse(&frames, &mut left_out);
    if extras.pools.len() > MOST_POOLS {
        left_out.push(format!(
            "Of {} pools the {MOST_POOLS} largest are listed.",
            words::count(extras.pools.len() as u64)
        ));
    }
    let data = loop {
        let mut notes = left_out.clone();
        note_blocks(&frames, &mut notes);
        let data = data::of(analysis, diagnoses, &frames, extras, &notes);
        let packed = pack(data.to_string().as_bytes(), DATA_LEVEL)?;
        if packed.len() <= MOST_DATA_BYTES {
            break packed;
        }
        if !frames.details.is_empty() {
            let gone = frames.details.remove(0);
            left_out.push(format!("Single blocks at {} would not have fitted.", gone.label));
        } else if !frames.shorten_tables() {
            break packed;
        }
    };
    Ok(assemble(&data, &planes))
}

fn note_coarse(frames: &Frames, left_out: &mut Vec<String>) {
    if frames.cell_bytes > frames.page_bytes {
        left_out.push(format!(
            "Squares stand for {} each, not for single pages of {}: the heap has too many.",
            words::bytes(frames.cell_bytes),
            words::bytes(frames.page_bytes)
        ));
    }
    if frames.other_sites_count > 0 {
        left_out.push(format!(
            "{} sites with least memory are shown as one.",
            words::count(frames.other_sites_count)
        ));
    }
}

fn note_blocks(frames: &Frames, notes: &mut Vec<String>) {
    for detail in &frames.details {
        let kept = detail.blocks.len() as u64;
        if kept < detail.all_blocks {
            notes.push(format!(
                "At {}, {} of {} blocks are shown one by one: those on the pages with most \
                 unused bytes.",
                detail.label,
                words::count(kept),
                words::count(detail.all_blocks)
            ));
        }
    }
    let moments: Vec<String> = (frames.details.iter())
        .map(|detail| format!("{} ({})", detail.label, words::duration(detail.at_ns)))
        .collect();
    if !moments.is_empty() {
        notes.push(format!("Single blocks are known at {} only.", moments.join(" and ")));
    }
}

fn pack(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn assemble(data: &[u8], planes: &[u8]) -> Vec<u8> {
    let mut page = PAGE.to_owned();
    let script = SCRIPTS.concat();
    let (data, planes) = (STANDARD.encode(data), STANDARD.encode(planes));
    // What is put in holds none of the later marks.
    for (mark, text) in [
        ("/*CHART-STYLE*/", CHART_STYLE),
        ("/*STYLE*/", STYLE),
        ("/*CHART-SCRIPT*/", CHART_SCRIPT),
        ("/*SCRIPT*/", &script),
        ("DATA-IN-BASE-64", &data),
        ("PLANES-IN-BASE-64", &planes),
    ] {
        page = page.replacen(mark, text, 1);
    }
    page.into_bytes()
}
