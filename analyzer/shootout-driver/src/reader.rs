//! The script, as far as it was read: a buffer's worth at a time, so that a script of any size
//! takes no more of the driver's memory.

use crate::kernel;
use crate::memory::Table;

/// The file with the script.
const SCRIPT: i32 = 0;

/// Reads words of the script, one after the other.
pub struct Reader {
    buffer: Table<u64>,
    /// The next word in the buffer, and how many are there.
    at: usize,
    filled: usize,
    /// Where in the script the buffer's last word ends.
    read_to: u64,
    /// Since where in the buffer words were taken, and how many before that.
    since: usize,
    taken: u64,
}

impl Reader {
    /// Begins with word `from`. `None`: there is no room for the buffer.
    pub fn new(from: u64, buffer_words: usize) -> Option<Reader> {
        let buffer = Table::new(buffer_words)?;
        Some(Reader { buffer, at: 0, filled: 0, read_to: from, since: 0, taken: 0 })
    }

    /// The next word; behind the last one 0, which is [`Op::Done`](crate::script::Op::Done).
    #[inline]
    pub fn next(&mut self) -> u64 {
        let word = self.peek();
        self.at = (self.at + 1).min(self.filled);
        word
    }

    /// The same, without taking it.
    #[inline]
    pub fn peek(&mut self) -> u64 {
        if self.at == self.filled {
            self.fill();
        }
        match self.buffer.at(self.at) {
            // SAFETY: in the buffer, which nobody else knows of.
            Some(word) if self.filled > 0 => unsafe { word.read() },
            _ => 0,
        }
    }

    /// Goes on with word `place`.
    pub fn go_to(&mut self, place: u64) {
        self.taken = self.taken();
        let begin = self.read_to - self.filled as u64;
        if (begin..self.read_to).contains(&place) {
            self.at = (place - begin) as usize;
        } else {
            (self.at, self.filled, self.read_to) = (0, 0, place);
        }
        self.since = self.at;
    }

    #[cold]
    fn fill(&mut self) {
        self.taken = self.taken();
        (self.at, self.filled, self.since) = (0, 0, 0);
        let Some(first) = self.buffer.at(0) else { return };
        let bytes = self.buffer.count() * 8;
        // SAFETY: the buffer's bytes, which nobody else knows of.
        let into = unsafe { core::slice::from_raw_parts_mut(first.as_ptr().cast::<u8>(), bytes) };
        let mut got = 0;
        while got < bytes {
            match kernel::read_at(SCRIPT, self.read_to * 8 + got as u64, &mut into[got..]) {
                0 => break,
                more => got += more,
            }
        }
        self.filled = got / 8;
        self.read_to += self.filled as u64;
    }

    /// Words that were taken so far.
    pub fn taken(&self) -> u64 {
        self.taken + (self.at - self.since) as u64
    }

    /// Bytes of the buffer.
    pub fn bytes(&self) -> u64 {
        self.buffer.bytes()
    }
}
