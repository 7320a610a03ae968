//! The steps in which the footprint grew for good, exact to the event.
//!
//! What is live rises and falls in waves: one ends, and the next begins, where live bytes are
//! least between two rises. What of the footprint stays is the least that it will ever be from
//! a moment on; this never falls, and grows by a step in each wave after which the heap stays
//! larger than it ever will be before:
//!
//! ```text
//! footprint          ┌──────────        step of wave 2: floor 3 − floor 2
//!            ┌───────┘
//! live      ╱╲      ╱╲                  floor n: the least footprint from the
//!       ___╱  ╲____╱  ╲______           beginning of wave n on
//! ```
//!
//! Waves whose floor is hardly above that of the wave before are dropped as they pass, so that no
//! more are kept than the footprint has room for steps. Nothing here depends on times or on how
//! often somebody looked.

use fragtrace_format::Stamp;
use std::ops::Range;

/// Live bytes that turn by less make no wave.
const LEAST_TURN_BYTES: u64 = 1 << 20;
/// Nor by less than this part of the greatest footprint so far.
const TURN_PART: u64 = 64;

/// A rise of the footprint that stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// When its wave began.
    pub start_ns: u64,
    /// When most was live in it.
    pub peak_ns: u64,
    /// When its wave was over.
    pub end_ns: u64,
    /// By how much the footprint was greater from then on.
    pub bytes: u64,
    /// What was live at the start.
    pub live_before_bytes: u64,
    /// At the most.
    pub live_peak_bytes: u64,
    /// The least before the next step.
    pub live_after_bytes: u64,
}

impl Step {
    /// Whether live bytes fell again by half of the step or more: else the heap grew by what it
    /// still needs.
    pub fn is_burst(&self) -> bool {
        self.live_peak_bytes.saturating_sub(self.live_after_bytes) >= self.bytes / 2
    }
}

/// A moment and what was live then.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    stamp: Stamp,
    live_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Wave {
    start: Turn,
    peak: Turn,
    end: Turn,
    /// The least that was live from its peak until the next wave that is kept.
    live_after_bytes: u64,
    /// The least footprint while it lasted.
    floor_bytes: u64,
    /// The least ever since.
    later_bytes: u64,
}

/// Collects waves, event by event.
#[derive(Debug, Clone, Default)]
pub(super) struct Stairs {
    /// Those that are over; their floors rise.
    waves: Vec<Wave>,
    /// The one under way.
    now: Wave,
    falls: bool,
    /// The least footprint since the wave's least live bytes.
    floor_since_bytes: u64,
    most_footprint_bytes: u64,
    turn_bytes: u64,
    /// Live bytes and footprint, as noted last.
    last: (u64, u64),
}

impl Stairs {
    /// Of a heap that begins like this.
    pub fn new(stamp: Stamp, live_bytes: u64, footprint_bytes: u64) -> Stairs {
        let turn = Turn { stamp, live_bytes };
        let mut stairs = Stairs { floor_since_bytes: footprint_bytes, ..Stairs::default() };
        stairs.begin(turn, turn);
        stairs.grow(footprint_bytes);
        stairs
    }

    /// The live bytes at which nothing begins or ends as long as the footprint stays as it is.
    pub fn calm(&self) -> Range<u64> {
        if self.falls {
            let end = self.now.end.live_bytes;
            end.saturating_add(1)..end.saturating_add(self.turn_bytes)
        } else {
            let peak = self.now.peak.live_bytes;
            let above = peak.saturating_add(1);
            above.saturating_sub(self.turn_bytes)..above
        }
    }

    /// Events left the heap [calm](Stairs::calm), with so many live bytes.
    pub fn pass(&mut self, live_bytes: u64) {
        self.last.0 = live_bytes;
    }

