//! Stand-ins that run freely: what each has to wait for, and where the pieces of its steps are.
//!
//! Order is kept where a block changes hands, and nowhere else: a step about a slot that another
//! stand-in had last waits for what that one did to it.

use super::schedule::Step;
use fragtrace_shootout_driver::script::{Op, clock_word, handlings, jump_word};

/// A stand-in is told the time when so much has passed.
const CLOCK_STEP_NS: u64 = 100_000;
/// Nobody has had the slot.
const NOBODY: u32 = u32::MAX;

/// Who had a slot last, and what it has counted then.
#[derive(Debug, Clone, Copy)]
struct Hand {
    stand_in: u32,
    count: u32,
}

/// One stand-in's steps.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// The word at which its first piece begins.
    first: Option<u64>,
    /// The word behind its last piece, which is to lead to the next one.
    tail: Option<u64>,
    told_ns: u64,
}

/// What is known of all of them.
#[derive(Debug, Default)]
pub(super) struct Apart {
    hands: Vec<Hand>,
    parts: Vec<Part>,
    now_ns: u64,
    /// Words to be replaced, by their place in bytes.
    patches: Vec<(u64, u64)>,
}

impl Apart {
    /// It is so late in the recorded program.
    pub fn tell_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// What the stand-in of a step has to do first.
    pub fn before(&mut self, step: &Step) -> [Option<Step>; 2] {
        let Step { stand_in, slot, .. } = *step;
        let now_ns = self.now_ns;
        let part = self.part(stand_in);
        let is_late = now_ns >= part.told_ns.saturating_add(CLOCK_STEP_NS);
        let clock = is_late.then(|| {
            part.told_ns = now_ns;
            Step { stand_in, slot, words: [clock_word(now_ns), 0, 0], count: 1 }
        });
        let index = slot as usize;
        if self.hands.len() <= index {
            self.hands.resize(index + 1, Hand { stand_in: NOBODY, count: 0 });
        }
        let hand = &mut self.hands[index];
        let is_handed_over = hand.stand_in != stand_in && hand.stand_in != NOBODY;
        let wait = is_handed_over.then(|| Step::short(stand_in, Op::Await, slot, hand.count));
        // As the driver counts: with one bit less.
        let count = hand.count.wrapping_add(handlings(step.words[0])) & (u32::MAX >> 1);
        *hand = Hand { stand_in, count };
        [clock, wait]
    }

    /// Who had a slot last.
    pub fn holder(&self, slot: u32) -> u32 {
        let hand = self.hands.get(slot as usize).filter(|hand| hand.stand_in != NOBODY);
        hand.map_or(0, |hand| hand.stand_in)
    }

    /// A piece of this stand-in's steps begins with word `place`.
    pub fn begins(&mut self, stand_in: u32, place: u64) {
        let part = self.part(stand_in);
        part.first.get_or_insert(place);
        let tail = part.tail.take();
        self.patches.extend(tail.map(|tail| (tail * 8, jump_word(place))));
    }

    /// It ends, with word `place`: [`Op::Done`], unless there will be more.
    pub fn ends(&mut self, stand_in: u32, place: u64) {
        self.part(stand_in).tail = Some(place);
    }

    /// Where the steps of so many begin; `nothing` is where there are none.
    pub fn directory(&mut self, stand_ins: u32, nothing: u64) -> Vec<u64> {
        self.parts.resize(stand_ins as usize, Part::default());
        self.parts.iter().map(|part| part.first.unwrap_or(nothing)).collect()
    }

    /// Words to be replaced.
    pub fn patches(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.patches)
    }

    fn part(&mut self, stand_in: u32) -> &mut Part {
        let index = stand_in as usize;
        if self.parts.len() <= index {
            self.parts.resize(index + 1, Part::default());
        }
        &mut self.parts[index]
    }
}
