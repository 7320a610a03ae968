//! What a batch of events comes to, address by address.
//!
//! Most blocks live shortly: acquired and released within one batch they leave nothing, and
//! never reach the base table. What is left of an address is how many acquisitions it had
//! more than releases, and the last of them. With what the table says of the address before
//! the batch, that is the state behind it: **before + acquisitions − releases** is 1 for a
//! live block and 0 for none, in whatever order stamps put the events. Only which of several
//! acquisitions was the last depends on order, and that is sure but for inversions of
//! microseconds, which lanes resolve as in the analyzer's replay (`suspense.rs`).

use fragtrace_format::Stamp;
use fragtrace_format::base::{Words, birth, thread as thread_of};

/// Stamps of two lanes that are closer than this may be in the wrong order: some 50 µs, far
/// more than was ever seen.
pub(super) const WINDOW: Stamp = 1 << 12;

/// A batch ends when so many addresses are in it: what is touched for them stays in the
/// caches of a core meanwhile …
pub(super) const FULL: usize = 1 << 10;
/// … and has room for some more, to end where no exchange of two events is cut in half.
const EFFECTS: usize = 2 << 10;
const HEADS: usize = 4 << 10;
/// Acquisitions that wait for the release of an older block of their address.
const OLDER: usize = 64;

/// What a batch comes to for one address.
#[derive(Clone, Copy)]
pub(super) struct Effect {
    pub(super) address: u64,
    /// The last acquisition, if `lane` is not 0.
    pub(super) entry: Words,
    /// The lane of the last acquisition; 0 = there was none.
    pub(super) lane: u32,
    /// Acquisitions less releases.
    pub(super) net: i32,
    /// Stamp of the last event.
    pub(super) last: Stamp,
    /// The first event was a release, by this thread; 0 = none, or one half of a realloc.
    pub(super) released_by: u32,
    /// That release was one half of a realloc on this lane; 0 = it was not.
    pub(super) realloc_lane: u32,
    /// The first event was a release.
    released: bool,
    /// The order of two events is not certain.
    uncertain: bool,
    /// Its entry in the table, and whether there is to be one: as planned.
    found: u32,
    pub(super) live: bool,
    alive: bool,
    /// The next one with the same hash, or free one; plus one.
    next: u16,
}

impl Effect {
    /// Its entry in the table.
    #[inline]
    pub(super) fn found(&self) -> Option<u32> {
        self.found.checked_sub(1)
    }

    /// The entry and address of a block that goes.
    #[inline]
    pub(super) fn going(&self) -> Option<(u32, u64)> {
        self.found().filter(|_| !self.live).map(|number| (number, self.address))
    }

    /// Notes the entry that it probably has in the table.
    #[inline]
    pub(super) fn suppose(&mut self, found: Option<u32>) {
        self.found = found.map_or(0, |number| number + 1);
    }

    /// Notes its entry in the table. Blocks that are live behind the batch: 1 or 0, or what
    /// no history can come to.
    #[inline]
    pub(super) fn find(&mut self, found: Option<u32>) -> i32 {
        self.found = found.map_or(0, |number| number + 1);
        self.after()
    }

    /// Whether a block that was acquired in this batch is live. Where the first event was a
    /// release, that was of one from before.
    #[inline(always)]
    fn lives_anew(&self) -> bool {
        self.net + self.released as i32 >= 1
    }

    /// Blocks that are live behind the batch.
    #[inline]
    pub(super) fn after(&self) -> i32 {
        (self.found != 0) as i32 + self.net
    }
}

/// What a release was found to be.
pub(super) enum Released {
    /// Of a block acquired in this batch, by this thread.
    Known(u32),
    /// Of one that was live before it, if any was.
    Before,
}

/// The effects of a batch. Lives in mapped memory: zero is empty.
#[repr(C)]
pub(super) struct Net {
    heads: [u16; HEADS],
    /// Effects ever used, those removed among them.
    used: u16,
    free: u16,
    count: u16,
    older_count: u16,
    older: [(u16, u32, Words); OLDER],
    effects: [Effect; EFFECTS],
}

