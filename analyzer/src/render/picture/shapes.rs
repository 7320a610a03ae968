//! Pictures of boxes and words, which become PNG or SVG alike.
//!
//! For what has a few thousand boxes: bars and flame graphs. As SVG each box tells more when the
//! pointer is over it; maps and timelines, which have millions of pixels or thousands of points,
//! are drawn straight into pixels.

use super::canvas::Canvas;
use super::frame::{self, Align};
use super::palette::Rgb;
use super::{PictureOptions, RenderError, font};
use plotters::prelude::*;
use std::fmt::Write;

/// Which file a drawing becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pixels.
    Png,
    /// Shapes, as text.
    Svg,
}

/// Where words stand relative to their point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Right,
    Left,
}

/// A line of text; its middle is at the point's height.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Words {
    pub text: String,
    pub at: (f64, f64),
    pub side: Side,
    pub size: f64,
    pub bold: bool,
    pub colour: Rgb,
}

/// A filled rectangle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filled {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub colour: Rgb,
    /// What it tells when it is pointed at.
    pub tip: String,
    /// What stands on it.
    pub label: Option<Words>,
}

/// Shapes in the order in which they are drawn.
pub(crate) struct Drawing {
    /// Width, height and theme of the picture.
    pub options: PictureOptions,
    pub ground: Rgb,
    pub boxes: Vec<Filled>,
    pub words: Vec<Words>,
}

impl Drawing {
    /// The bytes of the file.
    pub(crate) fn into_file(self, format: Format) -> Result<Vec<u8>, RenderError> {
        match format {
            Format::Png => self.png(),
            Format::Svg => Ok(self.svg().into_bytes()),
        }
    }

    fn png(&self) -> Result<Vec<u8>, RenderError> {
        let mut canvas = Canvas::new(&self.options, self.ground)?;
        let area = canvas.area();
        let pixel = |value: f64| value.round() as i32;
        for Filled { left, top, width, height, colour, label, .. } in &self.boxes {
            // Right and bottom are outside of what is filled.
            let (left, right) = (pixel(*left), pixel(left + width));
            let corners = [(left, pixel(*top)), (right.max(left + 1), pixel(top + height))];
            area.draw(&Rectangle::new(corners, frame::fill(*colour)))?;
            label.iter().try_for_each(|words| draw(&area, words))?;
        }
        self.words.iter().try_for_each(|words| draw(&area, words))?;
        drop(area);
        canvas.into_png()
    }

    fn svg(&self) -> String {
        let PictureOptions { width, height, .. } = self.options;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"DejaVu Sans, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
            hex(self.ground)
        );
        for one in &self.boxes {
            let _ = writeln!(
                out,
                "<g><title>{}</title><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
                 height=\"{:.1}\" fill=\"{}\"/>{}</g>",
                escaped(&one.tip),
                one.left,
                one.top,
                one.width,
                one.height,
                hex(one.colour),
                one.label.as_ref().map(text).unwrap_or_default()
            );
        }
        for words in &self.words {
            out.push_str(&text(words));
            out.push('\n');
        }
        out.push_str("</svg>\n");
        out
    }
}

fn draw(area: &super::canvas::Area<'_>, words: &Words) -> Result<(), RenderError> {
    let align = if words.side == Side::Right { Align::LEFT } else { Align::RIGHT };
    let style = if words.bold { frame::bold } else { frame::text }(words.size, words.colour, align);
    let at = (words.at.0.round() as i32, words.at.1.round() as i32);
    Ok(area.draw(&Text::new(words.text.as_str(), at, style))?)
}

fn text(words: &Words) -> String {
    format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{}\"{}{} fill=\"{}\">{}</text>",
        words.at.0,
        words.at.1 + font::CAPITAL_EM * words.size / 2.0,
        words.size,
        if words.bold { " font-weight=\"bold\"" } else { "" },
        if words.side == Side::Left { " text-anchor=\"end\"" } else { "" },
        hex(words.colour),
        escaped(&words.text)
    )
}

fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    let marks = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    marks.replace('"', "&quot;").chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::picture::testing;

    #[test]
    fn both_formats_show_the_same_boxes() {
        let options = PictureOptions { width: 480, height: 320, ..PictureOptions::default() };
        let words = Words {
            text: "Vec<T>".into(),
            at: (20.0, 30.0),
            side: Side::Right,
            size: 12.0,
            bold: false,
            colour: (0, 0, 0),
        };
        let filled = Filled {
            left: 100.0,
            top: 50.0,
            width: 40.0,
            height: 20.0,
            colour: (255, 0, 0),
            tip: "a & b".into(),
            label: None,
        };
        let drawing = || Drawing {
            options,
            ground: (255, 255, 255),
            boxes: vec![filled.clone()],
            words: vec![words.clone()],
        };
        let image = testing::decode(&drawing().into_file(Format::Png).unwrap());
        assert_eq!([image.at(100, 50), image.at(139, 69)], [(255, 0, 0); 2]);
        assert_eq!([image.at(99, 50), image.at(140, 60), image.at(120, 70)], [(255, 255, 255); 3]);
        let svg = String::from_utf8(drawing().into_file(Format::Svg).unwrap()).unwrap();
        assert!(
            svg.contains("x=\"100.0\" y=\"50.0\" width=\"40.0\" height=\"20.0\" fill=\"#ff0000\"")
        );
        assert!(svg.contains("<title>a &amp; b</title>") && svg.contains(">Vec&lt;T&gt;</text>"));
    }
}
