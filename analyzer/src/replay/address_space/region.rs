//! Regions: stretches of address space by what they are for.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The heap that brk grows.
    Brk,
    /// A heap of a secondary arena of glibc.
    Arena,
    /// The own mapping of one large block.
    MappedBlock,
    /// A mapping in which an allocator puts blocks.
    Segment,
    /// A mapping that the program made and that holds no block so far.
    Mapping,
}

impl Kind {
    /// Whether it counts as heap.
    pub fn is_heap(self) -> bool {
        self != Kind::Mapping
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Brk => "brk heap",
            Kind::Arena => "arena heap",
            Kind::MappedBlock => "mapped block",
            Kind::Segment => "allocator segment",
            Kind::Mapping => "mapping",
        }
    }
}

/// A region, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Address behind the last byte.
    pub end: u64,
    /// What it is.
    pub kind: Kind,
    /// Whether the program may read or write there at all.
    pub accessible: bool,
    /// Common to the pieces of what was one mapping.
    pub mapping: u64,
}

/// So many changes are kept, then what they come to; of more than half as many nothing: then all is
/// looked at anew.
const MAX_CHANGES: usize = 256;

/// A range became heap, or is none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub range: Range<u64>,
    /// It became heap.
    pub added: bool,
}

/// All regions that are known, by start. None overlap.
#[derive(Debug, Clone, Default)]
pub struct Regions {
    /// What became heap and what is none any more, since that was asked for last.
    changes: Vec<Change>,
    /// There were more.
    too_many_changes: bool,
    by_start: BTreeMap<u64, Region>,
    /// How often a region came or went.
    edits: u64,
    reserved_bytes: u64,
    mapped_bytes: u64,
    last_mapping: u64,
}

