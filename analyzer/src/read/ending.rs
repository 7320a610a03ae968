//! How the traced process ended.

use fragtrace_format::header::End;
use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How the traced process ended, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Through `exit` or a return from `main`.
    Exit,
    /// Through `_exit`, `_Exit` or `quick_exit`.
    UnderscoreExit,
    /// By replacing itself.
    Exec,
    /// By a signal.
    Signal(u32),
    /// Not yet.
    Running,
    /// Nobody saw it: killed, most likely.
    Unknown,
}

impl Ending {
    pub(super) fn new(end: End, writer_lives: bool) -> Ending {
        match end {
            End::Open if writer_lives => Ending::Running,
            End::Open => Ending::Unknown,
            End::Exit => Ending::Exit,
            End::UnderscoreExit => Ending::UnderscoreExit,
            End::Exec => Ending::Exec,
            End::Signal(number) => Ending::Signal(number),
        }
    }

    /// Whether the tracer itself saw the end coming.
    pub fn is_clean(self) -> bool {
        matches!(self, Ending::Exit | Ending::UnderscoreExit | Ending::Exec)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exit => out.write_str("exit"),
            Ending::UnderscoreExit => out.write_str("_exit"),
            Ending::Exec => out.write_str("exec"),
            Ending::Signal(number) => write!(out, "signal {number}"),
            Ending::Running => out.write_str("running"),
            Ending::Unknown => out.write_str("unknown"),
        }
    }
}

/// Whether the process that writes the trace is alive: a process with its number has this
/// very file mapped. The number alone could be another process's by now.
pub(super) fn writer_lives(pid: u32, path: &Path, file: &Metadata) -> bool {
    let Ok(maps) = fs::read(format!("/proc/{pid}/maps")) else { return false };
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let path = path.as_os_str().as_encoded_bytes();
    let inode = file.ino().to_string();
    maps.split(|byte| *byte == b'\n').any(|line| {
        // start-end perms offset device inode path. On some file systems (btrfs, overlays)
        // the kernel shows another inode here than stat does, so the path counts as well.
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        words.nth(4).is_some_and(|word| word == inode.as_bytes() && word != b"0")
            || (line.ends_with(path) && !path.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_read_as_the_contract_says() {
        let shown = |end, lives| Ending::new(end, lives).to_string();
        assert_eq!(shown(End::Exit, false), "exit");
        assert_eq!(shown(End::UnderscoreExit, true), "_exit");
        assert_eq!(shown(End::Exec, true), "exec");
        assert_eq!(shown(End::Signal(9), false), "signal 9");
        assert_eq!(shown(End::Open, true), "running");
        assert_eq!(shown(End::Open, false), "unknown");
    }

    #[test]
    fn a_process_that_does_not_map_the_file_does_not_write_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = fs::metadata(&path).expect("the manifest is there");
        assert!(!writer_lives(std::process::id(), &path, &metadata));
        let exe = std::env::current_exe().expect("a test has an executable");
        let metadata = fs::metadata(&exe).expect("and it is there");
        assert!(writer_lives(std::process::id(), &exe, &metadata));
    }
}
