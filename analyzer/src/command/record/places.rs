//! Where the trace of a run will be, and which of the files there are the run's.
//!
//! The tracer fills in the pattern by itself and steps aside for files that exist, so the
//! name is not known beforehand. Afterwards it is: the files that match the pattern, were
//! not there before, and hold the process's number.

use crate::command::tracer::plain_reason;
use anyhow::{Context, Result, bail};
use fragtrace_format::header::{End, HEADER_BYTES, HeaderInfo};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

const DEFAULT_NAME: &str = "fragtrace-%e.%p.ftr";

/// The absolute pattern of the trace's path: from `-o`, from FRAGTRACE_OUT, or the default in
/// the first folder that can be written.
///
/// # Errors
/// When the folder that was asked for does not exist or cannot be written.
pub fn pattern(output: Option<&Path>) -> Result<PathBuf> {
    let said = output.map(Path::to_path_buf);
    let said = said.or_else(|| std::env::var_os("FRAGTRACE_OUT").map(PathBuf::from));
    let here = std::env::current_dir().context("the working directory is gone")?;
    let Some(said) = said.filter(|said| !said.as_os_str().is_empty()) else {
        let temporary = [here, std::env::temp_dir(), "/tmp".into()];
        let folder = temporary.iter().find(|folder| can_write(folder).is_ok());
        let folder = folder.context(
            "neither the working directory nor the temporary one can be written; name a place with -o",
        )?;
        return Ok(escaped(folder).join(DEFAULT_NAME));
    };
    let said = if said.is_absolute() { said } else { escaped(&here).join(said) };
    let names_folder = said.as_os_str().as_bytes().ends_with(b"/") || said.is_dir();
    let said = if names_folder { said.join(DEFAULT_NAME) } else { said };
    if let Some(folder) = said.parent().and_then(plain)
        && let Err(error) = can_write(&folder)
    {
        bail!(
            "no trace can be written in {}: {}\nname another place with -o",
            folder.display(),
            plain_reason(&error)
        );
    }
    Ok(said)
}

/// The folder of the trace; `None` where that depends on the process.
///
/// # Errors
/// As [`pattern`].
pub fn folder(output: Option<&Path>) -> Result<Option<PathBuf>> {
    Ok(pattern(output)?.parent().and_then(plain))
}

/// Whether a file can be made in a folder: by making one that has no name.
fn can_write(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

fn escaped(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        out.push(*byte);
        out.extend((*byte == b'%').then_some(b'%'));
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// The path that a pattern without variables means; `None` if it has some.
fn plain(pattern: &Path) -> Option<PathBuf> {
    let pieces = pieces(pattern.as_os_str().as_bytes());
    let text: Option<Vec<u8>> = pieces
        .into_iter()
        .map(|piece| if let Piece::Byte(byte) = piece { Some(byte) } else { None })
        .collect();
    text.map(|text| PathBuf::from(std::ffi::OsString::from_vec(text)))
}

/// A trace that a run left.
#[derive(Debug, Clone)]
pub struct TraceFile {
    /// Where.
    pub path: PathBuf,
    /// What its header says of its end.
    pub end: End,
    pid: u32,
    start_ns: u64,
}

/// The traces of a run, oldest first.
#[derive(Debug, Default)]
pub struct Found {
    /// Of the process itself: one for each program that it became.
    pub own: Vec<TraceFile>,
    /// Of others that were begun meanwhile.
    pub others: Vec<TraceFile>,
}

/// What matched the pattern before the run.
#[derive(Debug)]
pub struct Places {
    pattern: PathBuf,
    before: HashSet<PathBuf>,
}

impl Places {
    /// Notes what is there.
    pub fn before(pattern: &Path) -> Places {
        Places { pattern: pattern.to_path_buf(), before: matching(pattern).into_iter().collect() }
    }

    /// The traces that came since; `pid` is the process that was run.
    pub fn after(&self, pid: u32) -> Found {
        let new = matching(&self.pattern).into_iter().filter(|path| !self.before.contains(path));
        let mut traces: Vec<TraceFile> = new.filter_map(|path| read_header(path).ok()).collect();
        traces.sort_by(|a, b| (a.start_ns, &a.path).cmp(&(b.start_ns, &b.path)));
        let (own, others) = traces.into_iter().partition(|trace| trace.pid == pid);
        Found { own, others }
    }
}

fn read_header(path: PathBuf) -> io::Result<TraceFile> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    File::open(&path)?.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    let header = HeaderInfo::read(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    let start_ns = header.clock_start.realtime_ns;
    Ok(TraceFile { path, end: header.end, pid: header.pid, start_ns })
}

/// A pattern taken apart: bytes that stand for themselves, and variables.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    Byte(u8),
    Any,
}

fn pieces(pattern: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        let (piece, len) = match (first, after.first()) {
            (b'%', Some(b'%')) => (Piece::Byte(b'%'), 2),
            (b'%', Some(b'p' | b'e' | b'h' | b't')) => (Piece::Any, 2),
            _ => (Piece::Byte(*first), 1),
        };
        pieces.push(piece);
        rest = &rest[len..];
    }
    pieces
}

