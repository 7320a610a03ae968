//! What every picture has in common: its size and theme, its title, marks in time, and
//! the errors it can end with.
//!
//! plotters draws axes, lines and text; [`canvas`] lies beneath it, so that text and
//! lines come out fine and the pixels of the heap map can be written straight into the
//! buffer. All of it is a function of its arguments alone: the same input gives the same
//! bytes, on any machine, with or without fonts installed.

pub(crate) mod canvas;
#[cfg(test)]
pub(crate) mod demo;
pub(crate) mod font;
pub(crate) mod frame;
mod indexed;
pub(crate) mod layout;
pub(crate) mod legend;
pub(crate) mod marks;
pub(crate) mod palette;
pub(crate) mod scale;
pub(crate) mod shapes;
#[cfg(test)]
pub(crate) mod testing;

pub use palette::Theme;
pub use shapes::Format;

/// The smallest picture that has room for axes and text, in pixels.
pub const MIN_SIZE: (u32, u32) = (480, 320);
/// The greatest width and height, in pixels.
pub const MAX_SIDE: u32 = 16_384;

/// How large a picture is and which colours it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureOptions {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Dark text on light ground, or the reverse.
    pub theme: Theme,
}

impl Default for PictureOptions {
    fn default() -> Self {
        Self { width: 1600, height: 900, theme: Theme::Light }
    }
}

impl PictureOptions {
    /// Refuses sizes that cannot be drawn legibly, or at all.
    ///
    /// # Errors
    /// [`RenderError::TooSmall`] and [`RenderError::TooLarge`].
    pub fn check(&self) -> Result<(), RenderError> {
        let Self { width, height, .. } = *self;
        if width < MIN_SIZE.0 || height < MIN_SIZE.1 {
            return Err(RenderError::TooSmall { width, height });
        }
        if width > MAX_SIDE || height > MAX_SIDE {
            return Err(RenderError::TooLarge { width, height });
        }
        Ok(())
    }
}

/// The lines above a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Title {
    /// What is seen: "Heap map of demo-server: address × time".
    pub headline: String,
    /// What is wrong with the heap; empty where that is not judged.
    pub verdict: String,
    /// Which trace, when, which window: command, pid, host, start, "0 s – 9.8 s".
    pub subline: String,
}

/// A moment that is pointed out in a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Nanoseconds since the trace's start.
    pub time_ns: u64,
    /// What happened then, in a word or two.
    pub label: String,
}

/// Why a picture could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// No room for axes and text.
    #[error(
        "a picture of {width}x{height} is too small to be read; ask for at least {}x{}",
        MIN_SIZE.0,
        MIN_SIZE.1
    )]
    TooSmall {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
    },
    /// More pixels than is sensible.
    #[error("a picture of {width}x{height} is too large; ask for at most {MAX_SIDE} each way")]
    TooLarge {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
    },
    /// The drawing library refused.
    #[error("the picture could not be drawn: {0}")]
    Drawing(String),
    /// The pixels could not be packed.
    #[error("the picture could not be encoded as PNG: {0}")]
    Encoding(String),
}

impl<E> From<plotters::drawing::DrawingAreaErrorKind<E>> for RenderError
where
    E: std::error::Error + Send + Sync,
{
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self::Drawing(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_bounds_are_refused_with_a_remedy() {
        let size = |width, height| PictureOptions { width, height, theme: Theme::Dark }.check();
        assert!(size(480, 320).is_ok());
        assert!(size(16_384, 16_384).is_ok());
        assert_eq!(
            size(479, 320).unwrap_err().to_string(),
            "a picture of 479x320 is too small to be read; ask for at least 480x320"
        );
        assert_eq!(
            size(480, 16_385).unwrap_err().to_string(),
            "a picture of 480x16385 is too large; ask for at most 16384 each way"
        );
    }
}
