//! The only `unsafe` of the command line: three things that the standard library does not
//! say or do, so that a program runs under `record` as it would without.
#![allow(unsafe_code)]

use nix::sys::signal::SigSet;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`: Rust's start-up ignores SIGPIPE, so whether it was ignored before
/// (as systemd does for services) can be known only here.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_SIGPIPE: extern "C" fn() = note_sigpipe;

extern "C" fn note_sigpipe() {
    // SAFETY: all zeros is a valid sigaction.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null `act` changes nothing, and `now` is a sigaction to be filled in.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut now) };
    let ignored = asked == 0 && now.sa_sigaction == libc::SIG_IGN;
    SIGPIPE_WAS_IGNORED.store(ignored, Ordering::Relaxed);
}

/// Lets the command inherit what this process did: `Command` alone clears the signal mask
/// and resets SIGPIPE.
pub fn pass_on_signal_state(command: &mut Command, mask: SigSet) {
    let ignore_sigpipe = SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed);
    let in_child = move || {
        mask.thread_set_mask()?;
        if ignore_sigpipe {
            // SAFETY: ignoring a signal runs no handler.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls pthread_sigmask and signal alone,
    // which are async-signal-safe; it touches no lock and no heap.
    unsafe { command.pre_exec(in_child) };
}

/// Whether a file carries capabilities, for which the loader ignores preloads as it does
/// for setuid programs.
pub fn has_file_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let name = c"security.capability";
    // SAFETY: both are strings ended by zero; a size of 0 asks for the length alone.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    length > 0
}
