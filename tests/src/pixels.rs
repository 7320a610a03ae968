//! The pixels of a PNG file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// A decoded picture.
pub struct Pixels {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Red, green and blue, row by row.
    pub all: Vec<[u8; 3]>,
}

impl Pixels {
    /// Decodes a whole file; panics if it is none.
    pub fn read(path: &Path) -> Pixels {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().expect("it is a PNG file");
        let mut bytes = vec![0; reader.output_buffer_size().expect("its size fits in memory")];
        let frame = reader.next_frame(&mut bytes).expect("it is whole");
        let (width, height) = (frame.width as usize, frame.height as usize);
        let pixels = bytes[..frame.buffer_size()].chunks(frame.line_size / width);
        Pixels { width, height, all: pixels.map(|it| [it[0], it[1], it[2]]).collect() }
    }

    /// The colours that there are.
    pub fn colours(&self) -> BTreeSet<[u8; 3]> {
        self.all.iter().copied().collect()
    }
}
