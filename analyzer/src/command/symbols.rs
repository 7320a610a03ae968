//! Where symbols are: what the user says, and where this machine keeps them.

use clap::Args;
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::symbols::{Pattern, Places, Rules, Symbols};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where distributions put separate debug files.
const DEBUG_FOLDER: &str = "/usr/lib/debug";

/// What every command takes that names code.
#[derive(Debug, Args)]
pub struct SymbolOptions {
    /// A folder with unstripped binaries or separate debug files (may be repeated)
    #[arg(long, value_name = "DIR")]
    symbols: Vec<PathBuf>,

    /// Pass over calls whose function, file or object fits when looking for a block's site:
    /// part of the name, or with * and ? the whole of it (may be repeated)
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
}

impl SymbolOptions {
    /// The symbols of a trace, which from then on are read: best before the trace is replayed.
    pub fn open<'t>(&self, trace: &'t Trace) -> Symbols<'t> {
        let patterns = self.skip.iter().map(|pattern| Pattern::new(pattern)).collect();
        let symbols = Symbols::new(trace, self.places(trace), Rules::new(patterns));
        symbols.read_ahead();
        for folder in self.symbols.iter().filter(|folder| !folder.is_dir()) {
            let _ = writeln!(io::stderr(), "fragtrace: {} is no folder", folder.display());
        }
        symbols
    }

    fn places(&self, trace: &Trace) -> Places {
        Places {
            given: self.symbols.clone(),
            debug: vec![DEBUG_FOLDER.into()],
            debuginfod: debuginfod_cache(),
            perf_map: self.perf_map(trace),
        }
    }

    /// The perf map of the traced process: among the symbols, or where it was written.
    fn perf_map(&self, trace: &Trace) -> Option<PathBuf> {
        let name = format!("perf-{}.map", trace.header().pid);
        let given = self.symbols.iter().map(|folder| folder.join(&name));
        let start = Duration::from_nanos(trace.clock().start_unix_ns());
        let written = Path::new("/tmp").join(&name);
        given
            .filter(|path| path.is_file())
            .chain(Some(written).filter(|path| is_since(path, SystemTime::UNIX_EPOCH + start)))
            .next()
    }
}

/// Whether a file was written since a moment: else it is another process's.
fn is_since(path: &Path, start: SystemTime) -> bool {
    path.metadata()
        .and_then(|file| Ok(file.is_file() && file.modified()? >= start))
        .unwrap_or(false)
}

/// The cache of a debuginfod client, as debuginfod_find_debuginfo(3) says where it is.
fn debuginfod_cache() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || Some(of("HOME")?.join(".cache/debuginfod_client"));
    of("DEBUGINFOD_CACHE_PATH")
        .or_else(|| Some(of("XDG_CACHE_HOME")?.join("debuginfod_client")))
        .or_else(home)
}
