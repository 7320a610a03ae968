//! Children that come about in uncommon ways: past fork's hook, in their parent's memory, by a
//! shell. And processes that fail to become another program, or end inside the C library.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_numbers, assert_same_lines, assert_same_run};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;

fn offspring(program: &Path, how: &[&str]) -> Command {
    let mut offspring = command(program);
    offspring.args(how);
    offspring
}

/// Runs it bare and traced, with the same result; the reports on all traces, the parent's first.
fn same(program: &Path, how: &[&str]) -> (Traced, Vec<Report>) {
    let bare = run(&mut offspring(program, how)).expect_code(0);
    let traced = Traced::run(offspring(program, how));
    assert_same_run(&bare, &traced.outcome);
    let mut reports: Vec<_> = traced.traces().iter().map(|trace| Report::of(trace)).collect();
    reports.sort_by_key(|report| report.number("/trace/pid") != u64::from(traced.outcome.pid));
    (traced, reports)
}

fn assert_counts(claim: &str, report: &Report, allocs: u64, frees: u64) {
    report.assert_complete();
    let found = ["allocs", "frees"].map(|key| report.number(&format!("/trace/{key}")));
    assert_numbers(claim, &[("allocs", allocs, found[0]), ("frees", frees, found[1])]);
}

#[test]
fn a_child_past_forks_hook_has_a_trace_that_begins_with_its_parents_heap() {
    let programs = [Some(program("offspring")), musl_program("offspring")];
    for program in programs.into_iter().flatten() {
        for how in ["_Fork", "clone"] {
            let (traced, reports) = same(&program, &[how]);
            let answers = Answers::of(&traced.outcome);
            assert_numbers(how, &[("status", 33, answers.get("status"))]);
            assert!(reports.len() == 2, "{how}: {:?}", traced.traces());
            assert_counts(how, &reports[0], answers.get("allocs"), answers.get("frees"));
            let (allocs, frees) = (answers.get("child_allocs"), answers.get("child_frees"));
            assert_counts(how, &reports[1], allocs, frees);
            let live = answers.get("allocs") - answers.get("frees") + allocs - frees;
            assert_numbers(how, &[("live", live, reports[1].number("/end/live_blocks"))]);
        }
    }
}

#[test]
fn a_child_of_a_thread_with_a_tiny_stack_has_a_trace_of_its_own() {
    /// Blocks that the C library takes for a thread.
    const OF_THREAD: u64 = 2;
    for program in [Some(program("offspring")), musl_program("offspring")].into_iter().flatten() {
        let (traced, reports) = same(&program, &["tiny"]);
        let answers = Answers::of(&traced.outcome);
        assert_numbers("tiny", &[("status", 33, answers.get("status"))]);
        assert!(reports.len() == 2, "{:?}", traced.traces());
        let (allocs, frees) = (answers.get("child_allocs"), answers.get("child_frees"));
        assert_counts("the child", &reports[1], allocs, frees);
        let live = answers.get("allocs") - answers.get("frees") + allocs - frees;
        let found = reports[1].number("/end/live_blocks");
        assert!((live..=live + OF_THREAD).contains(&found), "{live} blocks live, found {found}");
    }
}

/// What a child does in its parent's memory is its parent's.
#[test]
fn a_child_in_its_parents_memory_is_part_of_its_parent() {
    for how in ["shared", "vfork"] {
        let (traced, reports) = same(&program("offspring"), &[how]);
        let answers = Answers::of(&traced.outcome);
        assert!(reports.len() == 1, "{how}: {:?}", traced.traces());
        let both = |name: &str| answers.get(name) + answers.get(&format!("child_{name}"));
        assert_counts(how, &reports[0], both("allocs"), both("frees"));
        assert!(reports[0].text("/trace/end") == "exit", "{how}: the child's end is not its own");
    }
}

#[test]
fn shells_that_a_program_starts_are_traced_and_tell_the_same() {
    for how in ["popen", "system"] {
        let (traced, reports) = same(&program("offspring"), &[how]);
        assert_numbers(how, &[("status", 33, Answers::of(&traced.outcome).get("status"))]);
        let shells = reports[1..].iter().filter(|report| report.text("/trace/end") != "unknown");
        assert!(shells.count() == 1, "{how}: {:?}", traced.traces());
        reports.iter().for_each(Report::assert_complete);
    }
}

/// What is not there, what is there and no program, and what may be executed and is a folder.
#[test]
fn a_child_that_fails_to_become_another_program_keeps_its_trace() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let text = folder.path().join("text");
    fs::write(&text, "no program\n").expect("the folder is new");
    let anybodys = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&text, anybodys).expect("the file is new");
    let (text, folder) = (text.to_string_lossy(), folder.path().to_string_lossy());
    let by_path = ["execv", "execve", "execl", "execle", "fexecve"];
    let mut ways = vec![["execv", "/nonexistent/program"], ["execvp", "no-such-program-anywhere"]];
    // These have a shell run what is no program.
    ways.extend(["execvp", "execvpe", "execlp"].map(|function| [function, &folder]));
    ways.extend(by_path.map(|function| [function, &folder]));
    ways.extend(by_path.map(|function| [function, &text]));
    let on_musl = musl_program("offspring").map(|program| (program, vec![["execl", &*text]]));
    for (program, ways) in [(program("offspring"), ways)].into_iter().chain(on_musl) {
        for how in ways {
            let (traced, reports) = same(&program, &how);
            let answers = Answers::of(&traced.outcome);
            assert!(reports.len() == 2, "{how:?}: {:?}", traced.traces());
            let (allocs, frees) = (answers.get("child_allocs") + 1, answers.get("child_frees") + 1);
            assert_counts(how[0], &reports[1], allocs, frees);
            assert!(reports[1].text("/trace/end") == "exit", "{how:?}");
        }
    }
}

#[test]
fn the_process_that_daemon_ends_has_its_end_on_record() {
    let traced = Traced::run(offspring(&program("offspring"), &["daemon"]));
    assert!(traced.outcome.code() == 0, "{}", traced.outcome.describe());
    let first = Report::of(&only_of(&traced, traced.outcome.pid));
    assert!(first.text("/trace/end") == "_exit", "found {}", first.text("/trace/end"));
    assert_counts("the first process", &first, 500, 300);
}

fn only_of(traced: &Traced, pid: u32) -> std::path::PathBuf {
    let ending = format!(".{pid}.ftr");
    let mut traces = traced.traces().into_iter();
    let trace = traces.find(|trace| trace.to_string_lossy().ends_with(&ending));
    trace.unwrap_or_else(|| panic!("process {pid} has no trace"))
}

/// FRAGTRACE_CHILDREN=off: nothing in a child's environment tells of the tracer.
#[test]
fn children_that_are_left_alone_have_the_environment_of_an_untraced_run() {
    let Some(env) = tools::find("env") else { return };
    let how = ["exec", &env.to_string_lossy()];
    let bare = run(&mut offspring(&program("offspring"), &how)).expect_code(0);
    let mut left_alone = offspring(&program("offspring"), &how);
    left_alone.env("FRAGTRACE_CHILDREN", "off").env("FRAGTRACE_RING", "1M");
    let traced = Traced::run_well(left_alone);
    assert!(bare.stdout.len() > 100, "{}", bare.describe());
    assert_same_lines("the environment", &bare.stdout, &traced.outcome.stdout);
    assert!(traced.traces().len() == 1, "the parent alone: {:?}", traced.traces());
}
