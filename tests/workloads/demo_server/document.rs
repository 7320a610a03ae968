//! Documents: a small markup language, composed at random and parsed into a tree of many small
//! blocks, the way a catalogue or a feed is imported.

use std::fmt::Write;

use crate::rng::Rng;

/// Elements of one document. About 70 KB of text: below the size from which glibc would map a
/// block of its own, whose free would raise its thresholds and blur what the demo shows.
const ELEMENTS: usize = 700;
/// After so many elements the parser lets its caller look after other work.
const BREATH: usize = 10;

/// One node of the tree; each of its parts is a block of its own.
pub struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// How many bytes the tree would take as published text.
    pub fn published_bytes(&self) -> usize {
        let attributes: usize =
            self.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        let children: usize = self.children.iter().map(Element::published_bytes).sum();
        self.name.len() + attributes + self.text.len() + children
    }
}

/// Writes a document: `<name key="value" …>text … </name>`, three levels deep.
pub fn compose(rng: &mut Rng) -> String {
    let mut out = String::with_capacity(ELEMENTS * 150);
    out.push_str("<catalogue>");
    let mut written = 0;
    while written < ELEMENTS {
        open(&mut out, "product", rng);
        let parts = rng.between(3, 9);
        for _ in 0..parts {
            open(&mut out, rng.pick(&["price", "image", "review", "variant"]), rng);
            out.push_str("</>");
        }
        out.push_str("</>");
        written += parts + 1;
    }
    out.push_str("</>");
    out
}

fn open(out: &mut String, name: &str, rng: &mut Rng) {
    out.push('<');
    out.push_str(name);
    for _ in 0..rng.between(1, 4) {
        let key = rng.pick(&["id", "language", "currency", "supplier"]);
        let _ = write!(out, " {key}=\"{:x}\"", rng.next() >> rng.between(4, 48));
    }
    out.push('>');
    for _ in 0..rng.between(1, 8) {
        out.push_str(rng.pick(&["light ", "robust ", "for outdoor use ", "two years ", "steel "]));
    }
}

/// Builds the tree, calling `breathe` every few elements.
pub fn parse(source: &str, breathe: &mut dyn FnMut()) -> Element {
    let mut open: Vec<Element> = vec![element("document")];
    let mut seen = 0;
    for tag in source.split('<').skip(1) {
        let Some((head, text)) = tag.split_once('>') else { continue };
        if head.starts_with('/') {
            if let Some(done) = open.pop()
                && let Some(parent) = open.last_mut()
            {
                parent.children.push(done);
            }
            continue;
        }
        let mut words = head.split(' ');
        let mut node = element(words.next().unwrap_or_default());
        node.attributes.extend(words.filter_map(attribute));
        node.text = text.to_owned();
        open.push(node);
        seen += 1;
        if seen % BREATH == 0 {
            breathe();
        }
    }
    open.swap_remove(0)
}

fn element(name: &str) -> Element {
    Element {
        name: name.to_owned(),
        attributes: Vec::new(),
        text: String::new(),
        children: Vec::new(),
    }
}

fn attribute(word: &str) -> Option<(String, String)> {
    let (key, value) = word.split_once('=')?;
    Some((key.to_owned(), value.trim_matches('"').to_owned()))
}
