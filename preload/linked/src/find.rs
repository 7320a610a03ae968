//! Which allocators a file holds, and where their functions are.

use crate::call::Call;
use crate::elf::{Elf, Symbol};
use crate::names::{self, Names, Scope};

/// Functions that are hooked at most.
pub const MAX_ENTRIES: usize = 160;
/// Allocators in one file at most.
const MAX_ALLOCATORS: usize = 4;
/// The longest prefix that a build gives its allocator's names.
const MAX_PREFIX_BYTES: usize = 32;

/// An allocator.
#[derive(Debug, Clone, Copy)]
pub struct Allocator<'a> {
    /// Which.
    pub names: &'static Names,
    /// What stands before its names in this file.
    pub prefix: &'a [u8],
    /// Where its function is that tells usable bytes.
    pub usable_size: Option<u64>,
    /// Where its function is that says what the allocator knows of itself.
    pub statistics: Option<u64>,
    /// Where its code lies: from the first to the end of the last function that has its name.
    pub code: Option<(u64, u64)>,
}

/// A function of an allocator.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What it does.
    pub call: &'static Call,
    /// Its name, with the prefix.
    pub name: &'a [u8],
    /// The number of its allocator.
    pub allocator: usize,
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// What was found in a file.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    allocators: [Option<Allocator<'a>>; MAX_ALLOCATORS],
    entries: [Option<Entry<'a>>; MAX_ENTRIES],
    count: usize,
}

impl<'a> Found<'a> {
    /// The allocators, by number.
    pub fn allocators(&self) -> impl Iterator<Item = &Allocator<'a>> {
        self.allocators.iter().flatten()
    }

    /// Their functions, each address once.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter().flatten()
    }

    fn note_allocator(&mut self, names: &'static Names, prefix: &'a [u8]) {
        let known =
            |one: &Allocator<'_>| one.names.allocator == names.allocator && one.prefix == prefix;
        if self.allocators().any(known) {
            return;
        }
        if let Some(free) = self.allocators.iter_mut().find(|place| place.is_none()) {
            *free =
                Some(Allocator { names, prefix, usable_size: None, statistics: None, code: None });
        }
    }

    fn note_code(&mut self, number: usize, symbol: &Symbol<'_>) {
        if let Some(allocator) = &mut self.allocators[number] {
            let (from, to) = (symbol.address, symbol.address.saturating_add(symbol.bytes));
            let (start, end) = allocator.code.unwrap_or((from, to));
            allocator.code = Some((start.min(from), end.max(to)));
        }
    }

    fn note_entry(&mut self, entry: Entry<'a>) {
        let known = self.entries().any(|other| other.address == entry.address);
        if !known && let Some(place) = self.entries.get_mut(self.count) {
            *place = Some(entry);
            self.count += 1;
        }
    }
}

/// Finds allocators among a file's functions.
///
/// `interposed`: the usual names are hooked by the loader's way, so they are left out.
pub fn find(file: Elf<'_>, interposed: bool) -> Found<'_> {
    find_among(file.functions(), interposed)
}

fn find_among<'a>(
    functions: impl Iterator<Item = Symbol<'a>> + Clone,
    interposed: bool,
) -> Found<'a> {
    let mut found =
        Found { allocators: [None; MAX_ALLOCATORS], entries: [None; MAX_ENTRIES], count: 0 };
    // In the order of the list: what has names of its own is not taken for one that has none.
    for names in names::ALL {
        for symbol in functions.clone() {
            if let Some(prefix) = prefix_of(names, symbol.name)
                && (names.has_own_names() || symbol.global && !interposed)
            {
                found.note_allocator(names, prefix);
            }
        }
    }
    if found.allocators().next().is_none() {
        return found;
    }
    for symbol in functions {
        for number in 0..MAX_ALLOCATORS {
            if let Some(allocator) = found.allocators[number] {
                note(&mut found, number, &allocator, &symbol, interposed);
            }
        }
    }
    found
}

fn note<'a>(
    found: &mut Found<'a>,
    number: usize,
    allocator: &Allocator<'a>,
    symbol: &Symbol<'a>,
    interposed: bool,
) {
    let prefixed = !allocator.prefix.is_empty() && symbol.name.starts_with(allocator.prefix);
    let begins = |start: &&str| symbol.name.starts_with(start.as_bytes());
    if prefixed || allocator.names.code.iter().any(begins) {
        found.note_code(number, symbol);
    }
    let Some(name) = symbol.name.strip_prefix(allocator.prefix) else { return };
    if allocator.names.usable_size.iter().any(|usable| usable.as_bytes() == name)
        && let Some(allocator) = &mut found.allocators[number]
        && allocator.usable_size.is_none()
    {
        allocator.usable_size = Some(symbol.address);
    }
    if allocator.names.statistics.is_some_and(|statistics| statistics.name().to_bytes() == name)
        && let Some(allocator) = &mut found.allocators[number]
    {
        allocator.statistics = Some(symbol.address);
    }
    let bare = allocator.prefix.is_empty();
    for list in allocator.names.lists {
        // Names that anybody may define count only where they are the program's for all.
        let counts = match list.scope {
            Scope::Own => true,
            Scope::Standard => !bare || symbol.global && !interposed,
            Scope::Operators => bare && symbol.global,
        };
        if counts && let Some(call) = list.calls.iter().find(|call| call.name.is(name)) {
            let (address, bytes) = (symbol.address, symbol.bytes);
            found.note_entry(Entry { call, name: symbol.name, allocator: number, address, bytes });
        }
    }
}

