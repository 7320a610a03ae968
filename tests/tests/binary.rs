//! The tracer's file itself: what it needs, what it offers, and how large it is. These decide
//! whether one file loads into every process, on old and new glibc and on musl.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;

use fragtrace_tests::elf::readelf;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools::tracer;

/// A small file, as it is mapped into every process: recording, folding, looks, forks, walking
/// stacks, hooking what is linked in (about 45 KiB: tables of names, reading instructions), what
/// allocators and programs tell themselves (5 KiB: statistics, pools), filters on system calls and
/// limits (6 KiB), lists of mappings in parts and whose heap is which (6 KiB). 254 KiB when this was
/// written.
const MOST_BYTES: u64 = 256 * 1024;

/// glibc of CentOS 7, the oldest that is still met.
const NEWEST_GLIBC: (u32, u32) = (2, 17);

/// The families that the tracer must stand before.
const FAMILIES: [&str; 22] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "free",
    "posix_memalign",
    "memalign",
    "aligned_alloc",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "cfree",
    "free_sized",
    "free_aligned_sized",
    "mmap",
    "mmap64",
    "munmap",
    "mremap",
    "madvise",
    "posix_madvise",
    "brk",
    "sbrk",
];

#[test]
fn nothing_but_libc_is_needed() {
    let dynamic = readelf("-d", &tracer());
    let needed: Vec<_> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    assert!(needed == ["libc.so.6"], "expected libc.so.6 alone, found {needed:?}");
}

#[test]
fn the_library_is_never_unloaded() {
    let dynamic = readelf("-d", &tracer());
    let flags = dynamic.lines().find(|line| line.contains("(FLAGS_1)")).unwrap_or("none");
    assert!(flags.contains("NODELETE"), "expected NODELETE in the flags, found {flags}");
}

#[test]
fn no_symbol_is_newer_than_old_glibc() {
    let versions = readelf("-V", &tracer());
    let named: BTreeSet<_> = versions
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || "_.".contains(letter)))
        .filter_map(|word| word.strip_prefix("GLIBC_"))
        .collect();
    for version in &named {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(u32::MAX));
        let number = (parts.next().unwrap_or(u32::MAX), parts.next().unwrap_or(0));
        assert!(number <= NEWEST_GLIBC, "GLIBC_{version} is needed; all versions: {named:?}");
    }
}

#[test]
fn no_symbol_is_missing_where_only_libc_is() {
    // The oldest way to bind: everything at start, so that a missing symbol ends the process.
    let mut bound = command("/bin/true");
    bound.env("LD_PRELOAD", tracer()).env("LD_BIND_NOW", "1").env("FRAGTRACE_OUT", "/dev/null/x");
    let outcome = run(bound.env("FRAGTRACE_QUIET", "1")).expect_code(0);
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
}

#[test]
fn every_function_of_the_families_is_offered() {
    let symbols = readelf("--dyn-syms", &tracer());
    let offered: BTreeSet<_> = symbols
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() >= 8 && fields[3] == "FUNC" && fields[6] != "UND")
        .map(|fields| fields[7].split('@').next().unwrap_or_default().to_string())
        .collect();
    let missing: Vec<_> = FAMILIES.iter().filter(|name| !offered.contains(**name)).collect();
    assert!(missing.is_empty(), "not offered: {missing:?}; offered: {offered:?}");
}

#[test]
fn it_is_small() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let stripped = folder.path().join("libfragtrace.so");
    run(command("strip").arg("-o").arg(&stripped).arg(tracer())).expect_code(0);
    let bytes = fs::metadata(&stripped).expect("strip writes its result").len();
    assert!(bytes < MOST_BYTES, "expected less than {MOST_BYTES} bytes, found {bytes}");
}

/// Room for static thread-local storage is scarce where a library is loaded late.
#[test]
fn it_takes_little_thread_local_storage() {
    let bytes = fragtrace_tests::elf::extent(&tracer()).tls_bytes;
    assert!(bytes <= 512, "expected at most 512 bytes, found {bytes}");
}
