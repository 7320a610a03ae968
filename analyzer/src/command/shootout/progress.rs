//! How far the shootout is: which allocator's turn it is, and how long all of them will take.

use super::super::progress::{BEFORE, Shown, is_shown};
use std::time::Instant;

/// The bar; on a terminal only.
pub struct Progress {
    begun: Instant,
    bar: Option<Shown>,
    all: usize,
    done: usize,
    name: String,
}

impl Progress {
    /// For so many runs.
    pub fn new(all: usize) -> Progress {
        Progress { begun: Instant::now(), bar: None, all, done: 0, name: String::new() }
    }

    /// The next run begins.
    pub fn next(&mut self, name: &str) {
        self.done += 1;
        name.clone_into(&mut self.name);
        self.at(0.0);
    }

    /// So much of the run is done.
    pub fn at(&mut self, share: f64) {
        if self.begun.elapsed() < BEFORE || !is_shown() {
            return;
        }
        let runs = self.done.saturating_sub(1) as f64 + share.clamp(0.0, 1.0);
        let all = (runs / self.all.max(1) as f64).min(1.0);
        let message = format!("[{}/{}] {:<10}", self.done, self.all, self.name);
        match &self.bar {
            Some(bar) => bar.at(all, message),
            None => self.bar = Some(Shown::new(self.begun, all, message)),
        }
    }
}
