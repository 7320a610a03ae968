//! Folding: the oldest events go into the base table, and their chunks are used again.
//!
//! A fold takes the next events of all lanes in the order of their stamps, finds what they
//! [come to](net) for each address, and moves the [table](table) there. It is done by
//! whichever thread takes a chunk, a bounded piece at a time, by one thread at a time;
//! others do not wait for it but take one of the chunks that are kept spare.
//!
//! **Exact.** What is folded of each lane is a prefix of its events, so each event is either
//! in the table or in the ring. Only events of a time well before the fold began are taken:
//! an event that another one follows causally on the same address has then been written
//! when that other one is taken. One that is written late (its thread was stopped between
//! the reading of its stamp and the store) is the latest of its address, so nothing is lost
//! by taking it later.
//!
//! **Restartable.** See [`fragtrace_format::header::Header::folding`]: the process may die
//! between any two stores.
//!
//! docs/trace-format.md argues why the result is exact.

mod batcher;
mod heads;
mod index;
mod log;
mod net;
mod scan;
mod table;
#[cfg(test)]
mod tests;

use crate::ring::{self, Chunk};
use crate::sync::TryLock;
use crate::{clock, file, inherit, lane};
use batcher::Batcher;
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};
use file::Private;
use fragtrace_format::Stamp;
use fragtrace_format::base;
use fragtrace_format::chunk::FOLDED;
use fragtrace_format::header::{Area, Count, Cut};
use heads::Heads;
use log::Log;
use net::{Effect, Net, WINDOW};
use scan::{LaneScan, Next};
use table::Table;

/// Events that are younger than this are not folded: some 5 µs, more than stamps of two
/// threads are ever inverted.
const MARGIN: Stamp = 1 << 9;
/// No lane, no thread: both are numbered from 1.
const NOBODY: u32 = 0;

/// What came of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There are more spare chunks, or some are nearer to it.
    Progress,
    /// Another thread is at it at this moment.
    Busy,
    /// All events are too young: a moment later there will be some.
    TooYoung,
    /// There is no memory, or no room in the file for the table.
    NoRoom,
}

static FOLDING: TryLock = TryLock::new();
static FOLDER: Guarded = Guarded(UnsafeCell::new(Folder::NEW));
/// Bytes of our memory that folding takes.
static RESIDENT: AtomicU64 = AtomicU64::new(0);

struct Guarded(UnsafeCell<Folder>);

// SAFETY: reached only in `advance`, under the lock.
unsafe impl Sync for Guarded {}

/// Memory of the folder: zero is empty.
#[repr(C)]
struct Memory {
    net: Net,
    log: Log,
    heads: Heads,
    /// Lanes of which this fold took events, and those of the fold before.
    touched: [[u32; lane::MAX_LANES]; 2],
    lanes: [LaneScan; lane::MAX_LANES + 1],
}

const _: () = assert!(size_of::<Memory>() < table::DIRECTORY_AT);

struct Folder {
    begun: bool,
    memory: *mut Memory,
    table: Table,
    /// As of the last fold, and of the one under way.
    cut: Cut,
    next: Cut,
    folds: u64,
    /// Which of `Memory::touched` is of this fold, and how many are in it and in the other.
    side: usize,
    touched: usize,
    touched_before: usize,
}

/// Bytes of our memory that folding takes.
pub(crate) fn resident_bytes() -> u64 {
    RESIDENT.load(Relaxed)
}

/// Folds about so many bytes of events.
pub(crate) fn advance(bytes: usize) -> Outcome {
    match FOLDING.try_take_uninterrupted() {
        // SAFETY: the lock is held.
        Some(_held) => unsafe { &mut *FOLDER.0.get() }.advance(bytes),
        None => Outcome::Busy,
    }
}

/// The file can grow no more from now on: makes room in the table for so many bytes of entries
/// while it can, and for the events on mappings that will be folded.
pub(crate) fn settle(bytes: u64) {
    if let Some(_held) = FOLDING.try_take_uninterrupted() {
        // SAFETY: the lock is held.
        let folder = unsafe { &mut *FOLDER.0.get() };
        if folder.begun || folder.begin() {
            folder.table.make_room(bytes as usize / base::ENTRY_BYTES);
            log::reserve();
        }
    }
}

