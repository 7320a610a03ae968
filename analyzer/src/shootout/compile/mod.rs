//! From a trace to the script that the driver runs.

mod blocks;

use super::allocators::JEMALLOC_THREAD;
use super::moments::{self, Moment, Planned};
use super::pairing::{Pairing, Turn};
use super::run::Threads;
use super::schedule::{Schedule, Written};
use super::slots::Slots;
use super::stand_ins::StandIns;
use super::touched::{Finding, Touched};
use super::trims::Trims;
use crate::measure::{self, Analysis};
use crate::order::{self, Action, Event};
use crate::read::Trace;
use crate::replay::{Replay, Who};
use blocks::{Block, Call};
use fragtrace_format::Stamp;
use fragtrace_format::event::Flags;
use fragtrace_format::record::Cold;
use fragtrace_shootout_driver::script::{Head, Op, Trim, part_word, word};
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// The driver is told the time when so much has passed.
const CLOCK_STEP_NS: u64 = 100_000;

/// Call stacks of the sites that are named on the command line.
pub type Sites = FxHashSet<u32>;

/// What is to be different from the recorded run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which thread makes which call.
    pub threads: Threads,
    /// Pauses are waited for.
    pub real_time: bool,
    /// Blocks of these stacks come from a pool of their own.
    pub pooled: Sites,
    /// Blocks of these stacks are kept when they are freed, for the next one.
    pub reused: Sites,
    /// Every block is freed by the thread that acquired it.
    pub same_thread_free: bool,
}

/// A compiled trace, without its steps.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Words of the file to be replaced, by their place in bytes: known only later on.
    pub patches: Vec<(u64, u64)>,
    /// The moments at which the driver takes its samples.
    pub moments: Vec<Moment>,
    /// Samples that it takes: at each of them, or one when all is done.
    pub samples: u64,
    /// Words of the script.
    pub words: u64,
    /// Frees of blocks that were never seen.
    pub unknown_frees: u64,
    /// Times at which the program must have had its allocator give back what was free.
    pub trims: u64,
    /// Threads that had events.
    pub threads: u64,
    /// What threads are called, as far as events say.
    pub thread_names: BTreeSet<String>,
}

