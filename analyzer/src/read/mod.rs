//! Reading a trace: from a path to typed areas, looks and chunks.
//!
//! This is the last stage that does I/O. It is total: any file gives a trace or a
//! [`ReadError`], and what is damaged inside a trace is left out and noted in
//! [`Trace::damage`] with its offset. Memory goes with what the areas hold, not with what
//! lengths claim.
//!
//! A trace may be read while its process runs. Then everything is as of one stamp, the
//! last one on record when it was opened, and what may change under the reader is
//! [copied](live): two passes over the trace see the same.

mod area;
mod base;
mod chunks;
mod classes;
mod clock;
mod ending;
mod error;
mod folded;
mod live;
mod looks;
mod modules;
mod pools;
mod process;
mod source;
mod stacks;

pub use base::{Base, FoldedEvent};
pub use chunks::ChunkPlace;
pub use classes::Classes;
pub use clock::Clock;
pub use ending::Ending;
pub use error::ReadError;
pub use folded::ThreadName;
pub use looks::{AllocatorView, Look, Mapping, Scan};
pub use modules::{Module, Modules};
pub use pools::Pool;
pub use process::Process;
pub use stacks::Stacks;

use area::AreaBytes;
use base::{FoldedAway, Mixture};
use chunks::Ring;
use folded::Folded;
use fragtrace_format::Stamp;
use fragtrace_format::base::Entry;
use fragtrace_format::chunk::FOLDED;
use fragtrace_format::header::{Area, End, ForkInfo, HEADER_BYTES, HeaderInfo};
use fragtrace_format::stack::FRAME_BYTES;
use live::Overtaken;
use source::Source;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

/// An opened trace.
#[derive(Debug)]
pub struct Trace {
    header: HeaderInfo,
    source: Source,
    /// Whether the process goes on writing.
    live: bool,
    ring: Ring,
    process: Process,
    looks: Vec<Look>,
    modules: Modules,
    pools: Vec<Pool>,
    stacks: AreaBytes,
    chunks: Vec<ChunkPlace>,
    base: Option<Base>,
    threads: BTreeMap<u32, ThreadName>,
    classes: Classes,
    clock: Clock,
    ending: Ending,
    last_stamp: Stamp,
    damage: Vec<String>,
}

