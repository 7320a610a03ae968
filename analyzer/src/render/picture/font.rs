//! The bundled font: how wide a text is, and its pixels.
//!
//! plotters can draw text by itself, but puts each glyph at a whole pixel and drops its
//! left bearing; at 12 pixels that looks ragged. Here glyphs stand at their exact places.

use ab_glyph::{Font, FontRef, Glyph, ScaleFont, point};
use std::sync::LazyLock;

/// Height from descender to ascender, in ems: what ab_glyph's scale is measured in.
const LINE_PER_EM: f32 = 1.164;
/// Height of a capital letter, in ems.
pub(super) const CAPITAL_EM: f64 = 0.729;
/// From the baseline up to the top of the line, in ems.
pub(super) const ASCENT_EM: f64 = 0.928;
/// From the baseline down to the bottom of the line, in ems.
pub(super) const DESCENT_EM: f64 = 0.236;

static REGULAR: LazyLock<FontRef<'static>> =
    LazyLock::new(|| parse(include_bytes!("../../../assets/DejaVuSans.ttf")));
static BOLD: LazyLock<FontRef<'static>> =
    LazyLock::new(|| parse(include_bytes!("../../../assets/DejaVuSans-Bold.ttf")));

fn parse(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the bundled fonts are whole: a test draws with both")
}

/// The glyphs of a text that starts at (0, 0) on its baseline, and where it ends.
fn shape(text: &str, size: f64, bold: bool) -> (Vec<Glyph>, f32) {
    let font = if bold { &*BOLD } else { &*REGULAR }.as_scaled(size as f32 * LINE_PER_EM);
    let mut glyphs = Vec::with_capacity(text.len());
    let mut x = 0.0;
    for character in text.chars().filter(|c| !c.is_control()) {
        let mut glyph = font.scaled_glyph(character);
        if let Some(last) = glyphs.last().map(|last: &Glyph| last.id) {
            x += font.kern(last, glyph.id);
        }
        glyph.position = point(x, 0.0);
        x += font.h_advance(glyph.id);
        glyphs.push(glyph);
    }
    (glyphs, x)
}

/// Width of `text` in pixels, at `size` pixels an em.
pub(crate) fn width(text: &str, size: f64, bold: bool) -> f64 {
    f64::from(shape(text, size, bold).1)
}

/// `text`, shortened with an ellipsis until it is at most `room` pixels wide.
pub(crate) fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    if width(text, size, bold) <= room {
        return text.to_owned();
    }
    // Each character more makes the text wider: look for the last that still fits.
    let characters: Vec<char> = text.chars().collect();
    let shorter =
        |kept: usize| format!("{}…", characters[..kept].iter().collect::<String>().trim_end());
    let (mut fits, mut too_wide) = (0, characters.len());
    while too_wide - fits > 1 {
        let middle = fits.midpoint(too_wide);
        if width(&shorter(middle), size, bold) <= room {
            fits = middle;
        } else {
            too_wide = middle;
        }
    }
    if fits > 0 { shorter(fits) } else { String::new() }
}

/// `text` in as many lines of `room` pixels as it takes, at most `most`; what is left
/// over is cut.
pub(crate) fn wrap(text: &str, size: f64, bold: bool, room: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let joined = lines.last().map(|line| format!("{line} {word}"));
        match joined.filter(|line| lines.len() == most || width(line, size, bold) <= room) {
            Some(line) => {
                lines.pop();
                lines.push(line);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| fit(line, size, bold, room)).collect()
}

/// Calls `plot` with each pixel of `text` and how much of it is covered (0 to 1).
/// The text starts at `x` pixels, on the baseline below pixel row `baseline`.
pub(super) fn draw(
    text: &str,
    size: f64,
    bold: bool,
    (x, baseline): (f64, i32),
    mut plot: impl FnMut(i32, i32, f32),
) {
    let font = if bold { &*BOLD } else { &*REGULAR };
    for mut glyph in shape(text, size, bold).0 {
        glyph.position.x += x as f32;
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        let (left, top) = (corner.x as i32, corner.y as i32 + baseline);
        outline.draw(|dx, dy, covered| {
            plot(left.saturating_add(dx as i32), top.saturating_add(dy as i32), covered.min(1.0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fonts_hold_every_sign_that_pictures_use() {
        let signs = "AZaz09 ×–—…−÷≈≤≥→±·µéßĐЖΩ▲";
        for font in [&*REGULAR, &*BOLD] {
            for sign in signs.chars() {
                assert_ne!(font.glyph_id(sign).0, 0, "{sign} is missing");
            }
        }
    }

    #[test]
    fn text_has_a_width_and_pixels() {
        assert!((width("live", 20.0, false) - 35.0).abs() < 5.0);
        assert!(width("live", 20.0, true) > width("live", 20.0, false));
        let mut covered = 0.0;
        draw("live", 20.0, false, (0.0, 20), |_, _, c| covered += c);
        assert!(covered > 50.0);
    }

    #[test]
    fn a_long_text_is_cut_to_the_room_there_is() {
        let cut = fit("a very long command line", 12.0, false, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, false) <= 60.0, "{cut}");
        assert_eq!(fit("short", 12.0, false, 600.0), "short");
        assert_eq!(fit("none", 12.0, false, 0.0), "");
    }

    #[test]
    fn a_sentence_is_broken_between_words() {
        let lines = |most| wrap("one two three", 12.0, false, 60.0, most);
        assert_eq!(lines(3), ["one two", "three"]);
        assert_eq!(lines(1).len(), 1);
        assert!(lines(1)[0].ends_with('…'), "{:?}", lines(1));
        assert!(wrap("", 12.0, false, 60.0, 2).is_empty());
    }
}
