//! Rare events, and what they say about the lane's last call.

use super::address_space::{Purpose, Removed};
use super::block::Block;
use super::{Replay, TimedCall, Who};
use fragtrace_format::Stamp;
use fragtrace_format::record::Cold;
use rustc_hash::FxHashMap;

/// Linux, include/uapi/asm-generic/mman-common.h: advice by which pages go back.
const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;
const MADV_REMOVE: u32 = 9;
const MADV_DONTNEED_LOCKED: u32 = 24;
const PROT_NONE: u32 = 0;

/// What each lane's last calls took away.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes {
    by_number: FxHashMap<u32, Lane>,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    realloc: Option<Reallocated>,
    removed: Option<Removal>,
}

#[derive(Debug, Clone)]
struct Reallocated {
    address: u64,
    who: Who,
    block: Block,
}

#[derive(Debug, Clone)]
struct Removal {
    what: Removed,
    /// By mremap, not munmap.
    remap: bool,
}

impl Lanes {
    fn of(&mut self, lane: u32) -> &mut Lane {
        self.by_number.entry(lane).or_default()
    }

    /// The release half of a realloc. Whose block it was may turn out late, when the lane's
    /// next realloc is known already.
    pub fn remember_realloc(&mut self, who: Who, address: u64, block: Block) {
        let realloc = &mut self.of(who.lane).realloc;
        if realloc.as_ref().is_none_or(|known| known.who.stamp <= who.stamp) {
            *realloc = Some(Reallocated { address, who, block });
        }
    }

    /// Address and block of the lane's last realloc.
    pub fn reallocated(&self, lane: u32) -> Option<(u64, &Block)> {
        let known = self.by_number.get(&lane)?.realloc.as_ref()?;
        Some((known.address, &known.block))
    }

    /// The block that the lane's last realloc released, if it had this address.
    pub fn refused_realloc(&mut self, lane: u32, address: u64) -> Option<Block> {
        let known = self.of(lane).realloc.take_if(|known| known.address == address)?;
        Some(known.block)
    }
}

impl Replay<'_> {
    pub(super) fn apply_rare(&mut self, stamp: Stamp, lane: u32, cold: &Cold<'_>) {
        match *cold {
            Cold::Map { address, bytes, protection, file, heap, .. } => {
                self.counts.mmaps += 1;
                let purpose = match (file, heap) {
                    (true, _) => Purpose::File,
                    (false, true) => Purpose::Heap,
                    (false, false) => Purpose::Program,
                };
                self.space.map(address, bytes, protection != PROT_NONE, purpose);
            }
            Cold::Unmap { address, bytes } => {
                self.counts.munmaps += 1;
                let what = self.space.unmap(address, bytes);
                self.lanes.of(lane).removed = Some(Removal { what, remap: false });
            }
            Cold::Remap { address, bytes, .. } => {
                self.counts.mremaps += 1;
                let what = self.space.unmap(address, bytes);
                self.lanes.of(lane).removed = Some(Removal { what, remap: true });
            }
            Cold::Remapped { address, bytes } => {
                let removed = self.lanes.of(lane).removed.take().map(|removal| removal.what);
                self.space.map_again(address, bytes, removed.as_ref());
            }
            Cold::Undo { .. } => {
                if let Some(removal) = self.lanes.of(lane).removed.take() {
                    let count = if removal.remap {
                        &mut self.counts.mremaps
                    } else {
                        &mut self.counts.munmaps
                    };
                    // The cut of a damaged trace may have counted nothing.
                    *count = count.saturating_sub(1);
                    self.space.restore(removal.what);
                }
            }
            Cold::Advise { address, bytes, advice } => {
                self.counts.madvises += 1;
                if let MADV_DONTNEED | MADV_FREE | MADV_REMOVE | MADV_DONTNEED_LOCKED = advice {
                    self.space.give_back(address, bytes, advice == MADV_FREE);
                }
            }
            Cold::Protect { address, bytes, protection } => {
                self.space.protect(address, bytes, protection != PROT_NONE);
            }
            Cold::Brk { end } => {
                self.counts.brk_changes += 1;
                self.space.set_brk_end(end);
            }
            Cold::ReallocFreed { .. } => self.realloc_freed(lane),
            Cold::Thread { thread, name, .. } => self.sources.name(thread, name),
            Cold::Timed { call, ticks } => {
                self.timed.note(TimedCall { stamp, call, ticks });
            }
            Cold::End { .. } => {}
        }
    }

    /// realloc(p, 0) freed its block: a free, not a realloc.
    fn realloc_freed(&mut self, lane: u32) {
        self.counts.reallocs = self.counts.reallocs.saturating_sub(1);
        self.counts.frees += 1;
        if let Some(known) = self.lanes.of(lane).realloc.take() {
            let (acquired_by, freed_by) = (known.block.thread, known.who.thread);
            self.counts.cross_thread_frees += u64::from(acquired_by != freed_by);
            self.handovers.freed(acquired_by, freed_by, known.block.size);
        }
    }
}