impl Trace {
    /// Opens the trace at `path`.
    ///
    /// # Errors
    /// [`ReadError`]: the file cannot be read, or is no trace that this version knows.
    pub fn open(path: &Path) -> Result<Trace, ReadError> {
        let failed = |cause| ReadError::Open { path: path.to_path_buf(), cause };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ReadError::NotAFile { path: path.to_path_buf() });
        }
        let begun = Instant::now();
        loop {
            let (mut trace, head) = Trace::begin(path, file.try_clone().map_err(failed)?)?;
            if let Ok(()) = trace.read_areas(&head) {
                return Ok(trace);
            }
            if begun.elapsed() > live::PATIENCE {
                return Err(ReadError::TooFast { path: path.to_path_buf() });
            }
        }
    }

    /// Reads the header; areas are still to be read. The header's bytes go with it.
    fn begin(path: &Path, file: File) -> Result<(Trace, Vec<u8>), ReadError> {
        let failed = |cause| ReadError::Open { path: path.to_path_buf(), cause };
        let mut head = vec![0; HEADER_BYTES];
        let got = source::read_at(&file, 0, &mut head).map_err(failed)?;
        head.truncate(got);
        let header = HeaderInfo::read(&head).map_err(|e| ReadError::of_header(path, e))?;
        // A file may grow between two readings: what the header names was there before.
        let metadata = file.metadata().map_err(failed)?;
        let live = ending::writer_lives(header.pid, path, &metadata);
        let settled = header.end != End::Open && !live;
        let source = Source::new(file, metadata.len(), settled).map_err(failed)?;
        let trace = Trace {
            ending: Ending::new(header.end, live),
            clock: Clock::new(&header, &[]),
            header,
            source,
            live,
            ring: Ring::default(),
            process: Process::default(),
            looks: Vec::new(),
            modules: Modules::default(),
            pools: Vec::new(),
            stacks: AreaBytes::default(),
            chunks: Vec::new(),
            base: None,
            threads: BTreeMap::new(),
            classes: Classes::default(),
            last_stamp: 0,
            damage: Vec::new(),
        };
        Ok((trace, head))
    }

    fn read_areas(&mut self, head: &[u8]) -> Result<(), Overtaken> {
        let areas = area::find(&self.header, head, self.source.bytes(), &mut self.damage);
        let of = |area: Area| areas.get(&area).cloned().unwrap_or_default();
        self.process = process::read(&of(Area::Description), &self.source, &mut self.damage);
        self.classes = Classes::read(&of(Area::Classes), &self.source);
        let halves = (self.header.looks_half_bytes, self.live);
        self.looks = looks::read(&of(Area::Looks), &self.source, halves, &mut self.damage);
        self.modules = Modules::read(&of(Area::Modules), &self.source, &mut self.damage);
        self.pools = pools::read(&of(Area::Pools), &self.source, &mut self.damage);
        self.stacks = of(Area::Stacks);
        let outside = &of(Area::OutsideLooks);
        looks::add_outside(&mut self.looks, outside, &self.source, &mut self.damage);
        looks::join_lists(&mut self.looks);
        self.clock = Clock::new(&self.header, &self.looks);
        if !self.clock.is_known() {
            self.damage.push(
                "the clocks in the header do not tell how long a stamp is: times are guesses"
                    .into(),
            );
        }
        self.ring = Ring::new(of(Area::Events), self.header.chunk_bytes);
        self.chunks = self.ring.list(&self.source, &mut Vec::new());
        self.last_stamp = self.find_last_stamp();
        self.looks.retain(|look| look.stamp <= self.last_stamp);
        if self.live {
            self.ring.copy(&self.source);
        }
        // Chunks may have been opened since; what they hold up to that stamp counts too.
        self.chunks = self.ring.list(&self.source, &mut self.damage);
        let base = if self.live {
            let window = self.clock.inversion_window();
            let (source, ring, chunks) = (&self.source, &self.ring, &self.chunks);
            live::CopiedRing { source, ring, chunks, last_stamp: self.last_stamp, window }.base()?
        } else {
            self.settled_base(&of(Area::Base))
        };
        if let Some(base) = base {
            let half = self.header.regions_half_bytes;
            let folded = if self.live { live::folded(&self.source, &base) } else { None };
            let folded = folded.unwrap_or_else(|| Folded::read(&areas, &self.source, half, &base));
            self.threads = folded.threads;
            self.begin_with(base, folded.events);
        }
        Ok(())
    }

    /// The base table of a process that does not run, moved to the end of the fold that was
    /// under way, if one was. `None`: nothing was folded.
    fn settled_base(&self, area: &AreaBytes) -> Option<FoldedAway> {
        let (now, ahead) = (self.header.folds, self.header.folding);
        if now == 0 && ahead == 0 {
            return None;
        }
        let bytes = area.read(&self.source, 0, usize::try_from(area.bytes()).unwrap_or(0));
        let mut table = base::entries(&bytes);
        let by = |number: u64| -> Vec<u32> {
            let word = |place: &ChunkPlace| place.info.folded[(number & 1) as usize];
            self.chunks.iter().map(|place| if number == 0 { 0 } else { word(place) }).collect()
        };
        let folded = by(ahead);
        let parts = self.chunks.iter().zip(by(now)).zip(&folded);
        let events = base::events(parts.map(|((place, from), to)| {
            (place.info.lane, self.chunk_bytes(place), from..*to, self.last_stamp)
        }));
        base::roll_forward(&mut table, events.blocks, Mixture::OneFold);
        let (cut, events) = (*self.header.cut_ahead(), events.mappings);
        Some(FoldedAway { cut, table, regions_to: now, events, folded })
    }

    /// Leaves out what is in the base from the chunks. `events`: those on mappings.
    fn begin_with(&mut self, base: FoldedAway, events: Vec<FoldedEvent>) {
        let FoldedAway { cut, table, folded, .. } = base;
        for (place, bytes) in self.chunks.iter_mut().zip(folded) {
            place.folded_bytes = bytes;
        }
        self.chunks.retain(|place| place.folded_bytes != FOLDED);
        let mut blocks: Vec<Entry> = table.into_values().collect();
        blocks.sort_unstable_by_key(|entry| entry.block.address);
        self.base = Some(Base { cut, blocks, events });
    }

    /// The stamp of the last thing on record.
    fn find_last_stamp(&self) -> Stamp {
        let of_events = self.ring.last_stamp(&self.source, &self.chunks);
        let of_looks = self.looks.iter().map(|look| look.stamp).max().unwrap_or(0);
        of_events.max(of_looks).max(self.header.clock_last.stamp)
    }

    /// The header, as it stood when the trace was opened.
    pub fn header(&self) -> &HeaderInfo {
        &self.header
    }

    /// The process and the machine; empty fields where the trace does not say.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Pools that the program told of, in the order in which they came.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Looks at the kernel's view, in order of time.
    pub fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// The objects that were loaded.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The call stacks: read now.
    pub fn stacks(&self) -> Stacks<'_> {
        let bytes = usize::try_from(self.stacks.bytes()).unwrap_or(usize::MAX);
        Stacks::new(self.stacks.read(&self.source, 0, bytes))
    }

    /// No frame has a higher number.
    pub fn most_frames(&self) -> u32 {
        let frames = self.stacks.bytes() / FRAME_BYTES as u64;
        u32::try_from(frames).unwrap_or(u32::MAX)
    }

    /// What stamps mean.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How the process ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The chunks that hold events, by lane and by order within it.
    pub fn chunks(&self) -> &[ChunkPlace] {
        &self.chunks
    }

    /// The bytes of a chunk, header included.
    pub fn chunk_bytes(&self, place: &ChunkPlace) -> Cow<'_, [u8]> {
        self.ring.chunk(&self.source, place)
    }

    /// Where in the file a chunk begins, in bytes.
    pub fn chunk_offset(&self, place: &ChunkPlace) -> u64 {
        self.ring.file_offset(place)
    }

    /// The blocks that were live when the kept events begin; `None`: all events are kept.
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// Size classes of the allocator, as far as they are known.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Threads whose names are not among the events that are kept, by index.
    pub fn threads(&self) -> &BTreeMap<u32, ThreadName> {
        &self.threads
    }

    /// What a child of fork has from its parent: all that happened until then is the parent's
    /// history, of which only what it led to counts.
    pub fn fork(&self) -> Option<&ForkInfo> {
        self.header.fork.as_ref()
    }

    /// The stamp from which on events are kept.
    pub fn kept_from(&self) -> Stamp {
        let start = self.clock.start_stamp();
        // In a damaged header the last stamp may lie before the start.
        let inside = |stamp: Stamp| stamp.max(start).min(self.last_stamp);
        self.base.as_ref().map_or(start, |base| inside(base.cut.stamp))
    }

    /// The stamp from which on the process's own events are kept.
    pub fn window_start(&self) -> Stamp {
        let forked = self.fork().map_or(0, |fork| fork.stamp.min(self.last_stamp));
        self.kept_from().max(forked)
    }

    /// The stamp of the last thing on record. Nothing later belongs to the trace, even if
    /// the process goes on and writes it.
    pub fn last_stamp(&self) -> Stamp {
        self.last_stamp
    }

    /// What could not be made sense of, in words, with offsets.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }
}
