//! A program that is linked statically, which nothing can be preloaded into, traces itself with the
//! recorder linked in.

use std::path::PathBuf;
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::elf::readelf;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools::workspace;

/// Builds the program, as this test was built.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("the profile's folder").to_path_buf();
    let profile = folder.file_name().and_then(|name| name.to_str()).expect("a name");
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut build = Command::new(env!("CARGO"));
    build.args(["rustc", "--locked", "--profile", profile, "-p", "fragtrace-linked-tests"]);
    build.args(["--features", "embedded", "--bin", "static_wee"]);
    build.args(["--", "-C", "target-feature=+crt-static"]).current_dir(workspace());
    let done = build.output().expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder.join("static_wee")
}

#[test]
fn a_static_program_traces_itself() {
    let program = built();
    let headers = readelf("-l", &program);
    assert!(!headers.contains("INTERP"), "it is linked dynamically:\n{headers}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("static.ftr");
    let outcome = run(command(&program).env("FRAGTRACE_OUT", &trace)).expect_code(0);
    let said = Answers::of(&outcome);
    let report = Report::of(&trace);
    report.assert_complete();
    assert_numbers(
        "a static program",
        &[
            ("allocs", said.get("exit.allocs"), report.number("/trace/allocs")),
            ("frees", said.get("exit.frees"), report.number("/trace/frees")),
            ("reallocs", said.get("exit.reallocs"), report.number("/trace/reallocs")),
            ("unknown frees", 0, report.number("/trace/unknown_frees")),
        ],
    );
    let found = &report.array("/diagnoses")[0];
    assert_eq!(found["id"], "address-growth", "{found}");
    let site = found["evidence"]["site"]["function"].as_str().unwrap_or_default();
    assert!(site.ends_with("::tensors::tensor"), "{found}");
}

#[test]
fn it_traces_nothing_unless_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bare = command(built());
    run(bare.env_remove("FRAGTRACE_OUT").current_dir(folder.path())).expect_code(0);
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "it left a file");
}
