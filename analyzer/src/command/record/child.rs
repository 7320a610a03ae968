//! The program as our child: started, its signals passed on, waited for.
//!
//! All signals that would end us are blocked and read one by one, so that we outlive the
//! program and can say how it ended. What the terminal sends (Ctrl-C) goes to the whole
//! foreground group and has reached the program already; what another process sends to us
//! alone is meant for the program, and is sent on.

use crate::command::system;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{SI_KERNEL, signalfd_siginfo};
use nix::sys::signal::{self, SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

/// Signals that are passed on. Stops and continues are left alone: they reach the group.
const PASSED_ON: [Signal; 12] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGWINCH,
];

/// How the program ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its process number.
    pub pid: u32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    code: i32,
}

impl Ended {
    /// The exit status as shells give it: 128+N for signal N.
    pub fn status(&self) -> u8 {
        self.signal.map_or(self.code, |signal| 128 + signal) as u8
    }
}

/// Starts the command, says so, and waits for its end; the inner error is why it could not
/// start.
///
/// # Errors
/// When signals cannot be watched.
pub fn run(command: &mut Command, started: impl FnOnce(u32)) -> Result<io::Result<Ended>> {
    let watched: SigSet = PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect();
    let before = watched.thread_swap_mask(SigmaskHow::SIG_BLOCK).context("cannot block signals")?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC)
        .context("cannot watch for signals")?;
    system::pass_on_signal_state(command, before);

    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Err(error)),
    };
    started(child.id());
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            return Ok(Ok(Ended {
                pid: child.id(),
                signal: status.signal(),
                code: status.code().unwrap_or(0),
            }));
        }
        match signals.read_signal() {
            Ok(Some(info)) => pass_on(&info, child.id()),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot read signals"),
        }
    }
}

fn pass_on(info: &signalfd_siginfo, child: u32) {
    let Ok(signal) = Signal::try_from(info.ssi_signo as i32) else { return };
    if signal == Signal::SIGCHLD || !is_for_us_alone(info.ssi_code, info.ssi_pid, child) {
        return;
    }
    // The program may have ended in this moment: then nobody is left to be told.
    let _ = signal::kill(Pid::from_raw(child as i32), signal);
}

/// Whether a signal came from another process than the program itself, which may signal its
/// parent or its whole group.
fn is_for_us_alone(code: i32, sender: u32, child: u32) -> bool {
    code != SI_KERNEL && sender != child
}

/// "signal 9 (SIGKILL)".
pub fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(name) => format!("signal {signal} ({name})"),
        Err(_) => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_meant_for_the_program_is_passed_on() {
        let (from_user, child, stranger) = (0, 42, 7);
        assert!(is_for_us_alone(from_user, stranger, child));
        assert!(!is_for_us_alone(SI_KERNEL, 0, child), "Ctrl-C reached the program already");
        assert!(!is_for_us_alone(from_user, child, child), "the program sent it");
    }

    #[test]
    fn a_signal_is_a_status_above_128() {
        assert_eq!(Ended { pid: 1, signal: Some(9), code: 0 }.status(), 137);
        assert_eq!(Ended { pid: 1, signal: None, code: 3 }.status(), 3);
        assert_eq!(signal_name(9), "signal 9 (SIGKILL)");
        assert_eq!(signal_name(40), "signal 40");
    }
}