fn matches(pieces: &[Piece], name: &[u8]) -> bool {
    match pieces.split_first() {
        None => name.is_empty(),
        Some((Piece::Byte(byte), rest)) => {
            name.split_first().is_some_and(|(first, name)| first == byte && matches(rest, name))
        }
        Some((Piece::Any, rest)) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
    }
}

/// The name without the number that the tracer adds when a file exists: `a.ftr.12`.
fn without_number(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let stem = &name[..name.len() - digits];
    if digits == 0 { name } else { stem.strip_suffix(b".").unwrap_or(name) }
}

/// The files whose paths the tracer may have made from the pattern.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("/")];
    let names: Vec<&OsStr> = pattern
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(Component::as_os_str)
        .collect();
    let Some((file, parents)) = names.split_last() else { return Vec::new() };
    for name in parents {
        folders = match plain(Path::new(name)) {
            Some(name) => folders.into_iter().map(|folder| folder.join(&name)).collect(),
            None => list(&folders, |entry| matches(&pieces(name.as_bytes()), entry)),
        };
    }
    let file = pieces(file.as_bytes());
    list(&folders, |name| matches(&file, name) || matches(&file, without_number(name)))
}

fn list(folders: &[PathBuf], wanted: impl Fn(&[u8]) -> bool) -> Vec<PathBuf> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    entries.filter(|entry| wanted(entry.file_name().as_bytes())).map(|entry| entry.path()).collect()
}

/// A path as one would type it here: relative where it lies below the working directory.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    match here.and_then(|here| path.strip_prefix(here).ok()) {
        Some(below) if below.as_os_str().is_empty() => ".".into(),
        Some(below) => quoted(below),
        None => quoted(path),
    }
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text;
    }
    // A name that begins with a dash would be taken for an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        let pieces = pieces(pattern.as_bytes());
        matches(&pieces, name.as_bytes()) || matches(&pieces, without_number(name.as_bytes()))
    }

    #[test]
    fn names_that_the_tracer_makes_are_recognised() {
        assert!(fits(DEFAULT_NAME, "fragtrace-redis-server.4242.ftr"));
        assert!(fits(DEFAULT_NAME, "fragtrace-redis-server.4242.ftr.3"));
        assert!(fits("run.ftr", "run.ftr"));
        assert!(fits("run.ftr", "run.ftr.12"));
        assert!(fits("100%%-%p", "100%-7"));
        assert!(!fits("run.ftr", "run.ftr.old"));
        assert!(!fits("run.ftr", "walk.ftr"));
    }

    #[test]
    fn only_new_files_with_the_right_number_are_the_runs() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = root.path().canonicalize().expect("resolved");
        fs::create_dir(root.join("host-a")).expect("a folder");
        let pattern = root.join("host-%h/t.%p.ftr");
        let write = |name: &str, pid: u32, start_ns: u64| {
            let mut bytes = vec![0u8; HEADER_BYTES];
            let mut put =
                |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
            use fragtrace_format::header::{Header, MAGIC, VERSION};
            use std::mem::offset_of;
            put(0, &MAGIC);
            put(offset_of!(Header, version), &VERSION.to_le_bytes());
            put(offset_of!(Header, clock_kind), &1u32.to_le_bytes());
            put(offset_of!(Header, chunk_bytes), &4096u64.to_le_bytes());
            put(offset_of!(Header, pid), &pid.to_le_bytes());
            put(offset_of!(Header, clock_start) + 24, &start_ns.to_le_bytes());
            fs::write(root.join("host-a").join(name), bytes).expect("written");
        };
        write("t.7.ftr", 7, 1);
        let places = Places::before(&pattern);
        write("t.7.ftr.1", 7, 5);
        write("t.7.ftr.2", 7, 3);
        write("t.8.ftr", 8, 4);
        fs::write(root.join("host-a/t.9.ftr"), "no trace").expect("written");

        let found = places.after(7);
        let own: Vec<_> = found.own.iter().map(|trace| trace.path.file_name().unwrap()).collect();
        assert_eq!(own, ["t.7.ftr.2", "t.7.ftr.1"], "the oldest first, and none from before");
        assert_eq!(found.others.len(), 1);
    }

    #[test]
    fn a_percent_sign_of_a_folder_is_no_variable() {
        assert_eq!(escaped(Path::new("/a%p/b")), Path::new("/a%%p/b"));
        assert_eq!(plain(Path::new("/a%%p/b")), Some("/a%p/b".into()));
        assert_eq!(plain(Path::new("/a%p/b")), None);
    }

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(Path::new("a/b.ftr")), "a/b.ftr");
        assert_eq!(quoted(Path::new("my trace.ftr")), "'my trace.ftr'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(Path::new("-o")), "'./-o'");
    }
}
