//! A program that may die at any moment, and keeps an account that outlives it:
//! `programs/victim.c`. Its trace must hold exactly what the account says.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::programs::program;
use crate::report::Report;
use crate::run::command;
use crate::tools;

/// Places for blocks that victim.c has on each thread.
const PLACES: usize = 3000;
const ACCOUNT_BYTES: usize = 16 + 4 * PLACES;
/// The C library's own block for a thread (its table of TLS blocks) is not larger.
pub const THREAD_BLOCK_BYTES: u64 = 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// What may live, by the account that the program kept: without the calls under way, and
/// with them.
#[derive(Debug, Default)]
struct Account {
    least_blocks: u64,
    most_blocks: u64,
    least_bytes: u64,
    most_bytes: u64,
}

/// One run of the program, with a folder for its trace and its account.
pub struct Victim {
    /// What this run is, for messages.
    pub claim: String,
    threads: u64,
    folder: TempDir,
}

impl Victim {
    /// A run on so many threads.
    pub fn new(claim: String, threads: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { claim, threads, folder }
    }

    /// Where its trace will be.
    pub fn trace(&self) -> PathBuf {
        self.folder.path().join("victim.ftr")
    }

    fn witness(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    /// The traced program through a ring of this size; more arguments say how it ends.
    pub fn command(&self, seed: usize, ring: &str) -> Command {
        let mut victim = command(program("victim"));
        victim.arg(self.witness()).args([seed.to_string(), self.threads.to_string()]);
        // The name leaves a place for a program that this one becomes.
        victim.env("FRAGTRACE_OUT", self.folder.path().join("%e.ftr"));
        victim.env("LD_PRELOAD", tools::tracer());
        victim.env("FRAGTRACE_RING", ring).env("FRAGTRACE_QUIET", "1");
        victim
    }

    /// Waits until the program keeps its account.
    pub fn wait_until_at_work(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.trace().exists()
            || fs::metadata(self.witness()).map_or(0, |file| file.len()) == 0
        {
            assert!(Instant::now() < deadline, "{}: the program never began", self.claim);
            sleep(Duration::from_millis(1));
        }
    }

    /// Reads the trace after the program's end: whole, and with exactly what lived.
    pub fn assert_exact(&self) -> Report {
        self.assert_live(Report::of(&self.trace()))
    }

    fn assert_live(&self, report: Report) -> Report {
        let (known, claim) = (self.account(), &self.claim);
        for key in ["/trace/order_anomalies", "/trace/unknown_frees", "/trace/dropped_events"] {
            assert_eq!(report.number(key), 0, "{claim}: {key}");
        }
        // Each thread but the first brings a block of the C library's along.
        let own = self.threads - 1;
        let (blocks, bytes) = (report.number("/end/live_blocks"), report.number("/end/live_bytes"));
        assert!(
            (known.least_blocks..=known.most_blocks + own).contains(&blocks)
                && (known.least_bytes..=known.most_bytes + own * THREAD_BLOCK_BYTES)
                    .contains(&bytes),
            "{claim}: {blocks} blocks, {bytes} bytes; expected {known:?}"
        );
        report
    }

    fn account(&self) -> Account {
        let bytes = fs::read(self.witness()).expect("the program kept an account");
        let mut sum = Account::default();
        for account in bytes.chunks_exact(ACCOUNT_BYTES) {
            let under_way = word(account, 0) as usize;
            let sizes = account[16..]
                .chunks_exact(4)
                .map(|size| u64::from(u32::from_le_bytes(size.try_into().expect("4 bytes"))));
            for (_, size) in sizes.enumerate().filter(|(place, _)| place + 1 != under_way) {
                sum.least_blocks += u64::from(size > 0);
                sum.least_bytes += size;
            }
            if under_way != 0 {
                sum.most_blocks += 1;
                sum.most_bytes += word(account, 8);
            }
        }
        sum.most_blocks += sum.least_blocks;
        sum.most_bytes += sum.least_bytes;
        sum
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Fields of a trace's header, by their offsets in docs/trace-format.md.
pub mod field {
    /// Folds done.
    pub const FOLDS: u64 = 184;
    /// The last fold begun.
    pub const FOLDING: u64 = 192;
    /// What limited the recording.
    pub const LIMITS: u64 = 200;
}

/// A 64-bit field of a trace's header; 0 where the header is not there yet.
pub fn header_field(trace: &Path, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    let file = File::open(trace).expect("the trace is there");
    file.read_exact_at(&mut bytes, offset).map_or(0, |()| u64::from_le_bytes(bytes))
}

/// Waits until a process that works through a small ring has folded many times.
pub fn wait_until_wrapped(trace: &Path) {
    const FOLDS: u64 = 100;
    let deadline = Instant::now() + PATIENCE;
    while !trace.exists() || header_field(trace, field::FOLDS) < FOLDS {
        assert!(Instant::now() < deadline, "{} never wraps", trace.display());
        sleep(Duration::from_millis(1));
    }
}
