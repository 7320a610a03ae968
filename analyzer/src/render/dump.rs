//! Events as text: one a line, fields apart by tabs, for `grep`, `awk` and `sort`.
//!
//! ```text
//! 0.001042417 ⇥ 1 ⇥ alloc ⇥ 0x55d0c8a2b2a0 ⇥ 72 ⇥ zeroed stack=17
//! ```

use crate::order::{Action, Event};
use fragtrace_format::event::Flags;
use fragtrace_format::record::Cold;
use std::io::{self, Write};

const NANOSECONDS: u64 = 1_000_000_000;

/// Writes the line of an event; `names` lets the names of threads through.
///
/// # Errors
/// Whatever writing says.
pub fn write(event: &Event, time_ns: u64, names: bool, out: &mut impl Write) -> io::Result<()> {
    let (seconds, rest) = (time_ns / NANOSECONDS, time_ns % NANOSECONDS);
    write!(out, "{seconds}.{rest:09}\t{}\t", event.thread)?;
    match &event.action {
        Action::Acquire { .. } => acquire(&event.action, out)?,
        Action::Release { address, flags } => {
            let kind = if flags.has(Flags::REALLOC) { "realloc-from" } else { "free" };
            write!(out, "{kind}\t{address:#x}\t-\t")?;
        }
        Action::PoolAcquire { address, size, pool } => {
            write!(out, "pool-alloc\t{address:#x}\t{size}\tpool={pool}")?;
        }
        Action::PoolRelease { address } => write!(out, "pool-free\t{address:#x}\t-\t")?,
        Action::Rare(rare) => match rare.decoded() {
            Some(event) => cold(&event, names, out)?,
            None => out.write_all(b"unreadable\t-\t-\t")?,
        },
    }
    out.write_all(b"\n")
}

fn acquire(action: &Action, out: &mut impl Write) -> io::Result<()> {
    let Action::Acquire { address, size, flags, align_log2, stack, note } = action else {
        return Ok(());
    };
    let kind = match flags {
        flags if flags.has(Flags::AGAIN) => "realloc-back",
        flags if flags.has(Flags::REALLOC) => "realloc-to",
        _ => "alloc",
    };
    write!(out, "{kind}\t{address:#x}\t{size}\t")?;
    let mut extras = Extras { out, first: true };
    if flags.has(Flags::ZEROED) {
        extras.word("zeroed")?;
    }
    if *align_log2 != 0 {
        extras.number("align", 1u64.checked_shl((*align_log2).into()).unwrap_or(0))?;
    }
    if *stack != 0 {
        extras.number("stack", (*stack).into())?;
    }
    let Some(note) = note else { return Ok(()) };
    if let Some(usable) = note.usable {
        extras.number("usable", usable)?;
    }
    if let Some(offset) = note.mapped_offset {
        extras.number("own-mapping-offset", offset)?;
    }
    if note.pool != 0 {
        extras.number("pool", note.pool.into())?;
    }
    Ok(())
}

fn cold(event: &Cold<'_>, names: bool, out: &mut impl Write) -> io::Result<()> {
    match event {
        Cold::Thread { thread, tid, name } => {
            let name = if names { name } else { "hidden" };
            write!(out, "thread\t-\t-\tthread={thread} tid={tid} name={name:?}")
        }
        Cold::Map { address, bytes, protection, flags, file, heap } => {
            let file = if *file { " file" } else { "" };
            let heap = if *heap { " heap" } else { "" };
            write!(
                out,
                "mmap\t{address:#x}\t{bytes}\tprot={protection:#x} flags={flags:#x}{file}{heap}"
            )
        }
        Cold::Unmap { address, bytes } => write!(out, "munmap\t{address:#x}\t{bytes}\t"),
        Cold::Remap { address, bytes, new_bytes } => {
            write!(out, "mremap-from\t{address:#x}\t{bytes}\twanted={new_bytes}")
        }
        Cold::Remapped { address, bytes } => write!(out, "mremap-to\t{address:#x}\t{bytes}\t"),
        Cold::Undo { address } => write!(out, "undo\t{address:#x}\t-\t"),
        Cold::Advise { address, bytes, advice } => {
            write!(out, "madvise\t{address:#x}\t{bytes}\tadvice={advice}")
        }
        Cold::Protect { address, bytes, protection } => {
            write!(out, "mprotect\t{address:#x}\t{bytes}\tprot={protection:#x}")
        }
        Cold::Brk { end } => write!(out, "brk\t{end:#x}\t-\t"),
        Cold::ReallocFreed { address } => write!(out, "realloc-freed\t{address:#x}\t-\t"),
        Cold::Timed { call, ticks } => {
            write!(out, "timed\t-\t-\tcall={} ticks={ticks}", call.name())
        }
        Cold::End { kind, status } => write!(out, "end\t-\t-\tkind={kind} status={status}"),
    }
}

/// Words behind the fields, apart by blanks.
struct Extras<'a, W> {
    out: &'a mut W,
    first: bool,
}

impl<W: Write> Extras<'_, W> {
    fn word(&mut self, word: &str) -> io::Result<()> {
        let blank = if std::mem::take(&mut self.first) { "" } else { " " };
        write!(self.out, "{blank}{word}")
    }

    fn number(&mut self, name: &str, value: u64) -> io::Result<()> {
        self.word(name)?;
        write!(self.out, "={value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(action: Action) -> String {
        let mut out = Vec::new();
        let event = Event { stamp: 0, lane: 0, thread: 2, action };
        write(&event, 1_002_000_003, true, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    fn block(flags: Flags) -> Action {
        let (address, size) = (0x1000, 72);
        Action::Acquire { address, size, flags, align_log2: 0, stack: 0, note: None }
    }

    fn cold_fields(event: &Cold<'_>, names: bool) -> String {
        let mut out = Vec::new();
        cold(event, names, &mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_block_shows_what_is_special_about_it_and_nothing_else() {
        assert_eq!(line(block(Flags::NONE)), "1.002000003\t2\talloc\t0x1000\t72\t\n");
        let mut aligned = block(Flags::ZEROED);
        if let Action::Acquire { align_log2, stack, .. } = &mut aligned {
            (*align_log2, *stack) = (6, 17);
        }
        let shown = "1.002000003\t2\talloc\t0x1000\t72\tzeroed align=64 stack=17\n";
        assert_eq!(line(aligned), shown);
    }

    #[test]
    fn the_halves_of_a_realloc_have_names_of_their_own() {
        let release = Action::Release { address: 0x10, flags: Flags::REALLOC };
        assert_eq!(line(release), "1.002000003\t2\trealloc-from\t0x10\t-\t\n");
        assert!(line(block(Flags::REALLOC)).contains("\trealloc-to\t0x1000\t72\t"));
        let again = block(Flags::REALLOC.with(Flags::AGAIN));
        assert!(line(again).contains("\trealloc-back\t0x1000\t72\t"));
    }

    #[test]
    fn rare_events_have_the_same_fields_and_hide_names_when_asked() {
        let thread = Cold::Thread { thread: 2, tid: 99, name: "wor\tker\n" };
        let shown = cold_fields(&thread, true);
        assert_eq!(shown, "thread\t-\t-\tthread=2 tid=99 name=\"wor\\tker\\n\"");
        assert!(!cold_fields(&thread, false).contains("wor"));
        for event in [
            Cold::Undo { address: 0 },
            Cold::Brk { end: 4096 },
            Cold::Unmap { address: 0, bytes: 1 },
        ] {
            assert_eq!(cold_fields(&event, true).matches('\t').count(), 3, "{event:?}");
        }
    }
}
