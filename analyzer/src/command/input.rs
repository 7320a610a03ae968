//! Opens a trace, and says in words what is wrong when it is none.

use anyhow::{Result, bail};
use fragtrace_analyzer::read::Trace;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Opens a trace for a subcommand.
///
/// # Errors
/// When the path leads to no trace: cause and remedy.
pub fn open(path: &Path) -> Result<Trace> {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{shown}: no such file\nmake a trace with `fragtrace record -- PROGRAM`")
        }
        Ok(file) if file.is_dir() => {
            bail!(
                "{shown} is a directory\nname one trace in it; `fragtrace report {shown}` lists them"
            )
        }
        _ => {}
    }
    Ok(Trace::open(path)?)
}

/// Says beside a result what of its trace is not there: for results that do not say it. Called when there
/// is a result, as a refusal has its own words.
pub fn note_damage(trace: &Trace) {
    if let [first, more @ ..] = trace.damage() {
        let more = match more.len() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let _ = writeln!(io::stderr(), "fragtrace: the trace is not whole: {first}{more}");
    }
}
