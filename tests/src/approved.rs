//! Compares pictures with approved ones, by tolerance: both are shrunk to a few hundred fields, and
//! most of these must have about the same colour. Where text stands, in which font, and how long a
//! busy machine took for a phase of a program, must not matter; what stands where must.
//!
//! `FRAGTRACE_BLESS=1` approves what there is: look at the whole pictures first.

use std::env;
use std::fs::{self, File};
use std::path::Path;

use crate::pixels::Pixels;
use crate::tools;

const COLUMNS: usize = 48;
const ROWS: usize = 27;
/// A channel of a field differs if it does by more than this.
const SAME: u8 = 48;
/// So many fields of a hundred may differ.
const MOST_DIFFERENT: usize = 12;

/// Panics unless the PNG at `path` is like the approved one of that name.
pub fn assert_like_approved(path: &Path, name: &str) {
    let fields = fields(path);
    let approved = tools::workspace().join(format!("tests/approved/{name}.png"));
    if env::var("FRAGTRACE_BLESS").is_ok_and(|value| value == "1") {
        write(&approved, &fields);
    }
    let wanted = fields_of_approved(&approved);
    let differs =
        |(a, b): &(&[u8; 3], &[u8; 3])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > SAME);
    let different = fields.iter().zip(&wanted).filter(differs).count();
    if different * 100 > MOST_DIFFERENT * fields.len() {
        let kept = env::temp_dir().join(format!("fragtrace-{name}.png"));
        fs::copy(path, &kept).expect("a picture can be copied");
        panic!(
            "{different} of {} fields differ from {}; the picture is at {}",
            fields.len(),
            approved.display(),
            kept.display()
        );
    }
}

fn fields_of_approved(path: &Path) -> Vec<[u8; 3]> {
    let Pixels { width, height, all } = Pixels::read(path);
    assert_eq!((width, height), (COLUMNS, ROWS), "{}", path.display());
    all
}

/// The mean colour of each field of a picture.
fn fields(path: &Path) -> Vec<[u8; 3]> {
    let Pixels { width, height, all } = Pixels::read(path);
    let mut sums = vec![[0u64; 4]; COLUMNS * ROWS];
    for (at, pixel) in all.iter().enumerate() {
        let (x, y) = (at % width, at / width);
        let sum = &mut sums[y * ROWS / height * COLUMNS + x * COLUMNS / width];
        for (sum, channel) in sum.iter_mut().zip(pixel) {
            *sum += u64::from(*channel);
        }
        sum[3] += 1;
    }
    sums.iter().map(|[r, g, b, count]| [r, g, b].map(|sum| (sum / count) as u8)).collect()
}

fn write(path: &Path, fields: &[[u8; 3]]) {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut encoder = png::Encoder::new(file, COLUMNS as u32, ROWS as u32);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header can be written");
    writer.write_image_data(fields.as_flattened()).expect("a picture can be written");
}
