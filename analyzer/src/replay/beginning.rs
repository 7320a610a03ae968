//! Where the ring went round: the heap as the first event that is kept finds it.
//!
//! The blocks of the base are placed in the order in which they came, between the looks and
//! the events on mappings that are kept from before: so what a scan found of a page holds
//! until a block came there later.
//!
//! And where a child of fork goes on from its parent's heap.

use super::{Counts, Handovers, Replay, Who};
use crate::order::Note;
use crate::read::Base;
use fragtrace_format::Stamp;
use fragtrace_format::base::Entry;
use fragtrace_format::event::IN_POOL;
use fragtrace_format::record::{self, Cold};

impl Replay<'_> {
    /// The heap as of the cut, at `start`.
    pub(super) fn begin_with(&mut self, base: &Base, start: Stamp) {
        let mut blocks: Vec<&Entry> = base.blocks.iter().collect();
        blocks.sort_unstable_by_key(|entry| (entry.birth, entry.block.address));
        let (mut blocks, mut events) =
            (blocks.into_iter().peekable(), base.events.iter().peekable());
        let looks = self.looks;
        self.looks_taken = looks.partition_point(|look| look.stamp <= start);
        for look in looks[..self.looks_taken].iter().map(Some).chain([None]) {
            let until = look.map_or(Stamp::MAX, |look| look.stamp);
            while let Some(event) = events.next_if(|event| event.stamp <= until) {
                while let Some(entry) = blocks.next_if(|entry| entry.birth <= event.stamp) {
                    self.begin_block(entry);
                }
                if let Some((cold, _)) = record::decode::<Cold<'_>>(&event.event) {
                    self.apply_rare(event.stamp, event.lane, &cold);
                }
            }
            while let Some(entry) = blocks.next_if(|entry| entry.birth <= until) {
                self.begin_block(entry);
            }
            if let Some(look) = look {
                self.space.look(look);
            }
        }
        self.space.begin();
        self.counts = Counts::of(&base.cut);
    }

    /// The parent's history is over, and what a child of fork does begins: with what is there,
    /// and nothing counted.
    pub(super) fn begin_in_child(&mut self) {
        self.forked = None;
        // What still waits for its order was the parent's, and cut off by the fork.
        self.suspense.expire_all();
        self.counts = Counts::default();
        self.handovers = Handovers::default();
        self.habits.begin_anew();
        self.sources.count_anew(self.blocks.iter().map(|(_, block)| block.stack));
    }

    fn begin_block(&mut self, Entry { birth, thread, block }: &Entry) {
        // Of a pool's blocks a fold under way may have left some.
        if block.address & IN_POOL != 0 {
            return;
        }
        let note = Note::of(block);
        let said = (block.size, block.align_log2, block.stack);
        let who = Who { stamp: *birth, lane: 0, thread: *thread };
        self.note_wrapper(note.as_ref());
        let here = self.block(who, block.address, said, note.as_ref());
        self.space.place(&here.extent, here.own_mapping);
        self.blocks.insert(block.address, &here);
        self.sources.count(block.stack);
    }
}
