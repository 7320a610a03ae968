//! A bar for work that takes more than a moment: how much of it is done, how fast, and how long it
//! will still take. On a terminal only; it leaves nothing behind.

use fragtrace_analyzer::measure::{WHOLE, progress};
use fragtrace_analyzer::read::Trace;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Work that is done sooner needs no bar.
pub const BEFORE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{msg} [{bar:30}] {percent} %, {eta} left";

/// Shown until it is dropped.
#[must_use]
pub struct Bar {
    watcher: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// For work that replays a trace so many times.
    pub fn of_replays(trace: &Trace, passes: u64) -> Bar {
        if !is_shown() || trace.chunks().is_empty() {
            return Bar { watcher: None };
        }
        let (over, until_over) = channel::<()>();
        let watch = move || {
            let wait = |time| until_over.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            let (begun, before) = (Instant::now(), progress());
            if !wait(BEFORE) {
                return;
            }
            let bar = new_bar(passes * u64::from(WHOLE));
            bar.set_position(progress().parts - before.parts);
            // What was done in the first second came all at once: it says nothing of the rate.
            bar.reset_eta();
            loop {
                let now = progress();
                let events = (now.events - before.events) as f64 / begun.elapsed().as_secs_f64();
                bar.set_message(format!("replaying, {:.1} million events a second", events / 1e6));
                bar.set_position((now.parts - before.parts).min(passes * u64::from(WHOLE)));
                if !wait(PAUSE) {
                    break;
                }
            }
            bar.finish_and_clear();
        };
        Bar { watcher: Some((over, thread::spawn(watch))) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((over, watcher)) = self.watcher.take() {
            drop(over);
            let _ = watcher.join();
        }
    }
}

/// Whether somebody watches standard error, on a terminal that can go back in its line.
pub fn is_shown() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// A bar that is not drawn yet.
pub fn new_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(TEMPLATE);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("## "));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_well_formed() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
