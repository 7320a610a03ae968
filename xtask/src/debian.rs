//! What the tests need from the system, and how Debian installs it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// How one sees that a package is there: its command, or its library in one of the usual folders.
enum Sign {
    Command(&'static str),
    Library(&'static str),
}

/// What the tests run or preload, and the Debian package that brings it.
const NEEDS: &[(Sign, &str)] = &[
    (Sign::Command("cc"), "gcc"),
    (Sign::Command("gcc"), "gcc"),
    (Sign::Command("g++"), "g++"),
    (Sign::Command("musl-gcc"), "musl-tools"),
    (Sign::Command("readelf"), "binutils"),
    (Sign::Command("setarch"), "util-linux"),
    (Sign::Command("git"), "git"),
    (Sign::Command("perl"), "perl"),
    (Sign::Command("python3"), "python3"),
    (Sign::Command("node"), "nodejs"),
    (Sign::Command("sqlite3"), "sqlite3"),
    (Sign::Command("xz"), "xz-utils"),
    (Sign::Command("awk"), "mawk"),
    (Sign::Command("redis-server"), "redis-server"),
    (Sign::Command("redis-benchmark"), "redis-tools"),
    (Sign::Library("libjemalloc.so.2"), "libjemalloc2"),
    (Sign::Library("libjemalloc.a"), "libjemalloc-dev"),
    (Sign::Library("libtcmalloc_minimal.a"), "libgoogle-perftools-dev"),
    (Sign::Library("libmimalloc.so.2"), "libmimalloc2.0"),
    (Sign::Library("libtcmalloc_minimal.so.4"), "libtcmalloc-minimal4"),
];

impl Sign {
    fn is_there(&self) -> bool {
        match *self {
            Sign::Command(name) => shell::find(name).is_some(),
            Sign::Library(name) => ["/usr/lib", "/usr/local/lib"].iter().any(|folder| {
                let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
                Path::new(folder).join(name).exists()
                    || Path::new(folder).join(triplet).join(name).exists()
            }),
        }
    }
}

/// The packages of which something is missing here.
pub fn missing() -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        NEEDS.iter().filter(|(sign, _)| !sign.is_there()).map(|&(_, package)| package).collect();
    packages.dedup();
    packages
}

/// Installs packages, and returns those that could not be had.
pub fn install(packages: &[&'static str]) -> Result<Vec<&'static str>> {
    shell::run(apt_get().args(["update", "-q"]))?;
    if shell::run(apt_get().args(INSTALL).args(packages)).is_err() {
        // One unknown name refuses the whole list: so one by one, to lose no more than that.
        for package in packages {
            if let Err(error) = shell::run(apt_get().args(INSTALL).arg(package)) {
                eprintln!("{error:#}");
            }
        }
    }
    Ok(missing())
}

const INSTALL: [&str; 4] = ["install", "-q", "-y", "--no-install-recommends"];

fn apt_get() -> Command {
    let mut apt_get = Command::new("apt-get");
    // RUNLEVEL=1: the redis that comes with its package is for the tests, not to be started.
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    apt_get
}
