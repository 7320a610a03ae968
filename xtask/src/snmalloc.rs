//! `cargo xtask snmalloc`: snmalloc as a library that can be preloaded, for the shootout.
//!
//! No distribution has a package of it, but its crate, which tests link to, comes with all of its
//! sources. They are built with cmake, as they ask for, and the library is put beside `fragtrace`,
//! where the shootout looks first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::test::Outcome;
use crate::{project, shell};

const CRATE: &str = "snmalloc-sys";
const LIBRARY: &str = "libsnmallocshim.so";
/// What it takes, and how Debian calls it.
const TOOLS: [(&str, &str); 2] = [("cmake", "cmake"), ("c++", "g++")];

/// Builds it.
pub fn run() -> Result<()> {
    let absent = absent();
    if !absent.is_empty() {
        bail!("snmalloc is built with cmake and a C++ compiler: apt install {}", absent.join(" "));
    }
    println!("{}", build()?.display());
    Ok(())
}

/// Builds it for the tests, where that can be done.
pub fn step() -> Result<Outcome> {
    let absent = absent();
    if !absent.is_empty() {
        return Ok(Outcome::Skipped(format!("needs the packages {}", absent.join(" "))));
    }
    build()?;
    Ok(Outcome::Passed)
}

fn absent() -> Vec<&'static str> {
    let missing = |tool: &str| shell::find(tool).is_none();
    TOOLS.iter().filter(|(tool, _)| missing(tool)).map(|(_, package)| *package).collect()
}

fn build() -> Result<PathBuf> {
    let target = project::target_dir()?;
    let (scratch, release) = (target.join("snmalloc"), target.join("release"));
    let cmake = || Command::new("cmake");
    shell::capture(
        cmake()
            .arg("-S")
            .arg(sources()?)
            .arg("-B")
            .arg(&scratch)
            .args(["-DCMAKE_BUILD_TYPE=Release", "-DSNMALLOC_BUILD_TESTING=OFF"]),
    )?;
    shell::capture(cmake().arg("--build").arg(&scratch).args(["--target", "snmallocshim"]))?;
    fs::create_dir_all(&release).with_context(|| format!("cannot make {}", release.display()))?;
    let path = release.join(LIBRARY);
    fs::copy(scratch.join(LIBRARY), &path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Where cargo keeps the crate's sources.
fn sources() -> Result<PathBuf> {
    let text = shell::capture(project::cargo().args(["metadata", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata: no packages")?;
    let package = packages.iter().find(|package| package["name"] == CRATE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    Ok(folder.with_context(|| format!("{CRATE} is none of the crates here"))?.join("snmalloc"))
}
