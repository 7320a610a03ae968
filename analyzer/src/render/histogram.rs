//! The holes of a heap by size, and its pages by how full they are: two histograms side by side.
//!
//! Beside each other they say which cure can help: large holes serve large blocks as they are;
//! small ones on sparse pages come back only if what lies on these pages goes.

use super::picture::layout::Metrics;
use super::picture::palette::{Palette, Rgb};
use super::picture::shapes::{Drawing, Filled, Format, Side, Words};
use super::picture::{PictureOptions, RenderError, Title, font, scale};
use crate::measure::Holes;

/// Shares of a page, in sixteenths.
const SIXTEENTHS: usize = 16;
/// Of its row's height a bar takes this part.
const THICKNESS: f64 = 0.78;

/// A row of a histogram.
struct Row {
    label: String,
    /// What the bar is as long as.
    value: u64,
    colour: Rgb,
    /// What stands behind the bar.
    words: String,
}

/// The bytes of the file.
///
/// # Errors
/// As [`super::map::draw`].
pub fn draw(
    holes: &Holes,
    title: &Title,
    options: &PictureOptions,
    format: Format,
) -> Result<Vec<u8>, RenderError> {
    options.check()?;
    let (metrics, palette) = (Metrics::new(options), Palette::of(options.theme));
    let mut sheet = Sheet {
        metrics,
        palette,
        drawing: Drawing {
            options: *options,
            ground: palette.ground,
            boxes: Vec::new(),
            words: Vec::new(),
        },
    };
    let top = sheet.head(title, &finding(holes));
    let (width, margin) = (f64::from(options.width), f64::from(metrics.px(16.0)));
    let half = (width - 3.0 * margin) / 2.0;
    let by_size = holes.histogram.iter().rev().map(|bucket| Row {
        label: format!("{} up", scale::bytes(bucket.from_bytes)),
        value: bucket.bytes,
        colour: palette.empty,
        words: format!(
            "{} in {}",
            scale::bytes(bucket.bytes),
            super::text::plural(bucket.count, "hole")
        ),
    });
    sheet.histogram("Free bytes by size of hole", by_size.collect(), (margin, half, top));
    let pages = pages(holes, palette);
    let left = 2.0 * margin + half;
    sheet.histogram("Pages in memory by how much of them is live", pages, (left, half, top));
    sheet.drawing.into_file(format)
}

/// What the left half adds up to.
fn finding(holes: &Holes) -> String {
    match (holes.free_bytes, holes.hole_count) {
        (Some(free), Some(count)) => {
            let largest = holes.largest.first().map_or(0, |hole| hole.bytes);
            format!(
                "{} of the heap are free, in {}, the largest {}.",
                scale::bytes(free),
                super::text::plural(count, "hole"),
                scale::bytes(largest)
            )
        }
        _ => "The holes are not known: this allocator does not say where its blocks end.".into(),
    }
}

/// Fullest first, as in the map; empty where no scan of pages is on record.
fn pages(holes: &Holes, palette: &Palette) -> Vec<Row> {
    let Some(pages) = &holes.pages else { return Vec::new() };
    let count = |count: u64| super::text::plural(count, "page");
    let shares = pages.by_share.iter().enumerate().rev().map(|(at, held)| Row {
        label: format!("{} to {} %", at * 100 / SIXTEENTHS, (at + 1) * 100 / SIXTEENTHS),
        value: *held,
        colour: palette.filled((at as f64 + 0.5) / SIXTEENTHS as f64),
        words: count(*held),
    });
    let empty = pages.empty.map(|empty| Row {
        label: "nothing".into(),
        value: empty,
        colour: palette.empty,
        words: count(empty),
    });
    shares.chain(empty).collect()
}

struct Sheet<'a> {
    metrics: Metrics,
    palette: &'a Palette,
    drawing: Drawing,
}

