//! The lines of docs/containers.md, as a container and a unit run them: the first process of its
//! own namespace of numbers, in a root that cannot be written, as a user without privileges, again
//! and again.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use fragtrace_tests::check::assert_numbers;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::files_in;

/// In a mount namespace: makes a root of the system's programs, and of the tracer and the program
/// where the page has them; its arguments are a folder for the root, one for traces, the tracer, the
/// program, their path in the root, that of traces, and settings. 77: nothing can be mounted here.
const CONTAINER: &str = r#"
root=$1 traces=$2 tracer=$3 program=$4 preload=$5 directory=$6; shift 6
mount -t tmpfs none "$root" || exit 77
cd "$root" && mkdir usr proc && mount --rbind /usr usr && mount -t proc none proc || exit 77
for link in bin sbin lib lib64; do test ! -e /$link || ln -s usr/$link $link; done
mount -t tmpfs none usr/local && mkdir -p usr/local/bin ".${preload%/*}" ".$directory" &&
cp "$tracer" ".$preload" && cp "$program" usr/local/bin/server &&
mount --bind "$traces" ".$directory" && mount -o remount,ro,bind . || exit 78
exec chroot . /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups \
    /usr/bin/env "LD_PRELOAD=$preload" "$@" /usr/local/bin/server exit
"#;

/// The first block of this language on the page.
fn block(language: &str) -> String {
    let page = fs::read_to_string(tools::workspace().join("docs/containers.md"));
    let page = page.expect("the page is there");
    let (_, rest) = page.split_once(&format!("```{language}\n")).expect("there is a block");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// A setting in a block, however that writes it.
fn setting(block: &str, name: &str) -> String {
    let (_, rest) = block.split_once(name).unwrap_or_else(|| panic!("no {name} in: {block}"));
    let value = rest.trim_start_matches(['=', ',', ' ']).trim_start_matches("value:");
    let value = value.trim_start_matches([' ', '"']);
    value.split(['"', ' ', '\n']).next().unwrap_or_default().to_owned()
}

/// Runs a program as a container does. `None`: nothing can be mounted here.
fn run_in_container(traces: &Path, settings: &[(&str, String)]) -> Option<Outcome> {
    let root = tempfile::tempdir().expect("a temporary folder can be made");
    let of = |name: &str| &settings.iter().find(|(known, _)| *known == name).expect("is set").1;
    let (directory, _) = of("FRAGTRACE_OUT").rsplit_once('/').expect("a path");
    let mut unshare = command(tools::find("unshare")?);
    unshare.args(["--mount", "--pid", "--fork", "/bin/sh", "-c", CONTAINER, "sh"]);
    unshare.arg(root.path()).arg(traces).arg(tools::tracer()).arg(program("ends"));
    unshare.args([of("LD_PRELOAD"), directory]);
    let others = settings.iter().filter(|(name, _)| *name != "LD_PRELOAD");
    unshare.args(others.map(|(name, value)| format!("{name}={value}")));
    let outcome = run(&mut unshare);
    if outcome.status.code() == Some(77) {
        tools::skip_anyway("nothing can be mounted here");
        return None;
    }
    Some(outcome.expect_code(7))
}

#[test]
fn the_lines_for_containers_and_services_record() {
    if !tools::is_root() {
        return tools::skip_anyway("only root can make a namespace");
    }
    for language in ["Dockerfile", "yaml", "ini"] {
        let block = block(language);
        let names = ["LD_PRELOAD", "FRAGTRACE_OUT", "FRAGTRACE_RING", "FRAGTRACE_KEEP"];
        // systemd has specifiers of its own.
        let settings = names.map(|name| (name, setting(&block, name).replace("%%", "%")));
        let keep: usize = settings[3].1.parse().expect("a number");
        let traces = tempfile::tempdir().expect("a temporary folder can be made");
        let anybodys = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(traces.path(), anybodys).expect("it is one's own");
        for _ in 0..keep + 2 {
            let Some(outcome) = run_in_container(traces.path(), &settings) else { return };
            assert!(outcome.stderr.is_empty(), "{language}: {}", outcome.describe());
            let kept = files_in(traces.path());
            assert!(!kept.is_empty() && kept.len() <= keep, "{language}: {kept:?}");
        }
        let kept = files_in(traces.path());
        assert!(kept.len() == keep, "{language}: {kept:?}");
        for trace in kept {
            let report = Report::of(&trace);
            report.assert_complete();
            assert_numbers(
                language,
                &[
                    ("pid", 1, report.number("/trace/pid")),
                    ("allocs", 1000, report.number("/trace/allocs")),
                ],
            );
        }
    }
}
