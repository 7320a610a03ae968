//! The ring of a child of fork, whose file is a copy of its parent's: what was written before the
//! fork stays where it is, and all other chunks are spare.

use super::{CHUNK_BYTES, Chunk, POOL, RESIDENT, SPARE, SPARE_COUNT, ahead, chunks, map_links};
use crate::file::{self, Private};
use crate::{lane, sys};
use core::sync::atomic::Ordering::Relaxed;
use fragtrace_format::Stamp;
use fragtrace_format::chunk::FOLDED;
use fragtrace_format::event::Decoder;

const PAGE: usize = 4096;

/// A chunk and where it stands among those of its lane.
#[derive(Clone, Copy)]
#[repr(C)]
struct Member {
    lane_seq: u64,
    lane: u32,
    number: u32,
}

/// In a child of fork, whose file is a copy of its parent's: keeps what was written before the
/// fork, if it is all there, and makes all other chunks spare. `None`: there is no memory.
/// `Some(false)`: nothing is kept.
pub(crate) fn inherit(copied: bool) -> Option<bool> {
    SPARE.store(0, Relaxed);
    SPARE_COUNT.store(0, Relaxed);
    RESIDENT.store(0, Relaxed);
    ahead::forget_pauses();
    let backed = POOL.load(Relaxed) >> 32;
    file::handed_out(backed * CHUNK_BYTES.load(Relaxed));
    let (folds, lanes) = (file::header().folds.load(Relaxed), lane::count());
    let whole = copied
        && (1..=lanes).all(|number| match lane::inherited(number) {
            (0, _) => true,
            (cursor, sequence) => cut_behind(cursor, number, sequence, folds),
        })
        && (folds == 0 || nothing_newer_is_folded(folds, lanes));
    let taken = POOL.load(Relaxed) & 0xffff_ffff;
    let bytes = (taken as usize * size_of::<Member>()).next_multiple_of(PAGE);
    // The index is not there yet.
    let place = file::private_start(Private::Leaves);
    if !map_links() || bytes > 0 && !file::map_private(place, bytes) {
        return None;
    }
    // SAFETY: just mapped, zeroed, which is a value, and nobody else knows of it.
    let members = unsafe { core::slice::from_raw_parts_mut(place as *mut Member, taken as usize) };
    let mut count = 0;
    for number in 1..=taken as u32 {
        match member(number, folds).filter(|_| whole) {
            Some(member) => {
                members[count] = member;
                count += 1;
            }
            None => {
                Chunk::numbered(number).header().retire();
                chunks().give(number);
            }
        }
    }
    let mut members = &mut members[..count];
    sort(members);
    let whole = whole && are_gapless(members, lanes);
    if !whole {
        for member in core::mem::take(&mut members) {
            Chunk::numbered(member.number).header().retire();
            chunks().give(member.number);
        }
        // A child of this one's goes on from what this one has.
        (1..=lanes).for_each(lane::disinherit);
    }
    for lane in members.chunk_by(|one, next| one.lane == next.lane) {
        let first = lane::adopt(lane[0].lane);
        let mut last = 0;
        for member in lane {
            chunks().append(first, last, member.number);
            last = member.number;
        }
    }
    sys::unmap(place, bytes);
    Some(whole)
}

/// Whether each lane that was ever written has its open chunk among these, sorted, and none is
/// missing between that and the first: the parent may have been at a chunk's header just when
/// that was copied.
fn are_gapless(members: &[Member], lanes: u32) -> bool {
    let open = |lane: u32| Chunk::around(lane::inherited(lane).0).map(|chunk| chunk.number());
    let written = (1..=lanes).filter(|lane| open(*lane).is_some()).count();
    let mut whole = members.chunk_by(|one, next| one.lane == next.lane);
    whole.clone().count() == written
        && whole.all(|lane| {
            lane.last().map(|last| last.number) == open(lane[0].lane)
                && lane.windows(2).all(|pair| pair[0].lane_seq + 1 == pair[1].lane_seq)
        })
}

/// By lane, and by place on that. Shell's sort: core's would be a tenth of all our code.
fn sort(members: &mut [Member]) {
    let key = |member: &Member| (member.lane, member.lane_seq);
    let mut gap = members.len() / 2;
    while gap > 0 {
        for end in gap..members.len() {
            let mut at = end;
            while at >= gap && key(&members[at - gap]) > key(&members[at]) {
                members.swap(at - gap, at);
                at -= gap;
            }
        }
        gap /= 2;
    }
}

/// Clears what a lane's open chunk has behind its end at the fork. False: the chunk is another
/// by now, or is folded beyond.
fn cut_behind(cursor: usize, lane: u32, sequence: u64, folds: u64) -> bool {
    let Some(chunk) = Chunk::around(cursor) else { return false };
    let (found, of, _) = chunk.header().place();
    let written = cursor - chunk.first();
    let folded = chunk.header().folded(folds as usize) as usize;
    if found == 0 || found > sequence || of != lane || folds > 0 && folded > written {
        return false;
    }
    let end = chunk.address() + CHUNK_BYTES.load(Relaxed) as usize;
    // SAFETY: inside the chunk, which nobody writes any more.
    unsafe { core::ptr::write_bytes(cursor as *mut u8, 0, end - cursor) };
    true
}

/// Whether what is folded ends where the lanes do, or before. A thread that the parent began
/// after the fork may have had all that was folded since, on a lane that the child knows nothing
/// of.
fn nothing_newer_is_folded(folds: u64, lanes: u32) -> bool {
    let cut = file::header().cuts[(folds & 1) as usize].stamp();
    (1..=lanes).any(|number| last_stamp(lane::inherited(number).0) >= Some(cut))
}

/// The stamp of the last event before a lane's cursor.
fn last_stamp(cursor: usize) -> Option<Stamp> {
    let chunk = Chunk::around(cursor)?;
    let written = cursor.checked_sub(chunk.first())?;
    // SAFETY: inside the chunk, which nobody writes any more.
    let bytes = unsafe { core::slice::from_raw_parts(chunk.first() as *const u8, written) };
    let mut decoder = Decoder::new(bytes, chunk.header().state());
    while let Ok(Some(_)) = decoder.next_event() {}
    Some(decoder.state().stamp)
}

/// What a chunk is, if it was written before the fork and is not folded as a whole.
fn member(number: u32, folds: u64) -> Option<Member> {
    let header = Chunk::numbered(number).header();
    let (sequence, lane, lane_seq) = header.place();
    if sequence == 0 || lane == 0 || lane > lane::count() {
        return None;
    }
    let open = Chunk::around(lane::inherited(lane).0)?;
    let (_, _, open_seq) = open.header().place();
    let folded = if folds == 0 { 0 } else { header.folded(folds as usize) };
    if lane_seq > open_seq || folded == FOLDED {
        return None;
    }
    // The other word is as old as the fold before.
    header.set_folded(0, folded);
    header.set_folded(1, folded);
    Some(Member { lane_seq, lane, number })
}