    /// The heap after the event at `stamp`.
    pub fn note(&mut self, stamp: Stamp, live_bytes: u64, footprint_bytes: u64) {
        // What changes neither, as a call that was timed, prolongs no wave.
        if std::mem::replace(&mut self.last, (live_bytes, footprint_bytes))
            == (live_bytes, footprint_bytes)
        {
            return;
        }
        if footprint_bytes > self.most_footprint_bytes {
            self.grow(footprint_bytes);
        }
        let turn = Turn { stamp, live_bytes };
        if self.falls {
            self.floor_since_bytes = self.floor_since_bytes.min(footprint_bytes);
            if live_bytes <= self.now.end.live_bytes {
                self.now.floor_bytes = self.now.floor_bytes.min(self.floor_since_bytes);
                self.floor_since_bytes = footprint_bytes;
                self.now.end = turn;
            } else if live_bytes >= self.now.end.live_bytes + self.turn_bytes {
                self.close();
                self.begin(self.now.end, turn);
            }
        } else {
            self.now.floor_bytes = self.now.floor_bytes.min(footprint_bytes);
            if live_bytes > self.now.peak.live_bytes {
                self.now.peak = turn;
            } else if live_bytes + self.turn_bytes <= self.now.peak.live_bytes {
                (self.falls, self.now.end, self.floor_since_bytes) = (true, turn, footprint_bytes);
            }
        }
    }

    #[cold]
    fn grow(&mut self, footprint_bytes: u64) {
        self.most_footprint_bytes = footprint_bytes;
        self.turn_bytes = LEAST_TURN_BYTES.max(footprint_bytes / TURN_PART);
    }

    #[cold]
    fn begin(&mut self, start: Turn, peak: Turn) {
        let floor_bytes = self.floor_since_bytes;
        let later_bytes = u64::MAX;
        self.now = Wave { start, peak, end: peak, live_after_bytes: 0, floor_bytes, later_bytes };
        self.falls = false;
    }

    /// The wave under way is over.
    #[cold]
    fn close(&mut self) {
        self.now.live_after_bytes = self.now.end.live_bytes;
        self.fall_to(self.now.floor_bytes);
        self.waves.push(self.now);
    }

    /// The footprint was `floor_bytes` in a later wave. Only the last wave that is kept can have
    /// thought more of its step: those before end below the floors of those behind them.
    fn fall_to(&mut self, floor_bytes: u64) {
        while let Some(last) =
            self.waves.pop_if(|last| last.floor_bytes + self.turn_bytes > floor_bytes)
        {
            if let Some(before) = self.waves.last_mut() {
                before.live_after_bytes = before.live_after_bytes.min(last.live_after_bytes);
            }
        }
        if let Some(last) = self.waves.last_mut() {
            last.later_bytes = last.later_bytes.min(floor_bytes);
        }
    }

