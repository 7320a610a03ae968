//! Entries of the base table: what is filled in is what is read, and no death leaves half.
#![forbid(unsafe_code)]

use fragtrace_format::base::{ENTRY_BYTES, Entry, EntryCell, address, key};
use fragtrace_format::event::{Acquire, Flags};
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = Entry> {
    (
        (16..1u64 << 57, any::<u64>(), any::<bool>(), 0..58u8),
        proptest::option::of(0..u64::MAX),
        proptest::option::of(0..1u64 << 32),
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>()),
    )
        .prop_map(
            |((address, size, zeroed, align_log2), usable, units, (stack, pool, thread, birth))| {
                let block = Acquire {
                    address,
                    size,
                    flags: if zeroed { Flags::ZEROED } else { Flags::NONE },
                    align_log2,
                    usable,
                    // Mappings start at pages, blocks at multiples of 16.
                    mapped_offset: units.map(|units| units << 4),
                    stack,
                    pool,
                };
                Entry { birth, thread, block }
            },
        )
}

fn bytes_of(cell: &EntryCell) -> Vec<u8> {
    cell.words().iter().flat_map(|word| word.to_le_bytes()).collect()
}

proptest! {
    #[test]
    fn what_is_filled_in_is_read(entry in entry()) {
        let cell = EntryCell::default();
        cell.fill(&entry);
        prop_assert_eq!(Entry::from_words(cell.words()), Some(entry));
        prop_assert_eq!(Entry::read(&bytes_of(&cell)), Some(entry));
        prop_assert_eq!(address(cell.key()), entry.block.address);
        prop_assert_eq!(cell.size_and_thread(), (entry.block.size, entry.thread));
        cell.free(7);
        prop_assert_eq!(Entry::from_words(cell.words()), None);
        prop_assert_eq!(cell.next(), 7);
    }

    #[test]
    fn any_words_are_an_entry_or_free(words in any::<[u64; 6]>()) {
        let read = Entry::from_words(words);
        prop_assert_eq!(read.is_some(), words[0] != 0);
    }
}

#[test]
fn an_entry_is_as_version_1_lays_it_out() {
    let block = Acquire {
        address: 0x5555_5555_92a8,
        size: 24,
        flags: Flags::ZEROED,
        align_log2: 6,
        usable: Some(40),
        mapped_offset: Some(16),
        stack: 3,
        pool: 4,
    };
    let entry = Entry { birth: 5, thread: 2, block };
    let words = entry.words();
    assert_eq!(words[0], 0x555_5555_592a | 8 << 53 | 1 << 57 | 6 << 58);
    assert_eq!(words[0], key(0x5555_5555_92a8, true, 6));
    assert_eq!(words[1..], [5, 24, 3 | 2 << 32, 41, 4 | 2 << 32]);
    assert_eq!(size_of_val(&words), ENTRY_BYTES);
    assert_eq!(Entry::read(&[1; ENTRY_BYTES - 1]), None, "cut off");
}
