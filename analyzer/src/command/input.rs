//! Opens a trace, and says in words what is wrong when it is none.

use anyhow::{Result, bail};
use fragtrace_analyzer::read::Trace;
use std::fs;
use std::io;
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