impl Regions {
    /// Bytes of heap regions, inaccessible parts included.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes
    }

    /// Bytes of heap regions that are accessible.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }

    /// A number for a mapping that was not there before.
    pub fn new_mapping(&mut self) -> u64 {
        self.last_mapping += 1;
        self.last_mapping
    }

    fn tally(&mut self, start: u64, region: &Region, add: bool) {
        if !region.kind.is_heap() {
            return;
        }
        self.changes.push(Change { range: start..region.end, added: add });
        if self.changes.len() > MAX_CHANGES {
            self.changes = net(&self.changes);
            if self.changes.len() > MAX_CHANGES / 2 {
                self.changes.clear();
                self.too_many_changes = true;
            }
        }
        let bytes = region.end - start;
        let mapped = if region.accessible { bytes } else { 0 };
        if add {
            self.reserved_bytes += bytes;
            self.mapped_bytes += mapped;
        } else {
            self.reserved_bytes -= bytes;
            self.mapped_bytes -= mapped;
        }
    }

    /// What became heap, or is none any more, since this was asked for last; `None`: too much.
    pub fn take_changes(&mut self) -> Option<Vec<Change>> {
        let changes = net(&std::mem::take(&mut self.changes));
        (!std::mem::take(&mut self.too_many_changes)).then_some(changes)
    }

    /// A number that is another one after every change.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    fn add(&mut self, start: u64, region: Region) {
        self.edits += 1;
        self.tally(start, &region, true);
        self.by_start.insert(start, region);
    }

    fn take(&mut self, start: u64) -> Option<Region> {
        let region = self.by_start.remove(&start)?;
        self.edits += 1;
        self.tally(start, &region, false);
        Some(region)
    }

    /// The region at an address, with its start.
    pub fn at(&self, address: u64) -> Option<(u64, Region)> {
        self.before(address).filter(|(_, region)| address < region.end)
    }

    /// The last region that begins at an address or before it.
    pub fn before(&self, address: u64) -> Option<(u64, Region)> {
        self.by_start.range(..=address).next_back().map(|(start, region)| (*start, *region))
    }

    /// The first region that begins at an address or behind it.
    pub fn next_from(&self, address: u64) -> Option<(u64, Region)> {
        self.by_start.range(address..).next().map(|(start, region)| (*start, *region))
    }

    /// Regions that have a part in a range, with their starts.
    pub fn within(&self, range: &Range<u64>) -> Vec<(u64, Region)> {
        let first = self.at(range.start).map_or(range.start, |(start, _)| start);
        let first = first.min(range.end);
        self.by_start.range(first..range.end).map(|(start, region)| (*start, *region)).collect()
    }

    /// All regions, with their starts.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Region)> {
        self.by_start.iter().map(|(start, region)| (*start, region))
    }

    /// Takes what lies in a range out, and gives it back in pieces.
    pub fn carve(&mut self, range: &Range<u64>) -> Vec<(u64, Region)> {
        let mut carved = Vec::new();
        for (start, region) in self.within(range) {
            self.take(start);
            if start < range.start {
                self.add(start, Region { end: range.start, ..region });
            }
            if region.end > range.end {
                self.add(range.end, region);
            }
            carved.push((
                start.max(range.start),
                Region { end: region.end.min(range.end), ..region },
            ));
        }
        carved
    }

    /// Puts a region where nothing else stays.
    pub fn put(&mut self, start: u64, region: Region) {
        if start < region.end {
            self.carve(&(start..region.end));
            self.add(start, region);
        }
    }

    /// Changes whether a range is accessible, where there are regions.
    pub fn set_access(&mut self, range: &Range<u64>, accessible: bool) {
        if self.move_edge(range, accessible) {
            return;
        }
        for (start, region) in self.carve(range) {
            self.add(start, Region { accessible, ..region });
        }
    }

    /// What is accessible of a mapping takes a range of the rest, or loses it, as heaps grow page by page:
    /// the edge between two pieces moves, and there are no more of them. False: it is another case.
    fn move_edge(&mut self, range: &Range<u64>, accessible: bool) -> bool {
        let Some(region) = self.by_start.get(&range.start).copied() else { return false };
        let before = self.by_start.range_mut(..range.start).next_back();
        let adjoins = |before: &Region| {
            before.end == range.start
                && *before == Region { end: before.end, accessible, ..region }
                && region.accessible != accessible
                && range.end <= region.end
        };
        let Some((_, before)) = before.filter(|(_, before)| adjoins(before)) else { return false };
        before.end = range.end;
        self.by_start.remove(&range.start);
        if range.end < region.end {
            self.by_start.insert(range.end, region);
        }
        self.edits += 1;
        if region.kind.is_heap() {
            let bytes = range.end - range.start;
            let added = if accessible { bytes } else { bytes.wrapping_neg() };
            self.mapped_bytes = self.mapped_bytes.wrapping_add(added);
        }
        true
    }

    /// A block lies in this mapping: all of its pieces are an allocator's segment. Where.
    pub fn adopt(&mut self, address: u64) -> Vec<Range<u64>> {
        let Some((_, found)) = self.at(address) else { return Vec::new() };
        let of_mapping = |(_, region): &(&u64, &Region)| region.mapping == found.mapping;
        // Pieces of one mapping adjoin, or have at most holes between them.
        let below = self.by_start.range(..=address).rev().take_while(of_mapping);
        let above = self.by_start.range(address + 1..).take_while(of_mapping);
        let starts: Vec<u64> = below.chain(above).map(|(start, _)| *start).collect();
        let mut adopted = Vec::new();
        for start in starts {
            if let Some(region) = self.take(start) {
                self.add(start, Region { kind: Kind::Segment, ..region });
                adopted.push(start..region.end);
            }
        }
        adopted
    }
}

