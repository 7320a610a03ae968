//! The same servers, optimised over all crates at link time, as services are shipped: what the compiler
//! inlines then are the calls, not the allocators' functions, and a wrapper's are on record as ever.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{NO_DECAY, Resting, at_the_same_places, seen_exactly, true_at_each_step};
use fragtrace_tests::tools::workspace;

const PROGRAMS: [&str; 4] = ["async_jemalloc", "async_mimalloc", "async_snmalloc", "async_wee"];

/// Builds the servers by the profile of releases, with jemalloc as it was built for this test: its
/// functions are those of C, which that does not change. The folder that they are in.
fn built() -> PathBuf {
    let folder = workspace().join("target/release");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--locked", "-p", "fragtrace-linked-tests"]);
    for program in PROGRAMS {
        build.args(["--bin", program]);
    }
    let jemalloc = Path::new(env!("JEMALLOC_ROOT")).join("lib/libjemalloc_pic.a");
    if jemalloc.exists() {
        build.env("JEMALLOC_OVERRIDE", jemalloc);
    }
    build.env_remove("CARGO_TARGET_DIR").current_dir(workspace());
    let done = build.output().expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder
}

#[test]
fn servers_with_link_time_optimisation_are_seen_as_exactly() {
    let folder = built();
    let paths = PROGRAMS.map(|program| folder.join(program));
    for (program, path) in PROGRAMS.iter().zip(&paths) {
        let path = path.to_str().expect("a path in UTF-8");
        seen_exactly(&format!("{program}, optimised at link time"), path, *program != "async_wee");
        // mimalloc begins at a place of chance.
        let key = if *program == "async_mimalloc" { "exit.offsets" } else { "exit.addresses" };
        at_the_same_places(path, key, &[NO_DECAY]);
    }
    let mut runs: Vec<_> =
        PROGRAMS.iter().zip(&paths).map(|(program, path)| Resting::new(program, path)).collect();
    let jemalloc = &paths[0];
    runs[0] = Resting::on_jemalloc("async_jemalloc", jemalloc, false);
    runs.push(Resting::on_jemalloc("async_jemalloc", jemalloc, true));
    let asked = true_at_each_step(&runs);
    assert_eq!(asked, [true, true, false, false, true], "jemalloc and mimalloc tell of themselves");
}
