//! What is kept of rare events that were folded: on mappings, and of threads' names.

use super::area::AreaBytes;
use super::base::{FoldedAway, FoldedEvent};
use super::source::Source;
use fragtrace_format::header::Area;
use fragtrace_format::record;
use fragtrace_format::threads::{ENTRY_BYTES, Entry};
use std::collections::BTreeMap;

/// A thread by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadName {
    /// The kernel's number.
    pub tid: u32,
    /// The kernel's name for it.
    pub name: Box<str>,
}

/// What areas of their own keep of them.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Events on mappings, in order of time.
    pub events: Vec<FoldedEvent>,
    /// Threads whose names are not among the events that are kept, by index.
    pub threads: BTreeMap<u32, ThreadName>,
}

impl Folded {
    /// Reads both areas. `half_bytes`: the regions area's halves.
    pub fn read(
        areas: &BTreeMap<Area, AreaBytes>,
        source: &Source,
        half_bytes: u64,
        base: &FoldedAway,
    ) -> Folded {
        let of = |area: Area| areas.get(&area).cloned().unwrap_or_default();
        let mut events = events(&of(Area::Regions), source, half_bytes, base.regions_to);
        events.extend_from_slice(&base.events);
        events.sort_by_key(|event| event.stamp);
        Folded { events, threads: threads(&of(Area::Threads), source) }
    }
}

/// Events of folds up to a number. The newer of two halves may overwrite the older at any
/// time: what does not end well is no damage.
fn events(area: &AreaBytes, source: &Source, half_bytes: u64, up_to: u64) -> Vec<FoldedEvent> {
    let mut runs = [area.part(0, half_bytes), area.part(half_bytes, half_bytes.saturating_mul(2))]
        .map(|run| half(&run, source, up_to));
    // Events of one lane may have one stamp: the older half stands in front.
    runs.sort_by_key(|run| run.first().map(|(fold, event)| (*fold, event.stamp)));
    runs.into_iter().flatten().map(|(_, event)| event).collect()
}

/// The events of one half, each with the number of its fold.
fn half(run: &AreaBytes, source: &Source, up_to: u64) -> Vec<(u64, FoldedEvent)> {
    let mut events = Vec::new();
    run.for_each_record(source, "folded event", &mut Vec::new(), |payload| {
        if let Some((event, _)) = record::decode::<record::FoldedEvent<'_>>(payload)
            && event.fold <= up_to
        {
            let record::FoldedEvent { fold, stamp, lane, event } = event;
            events.push((fold, FoldedEvent { stamp, lane, event: event.into() }));
        }
    });
    events
}

fn threads(area: &AreaBytes, source: &Source) -> BTreeMap<u32, ThreadName> {
    let bytes = area.read(source, 0, usize::try_from(area.bytes()).unwrap_or(0));
    bytes
        .chunks_exact(ENTRY_BYTES)
        .filter_map(Entry::read)
        .map(|entry| (entry.thread, ThreadName { tid: entry.tid, name: entry.name.into() }))
        .collect()
}
