//! What the driver finds out, as words in a file that it shares with whoever started it.
//!
//! First the totals, one word each in the order of [`Total`], then the samples, [`Sample::WORDS`]
//! words each. The totals are brought up to date at each sample, so that they stand when the
//! driver is killed.

/// A figure of the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Total {
    /// 1 when the script was run to its end.
    Done,
    /// Words of the script that were done.
    Words,
    /// Samples that were taken.
    Samples,
    /// Calls of the allocator.
    Calls,
    /// Time in them, less what measuring takes.
    CallNs,
    /// Time from the first step to the last.
    ElapsedNs,
    /// Page faults in that time.
    Faults,
    /// The greatest resident set of anonymous pages, less the driver's own.
    PeakAnonBytes,
    /// Calls that returned no block.
    Refused,
    /// Threads that could not be started.
    ThreadsRefused,
    /// System calls of the allocator, and one more; 0 where they were not counted.
    SystemCalls,
}

/// Words of totals.
pub const TOTALS: usize = 11;

/// The kernel's figures at one moment, the driver's own memory taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Anonymous pages in memory.
    pub anon_bytes: u64,
    /// Private writable address space.
    pub mapped_bytes: u64,
    /// Pages of files in memory, the results' own left out: code, for the most part.
    pub file_bytes: u64,
}

impl Sample {
    /// Words of a sample.
    pub const WORDS: usize = 3;

    /// As it stands in the file.
    pub const fn words(&self) -> [u64; Self::WORDS] {
        [self.anon_bytes, self.mapped_bytes, self.file_bytes]
    }

    /// Taken apart again.
    pub const fn read(words: [u64; Self::WORDS]) -> Sample {
        Sample { anon_bytes: words[0], mapped_bytes: words[1], file_bytes: words[2] }
    }
}

/// Bytes of a file for so many samples.
pub const fn file_bytes(samples: u64) -> u64 {
    (TOTALS as u64 + samples * Sample::WORDS as u64) * 8
}
