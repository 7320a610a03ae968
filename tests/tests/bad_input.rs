//! Whatever file the analyzer is given, it answers or says in a line or two why it cannot: no
//! panic, no crash, no hang, no memory out of proportion.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use fragtrace_tests::check::{assert_calm, assert_no_panic};
use fragtrace_tests::programs::program;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools::analyzer;
use fragtrace_tests::traced::Traced;

/// Where a trace says which version of the format it has, and how many bytes that takes.
const VERSION_AT: std::ops::Range<usize> = 8..12;

/// What the analyzer may take of address space: far more than any small trace needs.
const MOST_KILOBYTES: u32 = 8 << 20;

const SUBCOMMANDS: [&[&str]; 6] =
    [&["report"], &["report", "--json"], &["holes"], &["dump"], &["map"], &["timeline"]];

/// Runs a subcommand on a file under a limit of memory.
fn analyzed(subcommand: &[&str], input: &Path, folder: &Path) -> Outcome {
    let mut limited = command("/bin/sh");
    limited.args(["-c", &format!("ulimit -v {MOST_KILOBYTES}; exec \"$0\" \"$@\"")]);
    limited.arg(analyzer()).arg(subcommand[0]).arg(input).args(&subcommand[1..]);
    if matches!(subcommand[0], "map" | "timeline") {
        limited.arg("-o").arg(folder.join("picture.png"));
    }
    run(&mut limited)
}

/// The file cannot be read as a trace, and each subcommand says so.
fn assert_refused(input: &Path, folder: &Path) -> Vec<Outcome> {
    let refuse = |subcommand: &&[&str]| {
        let outcome = analyzed(subcommand, input, folder).expect_code(2);
        assert_calm(&outcome, 1);
        assert!(outcome.stdout.is_empty(), "results of nothing: {}", outcome.describe());
        let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(outcome.err().contains(&name), "the file is not named: {}", outcome.describe());
        outcome
    };
    SUBCOMMANDS.iter().map(refuse).collect()
}

/// The file is damaged: an answer or a refusal, but a calm one.
fn assert_answered_or_refused(damage: &str, subcommand: &[&str], input: &Path, folder: &Path) {
    let outcome = analyzed(subcommand, input, folder);
    let context = || format!("{damage}: {}", outcome.describe());
    match outcome.status.code() {
        Some(0) => assert_no_panic(&outcome),
        Some(2) => assert_calm(&outcome, 1),
        _ => panic!("expected exit status 0 or 2: {}", context()),
    }
}

/// A small real trace.
fn real_trace() -> Vec<u8> {
    let mut counts = command(program("counts"));
    counts.args(["threads", "3", "200"]).env("FRAGTRACE_RING", "1M");
    let traced = Traced::run_well(counts);
    fs::read(traced.trace()).expect("a trace can be read")
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file can be written");
    path
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn files_that_are_no_trace_are_refused() {
    let folder = folder();
    let folder = folder.path();
    let text = "This is no trace.\n".repeat(1000);
    let zeros = vec![0; 1 << 20];
    let program = fs::read("/bin/sh").expect("there is a shell");
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("one-byte", b"f"),
        ("text", text.as_bytes()),
        ("zeros", &zeros),
        ("program", &program),
    ] {
        assert_refused(&written(folder, name, bytes), folder);
    }
}

#[test]
fn a_missing_file_and_a_device_are_refused() {
    let folder = folder();
    let folder = folder.path();
    assert_refused(&folder.join("missing.ftr"), folder);
    assert_refused(Path::new("/dev/null"), folder);
}

#[test]
fn a_folder_is_refused_where_one_trace_is_asked_for() {
    let folder = folder();
    let folder = folder.path();
    let input = folder.join("traces");
    fs::create_dir(&input).expect("a folder can be made");
    // `report` of a folder gives a line a trace; the others need one trace.
    for subcommand in SUBCOMMANDS.iter().filter(|subcommand| subcommand[0] != "report") {
        let outcome = analyzed(subcommand, &input, folder).expect_code(2);
        assert_calm(&outcome, 1);
    }
    assert_no_panic(&analyzed(&["report"], &input, folder));
}

#[test]
fn a_trace_of_another_version_is_refused_by_name() {
    let folder = folder();
    let mut bytes = real_trace();
    for version in [0_u32, 99, u32::MAX] {
        bytes[VERSION_AT].copy_from_slice(&version.to_le_bytes());
        let input = written(folder.path(), "other-version.ftr", &bytes);
        for outcome in assert_refused(&input, folder.path()) {
            let says = outcome.err().to_lowercase();
            assert!(says.contains("version"), "the version is named: {}", outcome.describe());
        }
    }
}

