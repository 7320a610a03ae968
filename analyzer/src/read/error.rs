//! Why a file cannot be read as a trace: cause and remedy, for users.

use fragtrace_format::header::{HEADER_BYTES, HeaderError, VERSION};
use std::io;
use std::path::{Path, PathBuf};

/// Why a file cannot be read as a trace.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("{} is not a regular file: name the trace itself, a file ending in .ftr", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Nothing is in it.
    #[error(
        "{} is empty: the program was traced for too short a time, or its disk was full; \
         record it again",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not a trace at all.
    #[error("{} is no trace: it does not begin as the tracer's files do", path.display())]
    NotATrace {
        /// The file.
        path: PathBuf,
    },
    /// The header is not whole.
    #[error(
        "{} is cut: it ends at {bytes} bytes, inside its header of {HEADER_BYTES}; copy it again, \
         or record again",
        path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Written by another version.
    #[error(
        "{} has version {found} of the format, this program reads version {VERSION}: use the \
         fragtrace that belongs to the tracer which wrote it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Needs what this version does not know.
    #[error(
        "{} needs features {features:#x} that this program does not know: use the fragtrace that \
         belongs to the tracer which wrote it",
        path.display()
    )]
    Features {
        /// The file.
        path: PathBuf,
        /// The unknown ones, as bits.
        features: u64,
    },
    /// The process uses its ring faster than it can be copied.
    #[error(
        "{} is being written too fast to be read now: try again, or record with a larger --ring",
        path.display()
    )]
    TooFast {
        /// The file.
        path: PathBuf,
    },
    /// A field of the header makes no sense.
    #[error(
        "{} is damaged at offset {offset:#x} of its header; copy it again, or record again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
    },
}

impl ReadError {
    pub(super) fn of_header(path: &Path, error: HeaderError) -> ReadError {
        let path = path.to_path_buf();
        match error {
            HeaderError::TooShort(0) => ReadError::Empty { path },
            HeaderError::TooShort(bytes) => ReadError::TooShort { path, bytes },
            HeaderError::NotATrace => ReadError::NotATrace { path },
            HeaderError::Version(found) => ReadError::Version { path, found },
            HeaderError::Features(features) => ReadError::Features { path, features },
            HeaderError::Damaged(offset) => ReadError::Damaged { path, offset },
        }
    }
}
