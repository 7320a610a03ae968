//! `cargo xtask install`: both artifacts where `LD_PRELOAD=libfragtrace.so ./server` works.
//!
//! The loader finds a bare name in its cache and in its default folders. On Debian the cache covers
//! /usr/local/lib, so with the default prefix nothing is left to do; elsewhere it is said what is.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::{project, shell};

/// Where a program is put that the system's package manager knows nothing of.
pub const DEFAULT_PREFIX: &str = "/usr/local";

/// Builds and installs, then tries out the line that users will type.
pub fn run(prefix: &Path) -> Result<()> {
    let artifacts = project::build()?;
    let prefix = std::path::absolute(prefix).context("--prefix")?;
    put(&artifacts.fragtrace, &prefix.join("bin"))?;
    let library_folder = prefix.join("lib");
    put(&artifacts.tracer, &library_folder)?;

    // The loader's cache holds the folders that it looks into by itself.
    if prefix == Path::new(DEFAULT_PREFIX)
        && shell::is_root()
        && let Some(ldconfig) = shell::find("ldconfig")
    {
        shell::run(&mut Command::new(ldconfig))?;
    }
    if preloads_by_bare_name(&artifacts.target)? {
        println!("\nThis works now: LD_PRELOAD=libfragtrace.so ./server");
        return Ok(());
    }
    let folder = library_folder.display();
    if prefix == Path::new(DEFAULT_PREFIX) {
        bail!("the loader does not look into {folder}: {}", remedy(&library_folder));
    }
    println!(
        "\nThe loader does not look into {folder}. For the bare name LD_PRELOAD=libfragtrace.so"
    );
    println!("{}", remedy(&library_folder));
    println!("`fragtrace record` needs none of this: it finds the tracer by itself.");
    Ok(())
}

fn remedy(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "either set LD_LIBRARY_PATH={folder}, or as root:\n  \
         echo {folder} > /etc/ld.so.conf.d/fragtrace.conf && ldconfig"
    )
}

/// Copies beside the destination and renames, so that a program that has the old file mapped keeps
/// it whole.
fn put(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("an artifact without a name")?;
    let path = folder.join(name);
    let fresh = folder.join(format!(".{}.new", name.to_string_lossy()));
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::copy(file, &fresh)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        fs::rename(&fresh, &path)
    };
    copy().map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "not permitted to write {}: run it as root (sudo), or choose a folder of your own, \
             as in --prefix ~/.local",
            path.display()
        ),
        _ => anyhow!("cannot write {}: {error}", path.display()),
    })?;
    println!("{}", path.display());
    Ok(())
}

/// Whether the loader finds the tracer: it says so on stderr when it does not, and runs on.
fn preloads_by_bare_name(scratch: &Path) -> Result<bool> {
    let trace = scratch.join("install-check.ftr");
    let mut probe = Command::new(shell::find("true").context("no command `true` on the PATH")?);
    probe.env("LD_PRELOAD", "libfragtrace.so").env("FRAGTRACE_QUIET", "1");
    probe.env("FRAGTRACE_OUT", &trace).env("FRAGTRACE_RING", "64K");
    let done = shell::output(&mut probe)?;
    let _ = fs::remove_file(&trace);
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        bail!("LD_PRELOAD=libfragtrace.so true: {}\n{}", done.status, said.trim_end());
    }
    Ok(!said.contains("cannot be preloaded"))
}