/// In a child of fork: goes on from the table that the parent left, with counts of its own; or
/// from an empty one, if that is not `whole`.
pub(crate) fn inherit(whole: bool) {
    let header = file::header();
    // Later, when the child has threads, another one may be making the file grow.
    let bytes = file::area_bytes(Area::Base);
    if !whole {
        let start = file::area_start(Area::Base) as *mut u8;
        // SAFETY: the area is mapped so far, and nobody else is here.
        unsafe { core::ptr::write_bytes(start, 0, bytes as usize) };
        header.folds.store(0, Relaxed);
        header.folding.store(0, Relaxed);
    }
    let folds = header.folds.load(Relaxed);
    let mut cut = EMPTY_CUT;
    if folds > 0 {
        cut = Cut { counts: cut.counts, ..header.cuts[(folds & 1) as usize].get() };
    }
    (cut.peak_live_bytes, cut.peak_live_stamp) = (cut.live_bytes, cut.stamp);
    header.cuts.iter().for_each(|cell| cell.set(&cut));
    RESIDENT.store(0, Relaxed);
    // SAFETY: the child begins with one thread, which does not fold yet.
    unsafe {
        *FOLDER.0.get() = Folder { cut, folds, table: Table::of_parent(bytes), ..Folder::NEW }
    };
    FOLDING.leave();
}

/// How a batch of events ended.
enum Batch {
    Done,
    /// No events were there.
    Empty,
    Failed(Outcome),
}

impl Folder {
    const NEW: Folder = Folder {
        begun: false,
        memory: core::ptr::null_mut(),
        table: Table::EMPTY,
        cut: EMPTY_CUT,
        next: EMPTY_CUT,
        folds: 0,
        side: 0,
        touched: 0,
        touched_before: 0,
    };

    fn begin(&mut self) -> bool {
        let start = file::private_start(Private::Fold);
        let bytes = size_of::<Memory>().next_multiple_of(4096);
        if self.memory.is_null() {
            if !file::map_private(start, bytes) {
                return false;
            }
            self.memory = start as *mut Memory;
        }
        self.begun = self.table.begin() && (inherit::lanes() == 0 || self.table.inherit());
        self.begun
    }

    fn memory(&mut self) -> &mut Memory {
        // SAFETY: mapped in `begin` for good, zeroed, which is a value of each field; this is
        // the only way to it, and the lock is held.
        unsafe { &mut *self.memory }
    }

    fn advance(&mut self, bytes: usize) -> Outcome {
        if !self.begun && !self.begin() {
            return Outcome::NoRoom;
        }
        let limit = clock::stamp().saturating_sub(MARGIN);
        self.gather(limit);
        let mut left = bytes;
        let mut outcome = Outcome::TooYoung;
        while left > 0 {
            match self.batch(limit, &mut left) {
                Batch::Done => outcome = Outcome::Progress,
                Batch::Empty => break,
                Batch::Failed(why) => {
                    self.roll_back();
                    if outcome != Outcome::Progress {
                        outcome = why;
                    }
                    break;
                }
            }
        }
        let memory = (size_of::<Net>() + lane::count() as usize * size_of::<LaneScan>()) as u64;
        RESIDENT.store(self.table.resident_bytes() + memory + log::resident_bytes(), Relaxed);
        outcome
    }

    /// Lists the lanes that may have events up to a stamp.
    fn gather(&mut self, limit: Stamp) {
        self.memory().heads.clear();
        for lane in 1..=lane::count().min(lane::MAX_LANES as u32) {
            let scan = &mut self.memory().lanes[lane as usize];
            if scan.has_more(lane) && scan.now.stamp() <= limit {
                let stamp = scan.now.stamp();
                self.memory().heads.push(stamp, lane);
            }
        }
    }

    /// One fold: takes events, and moves the table.
    fn batch(&mut self, limit: Stamp, left: &mut usize) -> Batch {
        self.memory().net.clear();
        self.memory().log.clear();
        self.next = self.cut;
        self.touched = 0;
        let mut until = None;
        // A fold ends where no exchange of two events is cut in half: if it did, it goes on
        // for a moment's worth of events.
        let mut extensions = 0;
        let insertions = loop {
            let full = self.take_events(limit, until, left);
            if self.touched == 0 {
                return Batch::Empty;
            }
            let known_to = until.unwrap_or(0).max(self.next.stamp);
            match self.plan(known_to, full || extensions == 3) {
                Ok(insertions) => break insertions,
                Err(open_until) if open_until > limit => return Batch::Failed(Outcome::TooYoung),
                Err(open_until) => until = Some(open_until),
            }
            extensions += 1;
        };
        match self.table.reserve(insertions) {
            Some(true) => {}
            Some(false) => return Batch::Failed(Outcome::NoRoom),
            None => return Batch::Failed(Outcome::Busy),
        }
        self.commit();
        Batch::Done
    }

