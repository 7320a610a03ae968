//! `fragtrace`, the command line: parse, run one subcommand, report how it went.
//!
//! This is the one place where the process ends. Exit status: 0 done, 1 findings
//! (`report --check`), 2 cannot; `record` returns the status of the program that it ran.
#![deny(unsafe_code)]

mod command;

use std::io::{self, Write};
use std::process::ExitCode;

/// What the subcommands return when they cannot do what they were asked for.
const CANNOT: u8 = 2;

fn main() -> ExitCode {
    // Before anything else: the heap of this process is then an allocator's on trial.
    if fragtrace_shootout_driver::is_asked_for(command::DRIVER.as_bytes()) {
        return ExitCode::from(fragtrace_shootout_driver::run());
    }
    install_last_resort();
    match command::run() {
        Ok(status) => ExitCode::from(status),
        // Whoever read our output has seen enough: `fragtrace dump … | head`.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fragtrace: {error:#}");
            ExitCode::from(CANNOT)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// A panic is a bug of ours. Whoever meets it gets one line to report, and no backtrace.
fn install_last_resort() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
        let _ = writeln!(
            io::stderr(),
            "fragtrace: this is a bug, please report it: {}{}",
            what.lines().next().unwrap_or_default(),
            place.unwrap_or_default()
        );
        std::process::exit(i32::from(CANNOT));
    }));
}
