//! Whole stacks with their weights as a flame graph: an SVG file, roots below, each call as wide
//! as what it and all that it called weighs.
//!
//! Drawn here rather than by the crate that the field has for it, whose licence (CDDL) is none of
//! those that this project takes in; only the boxes are wanted, and a browser shows the rest: each
//! tells its whole name and share when the pointer is over it.

use super::picture::Title;
use crate::measure::blame::CallFacts;
use crate::words;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: f64 = 1600.0;
const MARGIN: f64 = 16.0;
const ROW: f64 = 20.0;
/// Room for the lines above.
const HEAD: f64 = 64.0;
/// Boxes narrower than this are left out, with all above them.
const LEAST_WIDTH: f64 = 0.3;
/// Width of a letter at the size that boxes have; what is cut is cut early rather than late.
const LETTER: f64 = 7.4;

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

/// The SVG file; `stacks` are root first.
pub fn svg(title: &Title, what: &str, unit: Unit, stacks: &[(Vec<CallFacts>, u64)]) -> String {
    let root = Node::of(stacks);
    let scale = (WIDTH - 2.0 * MARGIN) / root.weight.max(1) as f64;
    let height = HEAD + root.depth(scale) as f64 * ROW + MARGIN;
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\" fill=\"#161b22\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"28\" font-size=\"20\" font-weight=\"bold\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"48\" fill=\"#57606a\">{}</text>\n",
        escaped(&title.headline),
        escaped(&title.subline)
    );
    let whole = format!("all: {} {what}", unit.words(root.weight));
    let boxes = Boxes { total: root.weight, scale, unit };
    boxes.draw(&mut out, &root, &whole, (MARGIN, height - MARGIN - ROW));
    out.push_str("</svg>\n");
    out
}

struct Boxes {
    total: u64,
    scale: f64,
    unit: Unit,
}

impl Boxes {
    fn draw(&self, out: &mut String, node: &Node, name: &str, (x, y): (f64, f64)) {
        let width = node.weight as f64 * self.scale;
        let share = words::percent(node.weight as f64 / self.total.max(1) as f64);
        let tip = format!("{name}: {}, {share}", self.unit.words(node.weight));
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             rx=\"2\" fill=\"{}\"/>{}</g>",
            escaped(&tip),
            (width - 0.5).max(0.2),
            ROW - 1.0,
            colour(name),
            label(name, width, (x, y))
        );
        let mut left = x;
        for (name, callee) in &node.callees {
            let width = callee.weight as f64 * self.scale;
            if width >= LEAST_WIDTH {
                self.draw(out, callee, name, (left, y - ROW));
            }
            left += width;
        }
    }
}

/// As much of a name as its box holds: its last letters say most.
fn label(name: &str, width: f64, (x, y): (f64, f64)) -> String {
    let room = ((width - 8.0) / LETTER).max(0.0) as usize;
    let letters = name.chars().count();
    if room < 3 {
        return String::new();
    }
    let shown: String = if letters <= room {
        name.to_owned()
    } else {
        std::iter::once('…').chain(name.chars().skip(letters + 1 - room)).collect()
    };
    format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 4.0, y + 14.0, escaped(&shown))
}

/// A warm, light colour that a name always has, so that it is known again.
fn colour(name: &str) -> String {
    let sum = name.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("hsl({} 85% {}%)", 18 + sum % 34, 66 + sum / 64 % 12)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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

    #[test]
    fn a_box_is_as_wide_as_what_it_weighs() {
        let stacks = [stack(&["main", "parse"], 3000), stack(&["main", "Vec<T>::push"], 1000)];
        let svg = svg(&Title::default(), "live", Unit::Bytes, &stacks);
        let width = |name: &str| -> f64 {
            let at = svg.find(&format!("<title>{name}: ")).expect(name);
            let rest = &svg[at..];
            let from = rest.find("width=\"").expect("a width") + 7;
            rest[from..].split('"').next().expect("its end").parse().expect("a number")
        };
        assert!((width("parse") + 0.5 - 3.0 * (width("Vec&lt;T&gt;::push") + 0.5)).abs() < 1.0);
        assert!((width("main") - (WIDTH - 2.0 * MARGIN)).abs() < 1.0);
        assert!(svg.contains("parse: 2.93 KiB, 75 %"));
        assert!(!svg.contains("Vec<T>"), "names are text, not marks");
    }

    #[test]
    fn nothing_is_a_picture_too() {
        assert!(svg(&Title::default(), "pinned", Unit::Calls, &[]).ends_with("</svg>\n"));
    }
}
