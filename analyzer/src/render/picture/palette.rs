//! Colours, chosen so that the order of the heap map's states survives colour-blindness
//! and grey printing: the more of a page is live, the farther it is from glowing.
//!
//! On light ground lightness falls all the way from "never used" over "given back" and
//! "held, nothing live" to "full"; on dark ground the order is the same from "full" up to
//! "held, nothing live", which glows brightest. Lines of the timeline take the hues of
//! Okabe and Ito and are labelled where they end, so that no hue has to be told apart.

use crate::measure::{KindsBy, NAMED};

/// Red, green and blue, 0 to 255.
pub(crate) type Rgb = (u8, u8, u8);

/// Dark text on light ground, or light text on dark ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// For paper and documents.
    #[default]
    Light,
    /// For dark screens.
    Dark,
}

/// The colours of one theme.
#[derive(Debug)]
pub(crate) struct Palette {
    /// Behind everything.
    pub ground: Rgb,
    /// Headline, values, the high-water line.
    pub text: Rgb,
    /// Sub-line, axis labels.
    pub muted: Rgb,
    /// Axes and frames.
    pub axis: Rgb,
    /// Grid lines.
    pub grid: Rgb,
    /// Address space that was never used so far.
    pub unused: Rgb,
    /// Used once and given back to the kernel.
    pub given_back: Rgb,
    /// In the footprint without one live byte.
    pub empty: Rgb,
    /// In the footprint and partly live: (share, colour), shares rising from 0 to 1.
    pub filled: [(f64, Rgb); 5],
    /// In the footprint without one live byte, where hues stand for kinds.
    pub idle: Rgb,
    /// Sites or threads, most first; the last stands for all others.
    pub named: [Rgb; NAMED + 1],
    /// The timeline's lines.
    pub series: SeriesColours,
}

/// A colour for each line of the timeline.
#[derive(Debug)]
pub(crate) struct SeriesColours {
    pub live: Rgb,
    pub usable: Rgb,
    pub footprint: Rgb,
    pub mapped: Rgb,
    pub resident: Rgb,
    pub rss: Rgb,
}

static LIGHT: Palette = Palette {
    ground: (255, 255, 255),
    text: (22, 27, 34),
    muted: (87, 96, 106),
    axis: (140, 149, 159),
    grid: (229, 232, 236),
    unused: (244, 246, 248),
    given_back: (205, 220, 232),
    empty: (255, 157, 20),
    filled: [
        (0.0, (238, 96, 44)),
        (0.25, (203, 59, 92)),
        (0.5, (138, 47, 137)),
        (0.75, (66, 42, 138)),
        (1.0, (16, 24, 84)),
    ],
    idle: (196, 198, 202),
    named: [
        (213, 84, 0),
        (0, 96, 160),
        (0, 150, 110),
        (232, 196, 20),
        (86, 180, 233),
        (168, 60, 130),
        (120, 84, 48),
        (64, 68, 74),
    ],
    series: SeriesColours {
        live: (0, 84, 147),
        usable: (38, 136, 190),
        footprint: (213, 84, 0),
        mapped: (117, 117, 117),
        resident: (0, 138, 100),
        rss: (22, 27, 34),
    },
};

static DARK: Palette = Palette {
    ground: (15, 18, 23),
    text: (233, 237, 242),
    muted: (158, 167, 178),
    axis: (92, 101, 112),
    grid: (39, 45, 53),
    unused: (24, 28, 34),
    given_back: (39, 52, 66),
    empty: (255, 205, 92),
    filled: [
        (0.0, (250, 142, 60)),
        (0.25, (226, 106, 112)),
        (0.5, (180, 92, 174)),
        (0.75, (104, 88, 198)),
        (1.0, (34, 72, 164)),
    ],
    idle: (84, 90, 98),
    named: [
        (255, 122, 40),
        (60, 140, 220),
        (20, 176, 132),
        (240, 216, 80),
        (140, 210, 250),
        (214, 110, 180),
        (176, 132, 84),
        (200, 204, 210),
    ],
    series: SeriesColours {
        live: (86, 166, 240),
        usable: (150, 205, 240),
        footprint: (255, 146, 56),
        mapped: (150, 150, 150),
        resident: (40, 190, 145),
        rss: (233, 237, 242),
    },
};