/// What stands before the name, if it tells of this allocator.
fn prefix_of<'a>(names: &Names, name: &'a [u8]) -> Option<&'a [u8]> {
    let tales = names.tell_tale.iter().map(|tale| tale.as_bytes());
    let prefix = tales.filter_map(|tale| name.strip_suffix(tale)).next()?;
    let sound = prefix.is_empty()
        || names.any_prefix && prefix.len() <= MAX_PREFIX_BYTES && prefix.ends_with(b"_");
    sound.then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn symbol(name: &str, address: u64, global: bool) -> Symbol<'_> {
        Symbol { name: name.as_bytes(), address, bytes: 100, global }
    }

    fn names<'a>(found: &Found<'a>) -> Vec<&'a str> {
        let name = |entry: &Entry<'a>| std::str::from_utf8(entry.name).expect("ASCII");
        found.entries().map(name).collect()
    }

    #[test]
    fn jemalloc_is_found_under_its_prefix_and_nothing_else_of_that_name() {
        let symbols = [
            symbol("_rjem_malloc", 0x1000, false),
            symbol("_rjem_sdallocx", 0x2000, false),
            symbol("_rjem_malloc_usable_size", 0x3000, false),
            // libstdc++'s, linked in: it calls malloc.
            symbol("_Znwm", 0x4000, true),
            symbol("do_rallocx", 0x5000, false),
            symbol("my_malloc", 0x6000, true),
        ];
        let found = find_among(symbols.into_iter(), true);
        assert_eq!(names(&found), ["_rjem_malloc", "_rjem_sdallocx"]);
        let allocator = found.allocators().next().expect("one");
        assert_eq!((allocator.names.allocator, allocator.prefix), ("jemalloc", &b"_rjem_"[..]));
        assert_eq!(allocator.usable_size, Some(0x3000));
    }

    /// Linkers leave out what a program does not call, one function at a time.
    #[test]
    fn jemalloc_tells_usable_bytes_by_either_name() {
        let symbols = [
            symbol("_rjem_malloc", 0x1000, false),
            symbol("_rjem_sdallocx", 0x2000, false),
            symbol("_rjem_sallocx", 0x3000, false),
        ];
        let found = find_among(symbols.into_iter(), true);
        assert_eq!(found.allocators().next().expect("one").usable_size, Some(0x3000));
        assert_eq!(names(&found), ["_rjem_malloc", "_rjem_sdallocx"]);
    }

    #[test]
    fn names_for_one_function_are_one_entry() {
        let symbols = [
            symbol("tc_malloc", 0x1000, true),
            symbol("malloc", 0x1000, true),
            symbol("_Znwm", 0x1100, true),
            symbol("tc_free", 0x1200, true),
            symbol("free", 0x1200, true),
        ];
        let found = find_among(symbols.into_iter(), false);
        assert_eq!(names(&found), ["tc_malloc", "_Znwm", "tc_free"]);
    }

    #[test]
    fn a_known_allocator_is_known_where_it_is_the_programs_malloc() {
        let symbols = [
            symbol("malloc", 0x1000, true),
            symbol("mallctl", 0x1200, true),
            symbol("mallocx", 0x1100, true),
        ];
        let found = find_among(symbols.into_iter(), false);
        let first = found.allocators().next().expect("one");
        assert_eq!((first.names.allocator, first.statistics), ("jemalloc", Some(0x1200)));
        assert!(found.entries().all(|entry| entry.allocator == 0));
        assert_eq!(names(&found), ["malloc", "mallocx"]);
    }

    #[test]
    fn a_malloc_of_the_programs_own_is_found_where_nothing_stands_before_it() {
        let symbols = [symbol("malloc", 0x1000, true), symbol("free", 0x1100, true)];
        assert_eq!(names(&find_among(symbols.into_iter(), false)), ["malloc", "free"]);
        assert_eq!(find_among(symbols.into_iter(), true).entries().count(), 0);
        let hidden = [symbol("malloc", 0x1000, false)];
        assert_eq!(find_among(hidden.into_iter(), false).entries().count(), 0);
    }
}
