//! How the command line writes moments, sizes and pictures, and what several subcommands
//! take.

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use fragtrace_analyzer::measure::TimeSpec;
use fragtrace_analyzer::render::picture::{PictureOptions, Theme};
use std::path::PathBuf;

const MINUTE: f64 = 60.0;

/// What a picture looks like and where it goes.
#[derive(Debug, Args)]
pub struct Picture {
    /// The trace
    pub trace: PathBuf,

    /// Where to write the PNG; - for standard output
    #[arg(short, long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(png_file))]
    pub output: PathBuf,

    #[command(flatten)]
    look: Look,

    /// Leave out the command, paths, host and environment, to share the picture
    #[arg(long)]
    pub anonymize: bool,
}

impl Picture {
    /// Size and theme as the renderers take them.
    pub fn options(&self) -> PictureOptions {
        self.look.options()
    }
}

/// How large a picture is, and its colours.
#[derive(Debug, Args)]
pub struct Look {
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", default_value = "1600x900", value_parser = pixels)]
    size: (u32, u32),

    /// Ground and colours of the picture
    #[arg(long, value_name = "light|dark", default_value = "light", value_parser = theme)]
    theme: Theme,
}

impl Look {
    /// As the renderers take them.
    pub fn options(&self) -> PictureOptions {
        PictureOptions { width: self.size.0, height: self.size.1, theme: self.theme }
    }
}

/// A moment: `12.5s`, `80%`, `peak`, `end`, or RFC 3339.
pub fn time(text: &str) -> Result<TimeSpec, String> {
    let parsed = match text {
        "peak" => Some(TimeSpec::Peak),
        "end" => Some(TimeSpec::End),
        _ => percent(text).or_else(|| duration(text)).or_else(|| date(text)),
    };
    parsed.ok_or_else(|| {
        "a moment is 12.5s (or ms, min, h) since the start, 80%, peak, end, \
         or a date like 2025-06-01T12:00:00Z"
            .to_owned()
    })
}

fn percent(text: &str) -> Option<TimeSpec> {
    let share = number(text.strip_suffix('%')?)?;
    (share <= 100.0).then_some(TimeSpec::Percent(share))
}

fn duration(text: &str) -> Option<TimeSpec> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let seconds = match &text[unit..] {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => MINUTE,
        "h" => 60.0 * MINUTE,
        _ => return None,
    };
    let nanoseconds = number(&text[..unit])? * seconds * 1e9;
    (nanoseconds < u64::MAX as f64).then_some(TimeSpec::Nanoseconds(nanoseconds.round() as u64))
}

fn date(text: &str) -> Option<TimeSpec> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_nanosecond()).ok().map(TimeSpec::Unix)
}

/// A plain decimal number: no sign, no exponent, no infinity.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}

/// A size in bytes: `4096`, `64K`, `1.5M`, `256MiB`, `1G`, `1T`; units are powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    parse_size(text)
        .ok_or_else(|| "a size is a number with K, M, G or T behind it, such as 64K or 1.5G".into())
}

fn parse_size(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let shift = match text[unit..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    // Whole numbers are taken exactly; a fraction is of a unit, so it need not be.
    if let Ok(whole) = text[..unit].parse::<u64>() {
        return text
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| whole.checked_mul(1 << shift))?;
    }
    let bytes = number(&text[..unit])? * (1u64 << shift) as f64;
    (shift > 0 && bytes < u64::MAX as f64).then_some(bytes.round() as u64)
}

fn pixels(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once(['x', 'X']).and_then(|(width, height)| {
        Some((width.parse::<u32>().ok()?, height.parse::<u32>().ok()?))
    });
    let (width, height) = parsed.ok_or("a size of a picture is WIDTHxHEIGHT, such as 1600x900")?;
    let options = PictureOptions { width, height, theme: Theme::Light };
    options.check().map(|()| (width, height)).map_err(|error| error.to_string())
}

/// A file for a PNG: not one whose name says that it is something else.
fn png_file(path: PathBuf) -> Result<PathBuf, String> {
    const OTHERS: [&str; 7] = ["svg", "jpg", "jpeg", "gif", "webp", "pdf", "html"];
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match OTHERS.iter().any(|other| ending.as_deref() == Some(other.as_ref())) {
        true => Err("this picture is written as PNG: name a file that ends in .png".into()),
        false => Ok(path),
    }
}

fn theme(text: &str) -> Result<Theme, String> {
    match text {
        "light" => Ok(Theme::Light),
        "dark" => Ok(Theme::Dark),
        _ => Err("a theme is light or dark".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form() {
        assert_eq!(time("12.5s"), Ok(TimeSpec::Nanoseconds(12_500_000_000)));
        assert_eq!(time("250ms"), Ok(TimeSpec::Nanoseconds(250_000_000)));
        assert_eq!(time("2min"), Ok(TimeSpec::Nanoseconds(120_000_000_000)));
        assert_eq!(time("80%"), Ok(TimeSpec::Percent(80.0)));
        assert_eq!(time("99.5%"), Ok(TimeSpec::Percent(99.5)));
        assert_eq!(time("peak"), Ok(TimeSpec::Peak));
        assert_eq!(time("end"), Ok(TimeSpec::End));
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(TimeSpec::Unix(1_000_000_000)));
        assert_eq!(time("1970-01-01T02:00:01.5+02:00"), Ok(TimeSpec::Unix(1_500_000_000)));
    }

    #[test]
    fn what_is_no_moment_is_refused_with_the_forms_there_are() {
        for text in ["", "12.5", "-1s", "1e3s", "101%", "nan%", "infs", "s", "noon", "12:30"] {
            let error = time(text).expect_err(text);
            assert!(error.contains("12.5s") && error.contains("80%"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("64k"), Ok(64 << 10));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1.5G"), Ok(3 << 29));
        assert_eq!(size("1T"), Ok(1 << 40));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "K", "-1K", "+1K", "1.5", "12Q", "64 K", "99999999999T", "1e3", "0x10"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_png_goes_into_no_file_of_another_kind() {
        assert!(["heap.svg", "a/heap.JPG"].iter().all(|name| png_file(name.into()).is_err()));
        let fine = ["heap.png", "-", "/dev/stdout", "tmp.x7Ke", "svg"];
        assert!(fine.iter().all(|name| png_file(name.into()) == Ok(name.into())));
    }

    #[test]
    fn a_picture_needs_two_sides_within_bounds() {
        assert_eq!(pixels("1600x900"), Ok((1600, 900)));
        assert!(pixels("1600").is_err());
        assert!(pixels("10x10").unwrap_err().contains("too small"));
        assert!(pixels("99999x900").unwrap_err().contains("too large"));
    }
}