#[test]
fn a_trace_cut_anywhere_is_calm() {
    let folder = folder();
    let bytes = real_trace();
    let few = [0, 1, 7, 8, 9, 11, 12, 15, 16, 31, 64, 100, 255, 256, 511, 512, 1000, 4095, 4096];
    let evenly = (1..40).map(|part| bytes.len() * part / 40);
    let near_the_end = [1, 2, 8, 100, 4095, 4096].map(|less| bytes.len().saturating_sub(less));
    for length in few.into_iter().chain(evenly).chain(near_the_end) {
        let length = length.min(bytes.len());
        let input = written(folder.path(), "cut.ftr", &bytes[..length]);
        for subcommand in [&["report", "--json"][..], &["dump"]] {
            let damage = format!("cut to {length} of {} bytes", bytes.len());
            assert_answered_or_refused(&damage, subcommand, &input, folder.path());
        }
    }
}

/// A small generator, so that a failure comes back.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("a 64-bit machine") % limit
    }
}

/// Flips bits, or writes the values that overflow sums and products, mostly where headers are.
fn damaged(bytes: &[u8], dice: &mut Dice) -> (Vec<u8>, String) {
    let mut copy = bytes.to_vec();
    let mut places = Vec::new();
    let limit = match dice.below(4) {
        0 => 256.min(copy.len()),
        1 | 2 => 16384.min(copy.len()),
        _ => copy.len(),
    };
    for _ in 0..=dice.below(12) {
        let at = dice.below(limit - 8);
        places.push(at);
        match dice.below(4) {
            0 => copy[at..at + 8].fill(0xff),
            1 => copy[at..at + 8].fill(0),
            2 => copy[at..at + 8].copy_from_slice(&(u64::MAX >> 1).to_le_bytes()),
            _ => copy[at] ^= 1 << dice.below(8),
        }
    }
    (copy, format!("damaged at {places:?}"))
}

#[test]
fn a_trace_with_flipped_bytes_is_calm() {
    let folder = folder();
    let bytes = real_trace();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let (copy, places) = damaged(&bytes, &mut dice);
        let input = written(folder.path(), "damaged.ftr", &copy);
        let subcommand = SUBCOMMANDS[if round % 2 == 0 { 1 } else { dice.below(6) }];
        let damage = format!("round {round}, {places}");
        assert_answered_or_refused(&damage, subcommand, &input, folder.path());
    }
}

#[test]
fn two_traces_glued_together_are_calm() {
    let folder = folder();
    let bytes = real_trace();
    let half = (bytes.len() / 2) & !4095;
    let glued = [[&bytes[..half], &bytes[..]].concat(), [&bytes[..], &bytes[half..]].concat()];
    for (copy, name) in glued.iter().zip(["front", "back"]) {
        let input = written(folder.path(), "glued.ftr", copy);
        for subcommand in SUBCOMMANDS {
            assert_answered_or_refused(name, subcommand, &input, folder.path());
        }
    }
}

#[test]
fn an_output_that_cannot_be_written_is_said_so() {
    let folder = folder();
    let input = written(folder.path(), "good.ftr", &real_trace());
    for subcommand in ["map", "timeline"] {
        for output in ["/nonexistent/folder/picture.png", "/proc/picture.png", "/dev/full"] {
            let mut draw = command(analyzer());
            draw.arg(subcommand).arg(&input).args(["-o", output]);
            let outcome = run(&mut draw).expect_code(2);
            assert_calm(&outcome, 1);
            assert!(outcome.err().contains(output), "no `{output}`: {}", outcome.describe());
        }
    }
}

#[test]
fn a_full_stdout_is_said_so_and_a_closed_pipe_is_no_error() {
    let folder = folder();
    let mut counts = command(program("counts"));
    counts.args(["family", "3000"]);
    let trace = Traced::run_well(counts);
    for subcommand in ["dump", "report", "report --json", "holes --json"] {
        let line = format!(
            "{{ \"$0\" {subcommand} \"$1\"; echo \"status $?\" >&2; }} | head -n 1 > /dev/null"
        );
        let mut pipe = command("/bin/sh");
        pipe.args(["-c", &line]).arg(analyzer()).arg(trace.trace()).current_dir(folder.path());
        let outcome = run(&mut pipe).expect_code(0);
        assert!(
            outcome.stderr == b"status 0\n",
            "`{subcommand} | head -n 1`: expected status 0 and no word: {}",
            outcome.describe()
        );
    }
    let mut full = command("/bin/sh");
    full.args(["-c", "exec \"$0\" dump \"$1\" > /dev/full"]).arg(analyzer()).arg(trace.trace());
    let outcome = run(&mut full).expect_code(2);
    assert_calm(&outcome, 1);
}
