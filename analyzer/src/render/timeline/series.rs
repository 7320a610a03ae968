//! Which lines the timeline draws, and in which panel.

use crate::measure::State;
use crate::render::picture::layout::Metrics;
use crate::render::picture::legend::Sample;
use crate::render::picture::palette::{Palette, Rgb};
use crate::render::picture::scale;
use std::borrow::Cow;

/// Mapped memory of more times what the other lines show is cut off.
const MOST_RESERVED: f64 = 3.0;

/// One figure over time.
pub(in crate::render) struct Line {
    pub name: Cow<'static, str>,
    /// What the figure is, for the legend.
    pub meaning: &'static str,
    pub colour: Rgb,
    /// Width of the line at 1600×900, in pixels.
    pub weight: f64,
    /// One value for each state; what is not known is `None`.
    pub values: Vec<Option<f64>>,
}

impl Line {
    pub(super) fn is_known(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }

    pub(super) fn sample(&self, metrics: &Metrics) -> Sample {
        Sample::Line(self.colour, metrics.px(self.weight) as u32)
    }
}

/// What the values of a panel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Kind {
    Bytes,
    Count,
    Ratio,
}

impl Kind {
    pub(super) fn ticks(self, max: f64, most: usize) -> scale::Ticks {
        match self {
            Self::Bytes => scale::byte_ticks(max, most),
            Self::Count => scale::count_ticks(max, most),
            Self::Ratio => scale::ratio_ticks(max, most),
        }
    }

    pub(super) fn value(self, value: f64) -> String {
        match self {
            Self::Bytes => scale::bytes(value as u64),
            Self::Count => scale::count(value as u64),
            Self::Ratio => scale::ratio(value),
        }
    }
}

/// Lines that share a scale.
pub(in crate::render) struct Panel {
    pub title: String,
    pub kind: Kind,
    /// Drawn in this order: the one that matters most comes last, on top.
    pub lines: Vec<Line>,
    /// Indices of two lines, the lower and the upper, between which the panel is shaded.
    pub shaded: Option<(usize, usize)>,
    /// Values above are cut off, so that a moment does not flatten all others.
    pub ceiling: Option<f64>,
}

impl Panel {
    /// The greatest value drawn.
    pub(super) fn max(&self) -> f64 {
        let values = self.lines.iter().flat_map(|line| line.values.iter().flatten());
        values.copied().fold(0.0, f64::max).min(self.ceiling.unwrap_or(f64::INFINITY))
    }
}

/// All panels, from top to bottom.
pub(super) fn panels(states: &[State], palette: &Palette) -> Vec<Panel> {
    vec![
        memory(states, palette),
        fragmentation(states, palette),
        holes(states, palette),
        free(states, palette),
    ]
}

fn of(states: &[State], figure: impl Fn(&State) -> Option<u64>) -> Vec<Option<f64>> {
    states.iter().map(|state| figure(state).map(|value| value as f64)).collect()
}

fn memory(states: &[State], palette: &Palette) -> Panel {
    let colours = &palette.series;
    let line = |name: &'static str, meaning, colour, weight, figure: fn(&State) -> Option<u64>| {
        Line { name: name.into(), meaning, colour, weight, values: of(states, figure) }
    };
    let lines = vec![
        line("heap mapped", "heap that is accessible", colours.mapped, 4.0, |s| {
            s.heap_mapped_bytes
        }),
        line("RSS", "the whole process in memory", colours.rss, 1.6, |s| s.rss_bytes),
        line("heap resident", "heap in memory", colours.resident, 2.0, |s| s.heap_resident_bytes),
        line("footprint", "heap touched and not given back", colours.footprint, 2.4, |s| {
            s.footprint_bytes
        }),
        line("usable", "live, as rounded up by the allocator", colours.usable, 1.6, |s| {
            s.usable_bytes
        }),
        line("live", "asked for and not freed", colours.live, 2.4, |s| Some(s.live_bytes)),
    ];
    let (ceiling, title) = match reserved(&lines) {
        Some((ceiling, mapped)) => {
            let most = scale::bytes(mapped as u64);
            (Some(ceiling), format!("Memory, heap mapped cut off above (up to {most})"))
        }
        None => (None, "Memory".to_owned()),
    };
    Panel { title, kind: Kind::Bytes, lines, shaded: Some((5, 3)), ceiling }
}

/// Allocators map far ahead of what they use, which costs nothing and would flatten all other
/// lines: where to cut, and the most that is mapped, if that is so.
fn reserved(lines: &[Line]) -> Option<(f64, f64)> {
    let most = |lines: &[Line]| {
        lines.iter().flat_map(|line| line.values.iter().flatten().copied()).fold(0.0, f64::max)
    };
    let (mapped, others) = lines.split_first()?;
    let (mapped, others) = (most(std::slice::from_ref(mapped)), most(others));
    (others > 0.0 && mapped > others * MOST_RESERVED).then_some((others * 1.1, mapped))
}

