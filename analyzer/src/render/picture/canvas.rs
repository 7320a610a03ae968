//! The buffer of pixels, and the pen with which plotters draws into it.
//!
//! The pen is plotters' bitmap back end with two things drawn finer: text (see
//! [`super::font`]) and paths, whose edges are smoothed at any width.

use super::palette::Rgb;
use super::{PictureOptions, RenderError, font, indexed};
use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle,
};

/// Where plotters draws.
pub(crate) type Area<'a> = DrawingArea<Pen<'a>, Shift>;

/// The pixels of one picture: three bytes each, row by row.
pub(crate) struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A canvas of one colour.
    pub(crate) fn new(options: &PictureOptions, ground: Rgb) -> Result<Self, RenderError> {
        options.check()?;
        let PictureOptions { width, height, .. } = *options;
        let pixels = width as usize * height as usize;
        Ok(Self { width, height, rgb: [ground.0, ground.1, ground.2].repeat(pixels) })
    }

    /// Sets one pixel; outside the canvas nothing happens.
    pub(crate) fn set(&mut self, x: i32, y: i32, colour: Rgb) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x < self.width && y < self.height {
            let at = (y as usize * self.width as usize + x as usize) * 3;
            self.rgb[at..at + 3].copy_from_slice(&[colour.0, colour.1, colour.2]);
        }
    }

    /// The whole canvas as plotters' drawing area.
    pub(crate) fn area(&mut self) -> Area<'_> {
        let size = (self.width, self.height);
        Pen { bitmap: BitMapBackend::with_buffer(&mut self.rgb, size) }.into_drawing_area()
    }

    /// The picture as the bytes of a PNG file.
    pub(crate) fn into_png(self) -> Result<Vec<u8>, RenderError> {
        let failed = |error: png::EncodingError| RenderError::Encoding(error.to_string());
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        let indexed = indexed::indexed(&self.rgb);
        let pixels = match &indexed {
            Some(few) => {
                encoder.set_color(png::ColorType::Indexed);
                encoder.set_palette(
                    few.palette.iter().flat_map(|c| [c.0, c.1, c.2]).collect::<Vec<_>>(),
                );
                &few.pixels
            }
            None => {
                encoder.set_color(png::ColorType::Rgb);
                &self.rgb
            }
        };
        encoder.set_depth(png::BitDepth::Eight);
        // Differences to the pixel before say nothing where pixels are places in a palette.
        if indexed.is_some() {
            encoder.set_compression(png::Compression::High);
            encoder.set_filter(png::Filter::NoFilter);
        } else {
            encoder.set_compression(png::Compression::Balanced);
        }
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

/// plotters' bitmap back end, with finer text and paths.
pub(crate) struct Pen<'a> {
    bitmap: BitMapBackend<'a>,
}

type PenError<'a> = DrawingErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

impl<'a> DrawingBackend for Pen<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.bitmap.get_size()
    }

    fn ensure_prepared(&mut self) -> Result<(), PenError<'a>> {
        self.bitmap.ensure_prepared()
    }

    fn present(&mut self) -> Result<(), PenError<'a>> {
        self.bitmap.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Result<(), PenError<'a>> {
        self.bitmap.draw_pixel(at, colour)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        lower_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Result<(), PenError<'a>> {
        self.bitmap.draw_rect(upper_left, lower_right, style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Result<(), PenError<'a>> {
        let points: Vec<BackendCoord> = path.into_iter().collect();
        let Some(stroke) = Stroke::new(&points, style.stroke_width(), self.get_size()) else {
            return Ok(());
        };
        let colour = style.color();
        for (x, y, covered) in stroke.pixels() {
            let alpha = colour.alpha * f64::from(covered) / 255.0;
            self.draw_pixel((x, y), BackendColor { alpha, ..colour })?;
        }
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &T,
        (x, y): BackendCoord,
    ) -> Result<(), PenError<'a>> {
        let (size, bold) = (style.size(), matches!(style.style(), FontStyle::Bold));
        let width = font::width(text, size, bold);
        let left = match style.anchor().h_pos {
            HPos::Left => f64::from(x),
            HPos::Center => f64::from(x) - width / 2.0,
            HPos::Right => f64::from(x) - width,
        };
        let drop = match style.anchor().v_pos {
            VPos::Top => font::ASCENT_EM * size,
            VPos::Center => font::CAPITAL_EM * size / 2.0,
            VPos::Bottom => -font::DESCENT_EM * size,
        };
        let colour = style.color();
        let mut done = Ok(());
        font::draw(text, size, bold, (left, y + drop.round() as i32), |x, y, covered| {
            let alpha = colour.alpha * f64::from(covered);
            if done.is_ok() && alpha > 0.0 {
                done = self.draw_pixel((x, y), BackendColor { alpha, ..colour });
            }
        });
        done
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), PenError<'a>> {
        let (size, bold) = (style.size(), matches!(style.style(), FontStyle::Bold));
        let height = (font::ASCENT_EM + font::DESCENT_EM) * size;
        Ok((font::width(text, size, bold).ceil() as u32, height.ceil() as u32))
    }
}

