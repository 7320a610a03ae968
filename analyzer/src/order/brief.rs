//! Events on their way from the lanes to whoever replays them: 32 bytes each, so that millions
//! a second can be moved.

use super::event::{Action, Event};
use super::heads::Rank;
use fragtrace_format::Stamp;
use fragtrace_format::event::{Flags, IN_POOL, Plain};
use std::vec;

/// An event in little. What does not fit is kept [whole](Batch::whole).
#[derive(Debug, Clone, Copy)]
pub struct Brief {
    /// When, and whether a block comes.
    pub(super) rank: Rank,
    /// Address, flags, and which kind it is.
    word: u64,
    /// What was asked for, in bytes; of one that is kept whole, where it is.
    pub size: u32,
    /// Call stack of an acquisition, 0 = not known.
    pub stack: u32,
    /// The lane that it stands on.
    pub lane: u32,
    /// The thread, by index.
    pub thread: u32,
}

const _: () = assert!(size_of::<Brief>() == 32);

/// The event does not fit.
const WHOLE: u64 = 1 << 63;
const FLAGS_SHIFT: u32 = 59;
const FLAGS: u64 = 7 << FLAGS_SHIFT;
const ADDRESS: u64 = IN_POOL - 1;

impl Brief {
    /// An event without anything rare about it; `None`: its address is none of a block.
    #[inline]
    pub(super) fn of_plain(plain: &Plain, stack: u32, lane: u32, thread: u32) -> Option<Brief> {
        let Plain { stamp, address, size, acquires } = *plain;
        let (rank, size) = (Rank::of(stamp, acquires), size as u32);
        let brief = Brief { rank, word: address, size, stack, lane, thread };
        (address <= ADDRESS).then_some(brief)
    }

    /// An event, if it fits.
    pub fn pack(event: &Event) -> Option<Brief> {
        let Event { stamp, lane, thread, ref action } = *event;
        let (address, flags, size, stack) = match *action {
            Action::Acquire { address, size, flags, align_log2: 0, stack, note: None } => {
                (address, flags, u32::try_from(size).ok()?, stack)
            }
            Action::Release { address, flags } => (address, flags, 0, 0),
            _ => return None,
        };
        let rank = Rank::of(stamp, action.acquires());
        let word = address | u64::from(flags.bits()) << FLAGS_SHIFT;
        (address <= ADDRESS).then_some(Brief { rank, word, size, stack, lane, thread })
    }

    /// The event of one that fits.
    fn unpack(&self) -> Event {
        let (address, flags) = (self.address(), self.flags());
        let action = if self.acquires() {
            let (size, stack) = (self.size.into(), self.stack);
            Action::Acquire { address, size, flags, align_log2: 0, stack, note: None }
        } else {
            Action::Release { address, flags }
        };
        Event { stamp: self.stamp(), lane: self.lane, thread: self.thread, action }
    }

    /// A stand-in for an event that is kept whole.
    fn of_whole(event: &Event, index: usize) -> Brief {
        let Event { stamp, lane, thread, ref action } = *event;
        let address = match *action {
            Action::Acquire { address, .. } | Action::Release { address, .. } => address,
            Action::PoolAcquire { .. } | Action::PoolRelease { .. } | Action::Rare(_) => 0,
        };
        let (rank, word) = (Rank::of(stamp, action.acquires()), WHOLE | (address & ADDRESS));
        Brief { rank, word, size: index as u32, stack: 0, lane, thread }
    }

    /// When, in units of the trace.
    #[inline]
    pub fn stamp(&self) -> Stamp {
        self.rank.stamp()
    }

    /// The address of its block, if it is about one.
    #[inline]
    pub fn address(&self) -> u64 {
        self.word & ADDRESS
    }

    /// How a block comes or goes.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags::from_bits(((self.word & FLAGS) >> FLAGS_SHIFT) as u32)
    }

    /// Whether a block comes.
    #[inline]
    pub fn acquires(&self) -> bool {
        self.rank.acquires()
    }

    /// Whether it is a block that comes, or goes, without anything rare about it.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.word & (WHOLE | FLAGS) == 0
    }
}

/// Events in a row.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    briefs: Vec<Brief>,
    /// Those of them that do not fit.
    whole: Vec<Event>,
}

