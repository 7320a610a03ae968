//! Where blocks ever lay: what is to be drawn, also of regions that are gone.

use super::region::Kind;
use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of pages that ever held a block, by the kind of region they lay in first.
#[derive(Debug, Clone, Default)]
pub struct Territory {
    by_start: BTreeMap<u64, (u64, Kind)>,
}

impl Territory {
    /// Adds what of a range is not there yet.
    pub(super) fn add(&mut self, range: Range<u64>, kind: Kind) {
        let mut at = range.start;
        while at < range.end {
            let before = self.by_start.range_mut(..=at).next_back();
            if let Some((_, (end, _))) = &before
                && *end > at
            {
                at = *end;
                continue;
            }
            let mut extended = None;
            if let Some((start, (end, its_kind))) = before
                && *end == at
                && *its_kind == kind
            {
                extended = Some(*start);
            }
            let next = self.by_start.range(at..).next().map_or(range.end, |(start, _)| *start);
            let end = next.min(range.end);
            self.by_start.insert(extended.unwrap_or(at), (end, kind));
            at = end;
        }
    }

    /// The ranges in order of address. Neighbours of one kind may adjoin.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, Kind)> {
        self.by_start.iter().map(|(start, (end, kind))| (*start..*end, *kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_keep_their_first_kind() {
        let mut territory = Territory::default();
        territory.add(0x1000..0x2000, Kind::Brk);
        territory.add(0x2000..0x3000, Kind::Brk);
        territory.add(0x5000..0x6000, Kind::Arena);
        territory.add(0x2000..0x7000, Kind::Segment);
        let all: Vec<_> = territory.iter().collect();
        assert_eq!(
            all,
            [
                (0x1000..0x3000, Kind::Brk),
                (0x3000..0x5000, Kind::Segment),
                (0x5000..0x6000, Kind::Arena),
                (0x6000..0x7000, Kind::Segment),
            ]
        );
    }
}
