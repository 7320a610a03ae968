//! Runs a program whose output goes to a terminal, and gives what it wrote there: what a program
//! shows to people it shows on terminals only.

use std::fs::File;
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};

use crate::run::{Outcome, Running};

/// Which outputs are a terminal; the other is a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Stdout.
    Stdout,
    /// Stderr.
    Stderr,
}

/// Runs a command to its end, with one output on a terminal so wide.
pub fn run_on(terminal: Terminal, columns: u16, command: &mut Command) -> Outcome {
    let (shown, piped) = (pty(columns), pipe());
    let running = match terminal {
        Terminal::Stdout => Running::start_into(command, shown, piped),
        Terminal::Stderr => Running::start_into(command, piped, shown),
    };
    running.finish()
}

fn pty(columns: u16) -> (Stdio, File) {
    let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = openpty(Some(&size), None).expect("a terminal can be opened");
    (pair.slave.into(), pair.master.into())
}

fn pipe() -> (Stdio, File) {
    let (reader, writer) = std::io::pipe().expect("a pipe can be opened");
    (writer.into(), std::os::fd::OwnedFd::from(reader).into())
}
