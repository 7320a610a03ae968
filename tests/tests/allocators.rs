//! What the kernel says of the heap, on each allocator: how much of it is mapped, how much is in
//! memory; and what the program could use of its blocks.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_near};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;
use std::ffi::OsString;
use std::path::PathBuf;

/// Blocks of the C library and of others that are loaded, libstdc++'s reserve among them.
const OTHERS_BYTES: u64 = 80 << 10;

/// How far figures may be apart, in thousandths.
struct Bounds {
    mapped: u64,
    resident: u64,
}

const BOUNDS: Bounds = Bounds { mapped: 10, resident: 20 };

fn check(name: &str, program: PathBuf, preloaded: Option<&str>, bounds: &Bounds) {
    let mut command = command(program);
    command.arg("200");
    if let Some(library) = preloaded {
        let mut list = OsString::from(tools::tracer());
        list.push(":");
        list.push(library);
        command.env("LD_PRELOAD", list);
    }
    let traced = Traced::run_well(command);
    let (answers, report) = (Answers::of(&traced.outcome), traced.report());
    report.assert_complete();
    let end = |key: &str| report.number(&format!("/end/{key}"));
    for key in ["live_bytes", "usable_bytes"] {
        let slack = OTHERS_BYTES + if key == "live_bytes" { 0 } else { answers.get(key) / 1000 };
        assert_near(&format!("{name}: {key}"), answers.get(key), end(key), slack);
    }
    for (key, thousandths) in
        [("heap_mapped_bytes", bounds.mapped), ("heap_resident_bytes", bounds.resident)]
    {
        let expected = answers.get(key);
        assert_near(&format!("{name}: {key}"), expected, end(key), expected / 1000 * thousandths);
    }
}

#[test]
fn figures_on_glibc_are_the_kernels() {
    check("glibc", program("kernel_heap"), None, &BOUNDS);
}

#[test]
fn figures_on_musl_are_the_kernels() {
    let Some(program) = musl_program("kernel_heap") else { return };
    check("musl", program, None, &BOUNDS);
}

#[test]
fn figures_on_jemalloc_are_the_kernels() {
    check("jemalloc", program("kernel_heap"), Some("libjemalloc.so.2"), &BOUNDS);
}

#[test]
fn figures_on_mimalloc_are_the_kernels() {
    check("mimalloc", program("kernel_heap"), Some("libmimalloc.so.2"), &BOUNDS);
}

#[test]
fn figures_on_tcmalloc_are_the_kernels() {
    check("tcmalloc", program("kernel_heap"), Some("libtcmalloc_minimal.so.4"), &BOUNDS);
}
