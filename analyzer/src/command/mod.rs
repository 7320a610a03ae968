//! The subcommands, one file each. They know files, terminals and processes, so that the
//! library behind them need not.

mod anonymize;
mod arguments;
mod blame;
mod check;
mod doctor;
mod dump;
mod elf;
mod holes;
mod html;
mod input;
mod judge;
mod map;
mod output;
mod progress;
mod record;
mod report;
mod shootout;
mod symbols;
mod system;
mod timeline;
mod tracer;

pub use shootout::HIDDEN_NAME as DRIVER;

use anyhow::Result;
use clap::{ColorChoice, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  fragtrace record -- ./server --port 8080    run a program and record its heap
  fragtrace report fragtrace-server.4242.ftr  what happened to its memory
  fragtrace map fragtrace-server.4242.ftr -o heap.png
  fragtrace doctor ./server                   can this program be recorded here?

Without `record`: LD_PRELOAD=/path/to/libfragtrace.so ./server

Exit status: 0 done, 1 findings (only with `report --check`), 2 cannot. `record` returns the status of the program that it ran.";

/// Where did the memory go, and what holds it there?
///
/// fragtrace records every allocation of a running program, with the kernel's view of its
/// memory, and shows how its heap came to hold more than it uses.
#[derive(Debug, Parser)]
#[command(name = "fragtrace", version, after_long_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    /// Colours: on a terminal only, always, or never
    #[arg(long, value_name = "WHEN", global = true, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(record::Arguments),
    Report(report::Arguments),
    Map(map::Arguments),
    Timeline(timeline::Arguments),
    Holes(holes::Arguments),
    Blame(blame::Arguments),
    Html(html::Arguments),
    Shootout(shootout::Arguments),
    Dump(dump::Arguments),
    Doctor(doctor::Arguments),
}

/// Does what the command line says; the exit status.
///
/// # Errors
/// Why it cannot be done, to be shown to the user as it is.
pub fn run() -> Result<u8> {
    let cli = Cli::parse();
    let output = output::Output::new(cli.color);
    match cli.command {
        Command::Record(arguments) => record::run(arguments),
        Command::Report(arguments) => report::run(&arguments, &output),
        Command::Map(arguments) => map::run(&arguments),
        Command::Timeline(arguments) => timeline::run(&arguments),
        Command::Holes(arguments) => holes::run(&arguments, &output),
        Command::Blame(arguments) => blame::run(&arguments, &output),
        Command::Html(arguments) => html::run(&arguments),
        Command::Shootout(arguments) => shootout::run(&arguments, &output),
        Command::Dump(arguments) => dump::run(&arguments, &output),
        Command::Doctor(arguments) => doctor::run(&arguments, &output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_command_of_record_belongs_to_it() {
        let line = ["fragtrace", "record", "--ring", "1M", "ls", "--ring", "-l", "--", "-o"];
        let Command::Record(arguments) = Cli::parse_from(line).command else {
            panic!("record was asked for");
        };
        assert_eq!(arguments.command(), ["ls", "--ring", "-l", "--", "-o"]);
    }

    #[test]
    fn an_unknown_option_before_the_command_is_an_error() {
        assert!(Cli::try_parse_from(["fragtrace", "record", "--rnig", "1M", "ls"]).is_err());
    }
}
