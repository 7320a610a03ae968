//! Looks at the kernel's view, with the mappings that they saw.

use super::area::AreaBytes;
use super::source::Source;
use fragtrace_format::Stamp;
use fragtrace_format::record::{self, LookCause, LookPart, MappingChange, PageSource};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Addresses of a process are below this power of two, with five-level page tables.
const ADDRESS_BITS: u32 = 57;

/// One look at the kernel's view. Sizes in bytes; `None` = the kernel did not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// When, in units of the trace.
    pub stamp: u64,
    /// CLOCK_MONOTONIC at the same moment.
    pub monotonic_ns: u64,
    /// Why it was taken.
    pub cause: LookCause,
    /// Anonymous pages of the resident set.
    pub rss_anon: Option<u64>,
    /// File pages of the resident set, the tracer's included.
    pub rss_file: Option<u64>,
    /// Shared memory pages of the resident set.
    pub rss_shmem: Option<u64>,
    /// The greatest resident set so far (VmHWM).
    pub rss_peak: Option<u64>,
    /// Swapped out.
    pub swapped: Option<u64>,
    /// The tracer's own resident pages.
    pub tracer_resident: u64,
    /// The end of the brk segment.
    pub brk_end: Option<u64>,
    /// Pages given back lazily.
    pub lazyfree: Option<u64>,
    /// Anonymous huge pages.
    pub anon_huge: Option<u64>,
    /// The part of the address space of which the list of mappings was read: of others what looks
    /// before say holds. Empty = it was not read.
    pub listed: Range<u64>,
    /// The mappings that begin there, rising; empty = never seen.
    pub mappings: Arc<[Mapping]>,
    /// How many of them the look read.
    pub mappings_read: u64,
    /// How many the process has, and when the part of the list was read of which that is longest
    /// ago; `None`: not all of it was read yet.
    pub mapping_count: Option<(u64, Stamp)>,
    /// Tiles of pages are told from here on as if none had been before.
    pub afresh: bool,
    /// Where it was found out which pages are in memory.
    pub scans: Vec<Scan>,
    /// How that was found out.
    pub page_source: PageSource,
    /// The scans came to the end of the process's memory.
    pub scans_end: bool,
    /// Heaps of secondary arenas of glibc that are new to looks: where each begins, and where the
    /// first heap of its arena does.
    pub arena_heaps: Vec<(u64, u64)>,
    /// What the allocator said of itself, where it was asked.
    pub allocator: Option<Arc<AllocatorView>>,
}

impl Look {
    /// `listed`, where the list was read as a whole.
    pub const WHOLE: Range<u64> = 0..u64::MAX;
}

/// What an allocator said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocatorView {
    /// When it was asked.
    pub stamp: u64,
    /// Its figures in bytes, by the names that it has for them, in its order.
    pub figures: Vec<(Box<str>, u64)>,
}

/// A stretch of address space in which it was found out which pages are in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Whole pages.
    pub range: Range<u64>,
    /// The tiles that changed: [`fragtrace_format::pages`].
    pub tiles: Box<[u8]>,
}

/// A mapping as /proc/self/maps shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last byte.
    pub end: u64,
    /// Whether the process may write there.
    pub writable: bool,
    /// Whether it may read, write or execute there at all.
    pub accessible: bool,
    /// Whether neither a file nor another process is behind it.
    pub private_anonymous: bool,
    /// Whether it is the initialised data of an object: a file's, to be written by this process
    /// alone.
    pub object_data: bool,
    /// Path, or the kernel's name in brackets, or empty.
    pub name: Box<str>,
}

impl Mapping {
    fn new(mapping: &record::Mapping<'_>) -> Mapping {
        const WRITE: u8 = 2;
        const ACCESS: u8 = 7;
        const SHARED: u8 = 8;
        Mapping {
            start: mapping.start,
            end: mapping.start.saturating_add(mapping.bytes),
            writable: mapping.permissions & WRITE != 0,
            accessible: mapping.permissions & ACCESS != 0,
            private_anonymous: mapping.inode == 0 && mapping.permissions & SHARED == 0,
            object_data: mapping.inode != 0 && mapping.permissions & (SHARED | WRITE) == WRITE,
            name: mapping.name.into(),
        }
    }
}

