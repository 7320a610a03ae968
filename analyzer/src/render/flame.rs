//! Whole stacks with their weights as a flame graph: roots below, each call as wide as what it and
//! all that it called weighs.
//!
//! Drawn here rather than by the crate that the field has for it, whose licence (CDDL) is none of
//! those that this project takes in; only the boxes are wanted. As SVG each tells its whole name
//! and share when the pointer is over it.

use super::picture::palette::{Palette, Rgb};
use super::picture::shapes::{Drawing, Filled, Format, Side, Words};
use super::picture::{MAX_SIDE, MIN_SIZE, PictureOptions, RenderError, Title, font};
use crate::measure::blame::CallFacts;
use crate::words;
use std::collections::BTreeMap;

const MARGIN: f64 = 16.0;
const ROW: f64 = 20.0;
/// Room for the lines above.
const HEAD: f64 = 64.0;
const LETTERS: f64 = 12.0;
/// Boxes narrower than this are left out, with all above them.
const LEAST_WIDTH: f64 = 0.3;
/// Rows of a picture that is as high as pictures may be.
const MOST_ROWS: usize = ((MAX_SIDE as f64 - HEAD - MARGIN) / ROW) as usize;
/// On boxes, which are light in both themes.
const INK: Rgb = (22, 27, 34);

/// What the weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Calls.
    Calls,
}

impl Unit {
    fn words(self, weight: u64) -> String {
        match self {
            Unit::Bytes => words::bytes(weight),
            Unit::Calls => format!("{} calls", words::count(weight)),
        }
    }
}

/// A call, with what it called.
#[derive(Default)]
struct Node {
    weight: u64,
    callees: BTreeMap<String, Node>,
}

impl Node {
    fn of(stacks: &[(Vec<CallFacts>, u64)]) -> Node {
        let mut root = Node::default();
        for (calls, weight) in stacks {
            root.weight = root.weight.saturating_add(*weight);
            let mut node = &mut root;
            for call in calls {
                node = node.callees.entry(call.name()).or_default();
                node.weight = node.weight.saturating_add(*weight);
            }
        }
        root
    }

    /// Rows of boxes that are wide enough, this one included.
    fn depth(&self, scale: f64) -> usize {
        let seen = self.callees.values().filter(|node| node.weight as f64 * scale >= LEAST_WIDTH);
        1 + seen.map(|node| node.depth(scale)).max().unwrap_or(0)
    }
}

/// The bytes of the file; `stacks` are root first. As wide as `options` say, and as high as the
/// stacks are deep.
///
/// # Errors
/// As [`super::map::draw`].
pub fn draw(
    (title, what, unit): (&Title, &str, Unit),
    stacks: &[(Vec<CallFacts>, u64)],
    options: &PictureOptions,
    format: Format,
) -> Result<Vec<u8>, RenderError> {
    options.check()?;
    let palette = Palette::of(options.theme);
    let root = Node::of(stacks);
    let scale = (f64::from(options.width) - 2.0 * MARGIN) / root.weight.max(1) as f64;
    let rows = root.depth(scale).min(MOST_ROWS);
    let height = (HEAD + rows as f64 * ROW + MARGIN) as u32;
    let options = PictureOptions { height: height.max(MIN_SIZE.1), ..*options };
    let bottom = f64::from(options.height) - MARGIN - ROW;
    let mut boxes = Boxes { total: root.weight, scale, unit, drawn: Vec::new(), top: HEAD };
    let whole = format!("all: {} {what}", unit.words(root.weight));
    boxes.add(&root, &whole, (MARGIN, bottom));
    let room = f64::from(options.width) - 2.0 * MARGIN;
    let line = |text: &str, size, bold, middle, colour| Words {
        text: font::fit(text, size, bold, room),
        at: (MARGIN, middle),
        side: Side::Right,
        size,
        bold,
        colour,
    };
    let words = vec![
        line(&title.headline, 20.0, true, 22.0, palette.text),
        line(&title.subline, LETTERS, false, 46.0, palette.muted),
    ];
    Drawing { options, ground: palette.ground, boxes: boxes.drawn, words }.into_file(format)
}

struct Boxes {
    total: u64,
    scale: f64,
    unit: Unit,
    drawn: Vec<Filled>,
    /// No box stands higher.
    top: f64,
}