/// Compiles a trace: its steps go to `out`, behind the [`Head`], which is among the patches.
///
/// # Errors
/// What writing says; and when more blocks are live at once than the script has slots.
pub fn compile(
    trace: &Trace,
    analysis: &Analysis,
    options: &Options,
    mut out: impl Write,
) -> io::Result<Script> {
    for word in Head::default().words() {
        out.write_all(&word.to_le_bytes())?;
    }
    let schedule = Schedule::new(out, Head::WORDS as u64, options.threads == Threads::Free);
    let mut compiler = Compiler::new(trace, options, schedule);
    compiler.begin()?;
    let planned = moments::plan(trace, analysis);
    let mut next = 0;
    let mut failed = None;
    order::for_each_batch(trace, |batch| {
        let done = batch.events().try_for_each(|event| {
            while let Some(moment) = planned.get(next)
                && event.stamp > moment.stamp
            {
                compiler.moment(moment)?;
                next += 1;
            }
            compiler.event(&event)
        });
        failed = done.err();
        failed.is_none()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    for moment in &planned[next..] {
        compiler.moment(moment)?;
    }
    compiler.finish()
}

/// Which calls for giving back may be concluded: those of the recorded allocator.
fn way_of_trims(trace: &Trace, replay: &Replay<'_>) -> Option<Trim> {
    let path = &trace.process().allocator;
    if replay.is_glibc() {
        Some(Trim::Glibc)
    } else if path.rsplit('/').next().is_some_and(|file| file.contains("jemalloc")) {
        Some(Trim::Jemalloc)
    } else {
        None
    }
}

struct Compiler<'t, 'o, W> {
    trace: &'t Trace,
    options: &'o Options,
    replay: Replay<'t>,
    pairing: Pairing<Block>,
    schedule: Schedule<W>,
    stand_ins: StandIns,
    touched: Touched,
    trims: Trims,
    script: Script,
    slots: Slots,
    kept: Vec<Block>,
    told_ns: u64,
    lost: Vec<Block>,
    /// Threads of the allocator.
    allocators_own: FxHashSet<u32>,
}

impl<'t, 'o, W: Write> Compiler<'t, 'o, W> {
    fn new(trace: &'t Trace, options: &'o Options, schedule: Schedule<W>) -> Compiler<'t, 'o, W> {
        let window = trace.clock().inversion_window();
        let replay = Replay::new(trace);
        Compiler {
            trace,
            options,
            pairing: Pairing::new(window),
            schedule,
            stand_ins: StandIns::new(trace, options.threads == Threads::One),
            touched: Touched::default(),
            trims: Trims::new(way_of_trims(trace, &replay)),
            replay,
            script: Script::default(),
            slots: Slots::new(options.threads == Threads::Free),
            kept: Vec::new(),
            told_ns: 0,
            lost: Vec::new(),
            allocators_own: FxHashSet::default(),
        }
    }

    /// The blocks that were live when the kept events begin, in the order in which they came.
    fn begin(&mut self) -> io::Result<()> {
        let Some(base) = self.trace.base() else { return Ok(()) };
        let mut blocks: Vec<_> = base.blocks.iter().collect();
        blocks.sort_unstable_by_key(|entry| (entry.birth, entry.block.address));
        for entry in blocks {
            let block = &entry.block;
            let here = self.acquire(Call {
                address: block.address,
                bytes: block.size,
                align_log2: block.align_log2,
                zeroed: block.flags.has(Flags::ZEROED),
                stack: block.stack,
                thread: entry.thread,
            })?;
            self.pairing.begin_with(block.address, here);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.tell_time(event.stamp)?;
        if matches!(event.action, Action::Acquire { .. } | Action::Release { .. }) {
            let trim = self.trims.goes_on(event.lane, self.replay.space());
            self.trim(trim)?;
        }
        let held = self.replay.space().footprint_bytes();
        self.replay.apply(event);
        let who = Who { stamp: event.stamp, lane: event.lane, thread: event.thread };
        self.pairing.expire(who.stamp, |block| self.lost.push(block));
        while let Some(block) = self.lost.pop() {
            self.release(block, who.thread)?;
        }
        self.end_threads(who.stamp)?;
        let turn = match &event.action {
            Action::Acquire { address, flags, .. } if flags.has(Flags::AGAIN) => {
                self.pairing.refused(who.lane, *address);
                Turn::None
            }
            Action::Acquire { address, size, flags, align_log2, stack, .. } => {
                let call = Call {
                    address: *address,
                    bytes: *size,
                    align_log2: *align_log2,
                    zeroed: flags.has(Flags::ZEROED),
                    stack: *stack,
                    thread: who.thread,
                };
                let old = match flags.has(Flags::REALLOC) {
                    true => self.pairing.reallocated(who.lane),
                    false => None,
                };
                let block = match old {
                    Some(old) => self.reallocate(old, call)?,
                    None => self.acquire(call)?,
                };
                self.pairing.acquired(who, *address, block)
            }
            Action::Release { address, flags } => {
                self.pairing.released(who, *address, flags.has(Flags::REALLOC))
            }
            Action::Rare(rare) => match rare.decoded() {
                Some(Cold::ReallocFreed { .. }) => self.pairing.realloc_freed(who.lane),
                Some(Cold::Thread { thread, name, .. }) => {
                    self.script.thread_names.insert(name.to_owned());
                    if name == JEMALLOC_THREAD {
                        self.allocators_own.insert(thread);
                    }
                    if self.stand_ins.told_of(thread, who.stamp) {
                        self.trims.thread_ends();
                    }
                    Turn::None
                }
                Some(Cold::Advise { .. }) if !self.allocators_own.contains(&who.thread) => {
                    let left = self.replay.space().footprint_bytes();
                    self.trims.gave_back(who.lane, held.saturating_sub(left));
                    Turn::None
                }
                _ => Turn::None,
            },
            // The allocator does not hear of them.
            Action::PoolAcquire { .. } | Action::PoolRelease { .. } => Turn::None,
        };
        match turn {
            Turn::Free(block, thread) => self.release(block, thread),
            Turn::None => Ok(()),
        }
    }

    fn end_threads(&mut self, now: Stamp) -> io::Result<()> {
        while let Some(ended) = self.stand_ins.ended(now) {
            self.schedule.end(ended)?;
        }
        Ok(())
    }

    fn tell_time(&mut self, stamp: Stamp) -> io::Result<()> {
        let now_ns = self.trace.clock().time_ns(stamp);
        if now_ns < self.told_ns.saturating_add(CLOCK_STEP_NS) {
            return Ok(());
        }
        self.told_ns = now_ns;
        self.schedule.tell_time(now_ns)
    }

    /// A moment at which a look was taken, or a sample is to be.
    fn moment(&mut self, planned: &Planned) -> io::Result<()> {
        self.end_threads(planned.stamp)?;
        self.schedule.flush()?;
        let held = self.replay.space().footprint_bytes();
        self.replay.catch_up(planned.stamp);
        if let Some(look) = planned.look.and_then(|look| self.trace.looks().get(look)) {
            for placed in self.schedule.take_placed() {
                self.touched.placed(placed.slot, placed.place);
            }
            for finding in self.touched.look(look, self.replay.space()) {
                self.apply(finding)?;
            }
            let trim = self.trims.look(held, look.brk_end, self.replay.space());
            self.trim(trim)?;
        }
        if planned.sampled {
            let time_ns = self.trace.clock().time_ns(planned.stamp);
            self.schedule.tell_time(time_ns.max(self.told_ns))?;
            let state = measure::state(&mut self.replay.heap, self.trace.clock(), time_ns);
            let number = self.script.moments.len() as u32;
            self.script.moments.push(Moment::of(&state, planned.look.is_some()));
            if !self.is_free() {
                self.schedule.push_alone(word(Op::Sample, 0, number))?;
            }
        }
        Ok(())
    }

    /// The program had its allocator give back what was free, if it did.
    fn trim(&mut self, way: Option<Trim>) -> io::Result<()> {
        let Some(way) = way.filter(|_| !self.is_free()) else { return Ok(()) };
        self.script.trims += 1;
        self.schedule.push_alone(word(Op::Trim, 0, way as u32))
    }

    fn apply(&mut self, finding: Finding) -> io::Result<()> {
        match finding {
            Finding::Part { place, from, to } => {
                self.script.patches.push((place, part_word(from, to)));
                Ok(())
            }
            Finding::More { slot, bytes, from, to } => {
                self.schedule.touch(slot, bytes, part_word(from, to))
            }
        }
    }

    /// Whether stand-ins run freely: then there is no moment that is one for all.
    fn is_free(&self) -> bool {
        self.options.threads == Threads::Free
    }

    fn finish(mut self) -> io::Result<Script> {
        self.pairing.expire(Stamp::MAX, drop);
        let samples = if self.is_free() { 1 } else { self.script.moments.len() as u64 };
        let (Written { words, directory, patches }, _) =
            self.schedule.finish(self.stand_ins.most())?;
        let head = Head {
            slots: self.slots.count().into(),
            stand_ins: self.stand_ins.most().into(),
            samples,
            real_time: self.options.real_time,
            directory,
        };
        self.script.patches.extend(patches);
        let head = head.words().into_iter().enumerate();
        self.script.patches.extend(head.map(|(index, word)| (index as u64 * 8, word)));
        (self.script.words, self.script.samples) = (words, samples);
        self.script.unknown_frees = self.pairing.unknown_frees();
        self.script.threads = self.stand_ins.threads();
        Ok(self.script)
    }
}