/// All looks on record, in order of time. `half_bytes`: the area is two halves of so many
/// bytes, used in turn, each a run of records of its own; 0: it is one run. `live`: a half may
/// be overwritten while it is read, so what does not end well is no damage.
pub(super) fn read(
    area: &AreaBytes,
    source: &Source,
    (half_bytes, live): (u64, bool),
    damage: &mut Vec<String>,
) -> Vec<Look> {
    let runs = match half_bytes {
        0 => vec![area.clone()],
        half => vec![area.part(0, half), area.part(half, half.saturating_mul(2))],
    };
    let mut found = Vec::new();
    let mut looks: Vec<Look> =
        runs.iter().flat_map(|run| read_run(run, source, &mut found)).collect();
    if !live {
        damage.append(&mut found);
    }
    looks.sort_by_key(|look| look.stamp);
    looks
}

/// Adds looks that another process took. They do not know the tracer's own pages.
pub(super) fn add_outside(
    looks: &mut Vec<Look>,
    area: &AreaBytes,
    source: &Source,
    damage: &mut Vec<String>,
) {
    looks.extend(read_run(area, source, damage));
    looks.sort_by_key(|look| look.stamp);
    let mut tracer_resident = 0;
    for look in looks {
        match look.cause {
            LookCause::Outside => look.tracer_resident = tracer_resident,
            _ => tracer_resident = look.tracer_resident,
        }
    }
}

/// Tells how many mappings there were at each look, in order of time; and equal lists of one part of
/// the address space are made one.
pub(super) fn join_lists(looks: &mut [Look]) {
    let mut known: BTreeMap<u64, Arc<[Mapping]>> = BTreeMap::new();
    let mut starts: Vec<u64> = Vec::new();
    let mut parts: Vec<(Range<u64>, Stamp)> = Vec::new();
    for look in looks {
        if !look.listed.is_empty() {
            let before = known.get(&look.listed.start);
            match before.filter(|before| **before == look.mappings) {
                Some(before) => look.mappings = before.clone(),
                None => drop(known.insert(look.listed.start, look.mappings.clone())),
            }
            read_again(&mut parts, &look.listed, look.stamp);
            let from = starts.partition_point(|start| *start < look.listed.start);
            let to = starts.partition_point(|start| *start < look.listed.end);
            starts.splice(from..to, look.mappings.iter().map(|mapping| mapping.start));
        }
        let listed: u64 = parts.iter().map(|(part, _)| part.end - part.start).sum();
        let oldest = parts.iter().map(|(_, stamp)| *stamp).min();
        let oldest = oldest.filter(|_| listed == u64::MAX);
        look.mapping_count = oldest.map(|oldest| (starts.len() as u64, oldest));
    }
}

/// A part of the address space was listed now; of others it stays as it was.
fn read_again(parts: &mut Vec<(Range<u64>, Stamp)>, listed: &Range<u64>, now: Stamp) {
    let left = |(part, stamp): (Range<u64>, Stamp)| {
        let below = part.start..part.end.min(listed.start);
        let above = part.start.max(listed.end)..part.end;
        [below, above].map(|part| (part, stamp))
    };
    let left = std::mem::take(parts).into_iter().flat_map(left);
    *parts = left.filter(|(part, _)| part.start < part.end).collect();
    parts.push((listed.clone(), now));
}

fn read_run(area: &AreaBytes, source: &Source, damage: &mut Vec<String>) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    let mut known: BTreeMap<u64, Mapping> = BTreeMap::new();
    let mut unreadable = 0u64;
    area.for_each_record(source, "look", damage, |payload| {
        match read_look(payload, looks.last(), &mut known) {
            Some(look) => looks.push(look),
            None => unreadable += 1,
        }
    });
    if unreadable > 0 {
        damage.push(format!("{unreadable} looks could not be read"));
    }
    looks
}

