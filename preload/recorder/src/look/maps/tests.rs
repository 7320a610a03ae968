//! Lists in memory against the kernel's, read anew.

extern crate std;
use super::*;
use fragtrace_format::record::Mapping;
use std::collections::BTreeMap;
use std::vec;

const PAGE: usize = 4096;

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
    let at =
        unsafe { libc::mmap(core::ptr::null_mut(), pages * PAGE, libc::PROT_NONE, flags, -1, 0) };
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
        let expected = within(&kernels(), range.start, range.end);
        // Of the first list there are more than of the others; a look may end before it has so many.
        let parts = expected.len().div_ceil(MOST_AT_ONCE as usize);
        assert!(looks >= parts || maps.answers == Some(false), "{looks} looks, {parts} parts");
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