    /// The steps, in order of time; the heap ended like this.
    pub fn finish(
        mut self,
        live_bytes: u64,
        footprint_bytes: u64,
        time_ns: impl Fn(Stamp) -> u64,
    ) -> Vec<Step> {
        if self.falls {
            self.floor_since_bytes = self.floor_since_bytes.min(footprint_bytes);
        } else {
            self.now.end.live_bytes = live_bytes;
            self.floor_since_bytes = footprint_bytes;
        }
        self.close();
        self.fall_to(self.floor_since_bytes);
        let steps = self.waves.iter().map(|wave| Step {
            start_ns: time_ns(wave.start.stamp),
            peak_ns: time_ns(wave.peak.stamp),
            end_ns: time_ns(wave.end.stamp),
            bytes: wave.later_bytes - wave.floor_bytes,
            live_before_bytes: wave.start.live_bytes,
            live_peak_bytes: wave.peak.live_bytes,
            live_after_bytes: wave.live_after_bytes,
        });
        steps.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// Steps of a heap whose (live, footprint) are these, in MiB.
    fn steps(moments: &[(u64, u64)]) -> Vec<Step> {
        let mut stairs = Stairs::new(0, 0, 0);
        for (stamp, (live, held)) in (1..).zip(moments) {
            stairs.note(stamp, live * MIB, held * MIB);
        }
        let (live, held) = moments.last().copied().unwrap_or_default();
        stairs.finish(live * MIB, held * MIB, |stamp| stamp)
    }

    fn heights(moments: &[(u64, u64)]) -> Vec<u64> {
        steps(moments).iter().map(|step| step.bytes / MIB).collect()
    }

    #[test]
    fn each_burst_whose_memory_stays_is_a_step() {
        let found = steps(&[(1, 1), (20, 20), (9, 20), (2, 20), (22, 40), (3, 40), (5, 40)]);
        let step = |times: [u64; 3], bytes, lives: [u64; 3]| Step {
            start_ns: times[0],
            peak_ns: times[1],
            end_ns: times[2],
            bytes: bytes * MIB,
            live_before_bytes: lives[0] * MIB,
            live_peak_bytes: lives[1] * MIB,
            live_after_bytes: lives[2] * MIB,
        };
        assert_eq!(found, [step([0, 2, 4], 20, [0, 20, 2]), step([4, 5, 6], 20, [2, 22, 3])]);
    }

    proptest! {
        /// What is passed over while the heap is calm would have changed nothing.
        #[test]
        fn calm_events_need_not_be_noted(
            moments in prop::collection::vec((0u64..4 * MIB, 0u64..3), 1..300)
        ) {
            let (mut each, mut some) = (Stairs::new(0, 0, 0), Stairs::new(0, 0, 0));
            let (mut calm, mut calm_held) = (0..0, 0);
            let mut held = 4 * MIB;
            for (stamp, (live, moved)) in (1..).zip(&moments) {
                // The footprint moves now and then; live bytes return to where they were.
                held = if *moved == 0 { 4 * MIB + live / 2 } else { held };
                let live = if *moved == 1 { live / MIB * MIB } else { *live };
                each.note(stamp, live, held);
                if calm.contains(&live) && held == calm_held {
                    some.pass(live);
                } else {
                    some.note(stamp, live, held);
                    (calm, calm_held) = (some.calm(), held);
                }
            }
            let end = |stairs: Stairs| stairs.finish(0, held, |stamp| stamp);
            prop_assert_eq!(end(each), end(some));
        }
    }

    #[test]
    fn what_changes_nothing_prolongs_no_wave() {
        let found = steps(&[(20, 20), (2, 20), (2, 20), (2, 20), (22, 40), (3, 40), (3, 40)]);
        let times: Vec<_> = found.iter().map(|step| (step.start_ns, step.end_ns)).collect();
        assert_eq!(times, [(0, 2), (2, 6)]);
    }

    #[test]
    fn what_is_given_back_is_no_step() {
        assert_eq!(heights(&[(20, 20), (2, 2), (20, 20), (2, 2)]), [2], "what is left of it");
        assert_eq!(heights(&[(20, 20), (2, 20), (22, 40), (2, 40), (4, 22)]), [20, 2]);
        assert_eq!(heights(&[(20, 20), (2, 20), (20, 20), (2, 20)]), [20], "filled again");
    }

    #[test]
    fn a_rise_without_waves_is_one_step_and_a_creeping_one_is_none() {
        assert_eq!(heights(&[(20, 20), (40, 40), (60, 60)]), [60]);
        let creeping: Vec<(u64, u64)> =
            (0..128).flat_map(|n| [(64, 64 + n / 2), (1, 64 + n / 2)]).collect();
        assert_eq!(heights(&creeping), [64], "the first wave only");
    }

    #[test]
    fn what_was_live_least_counts_waves_that_are_no_steps() {
        let found = steps(&[(20, 20), (9, 20), (15, 20), (3, 20), (12, 20), (6, 20), (30, 44)]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].live_after_bytes, 3 * MIB);
    }

    #[test]
    fn no_more_waves_are_kept_than_there_is_room_for_steps() {
        let mut stairs = Stairs::new(0, 0, 0);
        for stamp in 0..100_000 {
            let live = if stamp % 2 == 0 { 60 } else { 1 };
            stairs.note(stamp, live * MIB, (64 + stamp % 7 + stamp / 10_000) * MIB);
        }
        assert!(stairs.waves.len() <= 64, "{}", stairs.waves.len());
    }
}
