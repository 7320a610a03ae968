//! The ring: where its chunks are, and the list of those in use, each lane's in their order.

use super::area::AreaBytes;
use super::source::Source;
use fragtrace_format::Stamp;
use fragtrace_format::chunk::{self, ChunkInfo};
use rayon::prelude::*;
use std::borrow::Cow;

/// A chunk in use, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Bytes from the start of the area of events.
    pub(super) area_offset: u64,
    /// What its header says.
    pub info: ChunkInfo,
    /// Bytes of its payload whose events are in the base.
    pub folded_bytes: u32,
}

/// Enough of a chunk for `chunk::read` to give its header.
const HEAD_BYTES: usize = chunk::HEADER_BYTES + 8;
const SMALL_RING_BYTES: u64 = 4 << 20;
/// A chunk's sequence stands at its start.
const SEQUENCE_BYTES: usize = 8;

/// The chunks' bytes: in the file, or copied from it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    area: AreaBytes,
    chunk_bytes: u64,
    copy: Option<Vec<u8>>,
}

impl Ring {
    pub fn new(area: AreaBytes, chunk_bytes: u64) -> Ring {
        Ring { area, chunk_bytes, copy: None }
    }

    /// Whether the ring may go round within the time that other threads take to wake up, on a
    /// machine whose processors are all busy: then one thread alone copies it sooner.
    fn is_small(&self) -> bool {
        self.area.bytes() <= SMALL_RING_BYTES
    }

    fn count(&self) -> u64 {
        self.area.bytes().div_ceil(self.chunk_bytes.max(1))
    }

    /// `len` bytes from `offset` on, fewer where the ring ends.
    fn read<'a>(&'a self, source: &'a Source, offset: u64, len: usize) -> Cow<'a, [u8]> {
        match &self.copy {
            Some(copy) => {
                let rest = copy.get(offset as usize..).unwrap_or(&[]);
                Cow::Borrowed(&rest[..len.min(rest.len())])
            }
            None => self.area.read(source, offset, len),
        }
    }

    /// The bytes of a chunk, header included.
    pub fn chunk<'a>(&'a self, source: &'a Source, place: &ChunkPlace) -> Cow<'a, [u8]> {
        self.read(source, place.area_offset, self.chunk_bytes as usize)
    }

    /// What stands now in the file where a chunk was: `None` when it is no chunk.
    pub fn info_now(&self, source: &Source, place: &ChunkPlace) -> Option<ChunkInfo> {
        let head = self.area.read(source, place.area_offset, HEAD_BYTES);
        chunk::read(&head).map(|(info, _)| info)
    }

    /// Where in the file a chunk begins.
    pub fn file_offset(&self, place: &ChunkPlace) -> u64 {
        self.area.file_offset(place.area_offset)
    }

    /// The chunk at an offset, if it is the same behind the reading as before: else it was
    /// folded and given back meanwhile.
    fn read_whole(&self, source: &Source, offset: u64) -> Option<Vec<u8>> {
        let bytes = self.area.read(source, offset, self.chunk_bytes as usize).into_owned();
        let sequence = self.area.read(source, offset, SEQUENCE_BYTES);
        let same = bytes.get(..SEQUENCE_BYTES).is_some_and(|first| *first == *sequence);
        same.then_some(bytes)
    }

    /// Copies all chunks to memory. Those that are given back meanwhile are left out.
    pub fn copy(&mut self, source: &Source) {
        let chunk_bytes = self.chunk_bytes as usize;
        let mut copy = vec![0; usize::try_from(self.area.bytes()).unwrap_or(0)];
        let copy_one = |(index, slot): (usize, &mut [u8])| {
            if let Some(bytes) = self.read_whole(source, index as u64 * self.chunk_bytes) {
                let len = bytes.len().min(slot.len());
                slot[..len].copy_from_slice(&bytes[..len]);
            }
        };
        if self.is_small() {
            copy.chunks_mut(chunk_bytes).enumerate().for_each(copy_one);
        } else {
            copy.par_chunks_mut(chunk_bytes).enumerate().for_each(copy_one);
        }
        self.copy = Some(copy);
    }

    /// Lists the chunks in use by lane, and by order within the lane.
    pub fn list(&self, source: &Source, damage: &mut Vec<String>) -> Vec<ChunkPlace> {
        let mut places: Vec<ChunkPlace> = (0..self.count())
            .filter_map(|index| {
                let area_offset = index * self.chunk_bytes;
                let head = self.read(source, area_offset, HEAD_BYTES);
                let (info, _) = chunk::read(&head)?;
                Some(ChunkPlace { area_offset, info, folded_bytes: 0 })
            })
            .collect();
        places.sort_by_key(|place| (place.info.lane, place.info.lane_seq, place.info.sequence));
        places.dedup_by(|later, earlier| {
            let same = (later.info.lane, later.info.lane_seq)
                == (earlier.info.lane, earlier.info.lane_seq);
            if same {
                damage.push(format!(
                    "two chunks say that they are number {} of lane {}; the one at {:#x} is left \
                     out",
                    earlier.info.lane_seq,
                    earlier.info.lane,
                    self.file_offset(earlier)
                ));
                // The chunk taken last is the true one.
                *earlier = *later;
            }
            same
        });
        places
    }

    /// The stamp of the last event: that of some lane's last chunk.
    pub fn last_stamp(&self, source: &Source, chunks: &[ChunkPlace]) -> Stamp {
        let last_of_lanes: Vec<&ChunkPlace> = chunks
            .chunk_by(|one, next| one.info.lane == next.info.lane)
            .filter_map(|lane| lane.last())
            .collect();
        let last_of_chunk = |place: &&ChunkPlace| {
            let bytes = self.read_whole(source, place.area_offset)?;
            let (info, mut decoder) = chunk::read(&bytes)?;
            while let Ok(Some(_)) = decoder.next_event() {}
            Some(decoder.state().stamp.max(info.state.stamp))
        };
        if self.is_small() {
            last_of_lanes.iter().filter_map(last_of_chunk).max().unwrap_or(0)
        } else {
            last_of_lanes.par_iter().filter_map(last_of_chunk).max().unwrap_or(0)
        }
    }
}
