//! Large tables on huge pages: with millions of blocks each look-up misses the processor's cache of page
//! addresses, too, and with pages of 2 MiB a table has few.

use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Smaller lists are not worth it.
const LEAST_BYTES: usize = 4 << 20;
/// Addresses that a large list takes ahead. Where there are not as many, it is copied as it grows.
const ROOM_BYTES: usize = 4 << 30;
/// Ranges to advise on consist of whole ones.
const PAGE_BYTES: usize = 4096;
/// Bytes that one thread fills at a time: the kernel clears fresh pages for it, which takes longer.
const FILLED_BYTES: usize = 2 << 20;

/// A list of copies of a value.
pub(super) fn filled<T: Copy + Send + Sync>(value: T, count: usize) -> Vec<T> {
    let mut list = Vec::with_capacity(count);
    ask_for(&list, list.capacity());
    fill(&mut list, value, count);
    list
}

/// Makes a list of copies of a value longer, and copies it at most once when it is large: then there is
/// room ahead, which takes addresses and no memory.
pub(super) fn grow<T: Copy + Send + Sync>(list: &mut Vec<T>, value: T, count: usize) {
    if count > list.capacity() {
        let more = count.saturating_sub(list.len());
        let ahead = ROOM_BYTES / size_of::<T>().max(1);
        let is_large = count * size_of::<T>() >= LEAST_BYTES;
        if !is_large || ahead < more || list.try_reserve_exact(ahead).is_err() {
            list.reserve_exact(more);
        }
        ask_for(list, list.capacity());
    }
    fill(list, value, count);
}

/// Adds copies of a value up to a count for which there is room, on all processors.
#[allow(unsafe_code)]
fn fill<T: Copy + Send + Sync>(list: &mut Vec<T>, value: T, count: usize) {
    let more = count.saturating_sub(list.len());
    let part = (FILLED_BYTES / size_of::<T>().max(1)).max(1);
    if more <= part {
        return list.resize(count, value);
    }
    let room = &mut list.spare_capacity_mut()[..more];
    room.par_chunks_mut(part).for_each(|room| room.fill(MaybeUninit::new(value)));
    // SAFETY: all up to there were just written.
    unsafe { list.set_len(count) };
}

/// Adds a value to a list that may become large.
#[inline]
pub(super) fn push<T>(list: &mut Vec<T>, value: T) {
    if list.len() == list.capacity() {
        list.reserve(1);
        ask_for(list, list.capacity());
    }
    list.push(value);
}

/// Asks for huge pages behind all that a list has room for, in one mapping, so that it can grow where it
/// is. Without them it is slower, and nothing else.
#[allow(unsafe_code)]
fn ask_for<T>(list: &[T], room: usize) {
    let begin = list.as_ptr().addr().next_multiple_of(PAGE_BYTES);
    let end = (list.as_ptr().addr() + room * size_of::<T>()) / PAGE_BYTES * PAGE_BYTES;
    if end >= begin + LEAST_BYTES {
        // SAFETY: the advice is about how memory of ours is mapped. What it holds stays as it is.
        unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// What the kernel was told of the mapping of an address.
    fn flags_at(address: usize) -> String {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let range_of = |line: &str| {
            let (begin, end) = line.split_once(' ')?.0.split_once('-')?;
            let number = |digits| usize::from_str_radix(digits, 16).ok();
            Some(number(begin)?..number(end)?)
        };
        let mut here = false;
        for line in smaps.lines() {
            if let Some(range) = range_of(line) {
                here = range.contains(&address);
            }
            if here && line.starts_with("VmFlags:") {
                return line.to_owned();
            }
        }
        panic!("{address:#x} is not mapped");
    }

    fn is_advised<T>(list: &[T]) -> bool {
        let last = &raw const list[list.len() - PAGE_BYTES];
        flags_at(last.addr()).split(' ').any(|flag| flag == "hg")
    }

    #[test]
    fn large_lists_ask_for_huge_pages_and_small_ones_do_not() {
        if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return;
        }
        let large = filled(7u64, 2 << 20);
        assert!(is_advised(&large) && large.iter().all(|value| *value == 7));
        assert!(!is_advised(&filled(7u64, PAGE_BYTES)));
        let mut grown = Vec::new();
        (0..2 << 20).for_each(|number: u64| push(&mut grown, number));
        assert!(is_advised(&grown) && grown.iter().copied().eq(0..2 << 20));
    }

    #[test]
    fn a_large_list_stays_where_it_is_as_it_grows() {
        let mut list = filled(1u64, 1 << 10);
        grow(&mut list, 2, 1 << 20);
        let begin = list.as_ptr();
        grow(&mut list, 3, 1 << 22);
        assert_eq!((begin, list.len()), (list.as_ptr(), 1 << 22));
        let ends = [1 << 10, 1 << 20, 1 << 22].map(|end| (list[end - 1], list.get(end)));
        assert_eq!(ends, [(1, Some(&2)), (2, Some(&3)), (3, None)]);
    }
}
