//! The protocol of chunks under every interleaving, and under every order of memory that its
//! atomics allow: loom runs each model again and again until it has seen all of them that have
//! no more than a few switches between threads that could go on.
//!
//! A chunk is a few cells here, and an event a number that is written to one. loom reports
//! two threads at one cell, so each access is also a claim: who owns a chunk is alone with it.

#[path = "../src/ownership.rs"]
mod ownership;

/// What `ownership` is built on.
mod atomic {
    pub use loom::sync::atomic::*;
}

use atomic::Ordering::{Acquire, Relaxed, Release};
use atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use ownership::{Chunks, Extent};

/// Events that a chunk holds.
const CHUNK_EVENTS: usize = 2;
/// A lane's cursor is the number of its chunk, times this, and the events in it.
const STRIDE: usize = CHUNK_EVENTS + 1;

/// The chunks, the lanes and the folder of a process.
struct World {
    next: Vec<AtomicU32>,
    spare: AtomicU64,
    spare_count: AtomicU32,
    events: Vec<[UnsafeCell<u32>; CHUNK_EVENTS]>,
    lanes: Vec<Lane>,
    /// Whether somebody folds.
    folding: AtomicBool,
    folder: UnsafeCell<Folder>,
}

#[derive(Default)]
struct Lane {
    first: AtomicU32,
    cursor: AtomicUsize,
}

/// How far each lane is folded.
#[derive(Clone, Default)]
struct Folder {
    lanes: Vec<Folded>,
}

#[derive(Clone, Default)]
struct Folded {
    chunk: u32,
    offset: usize,
    /// The lane's last event that was read.
    event: u32,
}

impl World {
    /// All chunks are spare, all lanes without one.
    fn new(chunks: u32, lanes: usize) -> World {
        let world = World {
            next: (0..=chunks).map(|_| AtomicU32::new(0)).collect(),
            spare: AtomicU64::new(0),
            spare_count: AtomicU32::new(0),
            events: (0..=chunks).map(|_| core::array::from_fn(|_| UnsafeCell::new(0))).collect(),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            folding: AtomicBool::new(false),
            folder: UnsafeCell::new(Folder { lanes: vec![Folded::default(); lanes] }),
        };
        for chunk in (1..=chunks).rev() {
            world.chunks().give(chunk);
        }
        world
    }

    fn chunks(&self) -> Chunks<'_> {
        Chunks { next: &self.next, spare: &self.spare, spare_count: &self.spare_count }
    }

    fn read(&self, chunk: u32, at: usize) -> u32 {
        // SAFETY: loom fails the test where somebody else writes to the cell.
        self.events[chunk as usize][at].with(|event| unsafe { *event })
    }

    fn write(&self, chunk: u32, at: usize, event: u32) {
        // SAFETY: loom fails the test where somebody else is at the cell.
        self.events[chunk as usize][at].with_mut(|cell| unsafe { *cell = event });
    }

    /// Takes a spare chunk and clears it, as its only owner.
    fn take(&self) -> Option<u32> {
        let chunk = self.chunks().take()?;
        for at in 0..CHUNK_EVENTS {
            self.write(chunk, at, 0);
        }
        Some(chunk)
    }

    /// Takes all spare chunks: how many they were.
    fn drain(&self) -> u32 {
        let counted = self.spare_count.load(Relaxed);
        let drained = std::iter::from_fn(|| self.take()).count() as u32;
        assert_eq!(counted, drained, "the count is of those that are there");
        drained
    }

    /// Folds what is there, unless another thread is at it.
    fn fold(&self) {
        if self.folding.compare_exchange(false, true, Acquire, Relaxed).is_err() {
            return;
        }
        // SAFETY: one folder at a time; loom fails the test otherwise.
        self.folder.with_mut(|folder| unsafe {
            for (folded, lane) in (*folder).lanes.iter_mut().zip(&self.lanes) {
                self.fold_lane(lane, folded);
            }
        });
        self.folding.store(false, Release);
    }

    fn fold_lane(&self, lane: &Lane, folded: &mut Folded) {
        if folded.chunk == 0 {
            folded.chunk = lane.first.load(Acquire);
        }
        while folded.chunk != 0 {
            let before_cursor = || {
                let cursor = lane.cursor.load(Acquire);
                (cursor / STRIDE == folded.chunk as usize).then_some(cursor % STRIDE)
            };
            let (written, next) = match self.chunks().extent(folded.chunk, before_cursor) {
                Extent::Closed(next) => (CHUNK_EVENTS, Some(next)),
                Extent::Open(written) => (written, None),
            };
            assert!(written >= folded.offset, "what was seen once stays there");
            for at in folded.offset..written {
                let event = self.read(folded.chunk, at);
                assert_eq!(event, folded.event + 1, "each event, in its order, and once");
                folded.event = event;
            }
            folded.offset = written;
            let Some(next) = next else { break };
            self.chunks().give(folded.chunk);
            (folded.chunk, folded.offset) = (next, 0);
        }
    }

    /// Events of a lane that were folded.
    fn folded(&self, lane: usize) -> u32 {
        // SAFETY: called when all threads are done.
        self.folder.with(|folder| unsafe { (&(*folder).lanes)[lane].event })
    }
}

/// A lane's thread.
#[derive(Default)]
struct Writer {
    lane: usize,
    chunk: u32,
    offset: usize,
    event: u32,
}