impl Boxes {
    fn add(&mut self, node: &Node, name: &str, (x, y): (f64, f64)) {
        let width = node.weight as f64 * self.scale;
        let share = words::percent(node.weight as f64 / self.total.max(1) as f64);
        self.drawn.push(Filled {
            left: x,
            top: y,
            width: (width - 0.5).max(0.2),
            height: ROW - 1.0,
            colour: colour(name),
            tip: format!("{name}: {}, {share}", self.unit.words(node.weight)),
            label: label(name, width, (x, y)),
        });
        let mut left = x;
        for (name, callee) in &node.callees {
            let width = callee.weight as f64 * self.scale;
            if width >= LEAST_WIDTH && y - ROW >= self.top {
                self.add(callee, name, (left, y - ROW));
            }
            left += width;
        }
    }
}

/// As much of a name as its box holds: its last letters say most.
fn label(name: &str, width: f64, (x, y): (f64, f64)) -> Option<Words> {
    let room = width - 8.0;
    let wide = |text: &str| font::width(text, LETTERS, false);
    let text = if wide(name) <= room {
        name.to_owned()
    } else {
        // No letter is narrower than a fifth of its height: more would be tried in vain.
        let letters: Vec<char> = name.chars().collect();
        let most = letters.len().min((room.max(0.0) / LETTERS * 5.0) as usize);
        let shortened = |kept: usize| {
            std::iter::once('…').chain(letters[letters.len() - kept..].iter().copied()).collect()
        };
        (3..=most).rev().map(shortened).find(|text: &String| wide(text) <= room)?
    };
    let at = (x + 4.0, y + (ROW - 1.0) / 2.0);
    Some(Words { text, at, side: Side::Right, size: LETTERS, bold: false, colour: INK })
}

/// A warm, light colour that a name always has, so that it is known again.
fn colour(name: &str) -> Rgb {
    let sum = name.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let (green, light) = (140 + sum % 76, sum / 76 % 40);
    let (green, light) = (green as u8, light as u8);
    (255 - light / 2, green, 70 + light)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn stack(names: &[&str], weight: u64) -> (Vec<CallFacts>, u64) {
        let call =
            |name: &&str| CallFacts { function: Some(Rc::from(*name)), ..CallFacts::default() };
        (names.iter().map(call).collect(), weight)
    }

    fn drawn(stacks: &[(Vec<CallFacts>, u64)], format: Format) -> Vec<u8> {
        let what = (&Title::default(), "live", Unit::Bytes);
        draw(what, stacks, &PictureOptions::default(), format).expect("drawn")
    }

    #[test]
    fn a_box_is_as_wide_as_what_it_weighs() {
        let stacks = [stack(&["main", "parse"], 3000), stack(&["main", "Vec<T>::push"], 1000)];
        let svg = String::from_utf8(drawn(&stacks, Format::Svg)).expect("text");
        let width = |name: &str| -> f64 {
            let at = svg.find(&format!("<title>{name}: ")).expect(name);
            let rest = &svg[at..];
            let from = rest.find("width=\"").expect("a width") + 7;
            rest[from..].split('"').next().expect("its end").parse().expect("a number")
        };
        assert!((width("parse") + 0.5 - 3.0 * (width("Vec&lt;T&gt;::push") + 0.5)).abs() < 1.0);
        assert!((width("main") - (1600.0 - 2.0 * MARGIN)).abs() < 1.0);
        assert!(svg.contains("parse: 2.93 KiB, 75 %"));
        assert!(!svg.contains("Vec<T>"), "names are text, not marks");
    }

    #[test]
    fn a_name_that_does_not_fit_keeps_its_end() {
        let name = "shop::session::Store<Session>::remember_user_agent";
        let shown = label(name, 120.0, (0.0, 0.0)).expect("some of it").text;
        assert!(shown.starts_with('…') && shown.ends_with("user_agent"), "{shown}");
        assert!(font::width(&shown, LETTERS, false) <= 112.0);
        assert_eq!(label(name, 12.0, (0.0, 0.0)), None);
    }

    #[test]
    fn nothing_is_a_picture_too_and_so_is_a_stack_without_end() {
        assert!(drawn(&[], Format::Svg).ends_with(b"</svg>\n"));
        let deep = stack(&["f"; 2000], 5);
        assert!(drawn(std::slice::from_ref(&deep), Format::Png).starts_with(b"\x89PNG"));
        assert!(drawn(&[deep], Format::Svg).ends_with(b"</svg>\n"));
    }
}
