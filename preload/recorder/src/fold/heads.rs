//! The lanes that may have events, the one with the earliest stamp first: a binary heap in
//! mapped memory.

use crate::lane;
use fragtrace_format::Stamp;

/// A lane that may have events: none has an earlier stamp.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    stamp: Stamp,
    lane: u64,
}

/// The heap. All zero: empty.
#[repr(C)]
pub(super) struct Heads {
    count: usize,
    heap: [Head; lane::MAX_LANES],
}

impl Heads {
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    pub(super) fn push(&mut self, stamp: Stamp, lane: u32) {
        let mut at = self.count;
        self.count += 1;
        while at > 0 && self.heap[(at - 1) / 2].stamp > stamp {
            self.heap[at] = self.heap[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        self.heap[at] = Head { stamp, lane: u64::from(lane) };
    }

    /// Takes the lane that comes first.
    pub(super) fn pop(&mut self) -> Option<(Stamp, u32)> {
        let count = self.count.checked_sub(1)?;
        self.count = count;
        let heap = &mut self.heap;
        let (first, last) = (heap[0], heap[count]);
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= count {
                break;
            }
            if child + 1 < count && heap[child + 1].stamp < heap[child].stamp {
                child += 1;
            }
            if heap[child].stamp >= last.stamp {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = last;
        Some((first.stamp, first.lane as u32))
    }

    /// The earliest stamp.
    pub(super) fn first_stamp(&self) -> Option<Stamp> {
        (self.count > 0).then(|| self.heap[0].stamp)
    }
}