impl Palette {
    /// The colours of a theme.
    pub(crate) fn of(theme: Theme) -> &'static Self {
        match theme {
            Theme::Light => &LIGHT,
            Theme::Dark => &DARK,
        }
    }

    /// The colour of a kind, from 1 on, of `count`. Sizes and ages are steps of one scale, on
    /// which what tends to hold pages (small, or old) glows.
    pub(crate) fn kind(&self, by: KindsBy, kind: u8, count: usize) -> Rgb {
        let place = usize::from(kind).saturating_sub(1);
        let share = place as f64 / (count.max(2) - 1) as f64;
        match by {
            KindsBy::Site | KindsBy::Thread => self.named[place.min(NAMED)],
            KindsBy::Size => self.filled(share),
            KindsBy::Age => self.filled(1.0 - share),
        }
    }

    /// The colour of footprint of which `share` (0 to 1, not 0) is live.
    pub(crate) fn filled(&self, share: f64) -> Rgb {
        let share = share.clamp(0.0, 1.0);
        let above = self.filled.iter().position(|(at, _)| *at >= share).unwrap_or(4).max(1);
        let ((from, low), (to, high)) = (self.filled[above - 1], self.filled[above]);
        mix(low, high, (share - from) / (to - from))
    }
}

/// `from` at 0, `to` at 1, and what lies between.
pub(crate) fn mix(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let one = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    (one(from.0, to.0), one(from.1, to.1), one(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CIE lightness, 0 to 100: what is left of a colour in grey.
    fn lightness((r, g, b): Rgb) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        let y = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        116.0 * y.cbrt() - 16.0
    }

    #[test]
    fn in_grey_the_states_of_the_map_keep_their_order_and_distance() {
        for palette in [&LIGHT, &DARK] {
            let mut steps = vec![palette.empty];
            steps.extend(palette.filled.iter().map(|(_, colour)| *colour));
            for pair in steps.windows(2) {
                let fall = lightness(pair[0]) - lightness(pair[1]);
                assert!(fall > 6.0, "{pair:?} differ by {fall:.1}");
            }
            let ends = [lightness(palette.given_back), lightness(palette.unused)];
            let kept = [palette.empty, palette.filled[4].1].map(lightness);
            assert!((ends[0] - ends[1]).abs() > 8.0, "{ends:?}");
            assert!(kept.iter().all(|k| (k - ends[0]).abs() > 10.0), "{kept:?} {ends:?}");
        }
    }

    #[test]
    fn kinds_stand_out_from_what_is_idle_or_unused() {
        for palette in [&LIGHT, &DARK] {
            for named in palette.named {
                for ground in [palette.idle, palette.unused, palette.given_back] {
                    let steps = [(named.0, ground.0), (named.1, ground.1), (named.2, ground.2)];
                    let far: u32 =
                        steps.iter().map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum();
                    assert!(far > 70 * 70, "{named:?} and {ground:?}");
                }
            }
        }
    }

    #[test]
    fn text_stands_out_from_its_ground() {
        for palette in [&LIGHT, &DARK] {
            for text in [palette.text, palette.muted] {
                assert!((lightness(text) - lightness(palette.ground)).abs() > 50.0);
            }
        }
    }

    #[test]
    fn shares_between_two_stops_are_mixed() {
        assert_eq!(LIGHT.filled(0.0), LIGHT.filled[0].1);
        assert_eq!(LIGHT.filled(1.0), LIGHT.filled[4].1);
        assert_eq!(LIGHT.filled(0.125), mix(LIGHT.filled[0].1, LIGHT.filled[1].1, 0.5));
        assert_eq!(LIGHT.filled(9.0), LIGHT.filled[4].1);
    }
}
