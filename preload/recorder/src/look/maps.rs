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

mod lines;
mod query;

pub(crate) use lines::{for_each_line, mapping};

use crate::file::{self, Private};
use crate::sys;
use core::ops::Range;
use fragtrace_format::record::{Mapping, MappingChange};
use query::Questions;

/// Longer lists are not told: twice what the kernel allows by default.
const MAX_MAPPINGS: usize = 1 << 17;
const LIST_BYTES: usize = MAX_MAPPINGS * size_of::<Known>();
/// Mappings that a look reads, unless it is to read all, and the time that it takes for them.
const MOST_AT_ONCE: u32 = 768;
const MOST_NS: u64 = 300_000;
const BETWEEN_CLOCKS: u32 = 64;
/// Heaps of glibc's secondary arenas begin at multiples of this, and are as large (HEAP_MAX_SIZE). So
/// mappings in one such stretch belong together: where a part ends inside of one, the next part
/// begins with it again, if these are not too many.
pub(super) const HEAP_BYTES: u64 = 64 << 20;
const MOST_AGAIN: usize = 16;

const SHARED: u8 = 8;
/// Bit of `Mapping::permissions`.
pub(crate) const READ: u8 = 1;
/// See [`READ`].
pub(crate) const EXECUTE: u8 = 4;
const ACCESS: u8 = 7;

/// A mapping as it was told.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Known {
    pub(super) start: u64,
    pub(super) end: u64,
    hash: u32,
    /// Of a heap of a secondary arena, where the arena's first heap begins, as it was told: in units
    /// of [`HEAP_BYTES`], 0 = it was not.
    first_heap: u32,
    /// Whether its pages may be heap: private, without a file, accessible, no stack of main.
    pub(super) may_be_heap: bool,
    /// Whether it may be executed.
    is_code: bool,
}

#[cfg(test)]
impl Known {
    pub(super) fn of(range: Range<u64>) -> Known {
        Known { start: range.start, end: range.end, may_be_heap: true, ..Known::default() }
    }
}

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

/// The part of the list that one look reads.
struct Part<V> {
    visit: V,
    most: u32,
    from: u64,
    /// What was told before of this part: what is read once more, then the last time's.
    again: [Known; MOST_AGAIN],
    again_len: usize,
    told: &'static [Known],
    /// So many of those were gone through.
    old: usize,
    /// This time's list, and how many it has.
    read: &'static mut [Known],
    count: usize,
    code: u32,
    mappings: u32,
    changes: u32,
    /// There was no room for a change at this address.
    full_at: Option<u64>,
}

/// Where reading stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Somewhere.
    Here,
    /// At the end of the list.
    OfList,
}

