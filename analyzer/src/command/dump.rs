//! `fragtrace dump`: events as text, one a line.

use super::input;
use super::output::Output;
use anyhow::Result;
use clap::Args;
use fragtrace_analyzer::order;
use fragtrace_analyzer::render::dump;
use std::io::{self, Write};
use std::path::PathBuf;

const LAYOUT: &str = "\
Each line has six fields, apart by tabs:
  time      seconds since the trace's start, with nine decimals
  thread    index of the thread, from 1 on
  kind      alloc free realloc-from realloc-to realloc-back realloc-freed
            mmap munmap mremap-from mremap-to undo madvise mprotect brk thread end
  address   in hexadecimal, or -
  size      in bytes: what was asked for, or -
  extras    words and name=value: zeroed align usable own-mapping-offset stack pool …

A realloc of a block is two lines: realloc-from gives it up, realloc-to has it in its new
place and size. realloc-back: the allocator refused, the block is as before. undo: the
kernel refused the munmap or mremap before it on this thread.

Examples:
  fragtrace dump run.ftr | head
  fragtrace dump run.ftr | awk '$3 == \"alloc\" && $5 >= 131072'
  fragtrace dump run.ftr | cut -f3 | sort | uniq -c";

/// Print the events as text, one a line
#[derive(Debug, Args)]
#[command(after_long_help = LAYOUT)]
pub struct Arguments {
    /// The trace
    trace: PathBuf,

    /// Leave out the names of threads, to share the text
    #[arg(long)]
    anonymize: bool,
}

/// Prints all events in their order.
///
/// # Errors
/// When the path leads to no trace, or the result cannot be printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    let trace = input::open(&arguments.trace)?;
    let mut out = output.plain();
    let mut events = order::events(&trace);
    for event in events.by_ref().flatten() {
        let time_ns = trace.clock().time_ns(event.stamp);
        dump::write(&event, time_ns, !arguments.anonymize, &mut out)?;
    }
    out.flush()?;
    input::note_damage(&trace);
    for damage in events.told().damage {
        let _ = writeln!(io::stderr(), "fragtrace: {damage}");
    }
    Ok(0)
}
