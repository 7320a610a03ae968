//! For the tests of pictures: reading a PNG back, and leaving the demo's for people.

use super::palette::Rgb;
use super::{PictureOptions, RenderError, Theme};

/// A picture that was read back.
pub(crate) struct Image {
    pub width: u32,
    pub height: u32,
    rgb: Vec<u8>,
}

impl Image {
    pub(crate) fn at(&self, x: usize, y: usize) -> Rgb {
        let at = (y * self.width as usize + x) * 3;
        (self.rgb[at], self.rgb[at + 1], self.rgb[at + 2])
    }
}

/// Reads a PNG, with or without a palette.
pub(crate) fn decode(png: &[u8]) -> Image {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    Image { width: info.width, height: info.height, rgb }
}

/// Draws a picture in both themes at each of the sizes that must be legible, and leaves
/// them in the directory for temporary files, where people can look at them.
pub(crate) fn show(name: &str, draw: impl Fn(&PictureOptions) -> Result<Vec<u8>, RenderError>) {
    let folder = std::env::temp_dir().join("fragtrace-pictures");
    std::fs::create_dir_all(&folder).unwrap();
    for (width, height) in [(480, 320), (1280, 720), (1600, 900), (3840, 2160)] {
        for theme in [Theme::Light, Theme::Dark] {
            let png = draw(&PictureOptions { width, height, theme }).unwrap();
            let file = format!("{name}-{width}x{height}-{theme:?}.png").to_lowercase();
            std::fs::write(folder.join(file), png).unwrap();
        }
    }
}
