//! Areas: the segments that belong together, laid end to end.

use super::source::Source;
use fragtrace_format::header::{Area, HeaderInfo, Segment};
use fragtrace_format::record::{FRAME_BYTES, MAX_RECORD_BYTES, Records};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Where an area's bytes are in the file.
#[derive(Debug, Clone, Default)]
pub(super) struct AreaBytes {
    segments: Vec<Segment>,
    bytes: u64,
}

/// Reads the segment table. Segments that reach beyond the file are clipped, those that
/// overlap others are left out: else one part of a damaged file could be read many times.
pub(super) fn find(
    header: &HeaderInfo,
    head: &[u8],
    file_bytes: u64,
    damage: &mut Vec<String>,
) -> BTreeMap<Area, AreaBytes> {
    let mut areas: BTreeMap<Area, AreaBytes> = BTreeMap::new();
    let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
    let mut missing = 0;
    for index in 0..header.segment_count {
        let segment = match header.segment(head, index) {
            Ok(segment) => segment,
            Err(_) => {
                damage.push(format!("entry {index} of the segment table names no area"));
                continue;
            }
        };
        let there = segment.bytes.min(file_bytes.saturating_sub(segment.file_offset));
        missing += segment.bytes - there;
        if there == 0 {
            continue;
        }
        let end = segment.file_offset + there;
        if taken.range(..end).next_back().is_some_and(|(_, e)| *e > segment.file_offset) {
            damage.push(format!("segment {index} at {:#x} overlaps another", segment.file_offset));
            continue;
        }
        taken.insert(segment.file_offset, end);
        let area = areas.entry(segment.area).or_default();
        area.segments.push(Segment { bytes: there, ..segment });
        area.bytes += there;
    }
    if missing > 0 {
        damage.push(format!(
            "the file ends at {file_bytes:#x}, {missing} bytes short: it was cut, and what stood \
             there is lost"
        ));
    }
    areas
}

impl AreaBytes {
    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The part of the area from `start` to `end`, or to where the area ends.
    pub fn part(&self, start: u64, end: u64) -> AreaBytes {
        let mut part = AreaBytes::default();
        let mut at = 0u64;
        for segment in &self.segments {
            let segment_end = at.saturating_add(segment.bytes);
            let (from, to) = (start.max(at), end.min(segment_end));
            if from < to {
                let file_offset = segment.file_offset + (from - at);
                part.segments.push(Segment { file_offset, bytes: to - from, ..*segment });
                part.bytes += to - from;
            }
            at = segment_end;
        }
        part
    }

    /// The segment that holds an offset into the area, and the offset into that segment.
    fn locate(&self, mut offset: u64) -> Option<(usize, u64)> {
        for (index, segment) in self.segments.iter().enumerate() {
            if offset < segment.bytes {
                return Some((index, offset));
            }
            offset -= segment.bytes;
        }
        None
    }

    /// Where in the file an offset into the area is; the area's end for those beyond it.
    pub fn file_offset(&self, offset: u64) -> u64 {
        match self.locate(offset) {
            Some((index, within)) => self.segments[index].file_offset + within,
            None => self.segments.last().map_or(0, |last| last.file_offset + last.bytes),
        }
    }

    /// `len` bytes from `offset` on; fewer where the area ends.
    pub fn read<'s>(&self, source: &'s Source, offset: u64, len: usize) -> Cow<'s, [u8]> {
        let Some((first, within)) = self.locate(offset) else { return Cow::Borrowed(&[]) };
        let left = self.segments[first].bytes - within;
        let start = self.segments[first].file_offset + within;
        if len as u64 <= left || first + 1 == self.segments.len() {
            return source.read(start, len.min(usize::try_from(left).unwrap_or(usize::MAX)));
        }
        let mut joined = source.read(start, left as usize).into_owned();
        for segment in &self.segments[first + 1..] {
            let wanted = (len - joined.len()).min(usize::try_from(segment.bytes).unwrap_or(len));
            joined.extend_from_slice(&source.read(segment.file_offset, wanted));
            if joined.len() >= len {
                break;
            }
        }
        Cow::Owned(joined)
    }

    /// Hands the area's records to `each`, in order. Ends at the first empty or damaged
    /// frame; damage is noted.
    pub fn for_each_record(
        &self,
        source: &Source,
        name: &str,
        damage: &mut Vec<String>,
        mut each: impl FnMut(&[u8]),
    ) {
        const WINDOW: usize = 64 << 10;
        let mut at = 0;
        let mut window = WINDOW;
        while at < self.bytes {
            let bytes = self.read(source, at, window);
            let mut records = Records::new(&bytes);
            for payload in records.by_ref() {
                each(payload);
            }
            // Padding may be cut off where the area ends.
            let rest = bytes.get(records.offset()..).unwrap_or(&[]);
            at += records.offset() as u64;
            if records.offset() > 0 {
                window = WINDOW;
            } else if rest.iter().take(FRAME_BYTES).all(|byte| *byte == 0) {
                return;
            } else if window < MAX_RECORD_BYTES && (bytes.len() as u64) < self.bytes - at {
                // The record may be longer than the window.
                window = MAX_RECORD_BYTES + FRAME_BYTES;
            } else {
                let offset = self.file_offset(at);
                damage.push(format!("damaged {name} at {offset:#x}: what follows it is lost"));
                return;
            }
        }
    }
}