impl Writer {
    fn new(lane: usize) -> Writer {
        Writer { lane, ..Writer::default() }
    }

    /// Writes an event. False: there is no chunk for it.
    fn write(&mut self, world: &World) -> bool {
        let lane = &world.lanes[self.lane];
        if self.chunk == 0 || self.offset == CHUNK_EVENTS {
            let Some(chunk) = world.take() else { return false };
            world.chunks().append(&lane.first, self.chunk, chunk);
            lane.cursor.store(chunk as usize * STRIDE, Release);
            (self.chunk, self.offset) = (chunk, 0);
        }
        self.event += 1;
        world.write(self.chunk, self.offset, self.event);
        self.offset += 1;
        lane.cursor.store(self.chunk as usize * STRIDE + self.offset, Release);
        true
    }

    /// Writes so many events; when there is no chunk it folds, and drops an event if another
    /// thread is at that.
    fn write_and_fold(&mut self, world: &World, events: u32) {
        for _ in 0..events {
            if !self.write(world) {
                world.fold();
                self.write(world);
            }
        }
    }
}

/// Runs a model with at most so many switches between threads that could go on: few enough for
/// seconds, and more than any known error of such a protocol needs.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn a_spare_chunk_has_one_taker_and_none_is_lost() {
    check(4, || {
        let world = Arc::new(World::new(3, 0));
        let taker = |world: Arc<World>| {
            move || {
                let kept = world.take();
                // Gives an older one back before a newer one: the stack's top comes again, with
                // another one below it.
                let (first, second) = (world.take(), world.take());
                first.into_iter().for_each(|chunk| world.chunks().give(chunk));
                let again = world.take();
                u32::from(kept.is_some()) + u32::from(second.is_some()) + u32::from(again.is_some())
            }
        };
        let other = thread::spawn(taker(world.clone()));
        let kept = taker(world.clone())() + other.join().expect("no panic");
        assert_eq!(kept + world.drain(), 3);
    });
}

#[test]
fn the_count_of_spare_chunks_is_never_below_what_is_there() {
    check(4, || {
        let world = Arc::new(World::new(2, 0));
        let taker = {
            let world = world.clone();
            thread::spawn(move || {
                let taken = world.take();
                taken.into_iter().for_each(|chunk| world.chunks().give(chunk));
            })
        };
        // One, or both if the other thread has given its own back.
        let taken = [world.take(), world.take()];
        // Below zero would be a huge number.
        assert!(world.spare_count.load(Relaxed) <= 2);
        taken.into_iter().flatten().for_each(|chunk| world.chunks().give(chunk));
        taker.join().expect("no panic");
        assert_eq!(world.drain(), 2);
    });
}

#[test]
fn who_sees_the_cursor_elsewhere_sees_the_link() {
    check(3, || {
        let world = Arc::new(World::new(2, 1));
        let mut writer = Writer::new(0);
        writer.write(&world);
        // From here on the folder is in the middle of a chunk that is about to be closed.
        world.fold();
        let folder = {
            let world = world.clone();
            thread::spawn(move || world.fold())
        };
        while writer.event < 3 && writer.write(&world) {}
        folder.join().expect("no panic");
        world.fold();
        assert_eq!(world.folded(0), 3);
    });
}

#[test]
fn all_that_a_lane_writes_is_folded_once_and_in_order_while_it_goes_on() {
    check(3, || {
        let world = Arc::new(World::new(2, 1));
        let folder = {
            let world = world.clone();
            thread::spawn(move || world.fold())
        };
        // The fifth event needs the first chunk again.
        let mut writer = Writer::new(0);
        while writer.event < 5 && writer.write(&world) {}
        folder.join().expect("no panic");
        world.fold();
        assert_eq!(world.folded(0), writer.event);
        assert_eq!(world.drain(), 2 - 1, "all but the open one are spare again");
    });
}

#[test]
fn chunks_go_from_lane_to_lane_and_none_has_two_owners() {
    check(3, || {
        let world = Arc::new(World::new(3, 2));
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let mut writer = Writer::new(1);
                writer.write_and_fold(&world, 3);
                writer.event
            })
        };
        let mut writer = Writer::new(0);
        writer.write_and_fold(&world, 3);
        let events = [writer.event, other.join().expect("no panic")];
        world.fold();
        assert_eq!([world.folded(0), world.folded(1)], events);
        let open = events.iter().filter(|events| **events > 0).count() as u32;
        assert_eq!(world.drain(), 3 - open);
    });
}

#[test]
fn a_chunk_that_is_folded_by_a_third_thread_goes_from_lane_to_lane() {
    check(2, || {
        let world = Arc::new(World::new(2, 2));
        let folder = {
            let world = world.clone();
            thread::spawn(move || world.fold())
        };
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let mut writer = Writer::new(1);
                writer.write(&world);
                writer.event
            })
        };
        let mut writer = Writer::new(0);
        while writer.event < 3 && writer.write(&world) {}
        folder.join().expect("no panic");
        let events = [writer.event, other.join().expect("no panic")];
        world.fold();
        assert_eq!([world.folded(0), world.folded(1)], events);
        let open = events.iter().filter(|events| **events > 0).count() as u32;
        assert_eq!(world.drain(), 2 - open);
    });
}
