//! Where the ring went round: the heap as the first event that is kept finds it.
//!
//! The blocks of the base are placed in the order in which they came, between the looks and
//! the events on mappings that are kept from before: so what a scan found of a page holds
//! until a block came there later.

use super::{Changes, Replay, Who};
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
        let looks = self.heap.skip_looks(start);
        for look in looks.iter().map(Some).chain([None]) {
            let until = look.map_or(Stamp::MAX, |look| look.stamp);
            while let Some(event) = events.next_if(|event| event.stamp <= until) {
                while let Some(entry) = blocks.next_if(|entry| entry.birth <= event.stamp) {
                    self.begin_block(entry);
                }
                if let Some((cold, _)) = record::decode::<Cold<'_>>(&event.event) {
                    let who = Who { stamp: event.stamp, lane: event.lane, thread: 0 };
                    if !self.matching.apply_rare(who, &cold, &mut Changes::default()) {
                        self.heap.apply_rare(event.lane, &cold);
                    }
                }
            }
            while let Some(entry) = blocks.next_if(|entry| entry.birth <= until) {
                self.begin_block(entry);
            }
            if let Some(look) = look {
                self.heap.space.look(look);
            }
        }
        self.matching.begin(&base.cut);
        self.heap.begin(&base.cut);
    }

    fn begin_block(&mut self, entry: &Entry) {
        // Of a pool's blocks a fold under way may have left some.
        if entry.block.address & IN_POOL != 0 {
            return;
        }
        let (block, before, wrapped) = self.matching.begin_block(entry);
        self.heap.begin_block(&block, before.as_ref(), wrapped);
    }
}