/// One record: the look, and what follows it. `known`: the mappings as of the look before.
fn read_look(
    payload: &[u8],
    before: Option<&Look>,
    known: &mut BTreeMap<u64, Mapping>,
) -> Option<Look> {
    let (look, mut at) = record::decode::<record::Look>(payload)?;
    if look.afresh {
        known.clear();
    }
    for _ in 0..look.changes {
        let (change, used) = record::decode::<MappingChange<'_>>(payload.get(at..)?)?;
        at += used;
        match change {
            MappingChange::Gone { start } => known.remove(&start),
            MappingChange::There(mapping) => known.insert(mapping.start, Mapping::new(&mapping)),
        };
    }
    let mut scans = Vec::new();
    for _ in 0..look.scans {
        let (scan, used) = record::decode::<record::Scan<'_>>(payload.get(at..)?)?;
        at += used;
        let end = scan.start.checked_add(scan.bytes).filter(|end| *end <= 1 << ADDRESS_BITS)?;
        let range = scan.start..end;
        scans.push(Scan { range, tiles: scan.tiles.into() });
    }
    let mut rest =
        Rest { allocator: None, listed: Look::WHOLE, mappings_read: None, arena_heaps: Vec::new() };
    if let Some(bytes) = payload.get(at..).filter(|bytes| !bytes.is_empty()) {
        rest.read(bytes)?;
    }
    let listed = rest.listed;
    let mappings: Arc<[Mapping]> = match before {
        Some(before) if look.changes == 0 && !look.afresh && before.listed == listed => {
            before.mappings.clone()
        }
        _ => known.range(listed.clone()).map(|(_, mapping)| mapping.clone()).collect(),
    };
    Some(Look {
        stamp: look.stamp,
        monotonic_ns: look.monotonic_ns,
        cause: look.cause,
        rss_anon: look.rss_anon,
        rss_file: look.rss_file,
        rss_shmem: look.rss_shmem,
        rss_peak: look.rss_peak,
        swapped: look.swapped,
        tracer_resident: look.tracer_resident,
        brk_end: look.brk_end,
        lazyfree: look.lazyfree,
        anon_huge: look.anon_huge,
        listed,
        mappings_read: rest.mappings_read.unwrap_or(mappings.len() as u64),
        mapping_count: None,
        mappings,
        afresh: look.afresh,
        scans,
        page_source: look.page_source,
        scans_end: look.scans_end,
        arena_heaps: rest.arena_heaps,
        allocator: rest.allocator,
    })
}

/// What follows the scans of a look.
struct Rest {
    allocator: Option<Arc<AllocatorView>>,
    listed: Range<u64>,
    mappings_read: Option<u64>,
    arena_heaps: Vec<(u64, u64)>,
}

impl Rest {
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (view, mut at) = record::decode::<record::AllocatorView>(bytes)?;
        let mut figures = Vec::new();
        for _ in 0..view.figures {
            let (figure, used) = record::decode::<record::Figure<'_>>(bytes.get(at..)?)?;
            at += used;
            figures.push((figure.name.into(), figure.bytes));
        }
        if !figures.is_empty() {
            self.allocator = Some(Arc::new(AllocatorView { stamp: view.stamp, figures }));
        }
        // Later tracers may tell more.
        while let Some((part, used)) = bytes.get(at..).and_then(record::decode::<LookPart>) {
            at += used;
            match part {
                LookPart::Listed { from, to, mappings } => {
                    self.listed = from..to.max(from);
                    self.mappings_read = Some(mappings.into());
                }
                LookPart::ArenaHeap { start, first_heap } => {
                    self.arena_heaps.push((start, first_heap));
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(stamp: Stamp, listed: Range<u64>, starts: &[u64]) -> Look {
        let mapping = |start: &u64| {
            Mapping::new(&record::Mapping { start: *start, bytes: 1, ..record::Mapping::default() })
        };
        Look { stamp, listed, mappings: starts.iter().map(mapping).collect(), ..Look::default() }
    }

    #[test]
    fn parts_of_a_list_are_counted_together_with_the_age_of_the_oldest() {
        let mut looks = [
            look(1, 0..10, &[2, 5]),
            look(2, 10..u64::MAX, &[12]),
            look(3, 0..0, &[]),
            look(4, 5..20, &[5, 7, 8]),
            look(5, 0..10, &[2, 5]),
            look(6, Look::WHOLE, &[1]),
        ];
        join_lists(&mut looks);
        let counts: Vec<_> = looks.iter().map(|look| look.mapping_count).collect();
        let expected = [None, Some((3, 1)), Some((3, 1)), Some((4, 1)), Some((2, 2)), Some((1, 6))];
        assert_eq!(counts, expected);
        assert!(Arc::ptr_eq(&looks[0].mappings, &looks[4].mappings), "equal lists are one");
    }
}
