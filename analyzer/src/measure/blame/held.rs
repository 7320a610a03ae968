//! The pages that count: those of the heap that are in memory, as scans found them; where no
//! scan is on record yet, those of the footprint, which were touched and not given back.

use crate::replay::AddressSpace;
use std::ops::Range;

/// Ranges of pages that are held, in order, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    ranges: Vec<Range<u64>>,
    pages: u64,
    resident: bool,
}

impl Held {
    /// The pages of the heap that hold memory.
    pub fn of(space: &AddressSpace, page_bytes: u64) -> Held {
        let mut held = Held { resident: space.residency().is_some(), ..Held::default() };
        space.for_each_stretch(0..u64::MAX, |stretch| {
            if if held.resident { stretch.resident } else { stretch.touched } {
                let end = stretch.start + stretch.bytes;
                held.add(stretch.start / page_bytes..end.div_ceil(page_bytes));
            }
        });
        held
    }

    /// Adds pages behind those before, or overlapping the last of them.
    fn add(&mut self, range: Range<u64>) {
        match self.ranges.last_mut() {
            Some(last) if range.start <= last.end => {
                self.pages += range.end.saturating_sub(last.end);
                last.end = last.end.max(range.end);
            }
            _ => {
                self.pages += range.end - range.start;
                self.ranges.push(range);
            }
        }
    }

    /// Whether they were found in memory; if not, they are the footprint.
    pub fn is_resident(&self) -> bool {
        self.resident
    }

    /// How many there are.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// How many of the pages `from..to` are held.
    pub fn pages_in(&self, from: u64, to: u64) -> u64 {
        let at = self.ranges.partition_point(|range| range.end <= from);
        Cursor { ranges: &self.ranges[at..] }.pages_in(from, to)
    }

    /// For questions in rising order.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { ranges: &self.ranges }
    }
}

/// Answers questions in rising order, each in constant time on average.
#[derive(Debug)]
pub struct Cursor<'a> {
    ranges: &'a [Range<u64>],
}

impl Cursor<'_> {
    /// How many of the pages `from..to` are held; `from` never falls.
    pub fn pages_in(&mut self, from: u64, to: u64) -> u64 {
        while let Some((first, rest)) = self.ranges.split_first()
            && first.end <= from
        {
            self.ranges = rest;
        }
        let parts = self.ranges.iter().take_while(|range| range.start < to);
        parts.map(|range| range.end.min(to) - range.start.max(from)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_in_rising_order() {
        let mut held = Held::default();
        for range in [2..4, 4..5, 9..12, 11..13] {
            held.add(range);
        }
        assert_eq!((held.pages(), held.ranges.len()), (7, 2));
        let mut cursor = held.cursor();
        let counts = [(0, 2), (1, 3), (3, 10), (5, 9), (12, 99), (50, 60)];
        assert_eq!(counts.map(|(from, to)| cursor.pages_in(from, to)), [0, 1, 3, 0, 1, 0]);
        assert_eq!(held.pages_in(2, 13), 7);
        assert_eq!(held.pages_in(4, 5), 1);
    }
}
