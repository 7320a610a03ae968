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
    given_back: (190, 211, 228),
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
    given_back: (42, 56, 72),
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

    /// Linear light of a colour's channels.
    fn linear((r, g, b): Rgb) -> [f64; 3] {
        [r, g, b].map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// Machado, Oliveira and Fernandes 2009, severity 1.0: what eyes without one kind of cones see.
    const EYES: [(&str, [[f64; 3]; 3]); 4] = [
        ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanopia",
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
        ),
        (
            "deuteranopia",
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ),
        (
            "tritanopia",
            [
                [1.255528, -0.076749, -0.178779],
                [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900],
            ],
        ),
    ];

    /// A colour in CIE Lab (D65), as such eyes see it.
    fn lab(colour: Rgb, eyes: &[[f64; 3]; 3]) -> [f64; 3] {
        let times = |rows: &[[f64; 3]; 3], of: [f64; 3]| {
            rows.map(|row| row.iter().zip(of).map(|(a, b)| a * b).sum::<f64>())
        };
        let seen = times(eyes, linear(colour)).map(|channel| channel.clamp(0.0, 1.0));
        let xyz = times(
            &[
                [0.4124564, 0.3575761, 0.1804375],
                [0.2126729, 0.7151522, 0.0721750],
                [0.0193339, 0.1191920, 0.9503041],
            ],
            seen,
        );
        let white = [0.95047, 1.0, 1.08883];
        let f = |at: usize| {
            let share: f64 = xyz[at] / white[at];
            if share > 216.0 / 24389.0 {
                share.cbrt()
            } else {
                (24389.0 / 27.0 * share + 16.0) / 116.0
            }
        };
        [116.0 * f(1) - 16.0, 500.0 * (f(0) - f(1)), 200.0 * (f(1) - f(2))]
    }

    /// CIEDE2000 (Sharma, Wu and Dalal 2005): about 2 is just seen, 10 at a glance.
    fn difference(one: [f64; 3], other: [f64; 3]) -> f64 {
        let chroma = |lab: [f64; 3]| lab[1].hypot(lab[2]);
        let pow7 = |c: f64| (c.powi(7) / (c.powi(7) + 25f64.powi(7))).sqrt();
        let stretch = 1.5 - 0.5 * pow7((chroma(one) + chroma(other)) / 2.0);
        let polar = |lab: [f64; 3]| {
            let a = lab[1] * stretch;
            (a.hypot(lab[2]), lab[2].atan2(a).to_degrees().rem_euclid(360.0))
        };
        let ((c1, h1), (c2, h2)) = (polar(one), polar(other));
        let grey = c1 * c2 == 0.0;
        let turn = match h2 - h1 {
            _ if grey => 0.0,
            turn if turn > 180.0 => turn - 360.0,
            turn if turn < -180.0 => turn + 360.0,
            turn => turn,
        };
        let hue = match h1 + h2 {
            sum if grey => sum,
            sum if (h1 - h2).abs() <= 180.0 => sum / 2.0,
            sum if sum < 360.0 => (sum + 360.0) / 2.0,
            sum => (sum - 360.0) / 2.0,
        };
        let (light, colour) = ((one[0] + other[0]) / 2.0, (c1 + c2) / 2.0);
        let cos = |degrees: f64| degrees.to_radians().cos();
        let t = 1.0 - 0.17 * cos(hue - 30.0) + 0.24 * cos(2.0 * hue) + 0.32 * cos(3.0 * hue + 6.0)
            - 0.20 * cos(4.0 * hue - 63.0);
        let from_middle = (light - 50.0).powi(2);
        let s_l = 1.0 + 0.015 * from_middle / (20.0 + from_middle).sqrt();
        let (s_c, s_h) = (1.0 + 0.045 * colour, 1.0 + 0.015 * colour * t);
        let rotation = -2.0
            * pow7(colour)
            * (60.0 * (-((hue - 275.0) / 25.0).powi(2)).exp()).to_radians().sin();
        let by_light = (other[0] - one[0]) / s_l;
        let by_chroma = (c2 - c1) / s_c;
        let by_hue = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin() / s_h;
        (by_light.powi(2) + by_chroma.powi(2) + by_hue.powi(2) + rotation * by_chroma * by_hue)
            .sqrt()
    }

    #[test]
    fn the_difference_is_that_of_the_published_examples() {
        // Sharma, Wu and Dalal 2005, table 1: pairs 1, 7, 17 and 25.
        for (one, other, wanted) in [
            ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
            ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
            ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
            ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
        ] {
            assert!((difference(one, other) - wanted).abs() < 1e-4, "{one:?} {other:?}");
        }
    }

    #[test]
    fn states_of_the_map_are_told_apart_by_any_eyes() {
        for (theme, palette) in [("light", &LIGHT), ("dark", &DARK)] {
            let states = [
                ("never used", palette.unused),
                ("given back", palette.given_back),
                ("empty", palette.empty),
                ("nearly empty", palette.filled(0.02)),
                ("half", palette.filled(0.5)),
                ("full", palette.filled(1.0)),
            ];
            for (eyes, matrix) in EYES {
                for (at, one) in states.iter().enumerate() {
                    for other in &states[at + 1..] {
                        let apart = difference(lab(one.1, &matrix), lab(other.1, &matrix));
                        assert!(
                            apart > LEAST_DIFFERENCE,
                            "{theme}, {eyes}: {} and {} differ by {apart:.1}",
                            one.0,
                            other.0
                        );
                    }
                }
            }
        }
    }

    /// Well above what is just seen, as the states stand side by side in large areas.
    const LEAST_DIFFERENCE: f64 = 9.5;

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
