//! `fragtrace doctor`: can this be traced here, and if not, why and what instead.
//!
//! A preload can fail in silence: the loader ignores it, the program never loads it, or the
//! program's heap is not malloc's. Each of these can be seen beforehand, in the files.

mod libraries;
mod linked;
mod place;
mod program;

use super::elf::Elf;
use super::output::Output;
use super::tracer;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use std::fmt::Write;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  fragtrace doctor               is the tracer there, and is there room for a trace?
  fragtrace doctor ./server      can ./server be traced, and whose malloc will be seen?

Each line is one check: ok, note, warning (a trace comes about, but read this), or cannot.
Exit status: 0 when a trace comes about, 2 when not.";

/// Check whether a program can be recorded here
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The program that is to be recorded
    #[arg(value_name = "COMMAND")]
    command: Option<std::path::PathBuf>,
    /// What it is started with, as for `record`: not looked at
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<std::ffi::OsString>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// A trace comes about, but does not show what one would expect.
    Warning,
    /// No trace comes about.
    Cannot,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it came out.
    pub grade: Grade,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Finding { grade: Grade::Ok, text: text.into(), remedy: None }
    }

    fn note(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { grade: Grade::Note, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { grade: Grade::Warning, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn cannot(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { grade: Grade::Cannot, text: text.into(), remedy: Some(remedy.into()) }
    }
}

/// Prints every check; 0 when a trace comes about.
///
/// # Errors
/// When the result cannot be printed.
pub fn run(arguments: &Arguments, output: &Output) -> Result<u8> {
    let (tracer_elf, mut findings) = check_tracer();
    findings.extend(place::check());
    if let Some(command) = &arguments.command {
        findings.extend(program::check(command, tracer_elf.as_ref()));
    }
    output.print(&page(&findings))?;
    let cannot = findings.iter().any(|finding| finding.grade == Grade::Cannot);
    Ok(if cannot { crate::CANNOT } else { 0 })
}

/// Why a program that ran left no trace, as far as its file tells.
pub fn why_no_trace(program: &Path) -> Option<String> {
    let (tracer_elf, mut findings) = check_tracer();
    findings.extend(program::check(program, tracer_elf.as_ref()));
    findings.extend(place::check());
    let finding = findings.into_iter().find(|finding| finding.grade == Grade::Cannot)?;
    Some(match finding.remedy {
        Some(remedy) => format!("{}; {remedy}", finding.text),
        None => finding.text,
    })
}

fn check_tracer() -> (Option<Elf>, Vec<Finding>) {
    let path = match tracer::find() {
        Ok(path) => path,
        Err(reason) => {
            let remedy = "build it with `cargo build --release`, or set FRAGTRACE_LIB";
            return (None, vec![Finding::cannot(reason, remedy)]);
        }
    };
    let shown = path.display();
    let elf = match Elf::read(&path) {
        Ok(elf) if elf.defines_malloc => elf,
        Ok(_) | Err(_) => {
            let text = format!("{shown} is not the tracer: it holds no malloc for 64-bit Linux");
            let remedy = "set FRAGTRACE_LIB to the path of libfragtrace.so";
            return (None, vec![Finding::cannot(text, remedy)]);
        }
    };
    let mut findings = vec![Finding::ok(format!("tracer: {shown}, for {}", elf.machine))];
    if place::is_noexec(&path) {
        let text = format!("{shown} lies where nothing may be executed (mounted noexec)");
        findings.push(Finding::cannot(text, "copy it elsewhere and set FRAGTRACE_LIB"));
    }
    (Some(elf), findings)
}

fn page(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { grade, text, remedy } in findings {
        let (word, color) = match grade {
            Grade::Ok => ("ok", AnsiColor::Green),
            Grade::Note => ("note", AnsiColor::Cyan),
            Grade::Warning => ("warning", AnsiColor::Yellow),
            Grade::Cannot => ("cannot", AnsiColor::Red),
        };
        let style = Style::new().bold().fg_color(Some(color.into()));
        let _ = writeln!(out, "{style}{word:<8}{style:#} {text}");
        if let Some(remedy) = remedy {
            let _ = writeln!(out, "         {remedy}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_its_remedy_another() {
        let findings = [Finding::ok("tracer: there"), Finding::cannot("too late", "come earlier")];
        let page = anstream::adapter::strip_str(&page(&findings)).to_string();
        assert_eq!(page, "ok       tracer: there\ncannot   too late\n         come earlier\n");
    }
}
