//! A bar for work that takes more than a moment: how much of it is done, how fast, and how long it
//! will still take. On a terminal only; it leaves nothing behind.

use fragtrace_analyzer::measure::{WHOLE, progress};
use fragtrace_analyzer::read::Trace;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use terminal_size::terminal_size_of;

/// Work that is done sooner needs no bar.
pub const BEFORE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{msg} [{wide_bar}] {percent} %, {prefix} left";
/// On a terminal with fewer columns the bar has no message: it would have no room itself.
const LEAST_COLUMNS: u16 = 72;
const NARROW: &str = "[{wide_bar}] {percent} %, {prefix} left";
/// All work in parts of so many.
const LENGTH: f64 = 1000.0;

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
            let now = || {
                let (now, all) = (progress(), passes * u64::from(WHOLE));
                let share = (now.parts - before.parts).min(all) as f64 / all.max(1) as f64;
                let events = (now.events - before.events) as f64 / begun.elapsed().as_secs_f64();
                (share, format!("replaying, {:.1} million events a second", events / 1e6))
            };
            let (share, message) = now();
            let shown = Shown::new(begun, share, message);
            while wait(PAUSE) {
                let (share, message) = now();
                shown.at(share, message);
            }
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

/// A bar on the terminal, until it is dropped.
pub struct Shown {
    bar: ProgressBar,
    begun: Instant,
}

impl Shown {
    /// For work that began then, of which this share is done.
    pub fn new(begun: Instant, share: f64, message: String) -> Shown {
        let columns = terminal_size_of(io::stderr()).map_or(0, |(width, _)| width.0);
        // A terminal that does not know its width says 0.
        let narrow = (1..LEAST_COLUMNS).contains(&columns);
        let style = ProgressStyle::with_template(if narrow { NARROW } else { TEMPLATE });
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        // Nothing is drawn before all of it is set.
        let bar = ProgressBar::with_draw_target(Some(LENGTH as u64), ProgressDrawTarget::stderr())
            .with_style(style.progress_chars("## "))
            .with_position((share * LENGTH) as u64)
            .with_prefix(left(begun, share))
            .with_message(message);
        bar.tick();
        Shown { bar, begun }
    }

    /// Now this share is done.
    pub fn at(&self, share: f64, message: String) {
        self.bar.set_prefix(left(self.begun, share));
        self.bar.set_message(message);
        self.bar.set_position((share * LENGTH) as u64);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How long the rest will take, if it goes on as it went so far.
fn left(begun: Instant, share: f64) -> String {
    let rest = begun.elapsed().mul_f64((1.0 - share) / share.max(1.0 / LENGTH));
    format!("{:#}", HumanDuration(rest.max(Duration::from_secs(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        assert!([TEMPLATE, NARROW].iter().all(|text| ProgressStyle::with_template(text).is_ok()));
    }
}
