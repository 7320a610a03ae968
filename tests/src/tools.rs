//! Finds what a test needs: the two artifacts under test, and programs that a machine may lack.
//! A missing program skips the test aloud, unless `FRAGTRACE_REQUIRE_ALL=1` makes it a failure.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder that holds `Cargo.toml` of the workspace.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the workspace").to_path_buf()
}

/// The tracer, `libfragtrace.so`.
pub fn tracer() -> PathBuf {
    artifact("libfragtrace.so")
}

/// The command line, `fragtrace`.
pub fn analyzer() -> PathBuf {
    artifact("fragtrace")
}

/// The folder of the artifacts: `FRAGTRACE_TARGET_DIR`, else `target/release` of the workspace.
fn artifact(name: &str) -> PathBuf {
    let folder = env::var_os("FRAGTRACE_TARGET_DIR")
        .map_or_else(|| workspace().join("target/release"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release` first, or `cargo xtask test`",
        path.display()
    );
    path.canonicalize().expect("an existing file has a path")
}

/// Whether a missing tool is a failure.
pub fn all_required() -> bool {
    env::var("FRAGTRACE_REQUIRE_ALL").is_ok_and(|value| value == "1")
}

/// The path of an installed program; `None` after saying that the test is skipped. The system's
/// own folders come first: wrappers found earlier in `PATH` are scripts that start other programs.
pub fn find(tool: &str) -> Option<PathBuf> {
    let found = search(tool);
    if found.is_none() {
        skip(&format!("{tool} is not installed"));
    }
    found
}

fn search(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(tool))
        .find(|candidate| candidate.is_file())
}

/// Says that a test is skipped and why, past the capture of the test runner; fails instead where
/// everything is required.
pub fn skip(reason: &str) {
    assert!(!all_required(), "{reason}, and FRAGTRACE_REQUIRE_ALL=1 requires it");
    skip_anyway(reason);
}

/// Says that a test is skipped and why, for what not every machine can have.
pub fn skip_anyway(reason: &str) {
    // Nothing is lost when stderr is closed.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// How often a test does something: as this variable says, where a longer run is wanted.
pub fn soak(variable: &str, otherwise: usize) -> usize {
    env::var(variable).ok().and_then(|times| times.parse().ok()).unwrap_or(otherwise)
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
