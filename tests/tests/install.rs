//! `cargo xtask install`: both artifacts where they find each other, and the tracer where the
//! loader finds it by its bare name.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::files_in;

fn install(prefix: Option<&Path>) -> Outcome {
    let mut install = command(env!("CARGO"));
    install.current_dir(tools::workspace()).args(["xtask", "install"]);
    if let Some(prefix) = prefix {
        install.arg("--prefix").arg(prefix);
    }
    run(&mut install).expect_code(0)
}

fn find_below(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = files_in(folder);
    let file = entries.iter().find(|path| path.is_file() && path.ends_with(name)).cloned();
    file.or_else(|| {
        entries.iter().filter(|path| path.is_dir()).find_map(|path| find_below(path, name))
    })
}

/// A folder with a program called `server`, as in the README's line.
fn folder_with_server() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    run(command("cp").arg(program("counts")).arg(folder.path().join("server"))).expect_code(0);
    folder
}

fn assert_bare_name_works(mut shell: Command, folder: &Path) {
    let outcome = run(shell.current_dir(folder)).expect_code(0);
    // The loader says so on stderr when it cannot find a library to preload.
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
    let traces: Vec<_> = files_in(folder)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("fragtrace-server."))
        .collect();
    assert!(traces.len() == 1, "expected one trace, found {traces:?}: {}", outcome.describe());
    Report::of(&traces[0]).assert_adds_up();
}

#[test]
fn an_installed_command_finds_the_installed_tracer() {
    let prefix = tempfile::tempdir().expect("a temporary folder can be made");
    install(Some(prefix.path()));
    let analyzer = prefix.path().join("bin/fragtrace");
    assert!(analyzer.is_file(), "{} is installed", analyzer.display());
    let library = find_below(prefix.path(), "libfragtrace.so");
    let library = library.unwrap_or_else(|| panic!("no libfragtrace.so in {prefix:?}"));

    let folder = folder_with_server();
    let mut record = command(&analyzer);
    record.current_dir(folder.path()).args(["record", "-o", "t.ftr", "--", "./server"]);
    run(&mut record).expect_code(0);
    Report::of(&folder.path().join("t.ftr")).assert_adds_up();

    let mut shell = command("/bin/sh");
    shell.args(["-c", "LD_PRELOAD=libfragtrace.so ./server"]);
    shell.env("LD_LIBRARY_PATH", library.parent().expect("a file lies in a folder"));
    assert_bare_name_works(shell, folder.path());
}

/// Changes the system: only where everything is required, and as root.
#[test]
fn the_line_of_the_readme_works_after_an_install() {
    if !(tools::all_required() && tools::is_root()) {
        return tools::skip_anyway("an install into the system needs root and consent");
    }
    install(None);
    let folder = folder_with_server();
    let mut shell = command("/bin/sh");
    shell.args(["-c", "LD_PRELOAD=libfragtrace.so ./server"]);
    assert_bare_name_works(shell, folder.path());
}
