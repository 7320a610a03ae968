//! Lanes of threads that are not there: a test says what happens on them, and when.

use super::super::hand_out::{lane_at, obtain};
use super::{Acquire, Encoded, Flags, Relaxed, cold_within, release_block, say};
use fragtrace_format::Stamp;
use fragtrace_format::record::Cold;

/// A new lane.
pub(crate) fn open() -> u32 {
    obtain().map_or(0, |lane| lane.index.load(Relaxed))
}

/// Makes a thread the lane's, and says so on it.
pub(crate) fn hand_over(lane: u32, stamp: Stamp, thread: u32) {
    let lane = lane_at(lane);
    lane.thread.store(thread, Relaxed);
    cold_within(lane, stamp, &Cold::Thread { thread, tid: 0, name: "" });
}

pub(crate) fn acquire(lane: u32, stamp: Stamp, block: &Acquire) {
    let lane = lane_at(lane);
    say(lane, stamp, |state| {
        Encoded::acquire(state, stamp, block, lane.stack.load(Relaxed) == block.stack)
    });
    lane.stack.store(block.stack, Relaxed);
}

pub(crate) fn release(lane: u32, stamp: Stamp, address: u64, flags: Flags) {
    release_block(lane_at(lane), stamp, address as usize, flags);
}

pub(crate) fn cold(lane: u32, stamp: Stamp, event: &Cold<'_>) {
    cold_within(lane_at(lane), stamp, event);
}
