//! The recorder: takes events of a process and keeps them in its trace file.
//!
//! ```text
//! hooks ── acquire, release, cold ──► lane ── full? ──► ring ── grown by ──► file
//!                                      one a thread      chunks              segments
//!          look ── the kernel's view ─────────────────────────────────────► file
//! ```
//!
//! Nothing here calls the C library, but for what `process::Facilities` hands in: no
//! allocation, no lock that a program can meet, no errno. System calls are made directly.
//! The layer above (hooks by symbol, or an allocator wrapper) decides what an event is.
#![no_std]

#[cfg(test)]
extern crate std;

mod arch;
/// What [`ownership`] is built on; its model check takes others.
use core::sync::atomic;
mod children;
mod classes;
mod clock;
mod config;
mod describe;
mod file;
mod filtered;
mod fold;
mod halves;
mod inherit;
mod journal;
mod keep;
mod lane;
mod look;
/// What may be done to the process itself.
pub mod own;
mod ownership;
mod pools;
mod process;
mod ring;
mod stack;
mod sync;
mod sys;
mod text;
mod wrapped;

pub use arch::stack_pointer;
pub use classes::UsableSize;
pub use describe::Facts;
pub use filtered::find_filters;
pub use fragtrace_format::event::{Acquire, Flags, WRAPPED};
pub use fragtrace_format::header::End;
pub use fragtrace_format::record::{Call, Cold, Figure, UsableRule};
pub use inherit::fork_follows;
pub use lane::{
    acquire, acquire_glibc, acquire_on_another_stack, acquire_with, bare_block, begin_compound,
    begin_compound_at, begin_linked, block, clock_reading, cold, end_compound, glibc_block,
    in_call, is_last, reach, release, release_with, timed, usable_bytes,
};
pub use look::{AskAllocator, MAX_FIGURES};
pub use pools::{pool_acquired, pool_created, pool_destroyed, pool_released};
pub use process::{
    Facilities, ForkHandler, Successor, clock_vanishes, daemon_follows, end, exec_follows,
    filter_follows, no_daemon_came, no_filter_came, path_vanishes, start,
};
pub use stack::Caller;
/// Where an event path that is written by hand finds what it needs.
pub mod layout {
    /// A bit for each step of a size: whether what may be used of such a block is on record.
    pub use crate::classes::KNOWN as CLASSES_KNOWN;
    pub use crate::lane::layout as lane;
    pub use crate::stack::{GENERATION, recent_layout as recent};
    pub use fragtrace_format::classes::STEPS as CLASS_STEPS;
}
pub use text::Text;
pub use wrapped::{wrapped_acquired, wrapped_released};
