//! `fragtrace record`: runs a program under the tracer, stays out of its way, and says
//! where its trace is.
//!
//! The program is what the user wants to run: its status becomes ours, its signals reach
//! it, and nothing is printed until it has ended.

mod child;
mod environment;
pub mod places;
mod watch;

use super::{doctor, tracer};
use anyhow::{Context, Result};
use child::Ended;
use clap::Args;
use fragtrace_format::header::{self, End};
use places::{Found, Places};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use watch::Watch;

const EXAMPLES: &str = "\
Examples:
  fragtrace record -- ./server --port 8080
  fragtrace record -o run.ftr --ring 1G -- python3 job.py
  fragtrace record --no-children -- make test

The trace's name may hold %p (process number), %e (executable), %h (host), %t (start
time) and %%. Processes that the program starts write traces of their own. A file that
exists is never overwritten: a number is added to the name. Variables of the tracer
(FRAGTRACE_OUT, FRAGTRACE_RING …) hold where no option says otherwise.

Exit status: that of COMMAND; 128+N when signal N ended it; 126 when it cannot be run, 127
when it is not found; 2 when it cannot be recorded.";

/// Run a program and record its heap
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The trace to write [default: fragtrace-%e.%p.ftr]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Room for events, 64K to 1T [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = environment::ring)]
    ring: Option<environment::Ring>,

    /// Call stacks: on, off, or the greatest depth, 1 to 256 [default: on]
    #[arg(long, value_name = "on|off|DEPTH", value_parser = environment::stacks)]
    stacks: Option<String>,

    /// Least time between two looks at the kernel's view, in milliseconds; 0 = only at start
    /// and exit [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    look_ms: Option<u64>,

    /// Do not record the processes that the program starts
    #[arg(long)]
    no_children: bool,

    /// Keep the newest N traces of this name in the folder; 0 = all [default: 0]
    #[arg(long, value_name = "N")]
    keep: Option<u32>,

    /// The program and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

impl Arguments {
    /// The program and its arguments, as given.
    #[cfg(test)]
    pub fn command(&self) -> &[OsString] {
        &self.command
    }
}

/// Runs the program to its end; its exit status.
///
/// # Errors
/// When there is no tracer, the trace cannot be written, or signals cannot be watched.
/// The program has not been started then.
pub fn run(arguments: Arguments) -> Result<u8> {
    let tracer = tracer::find().map_err(anyhow::Error::msg)?;
    let pattern = places::pattern(arguments.output.as_deref())?;
    let name = &arguments.command[0];
    let mut command = Command::new(name);
    command.args(&arguments.command[1..]);
    environment::set(&mut command, &arguments, &tracer, &pattern)?;

    let places = Arc::new(Places::before(&pattern));
    let mut watch = None;
    let ended = child::run(&mut command, |pid| watch = Watch::begin(pid, places.clone()))?;
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Ok(not_started(name, &error)),
    };
    if let Some(watch) = watch {
        watch.end();
    }
    let found = places.after(ended.pid);
    if let Some(signal) = ended.signal {
        let _ = writeln!(
            io::stderr(),
            "fragtrace: {} was ended by {}",
            Path::new(name).display(),
            child::signal_name(signal)
        );
        mark_signal(&found, signal);
    }
    let _ = say_what_was_recorded(&found, Path::new(name), &ended);
    Ok(ended.status())
}

/// The statuses that shells give.
fn not_started(name: &OsString, error: &io::Error) -> u8 {
    let name = Path::new(name);
    let (status, text) = match error.kind() {
        io::ErrorKind::NotFound if name.exists() => {
            (127, "cannot be run: its interpreter (see its first line) or loader is missing".into())
        }
        io::ErrorKind::NotFound if name.components().count() > 1 => {
            (127, "there is no such file".into())
        }
        io::ErrorKind::NotFound => (127, "command not found".into()),
        _ if name.is_dir() => (126, "is a directory, not a program".into()),
        io::ErrorKind::PermissionDenied => (126, "is not executable (chmod +x?)".into()),
        _ => (126, format!("cannot be run: {}", tracer::plain_reason(error))),
    };
    let _ = writeln!(io::stderr(), "fragtrace: {}: {text}", name.display());
    status
}

/// Nobody writes an end into the trace of a process that was killed, but its parent saw it.
fn mark_signal(found: &Found, signal: i32) {
    let Some(last) = found.own.last().filter(|trace| trace.end == End::Open) else { return };
    let (offset, bytes) = header::end_field(End::Signal(signal as u32));
    // The trace is whole without it; a folder that turned read-only is no reason to fail.
    let _ = File::options()
        .write(true)
        .open(&last.path)
        .and_then(|file| file.write_all_at(&bytes, offset));
}

fn say_what_was_recorded(found: &Found, name: &Path, ended: &Ended) -> Result<()> {
    let mut out = io::stderr().lock();
    let Some(last) = found.own.last() else {
        let why = doctor::why_no_trace(name).unwrap_or_else(|| {
            "the program ended before the tracer began, or dropped its environment".into()
        });
        writeln!(out, "fragtrace: no trace was written: {why}")?;
        if !found.others.is_empty() {
            let first = &found.others[0].path;
            writeln!(
                out,
                "fragtrace: but {} of processes that it started",
                traces(found.others.len())
            )?;
            writeln!(out, "fragtrace: next: fragtrace report {}", places::shown(first))?;
        } else if ended.status() != 127 {
            writeln!(out, "fragtrace: next: fragtrace doctor {}", places::quoted(name))?;
        }
        return Ok(());
    };
    writeln!(out, "fragtrace: the trace is {}", places::shown(&last.path))?;
    let more = found.own.len() - 1 + found.others.len();
    if more > 0 {
        let folder = last.path.parent().context("a file lies in a folder")?;
        writeln!(
            out,
            "fragtrace: {} of other programs that ran: fragtrace report {}",
            traces(more),
            places::shown(folder)
        )?;
    }
    writeln!(out, "fragtrace: next: fragtrace report {}", places::shown(&last.path))?;
    Ok(())
}

fn traces(count: usize) -> String {
    if count == 1 { "1 more trace".into() } else { format!("{count} more traces") }
}