impl Sheet<'_> {
    fn words(&mut self, text: String, at: (f64, f64), side: Side, size: f64, bold: bool) {
        let colour = self.palette.text;
        self.drawing.words.push(Words { text, at, side, size, bold, colour });
    }

    /// The lines above; returns where the histograms begin.
    fn head(&mut self, title: &Title, finding: &str) -> f64 {
        let metrics = self.metrics;
        let left = f64::from(metrics.px(16.0));
        let room = f64::from(metrics.width) - 2.0 * left;
        let mut top = left;
        for (text, size, bold) in [
            (title.headline.as_str(), metrics.headline(), true),
            (finding, metrics.body(), false),
            (title.subline.as_str(), metrics.small(), false),
        ] {
            let height = f64::from(metrics.line(size));
            let text = font::fit(text, size, bold, room);
            self.words(text, (left, top + height / 2.0), Side::Right, size, bold);
            top += height;
        }
        top + f64::from(metrics.px(14.0))
    }

    fn histogram(&mut self, heading: &str, rows: Vec<Row>, (left, width, top): (f64, f64, f64)) {
        let metrics = self.metrics;
        let (size, line) = (metrics.small(), f64::from(metrics.line(metrics.small())));
        let heading = font::fit(heading, metrics.body(), true, width);
        self.words(heading, (left, top + line / 2.0), Side::Right, metrics.body(), true);
        let first = top + line + f64::from(metrics.px(6.0));
        if rows.is_empty() {
            let words = "not known, or none".to_owned();
            self.words(words, (left, first + line / 2.0), Side::Right, size, false);
            return;
        }
        let bottom = f64::from(metrics.height - metrics.px(16.0));
        let row_height = ((bottom - first) / rows.len() as f64).min(2.0 * line);
        let size = size.min(row_height * THICKNESS);
        let widest = |text: fn(&Row) -> &str| {
            rows.iter().map(|row| font::width(text(row), size, false)).fold(0.0, f64::max)
        };
        let gap = f64::from(metrics.px(8.0));
        let bars = left + widest(|row| &row.label) + gap;
        let room = (left + width - bars - gap - widest(|row| &row.words)).max(1.0);
        let most = rows.iter().map(|row| row.value).max().unwrap_or(0).max(1) as f64;
        for (at, row) in rows.into_iter().enumerate() {
            let middle = first + (at as f64 + 0.5) * row_height;
            let length = row.value as f64 / most * room;
            self.words(row.label.clone(), (bars - gap, middle), Side::Left, size, false);
            let end = (bars + length + gap, middle);
            self.words(row.words.clone(), end, Side::Right, size, false);
            if row.value == 0 {
                continue;
            }
            self.drawing.boxes.push(Filled {
                left: bars,
                top: middle - row_height * THICKNESS / 2.0,
                width: length.max(1.0),
                height: row_height * THICKNESS,
                colour: row.colour,
                tip: format!("{}: {}", row.label, row.words),
                label: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Bucket, PageUse};

    fn holes() -> Holes {
        let bucket = |from_bytes, count, bytes| Bucket { from_bytes, count, bytes };
        let mut by_share = [0; SIXTEENTHS];
        (by_share[0], by_share[15]) = (700, 30);
        Holes {
            free_bytes: Some(5000),
            hole_count: Some(12),
            histogram: vec![bucket(64, 10, 1000), bucket(2048, 2, 4000)],
            pages: Some(PageUse { by_share, empty: Some(3) }),
            ..Holes::default()
        }
    }

    fn svg(holes: &Holes) -> String {
        let title = Title { headline: "Holes of shop".into(), ..Title::default() };
        let options = PictureOptions::default();
        String::from_utf8(draw(holes, &title, &options, Format::Svg).unwrap()).unwrap()
    }

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        let svg = svg(&holes());
        let width = |tip: &str| -> f64 {
            let at = svg.find(&format!("<title>{tip}")).expect(tip);
            let rest = &svg[at + svg[at..].find(" width=\"").expect("a width") + 8..];
            rest.split('"').next().expect("its end").parse().expect("a number")
        };
        assert!((width("2.00 KiB up: 3.91 KiB in 2 holes") - 4.0 * width("64 B up")).abs() < 0.5);
        assert!(width("0 to 6 %: 700 pages") > 20.0 * width("93 to 100 %: 30 pages"));
        assert!(svg.contains("nothing: 3 pages") && svg.contains("50 to 56 %"));
        assert!(svg.contains("4.88 KiB of the heap are free, in 12 holes"));
    }

    #[test]
    fn what_is_not_known_is_said() {
        let svg = svg(&Holes::default());
        assert!(svg.contains("The holes are not known") && svg.contains("not known, or none"));
        for (width, height) in [(480, 320), (3840, 2160)] {
            let options = PictureOptions { width, height, ..PictureOptions::default() };
            let drawn = draw(&holes(), &Title::default(), &options, Format::Png);
            assert!(drawn.is_ok_and(|bytes| bytes.starts_with(b"\x89PNG")));
        }
    }
}
