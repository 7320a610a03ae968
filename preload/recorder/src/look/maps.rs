//! The mappings of the process: read a part at a time, and told by what changed.
//!
//! What was told is kept as starts and hashes, so that a look at a process with thousands of
//! mappings, of which one grew, takes a few dozen bytes. A look reads no more of the list than
//! takes it a fraction of a millisecond; the next one goes on there. So there are two lists in
//! memory, that of the last time around and that of this one, which takes its place at the end:
//!
//! ```text
//!  last time:  gone through ──────────► passed │ what the reader knows from here on
//!  this time:  ─────────────► read │            as told
//! ```
//!
//! Kernels before 6.11 tell the list as a whole or from its beginning: there it is read whole.

mod known;
mod lines;
mod part;
mod query;
#[cfg(test)]
mod tests;

pub(crate) use known::{EXECUTE, READ};
pub(super) use known::{HEAP_BYTES, Known};
pub(crate) use lines::{for_each_line, mapping};

use crate::file::{self, Private};
use core::ops::Range;
use fragtrace_format::record::MappingChange;
use part::Part;

/// Longer lists are not told: twice what the kernel allows by default.
const MAX_MAPPINGS: usize = 1 << 17;
const LIST_BYTES: usize = MAX_MAPPINGS * size_of::<Known>();
/// Mappings that a look reads, unless it is to read all.
const MOST_AT_ONCE: u32 = 768;

/// What a look read of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// The part of the address space that it knows now: all of it, where `to` is `u64::MAX` and
    /// `from` is 0.
    pub(super) from: u64,
    pub(super) to: u64,
    /// How many mappings it read.
    pub(super) mappings: u32,
    /// How many changes it told.
    pub(super) changes: u32,
}

/// How far reading has come.
pub(super) struct Maps {
    begun: bool,
    /// Whether the kernel answers for single mappings; `None`: it was not asked yet.
    answers: Option<bool>,
    /// Sum over the executable mappings of this time around, of the last one, and as it was asked
    /// about last.
    code_read: u32,
    code: u32,
    code_before: u32,
    /// Mappings that a look reads, unless it is to read all.
    most: u32,
    /// Which of the two lists in memory is that of the last time around.
    side: usize,
    told: usize,
    passed: usize,
    read: usize,
    /// The list, and what of it, that was read last.
    last: (usize, Range<usize>),
}

impl Maps {
    pub(super) const NEW: Maps = Maps {
        begun: false,
        answers: None,
        code_read: 0,
        code: 0,
        code_before: 0,
        most: MOST_AT_ONCE,
        side: 0,
        told: 0,
        passed: 0,
        read: 0,
        last: (0, 0..0),
    };

    fn begin(&mut self) -> bool {
        let start = file::private_start(Private::Maps);
        self.begun = self.begun || file::map_private(start, 2 * LIST_BYTES);
        self.begun
    }

    /// One of the two lists, as far as it is filled.
    fn list(&self, side: usize, count: usize) -> &'static mut [Known] {
        let start = file::private_start(Private::Maps) + side * LIST_BYTES;
        // SAFETY: mapped in `begin` for good, zeroed, which is a value; only the holder of the
        // look's lock comes here, and never has the same list twice.
        unsafe { core::slice::from_raw_parts_mut(start as *mut Known, count) }
    }

    /// What was read last.
    pub(super) fn last_read(&self) -> &'static mut [Known] {
        let (side, range) = &self.last;
        if self.begun { &mut self.list(*side, range.end)[range.clone()] } else { &mut [] }
    }

    /// Nothing was told.
    pub(super) fn forget(&mut self) {
        self.last = (0, 0..0);
        (self.told, self.passed, self.read, self.code_read) = (0, 0, 0, 0);
    }

    /// Reads on in the list, or `all` of it, and hands what changed since it was told last to
    /// `visit`, which says false when it has no room. `None`: the list is not known, or too long.
    pub(super) fn read(
        &mut self,
        text: &mut [u8],
        all: bool,
        visit: impl FnMut(&MappingChange<'_>) -> bool,
    ) -> Option<Listed> {
        self.last = (0, 0..0);
        if !self.begin() {
            return None;
        }
        if all {
            self.turn_back();
        }
        let mut part = Part::new(self, visit);
        let end = if part.from == 0 {
            part.read_lines(text, all, &mut self.answers)?
        } else {
            part.read_on(text)
        };
        let listed = part.finish(end);
        let (passed, read) = (self.passed + part.passed(), part.count);
        self.last = (1 - self.side, read - (part.mappings as usize).min(read)..read);
        (self.passed, self.read, self.code_read) = (passed, read, part.code);
        if listed.to == u64::MAX {
            (self.side, self.told) = (1 - self.side, read);
            (self.passed, self.read) = (0, 0);
            self.code = core::mem::take(&mut self.code_read);
        } else if read == MAX_MAPPINGS {
            self.turn_back();
        }
        Some(listed)
    }

    /// Begins at the start of the list again, with all that was told as one list.
    fn turn_back(&mut self) {
        if self.read == 0 && self.passed == 0 {
            return;
        }
        let (read, left) = (self.list(1 - self.side, self.read), self.told - self.passed);
        let told = self.list(self.side, MAX_MAPPINGS);
        let left = left.min(MAX_MAPPINGS - self.read);
        told.copy_within(self.passed..self.passed + left, self.read);
        told[..self.read].copy_from_slice(read);
        (self.told, self.passed, self.read, self.code_read) = (self.read + left, 0, 0, 0);
    }

    /// Whether the list is longer than what one look reads.
    pub(super) fn takes_several_looks(&self) -> bool {
        self.told.max(self.read) >= self.most as usize
    }

    /// Whether other code is mapped than when this was asked before; the first time, no.
    pub(super) fn code_changed(&mut self) -> bool {
        let before = core::mem::replace(&mut self.code_before, self.code);
        before != 0 && before != self.code
    }

    /// All mappings as they were told, in two parts.
    pub(super) fn known(&self) -> [&'static [Known]; 2] {
        if !self.begun {
            return [&[], &[]];
        }
        let told: &[Known] = self.list(self.side, self.told);
        [self.list(1 - self.side, self.read), &told[self.passed..]]
    }

    /// Bytes in our memory, about.
    pub(super) fn resident_bytes(&self) -> u64 {
        2 * ((self.told.max(self.read) * size_of::<Known>()) as u64).next_multiple_of(4096)
    }
}
