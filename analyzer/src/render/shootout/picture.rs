//! The shootout as a picture: the resident set over time, a line an allocator.
//!
//! Allocators have a colour each, and all settings of one its colour, more thinly drawn; lines are
//! named where they end. The recorded program is drawn last, and boldest.

use crate::render::picture::canvas::Canvas;
use crate::render::picture::frame::{self, Header, TimeSpan};
use crate::render::picture::layout::{Metrics, Rect};
use crate::render::picture::legend::Legend;
use crate::render::picture::palette::{Palette, Rgb};
use crate::render::picture::{PictureOptions, RenderError, Title};
use crate::render::timeline::chart::{self, Chart};
use crate::render::timeline::labels;
use crate::render::timeline::series::{Kind, Line, Panel};
use crate::shootout::{Run, Shootout};

/// Draws the runs; returns the bytes of a PNG file.
///
/// # Errors
/// As [`crate::render::timeline::draw`].
pub fn draw(
    found: &Shootout,
    title: &Title,
    options: &PictureOptions,
) -> Result<Vec<u8>, RenderError> {
    let palette = Palette::of(options.theme);
    let mut canvas = Canvas::new(options, palette.ground)?;
    let metrics = Metrics::new(options);
    let times = times(found);
    let panel = panel(found, &times, palette);
    let span =
        TimeSpan::new(times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
    let legend = Legend::place(Vec::new(), &metrics, metrics.width);
    let header = Header::new(title, &found.verdict, legend, &metrics);
    let panels = [panel];
    let title_height = metrics.line(metrics.small()) + metrics.px(4.0);
    let top = header.height(&metrics);
    let rect = Rect {
        left: frame::margin(&metrics) + chart::scale_width(&metrics),
        top: top + title_height,
        right: metrics.width - frame::margin(&metrics) - labels::width(&panels, &times, &metrics),
        bottom: metrics.height - frame::margin(&metrics) - frame::time_axis_height(&metrics),
    };
    let area = canvas.area();
    header.draw(&area, &metrics, palette)?;
    let chart = Chart { metrics: &metrics, palette, span, times: &times };
    chart.draw(&area, &panels[0], (&rect, top + title_height / 2))?;
    span.draw_axis(&area, &metrics, palette, &rect)?;
    drop(area);
    canvas.into_png()
}

/// All moments at which some run was looked at.
fn times(found: &Shootout) -> Vec<u64> {
    let runs = std::iter::once(&found.recorded).chain(&found.allocators);
    let mut times: Vec<u64> =
        runs.flat_map(|run| run.curve.iter().map(|(time_ns, _)| *time_ns)).collect();
    times.sort_unstable();
    times.dedup();
    times
}

fn panel(found: &Shootout, times: &[u64], palette: &Palette) -> Panel {
    let recorded = (&found.recorded, palette.text, 3.0);
    let others = found.allocators.iter().map(|run| {
        let plain = run.settings.is_empty() && run.change.is_none();
        (run, colour(&run.name, palette), if plain { 2.4 } else { 1.4 })
    });
    let lines = others
        .chain([recorded])
        .map(|(run, colour, weight)| Line {
            name: run.shown().into(),
            meaning: "",
            colour,
            weight,
            values: values(run, times),
        })
        .collect();
    let title = "RSS of the process".to_owned();
    Panel { title, kind: Kind::Bytes, lines, shaded: None, ceiling: None }
}

/// What a run had at each of `times`, from its first moment to its last; straight lines between.
fn values(run: &Run, times: &[u64]) -> Vec<Option<f64>> {
    let at = |time_ns: &u64| {
        let before = run.curve.partition_point(|(at, _)| at <= time_ns).checked_sub(1)?;
        let (from_ns, from) = run.curve[before];
        if from_ns == *time_ns {
            return Some(from as f64);
        }
        let (to_ns, to) = *run.curve.get(before + 1)?;
        let share = (time_ns - from_ns) as f64 / (to_ns - from_ns) as f64;
        Some(from as f64 + (to as f64 - from as f64) * share)
    };
    times.iter().map(at).collect()
}

fn colour(name: &str, palette: &Palette) -> Rgb {
    let series = &palette.series;
    match name {
        "glibc" => series.footprint,
        "jemalloc" => series.live,
        "mimalloc" => series.resident,
        "tcmalloc" => series.usable,
        "snmalloc" => palette.filled[2].1,
        _ => series.mapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::picture::{Theme, testing};

    fn run(name: &str, curve: &[(u64, u64)]) -> Run {
        Run { name: name.into(), curve: curve.to_vec(), ..Run::default() }
    }

    fn found() -> Shootout {
        Shootout {
            recorded: run("recorded", &[(0, 60 << 20), (5_000_000_000, 60 << 20)]),
            allocators: vec![
                run("glibc", &[(0, 40 << 20), (4_000_000_000, 40 << 20)]),
                Run {
                    settings: "dirty_decay_ms=0".into(),
                    ..run("jemalloc", &[(0, 20 << 20), (5_000_000_000, 20 << 20)])
                },
            ],
            verdict: "Best choice: jemalloc dirty_decay_ms=0.".into(),
            ..Shootout::default()
        }
    }

    #[test]
    fn every_run_has_a_line_in_its_allocators_colour() {
        let options = PictureOptions { width: 1000, height: 700, theme: Theme::Light };
        let palette = Palette::of(options.theme);
        let png = draw(&found(), &Title::default(), &options).unwrap();
        let image = testing::decode(&png);
        for colour in [palette.series.footprint, palette.series.live, palette.text] {
            let columns = (100..700).filter(|x| (100..640).any(|y| image.at(*x, y) == colour));
            assert!(columns.count() > 300, "{colour:?}");
        }
    }

    #[test]
    fn a_run_that_was_stopped_ends_where_it_did() {
        let run = run("x", &[(10, 1), (20, 2)]);
        assert_eq!(
            values(&run, &[5, 10, 15, 20, 25]),
            [None, Some(1.0), Some(1.5), Some(2.0), None]
        );
    }

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        let title = Title::default();
        testing::show("shootout", |options| draw(&found(), &title, options));
        assert!(draw(&Shootout::default(), &title, &PictureOptions::default()).is_ok());
    }
}
