//! The list of chunks: where each lane's events are, in their order.

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

/// Lists the chunks in use by lane, and by order within the lane.
pub(super) fn list(
    area: &AreaBytes,
    source: &Source,
    chunk_bytes: u64,
    damage: &mut Vec<String>,
) -> Vec<ChunkPlace> {
    let mut places: Vec<ChunkPlace> = (0..area.bytes().div_ceil(chunk_bytes))
        .filter_map(|index| {
            let area_offset = index * chunk_bytes;
            let head = area.read(source, area_offset, HEAD_BYTES);
            let (info, _) = chunk::read(&head)?;
            Some(ChunkPlace { area_offset, info, folded_bytes: 0 })
        })
        .collect();
    places.sort_by_key(|place| (place.info.lane, place.info.lane_seq, place.info.sequence));
    places.dedup_by(|later, earlier| {
        let same =
            (later.info.lane, later.info.lane_seq) == (earlier.info.lane, earlier.info.lane_seq);
        if same {
            damage.push(format!(
                "two chunks say that they are number {} of lane {}; the one at {:#x} is left out",
                earlier.info.lane_seq,
                earlier.info.lane,
                area.file_offset(earlier.area_offset)
            ));
            // The chunk taken last is the true one.
            *earlier = *later;
        }
        same
    });
    places
}

/// The stamp of the last event: that of some lane's last chunk.
pub(super) fn last_stamp<'t>(
    chunks: &[ChunkPlace],
    bytes: impl Fn(&ChunkPlace) -> Cow<'t, [u8]> + Sync,
) -> Stamp {
    let last_of_lanes: Vec<&ChunkPlace> = chunks
        .chunk_by(|one, next| one.info.lane == next.info.lane)
        .filter_map(|lane| lane.last())
        .collect();
    let last_of_chunk = |place: &&ChunkPlace| {
        let bytes = bytes(place);
        let Some((info, mut decoder)) = chunk::read(&bytes) else { return 0 };
        while let Ok(Some(_)) = decoder.next_event() {}
        decoder.state().stamp.max(info.state.stamp)
    };
    last_of_lanes.par_iter().map(last_of_chunk).max().unwrap_or(0)
}