fn fragmentation(states: &[State], palette: &Palette) -> Panel {
    let is_known = states.iter().any(|state| state.fragmentation_ratio.is_some());
    let held = |state: &State| -> Option<f64> {
        let (live, footprint) = (state.live_bytes as f64, state.footprint_bytes? as f64);
        (live > 0.0).then(|| (footprint - live) / live)
    };
    let (formula, values): (_, Vec<_>) = if is_known {
        ("(heap resident − live) ÷ live", states.iter().map(|s| s.fragmentation_ratio).collect())
    } else {
        ("(footprint − live) ÷ live", states.iter().map(held).collect())
    };
    let values: Vec<Option<f64>> =
        values.into_iter().map(|value: Option<f64>| value.filter(|v| v.is_finite())).collect();
    let ceiling = ceiling(&values);
    let mut title = format!("Fragmentation: {formula}");
    if let Some((_, greatest)) = ceiling {
        title += &format!(", cut off above (up to {})", scale::ratio(greatest));
    }
    let (colour, weight) = (palette.series.footprint, 2.0);
    let line = Line { name: "fragmentation".into(), meaning: "", colour, weight, values };
    let ceiling = ceiling.map(|(ceiling, _)| ceiling);
    Panel { title, kind: Kind::Ratio, lines: vec![line], shaded: None, ceiling }
}

/// While hardly anything is live, before the program's work and after it, the ratio is
/// huge and says nothing. Returns where to cut, and the greatest value, if that is so.
fn ceiling(values: &[Option<f64>]) -> Option<(f64, f64)> {
    let mut known: Vec<f64> = values.iter().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let greatest = *known.last()?;
    let usual = known[(known.len() - 1) * 9 / 10];
    let cut = (usual * 1.5).max(1.0);
    (greatest > usual * 3.0 && greatest > cut).then_some((cut, greatest))
}

fn holes(states: &[State], palette: &Palette) -> Panel {
    let (colour, weight) = (palette.series.resident, 2.0);
    let values = of(states, |state| state.hole_count);
    let line = Line { name: "holes".into(), meaning: "", colour, weight, values };
    let title = "Holes: free ranges inside the footprint".to_owned();
    Panel { title, kind: Kind::Count, lines: vec![line], shaded: None, ceiling: None }
}

fn free(states: &[State], palette: &Palette) -> Panel {
    let line = |name: &'static str, colour, figure: fn(&State) -> Option<u64>| Line {
        name: name.into(),
        meaning: "",
        colour,
        weight: 2.0,
        values: of(states, figure),
    };
    let lines = vec![
        line("free", palette.series.footprint, |s| s.free_bytes),
        line("pinned waste", palette.series.live, |s| s.pinned_waste_bytes),
        line("largest hole", palette.series.rss, |s| s.largest_hole_bytes),
    ];
    let title =
        "Free bytes in the footprint; of these on pages with live blocks (pinned waste), and \
                 in the largest hole"
            .to_owned();
    Panel { title, kind: Kind::Bytes, lines, shaded: None, ceiling: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::picture::Theme;

    fn panels_of(states: &[State]) -> Vec<Panel> {
        panels(states, Palette::of(Theme::Light))
    }

    #[test]
    fn without_residency_the_ratio_is_of_the_footprint_and_says_so() {
        let state = State { live_bytes: 100, footprint_bytes: Some(350), ..State::default() };
        let panel = &panels_of(std::slice::from_ref(&state))[1];
        assert_eq!(panel.title, "Fragmentation: (footprint − live) ÷ live");
        assert_eq!(panel.lines[0].values, [Some(2.5)]);

        let known = State { fragmentation_ratio: Some(0.5), ..state };
        let panel = &panels_of(&[known])[1];
        assert!(panel.title.contains("heap resident"));
        assert_eq!(panel.lines[0].values, [Some(0.5)]);
    }

    #[test]
    fn what_is_only_mapped_does_not_flatten_the_rest() {
        let state = State {
            live_bytes: 100,
            footprint_bytes: Some(200),
            heap_mapped_bytes: Some(600),
            ..State::default()
        };
        assert_eq!(panels_of(std::slice::from_ref(&state))[0].ceiling, None);
        let state = State { heap_mapped_bytes: Some(4096), ..state };
        let panel = &panels_of(&[state])[0];
        assert!(panel.ceiling.is_some_and(|ceiling| (200.0..240.0).contains(&ceiling)));
        assert_eq!(panel.title, "Memory, heap mapped cut off above (up to 4.00 KiB)");
    }

    #[test]
    fn what_is_not_known_is_none_and_not_zero() {
        let panels = panels_of(&[State::default(), State::default()]);
        let unknown = panels.iter().flat_map(|p| &p.lines).filter(|line| !line.is_known());
        assert_eq!(unknown.count(), 5 + 1 + 1 + 3);
    }

    #[test]
    fn a_moment_with_hardly_anything_live_does_not_flatten_the_rest() {
        let mut values = vec![Some(2.0); 99];
        assert_eq!(ceiling(&values), None);
        values.push(Some(5000.0));
        assert_eq!(ceiling(&values), Some((3.0, 5000.0)));
        assert_eq!(ceiling(&[None]), None);
    }
}
