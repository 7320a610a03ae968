//! What a program knows of the calls that it makes itself.

use crate::{tell_figure, tell_now};

/// Allocs, frees, reallocs, and live bytes.
#[derive(Default)]
pub struct Tally([u64; 4]);

impl Tally {
    /// Counts so many more.
    pub fn add(&mut self, more: [u64; 4]) {
        for (sum, more) in self.0.iter_mut().zip(more) {
            *sum += more;
        }
    }

    /// Makes as many rounds as the first argument says, and tells what they came to.
    pub fn of_rounds(mut round: impl FnMut(&mut Tally)) {
        let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse::<u64>().ok());
        let mut tally = Tally::default();
        for _ in 0..rounds.unwrap_or_default() {
            round(&mut tally);
        }
        for (key, value) in
            [c"allocs", c"frees", c"reallocs", c"live_bytes"].into_iter().zip(tally.0)
        {
            tell_figure(c"calls", key, value);
        }
        // SAFETY: takes nothing.
        unsafe { tell_now() };
    }
}
