//! The module for wasm32 that tests run, with the wrapper's recorder linked in.
//!
//! Where the toolchain has that target, it is used. Otherwise [Debian's rustc](debian_rustc) compiles
//! `core` and `alloc` for it from their sources: a module that has no std needs no more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian_rustc::{self, Compiler};
use crate::test::Outcome;
use crate::{project, shell};

const TARGET: &str = "wasm32-unknown-unknown";
const PACKAGE: &str = "fragtrace-wasm-tests";
const MODULE: &str = "fragtrace_wasm_tests.wasm";

/// Builds it, and puts it beside `fragtrace`; or says why not.
pub fn build() -> Result<Outcome> {
    let target = project::target_dir()?;
    let own = target.join("wasm32");
    let mut build = project::cargo();
    build.args(["build", "--release", "--target", TARGET, "--package", PACKAGE]);
    build.env("CARGO_TARGET_DIR", &own);
    if !debian_rustc::toolchain_has(TARGET)? {
        let hint = format!("the toolchain lacks it, too (rustup target add {TARGET})");
        let compiler = match debian_rustc::unpacked()? {
            Ok(compiler) => compiler,
            Err(why) => return Ok(Outcome::Skipped(format!("{why}; {hint}"))),
        };
        let Some(linker) = linker()? else {
            return Ok(Outcome::Skipped(format!("no linker for wasm32; {hint}")));
        };
        if let Err(error) = compile_library(&compiler) {
            let why = format!("Debian's library cannot be compiled for wasm32: {error:#}");
            return Ok(Outcome::Skipped(format!("{why}; {hint}")));
        }
        compiler.used_by(&mut build);
        build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    shell::run(&mut build)?;
    let module = own.join(TARGET).join("release").join(MODULE);
    let beside = target.join("release").join(MODULE);
    fs::copy(&module, &beside).with_context(|| format!("cannot write {}", beside.display()))?;
    Ok(Outcome::Passed)
}

/// The linker that comes with the toolchain.
fn linker() -> Result<Option<PathBuf>> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir"]).current_dir(project::root());
    let libraries = PathBuf::from(shell::capture(&mut rustc)?.trim());
    let linker = libraries.parent().map(|folder| folder.join("bin/rust-lld"));
    Ok(linker.filter(|linker| linker.is_file()))
}

/// A crate of the library, from where its source is in the library's folder.
struct Part {
    name: &'static str,
    source: &'static str,
    features: &'static [&'static str],
}

/// In the order in which they stand on each other.
const PARTS: [Part; 3] = [
    Part { name: "core", source: "core/src/lib.rs", features: &[] },
    Part {
        name: "compiler_builtins",
        source: "compiler-builtins/compiler-builtins/src/lib.rs",
        features: &["compiler-builtins", "mem"],
    },
    Part { name: "alloc", source: "alloc/src/lib.rs", features: &[] },
];

/// Compiles the library's crates to where the compiler looks for them.
fn compile_library(compiler: &Compiler) -> Result<()> {
    let folder = compiler.root.join("usr/lib/rustlib").join(TARGET).join("lib");
    let done = folder.join("complete");
    if done.exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let sources = sources(&compiler.root)?;
    for part in PARTS {
        let mut rustc = Command::new(compiler.rustc());
        compiler.used_by(&mut rustc);
        // The library is written in what is not stable, as it comes with its compiler.
        rustc.env("RUSTC_BOOTSTRAP", "1").args(["--edition", "2024", "--crate-type", "rlib"]);
        rustc.args(["--crate-name", part.name, "--target", TARGET, "--cap-lints", "allow"]);
        rustc.args(["-O", "-C", "panic=abort", "-C", "embed-bitcode=yes"]);
        rustc.args(["-Z", "force-unstable-if-unmarked"]);
        for feature in part.features {
            rustc.arg("--cfg").arg(format!("feature=\"{feature}\""));
        }
        rustc.arg("--out-dir").arg(&folder).arg(sources.join(part.source));
        shell::capture(&mut rustc)?;
    }
    fs::write(done, "").context("cannot mark the library as compiled")
}

/// The library's folder in the package of sources.
fn sources(root: &Path) -> Result<PathBuf> {
    let folder = root.join("usr/src");
    let entries = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let of_release = |name: &str| name.starts_with("rustc-");
    let release = entries.flatten().find(|entry| of_release(&entry.file_name().to_string_lossy()));
    Ok(release.context("no sources of rustc")?.path().join("library"))
}