#[inline(always)]
fn head(address: u64) -> usize {
    ((address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % HEADS
}

impl Net {
    /// Whether one more event is sure to find room.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        (self.count as usize) < EFFECTS
    }

    /// Whether there is enough for one batch.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.count as usize >= FULL
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        // Sparse batches know their heads, full ones are quicker wiped.
        if self.used as usize > HEADS / 8 {
            self.heads.fill(0);
        } else {
            for at in 0..self.used as usize {
                self.heads[head(self.effects[at].address)] = 0;
            }
        }
        (self.used, self.free, self.count, self.older_count) = (0, 0, 0, 0);
    }

    /// The effects, in no order.
    pub(super) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.effects[..self.used as usize].iter().filter(|effect| effect.alive)
    }

    /// The effects, to be changed.
    pub(super) fn effects_mut(&mut self) -> impl Iterator<Item = &mut Effect> {
        self.effects[..self.used as usize].iter_mut().filter(|effect| effect.alive)
    }

    #[inline(always)]
    fn find(&self, address: u64) -> Option<u16> {
        let mut at = self.heads[head(address)];
        while at != 0 {
            let effect = &self.effects[at as usize - 1];
            if effect.address == address {
                return Some(at - 1);
            }
            at = effect.next;
        }
        None
    }

    /// A new effect for an address. Field by field: most live for a moment only, and building
    /// them elsewhere to copy them here would be most of the work.
    #[inline(always)]
    fn add(&mut self, address: u64, stamp: Stamp) -> &mut Effect {
        let at = if self.free != 0 {
            let at = self.free - 1;
            self.free = self.effects[at as usize].next;
            at
        } else {
            self.used += 1;
            self.used - 1
        };
        self.count += 1;
        let head = &mut self.heads[head(address)];
        let effect = &mut self.effects[at as usize];
        effect.next = *head;
        *head = at + 1;
        effect.address = address;
        effect.last = stamp;
        (effect.lane, effect.released_by, effect.realloc_lane) = (0, 0, 0);
        (effect.released, effect.uncertain, effect.alive) = (false, false, true);
        effect
    }

    #[inline(always)]
    fn remove(&mut self, at: u16) {
        let Effect { address, next, .. } = self.effects[at as usize];
        let head = head(address);
        if self.heads[head] == at + 1 {
            self.heads[head] = next;
        } else {
            let mut before = self.heads[head] - 1;
            while self.effects[before as usize].next != at + 1 {
                before = self.effects[before as usize].next - 1;
            }
            self.effects[before as usize].next = next;
        }
        let effect = &mut self.effects[at as usize];
        effect.alive = false;
        effect.next = self.free;
        self.free = at + 1;
        self.count -= 1;
    }

    /// A block was acquired on a lane.
    #[inline(always)]
    pub(super) fn acquire(&mut self, lane: u32, stamp: Stamp, (address, entry): (u64, &Words)) {
        let Some(at) = self.find(address) else {
            let effect = self.add(address, stamp);
            effect.entry = *entry;
            effect.lane = lane;
            effect.net = 1;
            return;
        };
        if self.effects[at as usize].lives_anew() {
            self.keep_older(at);
        }
        let effect = &mut self.effects[at as usize];
        effect.net += 1;
        effect.entry = *entry;
        effect.lane = lane;
        effect.last = stamp;
    }

    /// The address was live: the release of the older block is still to come.
    #[cold]
    fn keep_older(&mut self, at: u16) {
        let effect = &mut self.effects[at as usize];
        effect.uncertain = true;
        if (self.older_count as usize) < OLDER {
            self.older[self.older_count as usize] = (at, effect.lane, effect.entry);
            self.older_count += 1;
        }
    }

    /// A block is released on a lane, by a thread; `realloc`: as one half of a realloc.
    #[inline(always)]
    pub(super) fn release(
        &mut self,
        (lane, thread): (u32, u32),
        stamp: Stamp,
        address: u64,
        realloc: bool,
    ) -> Released {
        let Some(at) = self.find(address) else {
            let effect = self.add(address, stamp);
            effect.net = -1;
            effect.released = true;
            if realloc {
                effect.realloc_lane = lane;
            } else {
                effect.released_by = thread;
            }
            return Released::Before;
        };
        let effect = &mut self.effects[at as usize];
        let released = if effect.lives_anew() {
            Released::Known(thread_of(&effect.entry))
        } else {
            Released::Before
        };
        effect.net -= 1;
        // Certain is the order on one lane, and of what is far apart.
        let since = stamp.saturating_sub(birth(&effect.entry));
        let certain = effect.lane == lane || since > WINDOW && effect.lane != 0;
        if effect.net == 0 && certain && !effect.released && !effect.uncertain {
            self.remove(at);
            return released;
        }
        effect.last = stamp;
        effect.uncertain |= !certain;
        if self.older_count > 0 {
            self.release_older(at, lane);
        }
        released
    }

    /// Two blocks of one address wait for a release. One that stands behind the newer one's
    /// acquisition, on its lane, is that one's: then the older one is there again.
    #[cold]
    fn release_older(&mut self, at: u16, lane: u32) {
        let older = &mut self.older[..self.older_count as usize];
        let Some(place) = older.iter().rposition(|(of, ..)| *of == at) else { return };
        let (_, older_lane, entry) = older[place];
        older[place] = older[older.len() - 1];
        self.older_count -= 1;
        let effect = &mut self.effects[at as usize];
        if effect.lane == lane {
            effect.lane = older_lane;
            effect.entry = entry;
        }
    }

    /// The block of an address that was acquired in this batch and is live.
    pub(super) fn live(&self, address: u64) -> Option<Words> {
        let effect = &self.effects[self.find(address)? as usize];
        effect.lives_anew().then_some(effect.entry)
    }

    /// What a block comes to that does not live behind the batch.
    pub(super) fn gone(&self, address: u64) -> Option<&Effect> {
        let effect = &self.effects[self.find(address)? as usize];
        (!effect.live).then_some(effect)
    }

    /// A realloc was refused, and its block is where it was: its release is undone.
    #[cold]
    pub(super) fn unrelease(&mut self, address: u64) {
        let Some(at) = self.find(address) else { return };
        let effect = &mut self.effects[at as usize];
        effect.net += 1;
        if effect.net == 0 && effect.lane == 0 {
            self.remove(at);
        }
    }
    /// A release that was one half of a realloc on a lane was a free, by a thread.
    #[cold]
    pub(super) fn freed_after_all(&mut self, (lane, thread): (u32, u32), address: u64) {
        let Some(at) = self.find(address) else { return };
        let effect = &mut self.effects[at as usize];
        if effect.realloc_lane == lane {
            (effect.realloc_lane, effect.released_by) = (0, thread);
        }
    }
}