    /// Takes events in order, until there are enough or, if `until` is given, up to there.
    /// True: there is no room for more.
    fn take_events(&mut self, limit: Stamp, until: Option<Stamp>, left: &mut usize) -> bool {
        let limit = until.unwrap_or(limit);
        while let Some((stamp, lane)) = self.memory().heads.pop() {
            if stamp > limit {
                self.memory().heads.push(stamp, lane);
                break;
            }
            let bound = self.memory().heads.first_stamp().map_or(limit, |next| next.min(limit));
            let extends = until.is_some();
            // SAFETY: as in `memory`.
            let memory = unsafe { &mut *self.memory };
            let scan = &mut memory.lanes[lane as usize];
            let was_touched = scan.touched;
            let (net, log) = (&mut memory.net, &mut memory.log);
            let mut taker = Batcher { net, log, cut: &mut self.next, lane, extends };
            // An extension is short, and goes on to its end.
            let mut unbounded = usize::MAX;
            let left = if extends { &mut unbounded } else { &mut *left };
            let before = *left;
            let counts = taker.cut.counts;
            let next = scan.run(lane, bound, left, &mut taker);
            if lane > inherit::lanes() {
                self.next.counts[Count::Bytes as usize] += (before - *left) as u64;
            } else {
                // What a parent did before the fork counts as its own.
                self.next.counts = counts;
            }
            let stopped = matches!(next, Next::Stopped);
            let ahead = match next {
                Next::At(stamp) => Some(stamp),
                Next::Stopped => Some(scan.now.stamp()),
                Next::Nothing => None,
            };
            if scan.touched && !was_touched {
                memory.touched[self.side][self.touched] = lane;
                self.touched += 1;
            }
            if let Some(stamp) = ahead {
                self.memory().heads.push(stamp, lane);
            }
            if stopped {
                return !memory.net.has_room() || !memory.log.has_room();
            }
        }
        false
    }

    /// Finds out what becomes of each address. How many entries are needed for that, or until
    /// when events are needed to tell, which are known up to a stamp. `forced`: without these.
    fn plan(&mut self, known_to: Stamp, forced: bool) -> Result<usize, Stamp> {
        let Folder { table, memory, .. } = self;
        // SAFETY: as in `memory`.
        let net = unsafe { &mut (**memory).net };
        for effect in net.effects() {
            table.foresee(effect.address);
        }
        for effect in net.effects_mut() {
            effect.suppose(table.suppose(effect.address));
        }
        let mut insertions = 0;
        let mut open_until = None;
        for effect in net.effects_mut() {
            let after = effect.find(table.find(effect.address, effect.found()));
            let needed = effect.last.saturating_add(WINDOW);
            if !(0..=1).contains(&after) && !forced && known_to < needed {
                open_until = open_until.max(Some(needed));
            }
            effect.live = after >= 1;
            insertions += (effect.live && effect.found().is_none()) as usize;
        }
        match open_until {
            Some(stamp) => Err(stamp),
            None => Ok(insertions),
        }
    }

    /// Moves the table to the state behind the events taken, and gives their chunks back.
    fn commit(&mut self) {
        self.sum_up();
        let version = self.folds + 1;
        let header = file::header();
        self.announce(version);
        header.folding.store(version, Release);
        self.memory().log.write(version);
        let Folder { table, memory, .. } = self;
        // SAFETY: as in `memory`.
        let net = unsafe { &(**memory).net };
        // Blocks that come take the entries of those that go, as far as these suffice.
        let mut going = net.effects().filter_map(Effect::going);
        for effect in net.effects() {
            match effect.found() {
                None if effect.live => match going.next() {
                    Some(old) => table.supersede(old, (effect.address, &effect.entry)),
                    None => table.insert(effect.address, &effect.entry),
                },
                Some(number) if effect.live && effect.lane != NOBODY => {
                    table.replace(number, &effect.entry);
                }
                _ => {}
            }
        }
        for (number, address) in going {
            table.remove(number, address);
        }
        header.folds.store(version, Release);
        self.folds = version;
        self.cut = self.next;
        self.give_back();
    }

