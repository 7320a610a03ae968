//! The shootout's driver: runs a [script](script), which a trace was compiled to, on the malloc
//! of this process.
//!
//! It has a process of its own for each allocator, so that `LD_PRELOAD` decides which malloc that
//! is. Nothing here takes a block for itself (the crate has neither `std` nor `alloc`): tables lie
//! in anonymous mappings that are touched before the first call, so that what grows later is the
//! allocator's. Input is a script on descriptor 0, output a file on descriptor 1 which is mapped
//! and shared with whoever started this: what was found out is there even if the allocator dies.
#![no_std]

mod calls;
mod clock;
mod dispatch;
mod free;
mod kernel;
mod memory;
mod pool;
mod reader;
pub mod results;
mod run;
pub mod script;
mod slots;
mod turns;

/// Runs the script on descriptor 0. The exit status: 0, or 1 where the script or the results'
/// file makes no sense.
pub fn run() -> u8 {
    kernel::fix_addresses();
    match perform() {
        Some(()) => 0,
        None => 1,
    }
}

fn perform() -> Option<()> {
    let mut run = run::Run::begin(is_word(2, COUNT))?;
    if run.is_free() { free::perform(&mut run) } else { turns::perform(&mut run) }
}

/// Whether this process was started as a driver: its first argument is `name`. Asks the kernel, as
/// the standard library would take blocks for the answer.
pub fn is_asked_for(name: &[u8]) -> bool {
    is_word(1, name)
}

/// The second argument with which the driver counts system calls, and measures nothing else.
pub const COUNT: &[u8] = b"count";

fn is_word(index: usize, expected: &[u8]) -> bool {
    let mut line = [0; 512];
    let Some(read) = kernel::read_whole(c"/proc/self/cmdline", &mut line) else { return false };
    let mut words = line[..read].split(|byte| *byte == 0);
    words.nth(index) == Some(expected)
}
