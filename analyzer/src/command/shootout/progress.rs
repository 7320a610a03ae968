//! How far the shootout is: which allocator's turn it is, and how long all of them will take.

use super::super::progress::{BEFORE, is_shown, new_bar};
use indicatif::ProgressBar;
use std::time::Instant;

/// A run in parts of so many.
const WHOLE: f64 = 1000.0;

/// The bar; on a terminal only.
pub struct Progress {
    begun: Instant,
    bar: Option<ProgressBar>,
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
        let bar = self.bar.get_or_insert_with(|| new_bar((self.all as f64 * WHOLE) as u64));
        bar.set_message(format!("[{}/{}] {:<10}", self.done, self.all, self.name));
        bar.set_position((runs * WHOLE) as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
