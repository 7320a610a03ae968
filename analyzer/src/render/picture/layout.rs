//! Sizes that follow the picture's, and rectangles.

use super::PictureOptions;

/// A rectangle of pixels; right and bottom are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rect {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
}

impl Rect {
    pub(crate) fn width(&self) -> i32 {
        (self.right - self.left).max(0)
    }

    pub(crate) fn height(&self) -> i32 {
        (self.bottom - self.top).max(0)
    }
}

/// How large things are drawn in a picture of a given size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics {
    /// Width of the picture in pixels.
    pub width: i32,
    /// Height of the picture in pixels.
    pub height: i32,
    scale: f64,
}

impl Metrics {
    /// At 1600×900 the scale is 1. Larger pictures grow in proportion; in smaller ones
    /// text shrinks more slowly than the picture, so that it can still be read.
    pub(crate) fn new(options: &PictureOptions) -> Self {
        let (width, height) = (f64::from(options.width), f64::from(options.height));
        let linear = (width / 1600.0).min(height / 900.0);
        let scale = if linear < 1.0 { linear.powf(0.65) } else { linear };
        Self { width: options.width as i32, height: options.height as i32, scale: scale.max(0.64) }
    }

    /// A length given for 1600×900, in this picture's pixels; at least one.
    pub(crate) fn px(&self, length: f64) -> i32 {
        (length * self.scale).round().max(1.0) as i32
    }

    /// The width of a thin line.
    pub(crate) fn hairline(&self) -> u32 {
        self.px(0.8) as u32
    }

    /// Pixels an em of the headline.
    pub(crate) fn headline(&self) -> f64 {
        23.0 * self.scale
    }

    /// Pixels an em of legend, labels and findings.
    pub(crate) fn body(&self) -> f64 {
        15.0 * self.scale
    }

    /// Pixels an em of axis labels and the sub-line.
    pub(crate) fn small(&self) -> f64 {
        13.5 * self.scale
    }

    /// The distance from one line of text to the next, at `size` pixels an em.
    pub(crate) fn line(&self, size: f64) -> i32 {
        (size * 1.4).round() as i32
    }
}

/// Moves labels apart that would overlap: `wanted` are the middles where they would like
/// to stand, rising; the result is at least `height` apart and inside `from..to`.
///
/// Labels that meet are joined to a group that stands at the mean of its wishes. The
/// caller makes sure that all fit.
pub(crate) fn spread(wanted: &[f64], height: f64, from: f64, to: f64) -> Vec<f64> {
    struct Group {
        middle: f64,
        wishes: f64,
        members: usize,
    }
    let place = |wishes: f64, members: usize| {
        let half = members as f64 * height / 2.0;
        (wishes / members as f64).min(to - half).max(from + half)
    };
    let mut groups: Vec<Group> = Vec::new();
    for wish in wanted {
        let mut group = Group { middle: place(*wish, 1), wishes: *wish, members: 1 };
        while let Some(last) = groups.last() {
            let apart = (last.members + group.members) as f64 * height / 2.0;
            if group.middle - last.middle >= apart - 1e-6 {
                break;
            }
            group.wishes += last.wishes;
            group.members += last.members;
            group.middle = place(group.wishes, group.members);
            groups.pop();
        }
        groups.push(group);
    }
    groups
        .iter()
        .flat_map(|group| {
            let first = group.middle - (group.members - 1) as f64 * height / 2.0;
            (0..group.members).map(move |i| first + i as f64 * height)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_grows_with_the_picture_and_stays_legible_in_small_ones() {
        let small = |width, height| {
            Metrics::new(&PictureOptions { width, height, ..Default::default() }).small()
        };
        assert!(small(1280, 720) >= 11.0);
        assert!(small(480, 320) >= 8.5);
        assert!((small(3840, 2160) / small(1600, 900) - 2.4).abs() < 0.01);
    }

    #[test]
    fn labels_that_meet_move_apart_and_stay_inside() {
        assert_eq!(spread(&[10.0, 50.0], 10.0, 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(spread(&[50.0, 50.0, 50.0], 10.0, 0.0, 100.0), [40.0, 50.0, 60.0]);
        assert_eq!(spread(&[98.0, 99.0], 10.0, 0.0, 100.0), [85.0, 95.0]);
        assert_eq!(spread(&[0.0, 1.0], 10.0, 0.0, 100.0), [5.0, 15.0]);
        assert_eq!(spread(&[0.0, 8.0, 12.0], 10.0, 0.0, 100.0), [5.0, 15.0, 25.0]);
        assert!(spread(&[], 10.0, 0.0, 100.0).is_empty());
    }
}
