//! The project's own commands, `cargo xtask …`: all set-up and measuring that a fresh machine with
//! a Rust toolchain needs. One file a command.
#![forbid(unsafe_code)]

mod aarch64;
mod bench;
mod debian;
mod debian_rustc;
mod demo;
mod gallery;
mod install;
mod project;
mod shell;
mod snmalloc;
mod suites;
mod test;
mod wasm32;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "fragtrace's own commands", max_term_width = 100)]
enum Command {
    /// Build all, trace a server that fragments its heap, print the report, draw its pictures
    Demo {
        /// Run the same server with its fault mended
        #[arg(long)]
        cured: bool,
    },
    /// Draw each illness that is diagnosed into docs/gallery.md, from programs that have it
    Gallery {
        /// Only the pictures of these illnesses; all, when none is named
        #[arg(value_name = "ILLNESS")]
        only: Vec<String>,
    },
    /// Install what the tests need, then format check, lints, build, every test, other checks
    Test {
        /// Only these steps; all, when none is named
        #[arg(value_name = "STEP", value_parser = test::STEPS)]
        only: Vec<String>,
    },
    /// Measure cost, bytes an event and report speed, beside the peers installed here
    Bench {
        /// Fewer and shorter runs: a first impression, not for the record
        #[arg(long)]
        quick: bool,
        /// Put the tables and this machine's description into docs/benchmarks.md
        #[arg(long)]
        write: bool,
        /// Only these sections; all, when none is named
        #[arg(value_name = "SECTION", value_parser = bench::SECTIONS)]
        only: Vec<String>,
    },
    /// Build snmalloc from its crate, with cmake, as a library that the shootout finds
    Snmalloc,
    /// Put fragtrace and libfragtrace.so where the shell and the loader find them
    Install {
        /// Where bin/ and lib/ are
        #[arg(long, value_name = "DIR", default_value = install::DEFAULT_PREFIX)]
        prefix: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Demo { cured } => demo::run(cured),
        Command::Gallery { only } => gallery::run(&only),
        Command::Test { only } => test::run(only),
        Command::Bench { quick, write, only } => bench::run(quick, write, &only),
        Command::Snmalloc => snmalloc::run(),
        Command::Install { prefix } => install::run(&prefix),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}
