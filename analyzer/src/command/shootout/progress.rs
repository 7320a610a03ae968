//! A line that tells how far the shootout is; on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Not more often than an eye can follow.
const PAUSE: Duration = Duration::from_millis(100);
const COLUMNS: usize = 30;

/// The line.
pub struct Progress {
    is_shown: bool,
    all: usize,
    done: usize,
    name: String,
    last: Option<Instant>,
}

impl Progress {
    /// For so many runs.
    pub fn new(all: usize) -> Progress {
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let is_shown = io::stderr().is_terminal() && !dumb;
        Progress { is_shown, all, done: 0, name: String::new(), last: None }
    }

    /// The next run begins.
    pub fn next(&mut self, name: &str) {
        self.done += 1;
        name.clone_into(&mut self.name);
        self.last = None;
        self.at(0.0);
    }

    /// So much of the run is done.
    pub fn at(&mut self, share: f64) {
        if !self.is_shown || self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        self.last = Some(Instant::now());
        let filled = (share.clamp(0.0, 1.0) * COLUMNS as f64) as usize;
        let _ = write!(
            io::stderr(),
            "\r\x1b[K[{}/{}] {:<10} [{}{}]",
            self.done,
            self.all,
            self.name,
            "#".repeat(filled),
            " ".repeat(COLUMNS - filled)
        );
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
