//! The shootout: the recorded calls, to be run again on other allocators.
//!
//! ```text
//!  events ──► pairing ──► compile ──► schedule ──► script      (the driver runs it, elsewhere)
//!               which block  what is done  whose turn
//!  looks ───► touched: which part of a block is written, and moments: when the kernel is asked
//!
//!  results of the driver ──► figures
//! ```
//!
//! Nothing is run here: the command line does that, in a process for each allocator.

mod allocators;
mod apart;
mod background;
mod compile;
mod contention;
mod figures;
mod moments;
mod pairing;
mod run;
mod schedule;
mod slots;
mod stand_ins;
mod touched;
mod trims;
mod verdict;

pub use allocators::{Allocator, BadSetting, FAMILIES, Family, Recorded};
pub use background::starts_threads;
pub use compile::{Options, Script, Sites, compile};
pub use figures::{Baseline, Source};
pub use moments::Moment;
pub use run::{Run, Shootout, Threads};
