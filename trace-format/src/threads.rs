//! Names of threads whose events are folded: an array of entries.
//!
//! The entry of thread n is the (n − 1)th, counted around the area's bound: a later thread
//! takes the place of an earlier one. The first word is emptied before an entry changes and
//! written last, so one is there whole or not at all.
//!
//! ```text
//!  0  thread  u32   index over the life of the process, from 1 on; 0 = the entry is free
//!  4  tid     u32   the kernel's number
//!  8  name    16    the kernel's name, padded with zeros
//! 24                reserved
//! ```

use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 32;
const NAME_BYTES: usize = 16;

/// A thread by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry<'a> {
    /// Index over the life of the process, from 1 on.
    pub thread: u32,
    /// The kernel's number.
    pub tid: u32,
    /// The kernel's name for it; what is longer than 16 bytes is cut.
    pub name: &'a str,
}

impl<'a> Entry<'a> {
    /// The entry at the start of `bytes`; `None` if it is free, cut off, or no text.
    pub fn read(bytes: &'a [u8]) -> Option<Entry<'a>> {
        let bytes = bytes.get(..ENTRY_BYTES)?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let name = &bytes[8..8 + NAME_BYTES];
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        let name = core::str::from_utf8(&name[..len]).ok()?;
        (word(0) != 0).then_some(Entry { thread: word(0), tid: word(4), name })
    }
}

/// An entry as the writer sees it in mapped memory. One writer at a time.
#[derive(Debug, Default)]
#[repr(C)]
pub struct EntryCell {
    words: [AtomicU64; 4],
}

const _: () = assert!(size_of::<EntryCell>() == ENTRY_BYTES);

impl EntryCell {
    /// Replaces the entry.
    pub fn fill(&self, entry: &Entry<'_>) {
        let mut name = [0; NAME_BYTES];
        let mut len = entry.name.len().min(NAME_BYTES);
        while !entry.name.is_char_boundary(len) {
            len -= 1;
        }
        name[..len].copy_from_slice(&entry.name.as_bytes()[..len]);
        self.words[0].store(0, Ordering::Release);
        for (word, part) in self.words[1..].iter().zip(name.chunks_exact(8)) {
            word.store(u64::from_ne_bytes(part.try_into().unwrap_or([0; 8])), Ordering::Release);
        }
        let numbers = entry.thread as u64 | (entry.tid as u64) << 32;
        self.words[0].store(numbers.to_le(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(cell: &EntryCell) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        for (word, out) in cell.words.iter().zip(bytes.chunks_exact_mut(8)) {
            out.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn an_entry_reads_as_it_was_filled() {
        let cell = EntryCell::default();
        assert_eq!(Entry::read(&bytes(&cell)), None);
        let entry = Entry { thread: 7, tid: 4711, name: "tokio-runtime-w" };
        cell.fill(&entry);
        assert_eq!(Entry::read(&bytes(&cell)), Some(entry));
        // Sixteen bytes would cut the last letter in half.
        cell.fill(&Entry { name: "a name of 15 lé", ..entry });
        assert_eq!(Entry::read(&bytes(&cell)).map(|entry| entry.name), Some("a name of 15 lé"));
        cell.fill(&Entry { name: "this name of 15é", ..entry });
        assert_eq!(Entry::read(&bytes(&cell)).map(|entry| entry.name), Some("this name of 15"));
    }
}
