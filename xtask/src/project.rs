//! Where the project's files are, and how its two artifacts are built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// The root of the work tree: the folder above this package's.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The cargo that runs us, in the root of the work tree.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // Set by `cargo run` for this package; a build script of another one must not see them.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            cargo.env_remove(name);
        }
    }
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    cargo
}

/// Where cargo builds: `target`, unless the user's settings say otherwise.
pub fn target_dir() -> Result<PathBuf> {
    let text = shell::capture(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata: no target")?;
    Ok(PathBuf::from(folder))
}

/// What `cargo build --release` leaves behind.
pub struct Artifacts {
    /// The target folder.
    pub target: PathBuf,
    /// The `fragtrace` command.
    pub fragtrace: PathBuf,
    /// `libfragtrace.so`.
    pub tracer: PathBuf,
}

/// Builds both artifacts the way a user does.
pub fn build() -> Result<Artifacts> {
    shell::run(cargo().args(["build", "--release"]))?;
    let target = target_dir()?;
    let release = target.join("release");
    Ok(Artifacts {
        fragtrace: release.join("fragtrace"),
        tracer: release.join("libfragtrace.so"),
        target,
    })
}

/// Builds the demo server and returns where it is.
pub fn build_demo_server(target: &Path) -> Result<PathBuf> {
    shell::run(cargo().args(["build", "--release", "--package", "fragtrace-workloads"]))?;
    Ok(target.join("release/demo-server"))
}