impl Batch {
    pub(super) fn with_capacity(room: usize) -> Batch {
        Batch { briefs: Vec::with_capacity(room), whole: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.briefs.clear();
        self.whole.clear();
    }

    #[inline]
    pub(super) fn push_brief(&mut self, brief: Brief) {
        self.briefs.push(brief);
    }

    /// Adds events of which none is whole, or which are [adopted](Batch::adopt) then.
    pub(super) fn push_briefs(&mut self, briefs: &[Brief]) {
        self.briefs.extend_from_slice(briefs);
    }

    pub(super) fn push(&mut self, event: Event) {
        match Brief::pack(&event) {
            Some(brief) => self.briefs.push(brief),
            None => {
                self.briefs.push(Brief::of_whole(&event, self.whole.len()));
                self.whole.push(event);
            }
        }
    }

    /// The events from `begin` on came from other batches, each of which has those of one lane:
    /// what of them is whole comes as well.
    #[inline]
    pub(super) fn adopt<'b>(&mut self, begin: usize, batches: impl Fn(u32) -> &'b Batch) {
        for brief in &mut self.briefs[begin..] {
            if brief.word & WHOLE != 0
                && let Some(event) = batches(brief.lane).whole(brief)
            {
                brief.size = self.whole.len() as u32;
                self.whole.push(event.clone());
            }
        }
    }

    /// Whether none of its events is whole.
    #[inline]
    pub(super) fn is_all_brief(&self) -> bool {
        self.whole.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.briefs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.briefs.is_empty()
    }

    /// All of them, in order.
    #[inline]
    pub fn briefs(&self) -> &[Brief] {
        &self.briefs
    }

    /// The event of one of its [`Brief`]s into which that does not fit.
    #[inline]
    pub fn whole(&self, brief: &Brief) -> Option<&Event> {
        if brief.word & WHOLE == 0 {
            return None;
        }
        self.whole.get(brief.size as usize)
    }

    /// The events, one by one.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.briefs.iter().map(|brief| match self.whole(brief) {
            Some(event) => event.clone(),
            None => brief.unpack(),
        })
    }
}

impl IntoIterator for Batch {
    type Item = Event;
    type IntoIter = vec::IntoIter<Event>;

    fn into_iter(self) -> vec::IntoIter<Event> {
        self.events().collect::<Vec<Event>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Note;
    use proptest::prelude::*;

    fn action() -> impl Strategy<Value = Action> {
        let number = || prop_oneof![0..5000u64, any::<u64>(), (0..64u32).prop_map(|at| 1 << at)];
        let flags = || (0..8u32).prop_map(Flags::from_bits);
        let note = (prop::option::of(number()), prop::option::of(number()), 0..3u32)
            .prop_map(|(usable, mapped_offset, pool)| Note { usable, mapped_offset, pool });
        let acquire = (number(), number(), flags(), 0..2u8, any::<u32>(), prop::option::of(note))
            .prop_map(|(address, size, flags, align_log2, stack, note)| Action::Acquire {
                address,
                size,
                flags,
                align_log2,
                stack,
                note,
            });
        prop_oneof![
            acquire,
            (number(), flags()).prop_map(|(address, flags)| Action::Release { address, flags }),
            (number(), number(), 0..9u32).prop_map(|(address, size, pool)| Action::PoolAcquire {
                address,
                size,
                pool
            }),
            number().prop_map(|address| Action::PoolRelease { address }),
        ]
    }

    proptest! {
        #[test]
        fn events_come_out_as_they_went_in(
            said in prop::collection::vec((0..u64::MAX >> 2, 0..9u32, 0..9u32, action()), 0..20)
        ) {
            let events: Vec<Event> = said
                .into_iter()
                .map(|(stamp, lane, thread, action)| Event { stamp, lane, thread, action })
                .collect();
            let mut batch = Batch::default();
            events.iter().for_each(|event| batch.push(event.clone()));
            prop_assert!(batch.events().eq(events.iter().cloned()));
            let mut parts = Batch::default();
            for briefs in batch.briefs().chunks(3) {
                let begin = parts.len();
                briefs.iter().for_each(|brief| parts.push_brief(*brief));
                parts.adopt(begin, |_| &batch);
            }
            prop_assert!(parts.events().eq(events));
        }
    }
}
