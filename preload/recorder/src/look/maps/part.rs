//! The part of the list of mappings that one look reads: each is compared with what was told of it
//! before, and what changed is handed on.

use super::known::{HEAP_BYTES, Known};
use super::lines::{for_each_line, mapping};
use super::query::Questions;
use super::{Listed, MAX_MAPPINGS, Maps};
use crate::{file, sys};
use fragtrace_format::record::{Mapping, MappingChange};

/// The time that a look takes for asking for single mappings.
const MOST_NS: u64 = 300_000;
const BETWEEN_CLOCKS: u32 = 64;
/// Mappings in one stretch of [`HEAP_BYTES`] belong together: where a part ends inside of one, the
/// next part begins with it again, if these are no more than this.
const MOST_AGAIN: usize = 16;

/// The part of the list that one look reads.
pub(super) struct Part<V> {
    visit: V,
    most: u32,
    pub(super) from: u64,
    /// What was told before of this part: what is read once more, then the last time's.
    again: [Known; MOST_AGAIN],
    again_len: usize,
    told: &'static [Known],
    /// So many of those were gone through.
    old: usize,
    /// This time's list, and how many it has.
    pub(super) read: &'static mut [Known],
    pub(super) count: usize,
    pub(super) code: u32,
    pub(super) mappings: u32,
    changes: u32,
    /// There was no room for a change at this address.
    full_at: Option<u64>,
}

/// Where reading stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Somewhere.
    Here,
    /// At the end of the list.
    OfList,
}

