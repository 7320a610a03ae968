//! Events about mappings, and what a lane's last call took away of them: the call may yet fail.

use super::Heap;
use super::address_space::{Purpose, Removed};
use fragtrace_format::record::Cold;
use rustc_hash::FxHashMap;

/// Linux, include/uapi/asm-generic/mman-common.h: advice by which pages go back.
const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;
const MADV_REMOVE: u32 = 9;
const MADV_DONTNEED_LOCKED: u32 = 24;
const PROT_NONE: u32 = 0;

/// What each lane's last call took away.
#[derive(Debug, Clone, Default)]
pub(super) struct Removals {
    by_lane: FxHashMap<u32, Removal>,
}

#[derive(Debug, Clone)]
struct Removal {
    what: Removed,
    /// By mremap, not munmap.
    remap: bool,
}

impl Heap<'_> {
    /// Takes in an event about mappings.
    pub(super) fn apply_rare(&mut self, lane: u32, cold: &Cold<'_>) {
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
                self.removals.by_lane.insert(lane, Removal { what, remap: false });
            }
            Cold::Remap { address, bytes, .. } => {
                self.counts.mremaps += 1;
                let what = self.space.unmap(address, bytes);
                self.removals.by_lane.insert(lane, Removal { what, remap: true });
            }
            Cold::Remapped { address, bytes } => {
                let removed = self.removals.by_lane.remove(&lane).map(|removal| removal.what);
                self.space.map_again(address, bytes, removed.as_ref());
            }
            Cold::Undo { .. } => {
                if let Some(removal) = self.removals.by_lane.remove(&lane) {
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
            _ => {}
        }
    }
}
