//! The code paths for aarch64, type-checked on a machine that is none.
//!
//! cargo can check a crate for another architecture as soon as it has that one's `core`. Where the
//! toolchain has it, it is used. Otherwise, Debian on x86-64 has both a recent enough rustc and its
//! library for arm64: they are unpacked under the target folder, with lists of packages of our own,
//! so that nothing is installed and no setting of the system is touched (nor root needed).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::test::Outcome;
use crate::{project, shell};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The crates with code of their own for each architecture, and what they stand on.
const PACKAGES: [&str; 4] = ["--package", "fragtrace-format", "--package", "fragtrace-recorder"];
/// Debian's compilers, newest first: each with its library's package.
const COMPILERS: [(&str, &str); 2] =
    [("rustc-web", "libstd-rust-web-dev"), ("rustc", "libstd-rust-dev")];
/// The multiarch folder of the machine that compiles.
const HOST_LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Checks the tracer's pure crates for aarch64, or says why not.
pub fn check() -> Result<Outcome> {
    let target = project::target_dir()?;
    let mut check = project::cargo();
    check.args(["check", "--target", TARGET]).args(PACKAGES);
    check.env("CARGO_TARGET_DIR", target.join("aarch64"));
    if !toolchain_has_target()? {
        let unpacked = target.join("aarch64-toolchain");
        if let Some(why) = unpack_debian_compiler(&unpacked)? {
            let hint = format!("rustup target add {TARGET}");
            return Ok(Outcome::Skipped(format!("{why}; the toolchain lacks it, too ({hint})")));
        }
        check.env("RUSTC", unpacked.join("root/usr/bin/rustc"));
        check.env("LD_LIBRARY_PATH", unpacked.join("root").join(HOST_LIBRARIES));
    }
    shell::run(&mut check)?;
    Ok(Outcome::Passed)
}

fn toolchain_has_target() -> Result<bool> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(project::root());
    Ok(Path::new(shell::capture(&mut rustc)?.trim()).is_dir())
}

/// Unpacks rustc, its library for this machine (for build scripts and macros) and the one for
/// aarch64 into `folder/root`. Returns why that is not possible here.
fn unpack_debian_compiler(folder: &Path) -> Result<Option<String>> {
    let done = folder.join("complete");
    if done.exists() {
        return Ok(None);
    }
    if std::env::consts::ARCH != "x86_64" || shell::find("apt-get").is_none() {
        return Ok(Some("only Debian on x86-64 has a second compiler to take".to_owned()));
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    for part in ["lists/partial", "cache/archives/partial", "arm64", "root"] {
        fs::create_dir_all(folder.join(part))
            .with_context(|| format!("cannot make {}", folder.join(part).display()))?;
    }
    if let Some(why) = download(folder)? {
        return Ok(Some(why));
    }
    for archives in ["cache/archives", "arm64"] {
        unpack(&folder.join(archives), &folder.join("root"))?;
    }
    fs::write(done, "").context("cannot mark the compiler as unpacked")?;
    Ok(None)
}

/// Downloads the packages' archives, or returns why that is not possible.
fn download(folder: &Path) -> Result<Option<String>> {
    // A source that is out of reach is no reason to stop: what counts is what can be downloaded.
    shell::output(apt(folder, "apt-get").arg("update"))?;
    let mut compiler = None;
    for (rustc, library) in COMPILERS {
        let policy = shell::capture(apt(folder, "apt-cache").args(["policy", rustc]))?;
        if candidate_is_recent(&policy) {
            compiler = Some((rustc, library));
            break;
        }
    }
    let Some((rustc, library)) = compiler else {
        let needed = env!("CARGO_PKG_RUST_VERSION");
        return Ok(Some(format!("this system's packages have no rustc from {needed} on")));
    };
    let mut native = apt(folder, "apt-get");
    native.args(["install", "--download-only", "--reinstall", "-y", "--no-install-recommends"]);
    native.args([rustc, library]);
    let mut foreign = apt(folder, "apt-get");
    foreign.arg("download").arg(format!("{library}:arm64"));
    let got = shell::capture(&mut native).and_then(|_| shell::capture(&mut foreign));
    Ok(got.err().map(|error| format!("Debian's compiler cannot be downloaded: {error:#}")))
}

/// apt with both architectures, and with lists and archives of its own under `folder`.
fn apt(folder: &Path, program: &str) -> Command {
    let setting = |name: &str, part: &str| format!("{name}={}", folder.join(part).display());
    let mut command = Command::new(program);
    command.current_dir(folder.join("arm64")).args(["-qq", "-o", "Debug::NoLocking=1"]);
    command.args(["-o", "APT::Architectures::=amd64", "-o", "APT::Architectures::=arm64"]);
    command.args(["-o", &setting("Dir::State::lists", "lists")]);
    command.args(["-o", &setting("Dir::Cache", "cache")]);
    command
}

/// From `apt-cache policy`: "  Candidate: 1.96.0+dfsg1-1~deb12u2".
fn candidate_is_recent(policy: &str) -> bool {
    let minor = |version: &str| -> Option<u32> { version.split('.').nth(1)?.parse().ok() };
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: 1."));
    candidate.and_then(|rest| minor(&format!("1.{rest}"))) >= minor(env!("CARGO_PKG_RUST_VERSION"))
}

fn unpack(archives: &Path, root: &Path) -> Result<()> {
    let files = fs::read_dir(archives).with_context(|| format!("{}", archives.display()))?;
    for file in files {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Another libc than the running loader's cannot be put before it.
        if name.ends_with(".deb") && !name.starts_with("libc6_") {
            shell::run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(root))?;
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