    /// Completes the next cut: what the table will hold.
    fn sum_up(&mut self) {
        let Folder { table, next, memory, .. } = self;
        // SAFETY: as in `memory`; what is changed of lanes is no part of `net`.
        let Memory { net, lanes, touched, .. } = unsafe { &mut **memory };
        for effect in net.effects() {
            let after = effect.after();
            if after < 0 {
                next.counts[Count::UnknownFrees as usize] += -after as u64;
            } else if after > 1 {
                next.counts[Count::OrderAnomalies as usize] += after as u64 - 1;
            }
            if effect.live && effect.lane != NOBODY {
                next.live_bytes = next.live_bytes.wrapping_add(base::size(&effect.entry));
                next.live_blocks += 1;
            }
            let Some(number) = effect.found() else { continue };
            if effect.live && effect.lane == NOBODY {
                continue;
            }
            let (size, thread) = table.size_and_thread(number);
            next.live_bytes = next.live_bytes.wrapping_sub(size);
            next.live_blocks -= 1;
            if effect.released_by != NOBODY
                && effect.released_by != thread
                && effect.last >= file::header().fork.stamp.load(Relaxed)
            {
                next.counts[Count::CrossThreadFrees as usize] += 1;
            }
        }
        for lane in &touched[self.side][..self.touched] {
            lanes[*lane as usize].now.remember_released(net, table);
        }
        if next.live_bytes > next.peak_live_bytes {
            next.peak_live_bytes = next.live_bytes;
            next.peak_live_stamp = next.stamp;
        }
    }

    /// Writes the next cut, and how far each lane's chunks are folded by it.
    fn announce(&mut self, version: u64) {
        let parity = (version & 1) as usize;
        file::header().cuts[parity].set(&self.next);
        // SAFETY: as in `memory`.
        let memory = unsafe { &mut *self.memory };
        // Lanes of the fold before too: their words of this side are those of two folds ago.
        let before = &memory.touched[1 - self.side][..self.touched_before];
        for lane in before.iter().chain(&memory.touched[self.side][..self.touched]) {
            say_folded(parity, &memory.lanes[*lane as usize]);
        }
    }

    /// Gives back the chunks that are folded as a whole.
    fn give_back(&mut self) {
        // SAFETY: as in `memory`.
        let memory = unsafe { &mut *self.memory };
        for lane in &memory.touched[self.side][..self.touched] {
            let scan = &mut memory.lanes[*lane as usize];
            let mut chunk = scan.folded.chunk;
            while chunk != scan.now.chunk {
                let next = ring::chunks().follow(chunk);
                ring::give_back(chunk);
                // Behind a chunk that is folded as a whole there is another.
                chunk = next.unwrap_or(scan.now.chunk);
            }
            scan.folded = scan.now;
            scan.touched = false;
        }
        self.side = 1 - self.side;
        (self.touched, self.touched_before) = (0, self.touched);
    }

    /// Forgets the events taken.
    fn roll_back(&mut self) {
        // SAFETY: as in `memory`.
        let memory = unsafe { &mut *self.memory };
        for lane in &memory.touched[self.side][..self.touched] {
            let scan = &mut memory.lanes[*lane as usize];
            scan.now = scan.folded;
            scan.touched = false;
        }
        self.touched = 0;
    }
}

/// Says on a lane's chunks how far they are folded.
fn say_folded(parity: usize, scan: &LaneScan) {
    let mut chunk = scan.folded.chunk;
    while chunk != scan.now.chunk {
        Chunk::numbered(chunk).header().set_folded(parity, FOLDED);
        chunk = ring::chunks().follow(chunk).unwrap_or(scan.now.chunk);
    }
    Chunk::numbered(chunk).header().set_folded(parity, scan.now.offset);
}

const EMPTY_CUT: Cut = Cut {
    stamp: 0,
    live_bytes: 0,
    live_blocks: 0,
    peak_live_bytes: 0,
    peak_live_stamp: 0,
    counts: [0; fragtrace_format::header::COUNTS],
};
