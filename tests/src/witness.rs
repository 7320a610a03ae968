//! A second, independent count of what a process asks of its allocator: the preloaded library
//! `programs/witness.c`, which can stand before the tracer, behind it, or on both sides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::assert_numbers;
use crate::report::Report;
use crate::run::Outcome;
use crate::traced::{Traced, preload_list};
use crate::{programs, tools};

/// Names of the counters, in the order in which the library keeps them.
const COUNTERS: [&str; 7] =
    ["allocs", "frees", "reallocs", "live_blocks", "live_bytes", "usable_bytes", "peak_live_bytes"];

/// The witness whose file the environment variable `variable` names: two in one process need two
/// libraries and two variables.
pub fn library(variable: &str) -> PathBuf {
    let file_name = format!("lib{}.so", variable.to_lowercase());
    programs::library("witness", &file_name, &[("VARIABLE", format!("\"{variable}\""))])
}

/// What a witness counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness(Vec<u64>);

impl Witness {
    /// Reads a witness's file after the process has ended.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("a word has 8 bytes")))
            .collect();
        assert!(words.len() == COUNTERS.len() + 1, "a witness writes {} words", COUNTERS.len() + 1);
        assert!(words[COUNTERS.len()] == 0, "the witness's own table overflowed");
        Self(words[..COUNTERS.len()].to_vec())
    }

    /// One counter.
    pub fn get(&self, counter: &str) -> u64 {
        let index = COUNTERS.iter().position(|name| *name == counter);
        self.0[index.unwrap_or_else(|| panic!("no counter is called {counter}"))]
    }

    /// All counters with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        COUNTERS.into_iter().zip(self.0.iter().copied())
    }
}

/// A run under the tracer between two witnesses.
pub struct Sandwich {
    /// The run and its trace.
    pub traced: Traced,
    /// What the program asked for.
    pub front: Witness,
    /// What the tracer passed on.
    pub back: Witness,
}

impl Sandwich {
    /// Runs a command to its end. The witnesses see its first process only.
    pub fn run(mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let counts = ["FRONT", "BACK"].map(|side| folder.path().join(side));
        let libraries = [library("WITNESS_FRONT"), tools::tracer(), library("WITNESS_BACK")];
        let [front, tracer, back] = libraries.each_ref();
        command
            .env("LD_PRELOAD", preload_list(&[front, tracer, back]))
            .env("WITNESS_FRONT", &counts[0])
            .env("WITNESS_BACK", &counts[1]);
        let traced = Traced::run(command);
        let [front, back] = counts.map(|path| Witness::read(&path));
        Self { traced, front, back }
    }

    /// The tracer passed every call on, and made none for itself.
    pub fn assert_passed_on(&self) {
        let numbers: Vec<_> = self
            .front
            .all()
            .zip(self.back.all())
            // With threads the greatest sum depends on which side of the lock was first.
            .filter(|((name, _), _)| *name != "peak_live_bytes")
            .map(|((name, asked), (_, passed_on))| (name, asked, passed_on))
            .collect();
        assert_numbers("the allocator gets exactly the program's own calls", &numbers);
    }

    /// The report on this trace says what the witness in front counted.
    pub fn assert_reported(&self, report: &Report) {
        let keys = [
            ("allocs", "/trace/allocs"),
            ("frees", "/trace/frees"),
            ("reallocs", "/trace/reallocs"),
            ("live_blocks", "/end/live_blocks"),
            ("live_bytes", "/end/live_bytes"),
        ];
        let numbers =
            keys.map(|(counter, key)| (counter, self.front.get(counter), report.number(key)));
        assert_numbers("the report says what an independent count says", &numbers);
        report.assert_complete();
    }

    /// How the program ended.
    pub fn outcome(&self) -> &Outcome {
        &self.traced.outcome
    }
}
