//! `fragtrace doctor`: whether a program can be traced here, and if not, why.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use fragtrace_tests::check::assert_no_panic;
use fragtrace_tests::programs::{musl_program, program, static_program};
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools::{self, analyzer};

/// What doctor says, of one program or of none.
fn doctor(program: Option<&Path>) -> Outcome {
    let mut doctor = command(analyzer());
    doctor.arg("doctor").args(program);
    let outcome = run(&mut doctor);
    assert_no_panic(&outcome);
    outcome
}

fn assert_says(outcome: &Outcome, any_of: &[&str]) {
    let says = (outcome.out() + &outcome.err()).to_lowercase();
    assert!(
        any_of.iter().any(|word| says.contains(word)),
        "expected one of {any_of:?}: {}",
        outcome.describe()
    );
}

#[test]
fn this_machine_is_examined_without_a_command() {
    let outcome = doctor(None).expect_code(0);
    assert!(!outcome.stdout.is_empty(), "{}", outcome.describe());
}

#[test]
fn an_ordinary_program_can_be_traced() {
    let outcome = doctor(Some(&program("counts"))).expect_code(0);
    assert!(!outcome.stdout.is_empty(), "{}", outcome.describe());
    let says = outcome.out().to_lowercase();
    assert!(!says.contains("cannot"), "nothing stands against it: {}", outcome.describe());
}

#[test]
fn a_static_program_is_called_static() {
    let outcome = doctor(Some(&static_program("counts")));
    assert_says(&outcome, &["static"]);
    assert!(outcome.code() != 0, "it cannot be traced: {}", outcome.describe());
}

#[test]
fn a_setuid_program_is_called_setuid() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let copy = folder.path().join("setuid");
    run(command("cp").arg(program("counts")).arg(&copy)).expect_code(0);
    if tools::is_root() {
        // Nobody, so that the program would change its user whoever runs it.
        chown(&copy, Some(65534), None).expect("root may give files away");
    }
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("our own file");
    assert_says(&doctor(Some(&copy)), &["setuid", "set-user-id", "set-uid"]);
}

#[test]
fn a_program_on_musl_can_be_traced() {
    let Some(counts) = musl_program("counts") else { return };
    assert_says(&doctor(Some(&counts)).expect_code(0), &["musl"]);
}

#[test]
fn redis_is_known_to_bring_its_own_allocator() {
    let Some(redis) = tools::find("redis-server") else { return };
    assert_says(&doctor(Some(&redis)).expect_code(0), &["jemalloc"]);
    // By its bare name as well.
    assert_says(&doctor(Some(Path::new("redis-server"))).expect_code(0), &["jemalloc"]);
}

#[test]
fn a_command_that_is_not_there_is_said_so() {
    let outcome = doctor(Some(Path::new("no-such-command-anywhere"))).expect_code(2);
    assert_says(&outcome, &["no-such-command-anywhere"]);
}

#[test]
fn a_file_that_is_no_program_is_said_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let text = folder.path().join("text");
    fs::write(&text, "no program\n").expect("a file can be written");
    assert!(doctor(Some(&text)).code() != 0);
    assert!(doctor(Some(folder.path())).code() != 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_so() {
    let mut doctor = command(analyzer());
    // Nobody can write here, not even root.
    let outcome = run(doctor.arg("doctor").arg(program("counts")).current_dir("/proc"));
    assert_no_panic(&outcome);
    assert_says(&outcome, &["/proc", "writ"]);
}