/// What changes come to: ranges that are heap now and were not, and those that were. Regions do
/// not overlap, so at each address heap comes and goes in turn.
fn net(changes: &[Change]) -> Vec<Change> {
    let sign = |added: bool| if added { 1 } else { -1 };
    let mut steps: Vec<(u64, i32)> = changes
        .iter()
        .flat_map(|Change { range, added }| {
            [(range.start, sign(*added)), (range.end, -sign(*added))]
        })
        .collect();
    steps.sort_unstable();
    let mut ranges: Vec<Change> = Vec::new();
    let (mut sum, mut from) = (0, 0);
    for (at, step) in steps {
        let added = sum > 0;
        match ranges.last_mut() {
            _ if sum == 0 || from == at => {}
            Some(last) if last.range.end == from && last.added == added => last.range.end = at,
            _ => ranges.push(Change { range: from..at, added }),
        }
        (sum, from) = (sum + step, at);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(end: u64, kind: Kind, mapping: u64) -> Region {
        Region { end, kind, accessible: true, mapping }
    }

    #[test]
    fn carving_splits_and_sums_follow() {
        let mut regions = Regions::default();
        regions.put(0x1000, region(0x9000, Kind::Segment, 1));
        assert_eq!(regions.carve(&(0x3000..0x5000)), [(0x3000, region(0x5000, Kind::Segment, 1))]);
        assert_eq!(regions.at(0x2fff), Some((0x1000, region(0x3000, Kind::Segment, 1))));
        assert_eq!(regions.at(0x3000), None);
        assert_eq!(regions.at(0x5000), Some((0x5000, region(0x9000, Kind::Segment, 1))));
        assert_eq!((regions.reserved_bytes(), regions.mapped_bytes()), (0x6000, 0x6000));
        regions.set_access(&(0..0x2000), false);
        assert_eq!((regions.reserved_bytes(), regions.mapped_bytes()), (0x6000, 0x5000));
    }

    #[test]
    fn a_heap_that_grows_stays_in_two_pieces() {
        let mut regions = Regions::default();
        regions.put(0x1000, Region { accessible: false, ..region(0x9000, Kind::Arena, 1) });
        for page in 1..8 {
            regions.set_access(&(page * 0x1000..(page + 1) * 0x1000), true);
            assert_eq!((regions.mapped_bytes(), regions.iter().count()), (page * 0x1000, 2));
        }
        assert_eq!(
            regions.take_changes(),
            Some(vec![Change { range: 0x1000..0x9000, added: true }])
        );
        regions.set_access(&(0x8000..0x9000), true);
        assert_eq!((regions.mapped_bytes(), regions.iter().count()), (0x8000, 1));
        regions.put(0x9000, Region { accessible: false, ..region(0xa000, Kind::Arena, 2) });
        regions.set_access(&(0x9000..0xa000), true);
        assert_eq!(regions.iter().count(), 2, "of another mapping");
    }

    #[test]
    fn a_block_makes_its_mapping_a_segment_and_no_other() {
        let mut regions = Regions::default();
        regions.put(0x1000, region(0x2000, Kind::Mapping, 1));
        regions.put(0x2000, region(0x8000, Kind::Mapping, 2));
        regions.set_access(&(0x4000..0x5000), false);
        regions.adopt(0x6000);
        assert_eq!((regions.reserved_bytes(), regions.mapped_bytes()), (0x6000, 0x5000));
        assert_eq!(regions.at(0x1000).map(|(_, r)| r.kind), Some(Kind::Mapping));
    }

    #[test]
    fn what_was_there_before_and_is_there_again_is_no_change() {
        let change = |range, added| Change { range, added };
        assert_eq!(net(&[change(10..20, false), change(10..30, true)]), [change(20..30, true)]);
        assert_eq!(net(&[change(10..30, false), change(10..20, true)]), [change(20..30, false)]);
        assert_eq!(net(&[change(10..30, true), change(10..30, false)]), []);
        assert_eq!(
            net(&[change(0..10, false), change(0..4, true), change(6..12, true)]),
            [change(4..6, false), change(10..12, true)]
        );
    }
}
