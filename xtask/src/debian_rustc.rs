//! Debian's rustc, for targets that the toolchain here has no library for.
//!
//! Debian on x86-64 has a recent enough rustc, its library for arm64, and the library's sources: they
//! are unpacked under the target folder, with lists of packages of our own, so that nothing is
//! installed and no setting of the system is touched (nor root needed).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{project, shell};

/// Debian's compilers, newest first: each with the packages of its library and of the sources of that.
const COMPILERS: [[&str; 3]; 2] = [
    ["rustc-web", "libstd-rust-web-dev", "rust-web-src"],
    ["rustc", "libstd-rust-dev", "rust-src"],
];
/// The multiarch folder of the machine that compiles.
const HOST_LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Whether the toolchain that runs us can build for a target.
pub fn toolchain_has(target: &str) -> Result<bool> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(project::root());
    Ok(Path::new(shell::capture(&mut rustc)?.trim()).is_dir())
}

/// A compiler unpacked.
pub struct Compiler {
    /// As if it were the root of the system.
    pub root: PathBuf,
}

impl Compiler {
    /// Has a command use it: rustc, and its libraries.
    pub fn used_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("RUSTC", self.rustc()).env("LD_LIBRARY_PATH", self.root.join(HOST_LIBRARIES))
    }

    /// Its command.
    pub fn rustc(&self) -> PathBuf {
        self.root.join("usr/bin/rustc")
    }
}

/// Unpacks rustc, its library for this machine (for build scripts and macros) and the one for aarch64,
/// and the library's sources; or says why that is not possible here.
pub fn unpacked() -> Result<Result<Compiler, String>> {
    let folder = project::target_dir()?.join("debian-rustc");
    let (root, done) = (folder.join("root"), folder.join("complete"));
    if done.exists() {
        return Ok(Ok(Compiler { root }));
    }
    if std::env::consts::ARCH != "x86_64" || shell::find("apt-get").is_none() {
        return Ok(Err("only Debian on x86-64 has a second compiler to take".to_owned()));
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    for part in ["lists/partial", "cache/archives/partial", "apart", "root"] {
        fs::create_dir_all(folder.join(part))
            .with_context(|| format!("cannot make {}", folder.join(part).display()))?;
    }
    if let Some(why) = download(&folder)? {
        return Ok(Err(why));
    }
    for archives in ["cache/archives", "apart"] {
        unpack(&folder.join(archives), &root)?;
    }
    fs::write(done, "").context("cannot mark the compiler as unpacked")?;
    Ok(Ok(Compiler { root }))
}

/// Downloads the packages' archives, or returns why that is not possible.
fn download(folder: &Path) -> Result<Option<String>> {
    // A source that is out of reach is no reason to stop: what counts is what can be downloaded.
    shell::output(apt(folder, "apt-get").arg("update"))?;
    let mut compiler = None;
    for packages in COMPILERS {
        let policy = shell::capture(apt(folder, "apt-cache").args(["policy", packages[0]]))?;
        if candidate_is_recent(&policy) {
            compiler = Some(packages);
            break;
        }
    }
    let Some([rustc, library, sources]) = compiler else {
        let needed = env!("CARGO_PKG_RUST_VERSION");
        return Ok(Some(format!("this system's packages have no rustc from {needed} on")));
    };
    let mut native = apt(folder, "apt-get");
    native.args(["install", "--download-only", "--reinstall", "-y", "--no-install-recommends"]);
    native.args([rustc, library]);
    let mut apart = apt(folder, "apt-get");
    apart.args(["download", &format!("{library}:arm64"), sources]);
    let got = shell::capture(&mut native).and_then(|_| shell::capture(&mut apart));
    Ok(got.err().map(|error| format!("Debian's compiler cannot be downloaded: {error:#}")))
}

/// apt with both architectures, and with lists and archives of its own under `folder`.
fn apt(folder: &Path, program: &str) -> Command {
    let setting = |name: &str, part: &str| format!("{name}={}", folder.join(part).display());
    let mut command = Command::new(program);
    command.current_dir(folder.join("apart")).args(["-qq", "-o", "Debug::NoLocking=1"]);
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
        if !name.ends_with(".deb") || name.starts_with("libc6_") {
            continue;
        }
        // The sources are those of everything that comes with the compiler.
        let wanted = if name.contains("-src_") { "./usr/src/*/library/*" } else { "*" };
        let mut archive = Command::new("dpkg-deb");
        archive.arg("--fsys-tarfile").arg(&path).stdout(Stdio::piped());
        let mut archive = archive.spawn().context("cannot start dpkg-deb")?;
        let bytes = archive.stdout.take().context("no pipe")?;
        let mut tar = Command::new("tar");
        shell::run(tar.arg("-xC").arg(root).args(["--wildcards", wanted]).stdin(bytes))?;
        archive.wait().context("dpkg-deb")?;
        fs::remove_file(&path)?;
    }
    Ok(())
}