/// How much of each pixel a stroke along a path covers.
///
/// A pixel's cover is half the stroke's width less its distance from the path, so joints
/// and ends are round. Cover is gathered for the whole path before any colour is mixed:
/// where two pieces meet, a see-through stroke is not twice as dark.
struct Stroke {
    left: i32,
    top: i32,
    width: usize,
    cover: Vec<u8>,
}

impl Stroke {
    /// `None` when the path has no point or lies outside the canvas.
    fn new(points: &[BackendCoord], stroke_width: u32, canvas: (u32, u32)) -> Option<Self> {
        let reach = f64::from(stroke_width) / 2.0 + 0.5;
        let margin = reach.ceil() as i32;
        let (across, down) = (|p: &BackendCoord| p.0, |p: &BackendCoord| p.1);
        let bounds = |of: fn(&BackendCoord) -> i32, limit: u32| {
            let least = points.iter().map(of).min()?.saturating_sub(margin).max(0);
            let greatest = points.iter().map(of).max()?.saturating_add(margin);
            let greatest = greatest.min(i32::try_from(limit).ok()? - 1);
            (least <= greatest).then_some((least, greatest))
        };
        let (left, right) = bounds(across, canvas.0)?;
        let (top, bottom) = bounds(down, canvas.1)?;
        let (width, height) = ((right - left + 1) as usize, (bottom - top + 1) as usize);
        let mut stroke = Self { left, top, width, cover: vec![0; width * height] };
        if let [point] = points {
            stroke.piece(*point, *point, reach);
        }
        for ends in points.windows(2) {
            stroke.piece(ends[0], ends[1], reach);
        }
        Some(stroke)
    }

    /// Adds one straight piece: looks at the pixels of its rows, near the piece only.
    fn piece(&mut self, a: BackendCoord, b: BackendCoord, reach: f64) {
        let ((ax, ay), (bx, by)) = ((f64::from(a.0), f64::from(a.1)), (b.0.into(), b.1.into()));
        let (dx, dy): (f64, f64) = (bx - ax, by - ay);
        let length_squared = dx * dx + dy * dy;
        let height = self.cover.len() / self.width;
        let first_row = (ay.min(by) - reach).floor() - f64::from(self.top);
        let last_row = (ay.max(by) + reach).ceil() - f64::from(self.top);
        for row in first_row.max(0.0) as usize..(last_row.max(-1.0) + 1.0) as usize {
            if row >= height {
                break;
            }
            let y = f64::from(self.top) + row as f64;
            // The piece's extent across between the rows that can reach this one.
            let at =
                |y: f64| if dy == 0.0 { ax } else { ax + dx * ((y - ay) / dy).clamp(0.0, 1.0) };
            let (near, far) = if dy == 0.0 { (ax, bx) } else { (at(y - reach), at(y + reach)) };
            let first = near.min(far) - reach - f64::from(self.left);
            let last = near.max(far) + reach - f64::from(self.left);
            let end = ((last.ceil().max(-1.0) + 1.0) as usize).min(self.width);
            for column in first.floor().max(0.0) as usize..end {
                let x = f64::from(self.left) + column as f64;
                let along = if length_squared > 0.0 {
                    (((x - ax) * dx + (y - ay) * dy) / length_squared).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let away = (x - ax - along * dx).hypot(y - ay - along * dy);
                let covered = ((reach - away).clamp(0.0, 1.0) * 255.0).round() as u8;
                let cell = &mut self.cover[row * self.width + column];
                *cell = covered.max(*cell);
            }
        }
    }

    fn pixels(&self) -> impl Iterator<Item = (i32, i32, u8)> {
        self.cover.iter().enumerate().filter(|(_, covered)| **covered > 0).map(|(at, covered)| {
            let (x, y) = ((at % self.width) as i32, (at / self.width) as i32);
            (self.left + x, self.top + y, *covered)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANVAS: (u32, u32) = (100, 50);

    #[test]
    fn a_level_line_of_one_pixel_is_crisp() {
        let stroke = Stroke::new(&[(10, 20), (14, 20)], 1, CANVAS).unwrap();
        let full: Vec<_> = stroke.pixels().collect();
        assert_eq!(full, (10..=14).map(|x| (x, 20, 255)).collect::<Vec<_>>());
    }

    #[test]
    fn a_slanted_line_has_grey_edges_and_leaves_no_gap() {
        let stroke = Stroke::new(&[(0, 0), (60, 30)], 2, CANVAS).unwrap();
        for x in 0..=60 {
            let covered: u32 = stroke.pixels().filter(|p| p.0 == x).map(|p| u32::from(p.2)).sum();
            assert!((400..=800).contains(&covered), "column {x} covers {covered}");
        }
    }

    #[test]
    fn what_lies_outside_the_canvas_is_left_out() {
        assert!(Stroke::new(&[], 1, CANVAS).is_none());
        assert!(Stroke::new(&[(-90, -90), (-80, -90)], 3, CANVAS).is_none());
        let far = [(i32::MIN, 10), (i32::MAX, 10)];
        assert_eq!(Stroke::new(&far, 1, CANVAS).unwrap().pixels().count(), 100);
    }
}