impl<V: FnMut(&MappingChange<'_>) -> bool> Part<V> {
    pub(super) fn new(maps: &Maps, visit: V) -> Part<V> {
        let read = maps.list(1 - maps.side, MAX_MAPPINGS);
        let told: &[Known] = maps.list(maps.side, maps.told);
        let mut part = Part {
            visit,
            most: maps.most,
            from: 0,
            again: [Known::default(); MOST_AGAIN],
            again_len: 0,
            told: &told[maps.passed..],
            old: 0,
            read,
            count: maps.read,
            code: maps.code_read,
            mappings: 0,
            changes: 0,
            full_at: None,
        };
        part.go_back();
        part
    }

    /// The last mappings that were read are read again: the last one, which may have changed as
    /// its neighbour has, and those in one stretch with it.
    fn go_back(&mut self) {
        let Some(last) = self.read[..self.count].last() else { return };
        let together = (last.end - 1) & !(HEAP_BYTES - 1);
        let recent = &self.read[self.count.saturating_sub(MOST_AGAIN)..self.count];
        let before = recent.partition_point(|known| known.start < together);
        let again = &recent[before.min(recent.len() - 1)..];
        self.again[..again.len()].copy_from_slice(again);
        self.again_len = again.len();
        self.count -= again.len();
        self.from = self.again[0].start;
        for known in &self.again[..self.again_len] {
            self.code = self.code.wrapping_sub(known.code());
        }
    }

    /// What was told before, one by one in order of address.
    fn before(&self) -> Option<Known> {
        match self.old.checked_sub(self.again_len) {
            None => Some(self.again[self.old]),
            Some(at) => self.told.get(at).copied(),
        }
    }

    /// So many of the last time's list were gone through.
    pub(super) fn passed(&self) -> usize {
        self.old.saturating_sub(self.again_len)
    }

    fn tell(&mut self, change: &MappingChange<'_>) -> bool {
        if self.full_at.is_none() && (self.visit)(change) {
            self.changes += 1;
            return true;
        }
        let (MappingChange::Gone { start } | MappingChange::There(Mapping { start, .. })) = *change;
        self.full_at = self.full_at.or(Some(start));
        false
    }

    /// What was told of addresses below this one and was not found is gone. False: no room.
    fn pass(&mut self, address: u64) -> bool {
        while let Some(gone) = self.before().filter(|before| before.start < address) {
            if !self.tell(&MappingChange::Gone { start: gone.start }) {
                return false;
            }
            self.old += 1;
        }
        true
    }

    /// Takes the next mapping. False: no more.
    fn take(&mut self, mapping: &Mapping<'_>) -> bool {
        if self.count == self.read.len() || !self.pass(mapping.start) {
            return false;
        }
        let mut known = Known::as_told(mapping);
        let before = self.before().filter(|before| before.start == mapping.start);
        known.first_heap = before.map_or(0, |before| before.first_heap);
        if before.is_none_or(|before| before.hash != known.hash)
            && !self.tell(&MappingChange::There(*mapping))
        {
            return false;
        }
        self.old += usize::from(before.is_some());
        self.read[self.count] = known;
        self.count += 1;
        self.mappings += 1;
        self.code = self.code.wrapping_add(known.code());
        true
    }

    /// Reads the text from its beginning. `None`: it cannot be known.
    pub(super) fn read_lines(
        &mut self,
        text: &mut [u8],
        all: bool,
        answers: &mut Option<bool>,
    ) -> Option<End> {
        let mut stopped = false;
        let whole = for_each_line(b"/proc/self/maps\0", text, |line| {
            let Some(mapping) = mapping(line) else { return true };
            // The kernel's own page at the end of the list is no mapping of the process.
            if file::is_ours(mapping.start) || mapping.start >> 63 != 0 {
                return true;
            }
            let going = (all || self.mappings < self.most) && self.take(&mapping);
            // Where single mappings can be asked for, a part of the list is of use.
            stopped = !going && *answers.get_or_insert_with(Questions::are_answered);
            going || (!stopped && self.take(&mapping))
        });
        // A list that is cut would tell that what is missing was unmapped.
        match (whole && self.mappings > 0, stopped) {
            (true, _) => Some(End::OfList),
            (false, true) => Some(End::Here),
            (false, false) => None,
        }
    }

    /// Asks for one mapping after the other.
    pub(super) fn read_on(&mut self, name: &mut [u8]) -> End {
        let Some(questions) = Questions::open() else { return End::Here };
        let clock = || sys::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        let deadline_ns = clock() + MOST_NS;
        let mut at = self.from;
        while self.mappings < self.most {
            let mapping = match questions.next(at, name) {
                Ok(Some(mapping)) => mapping,
                Ok(None) => return End::OfList,
                Err(_) => return End::Here,
            };
            at = mapping.start + mapping.bytes;
            if file::is_ours(mapping.start) {
                at = at.max(file::end_of_ours());
                continue;
            }
            if mapping.start < self.from && !self.reach_down(mapping.start) {
                return End::Here;
            }
            let late = self.mappings % BETWEEN_CLOCKS == BETWEEN_CLOCKS - 1;
            if !self.take(&mapping) || (late && clock() > deadline_ns) {
                return End::Here;
            }
        }
        End::Here
    }

    /// The first mapping begins below what is to be read again: so it has taken the place of what
    /// was read there. False: no room.
    fn reach_down(&mut self, start: u64) -> bool {
        self.from = start;
        while let Some(last) = self.read[..self.count].last().copied()
            && last.start >= start
        {
            if last.start > start && !self.tell(&MappingChange::Gone { start: last.start }) {
                return false;
            }
            self.count -= 1;
            self.code = self.code.wrapping_sub(last.code());
        }
        true
    }

    /// What was read, all being told.
    pub(super) fn finish(&mut self, end: End) -> Listed {
        let to = match end {
            End::OfList => u64::MAX,
            End::Here => self.read[..self.count].last().map_or(0, |last| last.end),
        };
        let to = if self.pass(to) { to } else { self.full_at.map_or(to, |full| to.min(full)) };
        // What was not come to again stays as it was told.
        while self.old < self.again_len && self.count < self.read.len() {
            self.read[self.count] = self.again[self.old];
            self.code = self.code.wrapping_add(self.read[self.count].code());
            (self.count, self.old) = (self.count + 1, self.old + 1);
        }
        Listed { from: self.from.min(to), to, mappings: self.mappings, changes: self.changes }
    }
}
