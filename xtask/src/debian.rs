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
    // cargo xtask snmalloc
    (Sign::Command("cmake"), "cmake"),
    (Sign::Command("musl-gcc"), "musl-tools"),
    (Sign::Command("readelf"), "binutils"),
    (Sign::Command("setarch"), "util-linux"),
    (Sign::Command("git"), "git"),
    (Sign::Command("perl"), "perl"),
    (Sign::Command("python3"), "python3"),
    (Sign::Command("node"), "nodejs"),
    (Sign::Command("chromium"), "chromium"),
    (Sign::Command("sqlite3"), "sqlite3"),
    (Sign::Command("xz"), "xz-utils"),
    (Sign::Command("awk"), "mawk"),
    (Sign::Command("redis-server"), "redis-server"),
    (Sign::Command("redis-benchmark"), "redis-tools"),
    // tests/tests/matrix
    (Sign::Command("ruby"), "ruby"),
    (Sign::Command("php"), "php-cli"),
    (Sign::Command("java"), "default-jre-headless"),
    (Sign::Command("fzf"), "fzf"),
    (Sign::Command("rg"), "ripgrep"),
    (Sign::Command("lua5.4"), "lua5.4"),
    (Sign::Command("luajit"), "luajit"),
    (Sign::Command("tclsh"), "tcl"),
    (Sign::Command("guile"), "guile-3.0"),
    (Sign::Command("swipl"), "swi-prolog-nox"),
    (Sign::Command("erl"), "erlang-base"),
    (Sign::Command("gawk"), "gawk"),
    (Sign::Command("mawk"), "mawk"),
    (Sign::Command("tcc"), "tcc"),
    (Sign::Command("nasm"), "nasm"),
    (Sign::Command("make"), "make"),
    (Sign::Command("bash"), "bash"),
    (Sign::Command("dash"), "dash"),
    (Sign::Command("zsh"), "zsh"),
    (Sign::Command("tar"), "tar"),
    (Sign::Command("gzip"), "gzip"),
    (Sign::Command("bzip2"), "bzip2"),
    (Sign::Command("zstd"), "zstd"),
    (Sign::Command("pigz"), "pigz"),
    (Sign::Command("zip"), "zip"),
    (Sign::Command("rsync"), "rsync"),
    (Sign::Command("openssl"), "openssl"),
    (Sign::Command("ssh-keygen"), "openssh-client"),
    (Sign::Command("curl"), "curl"),
    (Sign::Command("jq"), "jq"),
    (Sign::Command("sed"), "sed"),
    (Sign::Command("grep"), "grep"),
    (Sign::Command("sort"), "coreutils"),
    (Sign::Command("find"), "findutils"),
    (Sign::Command("diff"), "diffutils"),
    (Sign::Command("vim"), "vim"),
    (Sign::Command("gdb"), "gdb"),
    (Sign::Command("strace"), "strace"),
    (Sign::Command("valgrind"), "valgrind"),
    (Sign::Command("identify"), "imagemagick"),
    (Sign::Command("gs"), "ghostscript"),
    (Sign::Command("dot"), "graphviz"),
    (Sign::Command("gnuplot"), "gnuplot-nox"),
    (Sign::Command("groff"), "groff"),
    (Sign::Command("xmllint"), "libxml2-utils"),
    (Sign::Command("xsltproc"), "xsltproc"),
    (Sign::Command("bison"), "bison"),
    (Sign::Command("flex"), "flex"),
    (Sign::Command("m4"), "m4"),
    (Sign::Command("bc"), "bc"),
    (Sign::Command("dpkg-deb"), "dpkg"),
    (Sign::Command("memcached"), "memcached"),
    (Sign::Command("nginx"), "nginx-light"),
    (Sign::Command("haproxy"), "haproxy"),
    (Sign::Command("psql"), "postgresql"),
    (Sign::Library("libjemalloc.so.2"), "libjemalloc2"),
    (Sign::Library("libjemalloc.a"), "libjemalloc-dev"),
    (Sign::Library("libtcmalloc_minimal.a"), "libgoogle-perftools-dev"),
    (Sign::Library("libmimalloc.so.2"), "libmimalloc2.0"),
    // The header and the library of the unwinder that stacks are compared with.
    (Sign::Library("libunwind.so"), "libunwind-dev"),
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
