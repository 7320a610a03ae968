//! What the tests of the whole path have in common. A test builds a small C program whose answer
//! is known, runs it under the tracer, asks the analyzer, and compares.
//!
//! `programs` builds, `run` runs with a time-out, `traced` runs under the tracer, `checkpoint` has
//! a program tell in its middle what is true of it, `report` asks the analyzer, `shootout` reads
//! its shootout, `check` compares readably, `witness` reads a second, independent count, `tools`
//! finds what a machine may lack, `elf` reads what readelf prints, `victim` is a program that dies
//! and its account, `bound` is how large a trace may become, `stacks` reads call stacks out of a
//! trace and a second opinion on them, `pixels` decodes pictures, `approved` compares them with
//! those that people looked at, `terminal` shows what only terminals get.
#![forbid(unsafe_code)]

pub mod approved;
pub mod bound;
pub mod check;
pub mod checkpoint;
pub mod elf;
pub mod idle;
pub mod pixels;
pub mod programs;
pub mod report;
pub mod run;
pub mod shootout;
pub mod stacks;
pub mod terminal;
pub mod tools;
pub mod traced;
pub mod victim;
pub mod witness;
