//! Allocators linked into a program: found by name, and how their functions can be hooked.
//!
//! ```text
//! a file's bytes ──elf──► symbols ──find──► allocators and their entry points ──detour──► jumps
//!                                   names
//! ```
//!
//! A preload stands before `malloc`, as the loader looks that name up. An allocator that is
//! linked into an executable is called without the loader: under names of its own
//! (`_rjem_malloc`), or under the usual ones, which the executable's own callers prefer. Its
//! functions can be hooked where they begin, by a jump.
//!
//! Here is what can be said without a process: `libfragtrace.so` applies it to its own,
//! `fragtrace doctor` to a file. Nothing allocates, and any bytes are read without harm.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod call;
pub mod detour;
pub mod elf;
mod find;
mod instruction;
pub mod names;

pub use call::{Alignment, Call, Length, Operation};
pub use find::{Allocator, Entry, Found, MAX_ENTRIES, find};
