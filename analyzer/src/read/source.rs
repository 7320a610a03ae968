//! The bytes of a trace file: mapped, or read piece by piece.
//!
//! A file under a mapping must not shrink: touching a page that is gone kills the reader.
//! The tracer cuts its file to size at exit, just after it noted the end. So a file is
//! mapped only if the end is noted *and* no process has it mapped any more; every other
//! file, that of a killed process among them, is read with `pread`, a chunk at a time. That
//! costs a copy of each chunk, little next to decoding it.
//!
//! The one place in the analyzer with `unsafe` code.
#![allow(unsafe_code)]

use memmap2::Mmap;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A trace file's bytes.
#[derive(Debug)]
pub(super) enum Source {
    /// Mapped: nobody writes it any more.
    Mapped(Mmap),
    /// Read as needed, up to the length that it had when it was opened.
    Read { file: File, bytes: u64 },
}

impl Source {
    /// `settled`: no tracer will change the file any more.
    pub fn new(file: File, bytes: u64, settled: bool) -> io::Result<Source> {
        if settled && bytes > 0 {
            // SAFETY: the mapping is read-only and private to this process. Its bytes could
            // change or vanish only by someone who writes or cuts the file: the tracer is
            // gone (the caller checked), and it is the only program that opens traces for
            // writing. The bytes are only ever read as plain integers.
            let map = unsafe { Mmap::map(&file)? };
            return Ok(Source::Mapped(map));
        }
        Ok(Source::Read { file, bytes })
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Source::Mapped(map) => map.len() as u64,
            Source::Read { bytes, .. } => *bytes,
        }
    }

    /// The same file, as long as it is now.
    pub fn as_long_as_now(&self) -> io::Result<Source> {
        match self {
            Source::Mapped(map) => Err(io::Error::other(format!("{} bytes for good", map.len()))),
            Source::Read { file, .. } => {
                let bytes = file.metadata()?.len();
                Ok(Source::Read { file: file.try_clone()?, bytes })
            }
        }
    }

    /// `len` bytes from `offset` on, fewer where the file ends or cannot be read.
    pub fn read(&self, offset: u64, len: usize) -> Cow<'_, [u8]> {
        let left = self.bytes().saturating_sub(offset);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        match self {
            Source::Mapped(map) => {
                let start = offset.min(map.len() as u64) as usize;
                Cow::Borrowed(&map[start..start + len])
            }
            Source::Read { file, .. } => {
                let mut buffer = vec![0; len];
                let got = read_at(file, offset, &mut buffer).unwrap_or(0);
                buffer.truncate(got);
                Cow::Owned(buffer)
            }
        }
    }
}

/// Fills `buffer` from `offset` on; the bytes read, fewer where the file ends.
pub(super) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