impl<V: FnMut(&MappingChange<'_>) -> bool> Part<V> {
    fn new(maps: &Maps, visit: V) -> Part<V> {
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
    fn passed(&self) -> usize {
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
    fn read_lines(
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
    fn read_on(&mut self, name: &mut [u8]) -> End {
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
    fn finish(&mut self, end: End) -> Listed {
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

impl Known {
    fn as_told(mapping: &Mapping<'_>) -> Known {
        Known {
            start: mapping.start,
            end: mapping.start + mapping.bytes,
            hash: hash(mapping),
            first_heap: 0,
            may_be_heap: may_be_heap(mapping),
            is_code: mapping.permissions & EXECUTE != 0,
        }
    }

    /// Whether an arena's heap may begin with it.
    pub(super) fn may_begin_a_heap(&self) -> bool {
        self.may_be_heap && self.start.is_multiple_of(HEAP_BYTES)
    }

    /// Whether it was told to be a heap of another arena, or not of any.
    pub(super) fn is_new(&self, first_heap: u64) -> bool {
        u64::from(self.first_heap) != first_heap / HEAP_BYTES
    }

    /// It was told.
    pub(super) fn told_first_heap(&mut self, first_heap: u64) {
        self.first_heap = (first_heap / HEAP_BYTES) as u32;
    }

    /// Its part in the sum over code.
    fn code(&self) -> u32 {
        if self.is_code { self.hash } else { 0 }
    }
}

fn may_be_heap(mapping: &Mapping<'_>) -> bool {
    mapping.inode == 0
        && mapping.permissions & SHARED == 0
        && mapping.permissions & ACCESS != 0
        && (!mapping.name.starts_with('[')
            || mapping.name == "[heap]"
            || mapping.name.starts_with("[anon:"))
}

/// FNV-1a with 64 bits, eight bytes a step, folded to 32.
fn hash(mapping: &Mapping<'_>) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |word: u64| {
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    };
    add(mapping.start);
    add(mapping.bytes);
    add(mapping.permissions.into());
    add(mapping.file_offset);
    add(mapping.inode);
    for chunk in mapping.name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        add(u64::from_le_bytes(word));
    }
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeMap;
    use std::vec;

    const PAGE: usize = 4096;

    #[test]
    fn only_memory_of_the_process_alone_may_be_heap() {
        let may = |line: &[u8]| mapping(line).is_some_and(|mapping| may_be_heap(&mapping));
        assert!(may(b"1000-2000 rw-p 00000000 00:00 0 "));
        assert!(may(b"1000-2000 rw-p 00000000 00:00 0                  [heap]"));
        assert!(!may(b"1000-2000 rw-p 00000000 00:00 0                  [stack]"));
        assert!(!may(b"1000-2000 ---p 00000000 00:00 0 "));
        assert!(!may(b"1000-2000 rw-s 00000000 00:01 0 "));
        assert!(!may(b"1000-2000 rw-p 00001000 fe:01 1234    /usr/lib/a b.so"));
    }

    /// By start: end, permissions, offset in the file, inode, name.
    type Model = BTreeMap<u64, (u64, u8, u64, u64, std::string::String)>;

    fn add(model: &mut Model, mapping: &Mapping<'_>) {
        let Mapping { start, bytes, permissions, file_offset, inode, name } = *mapping;
        model.insert(start, (start + bytes, permissions, file_offset, inode, name.into()));
    }

    /// What a reader makes of one look after the other.
    fn read(maps: &mut Maps, model: &mut Model, all: bool) -> Listed {
        let mut text = vec![0; 64 << 10];
        let visit = |change: &MappingChange<'_>| {
            match change {
                MappingChange::Gone { start } => {
                    assert!(model.remove(start).is_some(), "{start:x} was not there")
                }
                MappingChange::There(mapping) => add(model, mapping),
            }
            true
        };
        maps.read(&mut text, all, visit).expect("the list is there")
    }

    fn kernels() -> Model {
        let mut model = Model::new();
        assert!(for_each_line(b"/proc/self/maps\0", &mut vec![0; 64 << 10], |line| {
            add(&mut model, &mapping(line).expect("a mapping"));
            true
        }));
        model
    }

    /// What of a list begins in a range. Other tests map and unmap elsewhere.
    fn within(model: &Model, from: u64, to: u64) -> Model {
        model.range(from..to.max(from)).map(|(start, rest)| (*start, rest.clone())).collect()
    }

    /// Address space that is ours alone, with no neighbours.
    fn reserve(pages: usize) -> (usize, core::ops::Range<u64>) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, wherever the kernel puts it.
        let at = unsafe {
            libc::mmap(core::ptr::null_mut(), pages * PAGE, libc::PROT_NONE, flags, -1, 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        (at as usize, at as u64..(at as usize + pages * PAGE) as u64)
    }

    fn protect(start: usize, bytes: usize, protection: i32) {
        // SAFETY: in address space that was reserved for the test.
        assert_eq!(unsafe { libc::mprotect(start as *mut _, bytes, protection) }, 0);
    }

    fn unmap(start: usize, bytes: usize) {
        // SAFETY: in address space that was reserved for the test.
        assert_eq!(unsafe { libc::munmap(start as *mut _, bytes) }, 0);
    }

    /// The lists lie at one place: one test goes through all.
    #[test]
    fn the_list_is_read_in_parts_and_each_is_the_kernels() {
        twenty_thousand_mappings();
        whatever_changes_in_between();
    }

    fn twenty_thousand_mappings() {
        const COUNT: usize = 20_000;
        let (start, range) = reserve(COUNT);
        for page in (0..COUNT).step_by(2) {
            protect(start + page * PAGE, PAGE, libc::PROT_READ);
        }
        let (mut maps, mut model) = (Maps::NEW, Model::new());
        for round in 0..3 {
            let mut looks = 0;
            loop {
                looks += 1;
                let listed = read(&mut maps, &mut model, false);
                if maps.answers == Some(true) {
                    assert!(listed.mappings <= MOST_AT_ONCE, "{listed:?}");
                } else {
                    assert_eq!((listed.from, listed.to), (0, u64::MAX), "{listed:?}");
                }
                if listed.to == u64::MAX {
                    break;
                }
            }
            assert!(looks > COUNT / MOST_AT_ONCE as usize || maps.answers == Some(false));
            let expected = within(&kernels(), range.start, range.end);
            assert_eq!(within(&model, range.start, range.end), expected, "round {round}");
            let [read, told] = maps.known();
            let known = read.iter().chain(told).filter(|known| range.contains(&known.start));
            assert!(known.map(|known| known.start).eq(expected.keys().copied()));
            // For the next round.
            unmap(start + 5000 * PAGE, 1000 * PAGE);
            protect(start + 9000 * PAGE, 3000 * PAGE, libc::PROT_NONE);
        }
        // A look that is to read all does so in the middle of a round, too.
        read(&mut maps, &mut model, false);
        let listed = read(&mut maps, &mut model, true);
        assert_eq!((listed.from, listed.to), (0, u64::MAX));
        let expected = within(&kernels(), range.start, range.end);
        assert_eq!(within(&model, range.start, range.end), expected);
        unmap(start, COUNT * PAGE);
    }

    /// Between two looks mappings grow, shrink, come and go at random, over the ends of parts too.
    fn whatever_changes_in_between() {
        const PAGES: usize = 400;
        let (start, range) = reserve(PAGES + 2);
        let start = start + PAGE;
        let (mut maps, mut model) = (Maps { begun: true, most: 40, ..Maps::NEW }, Model::new());
        let mut random = 12345_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut code_changes = 0;
        for _ in 0..3000 {
            for _ in 0..next(3) {
                let (page, pages) = (next(PAGES), next(12) + 1);
                let (at, bytes) = (start + page * PAGE, pages.min(PAGES - page) * PAGE);
                let access = [libc::PROT_NONE, libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE];
                if next(4) == 0 {
                    unmap(at, bytes);
                } else {
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                    // SAFETY: in address space that was reserved for the test.
                    unsafe { libc::mmap(at as *mut _, bytes, access[next(3)], flags, -1, 0) };
                }
            }
            let all = next(50) == 0;
            let listed = read(&mut maps, &mut model, all);
            assert!(listed.from < listed.to, "{listed:?}");
            let (from, to) = (listed.from.max(range.start), listed.to.min(range.end));
            assert_eq!(within(&model, from, to), within(&kernels(), from, to), "{listed:x?}");
            code_changes += u32::from(maps.code_changed());
        }
        assert!(code_changes <= 2, "no code was mapped by this test: {code_changes}");
        unmap(range.start as usize, (PAGES + 2) * PAGE);
    }
}
