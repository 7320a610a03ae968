//! No more room for a trace whose ring goes round, on its disk or by RLIMIT_FSIZE: the program runs
//! on as if nothing were, and the trace opens and says what happened.
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::victim::{Victim, field, header_field};

/// What victim.c ends with.
const STATUS: i32 = 7;
const STEPS: &str = "200000";
/// Bits of the header's field that says what limited the recording.
const DISK_FULL: u64 = 1;
const FILE_SIZE: u64 = 2;
/// Room for traces: from none for the ring to none for the table of live blocks.
const ROOMS_KIB: [u64; 7] = [96, 128, 192, 224, 256, 320, 384];

/// A run that first goes round a ring of 64 KiB and then fills a table of 3,000 blocks, started
/// by a line of shell that makes room scarce.
fn scarce(victim: &Victim, mut wrapper: Command, line: &str, room_kib: u64) -> Command {
    let traced = victim.command(1, "64K");
    wrapper.args(["/bin/sh", "-c", line, "sh", &room_kib.to_string()]);
    wrapper.arg(victim.trace().parent().expect("a folder")).arg(tools::tracer());
    wrapper.arg(traced.get_program()).args(traced.get_args()).args([STEPS, "hoard"]);
    wrapper.env("FRAGTRACE_RING", "64K").env("FRAGTRACE_QUIET", "1");
    wrapper
}

fn assert_undisturbed(claim: &str, outcome: &Outcome) {
    assert!(outcome.code() == STATUS, "{claim}: {}", outcome.describe());
    assert!(outcome.stdout.is_empty(), "{claim}: {}", outcome.describe());
    assert!(outcome.stderr.is_empty(), "{claim}: {}", outcome.describe());
}

/// What the trace says; whether it wrapped and met the limit.
fn assert_told(victim: &Victim, limit: u64, words: &str) -> bool {
    let (trace, claim) = (victim.trace(), &victim.claim);
    // Where there was no room for its beginning there is no trace.
    let Ok(file) = fs::metadata(&trace) else { return false };
    assert!(file.len() > 0, "{claim}: a trace has its header, or is not there");
    let limits = header_field(&trace, field::LIMITS);
    let report = Report::of(&trace);
    let text = analyze("report", &trace, &[]).expect_code(0).out();
    let limited = limits & limit != 0;
    // In running text a line may end anywhere.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(words) == limited, "{claim}: limits {limits:#x}, said:\n{text}");
    if !limited {
        victim.assert_exact();
    }
    let dropped = report.number("/trace/dropped_events");
    assert!(dropped == 0 || limited, "{claim}: {dropped} events dropped, limits {limits:#x}");
    dropped > 0 && header_field(&trace, field::FOLDS) > 0
}

/// Of a ring of 64 MiB there is room for one; what lives finds some, too.
#[test]
fn a_ring_that_cannot_grow_goes_round_in_the_room_that_there_is() {
    const ROOM_KIB: u64 = 1536;
    let victim = Victim::new(format!("a ring of 64 MiB in {ROOM_KIB} KiB"), 1);
    let traced = victim.command(1, "64M");
    let mut shell = command("/bin/sh");
    let line = r#"ulimit -f $(($1 * 2)); export LD_PRELOAD="$2"; shift 2; exec "$@""#;
    shell.args(["-c", line, "sh", &ROOM_KIB.to_string()]).arg(tools::tracer());
    shell.arg(traced.get_program()).args(traced.get_args()).args(["600000", "return"]);
    for (name, value) in traced.get_envs() {
        if let Some(value) = value.filter(|_| name != "LD_PRELOAD") {
            shell.env(name, value);
        }
    }
    assert_undisturbed(&victim.claim, &run(&mut shell));
    victim.assert_exact();
    let limits = header_field(&victim.trace(), field::LIMITS);
    assert!(limits & FILE_SIZE != 0, "there was room enough: {limits:#x}");
    assert!(header_field(&victim.trace(), field::FOLDS) > 0, "it never went round");
}

#[test]
fn a_limit_on_file_sizes_is_said_and_harms_nobody() {
    let line = r#"ulimit -f $(($1 * 2)); LD_PRELOAD="$3" exec "$4" "$5" "$6" "$7" "$8" "$9""#;
    let mut limited = 0;
    for room_kib in ROOMS_KIB {
        let victim = Victim::new(format!("files of at most {room_kib} KiB"), 1);
        let mut shell = scarce(&victim, command("/usr/bin/env"), line, room_kib);
        shell.env("FRAGTRACE_OUT", victim.trace());
        let outcome = run(&mut shell);
        assert_undisturbed(&victim.claim, &outcome);
        limited += u32::from(assert_told(&victim, FILE_SIZE, "limit on file sizes"));
    }
    assert!(limited > 0, "no ring went round and then met the limit");
}

/// A file system of that size, in a mount namespace of its own; what it holds is kept.
#[test]
fn a_full_disk_is_said_and_harms_nobody() {
    if !tools::is_root() {
        return tools::skip_anyway("only root can mount a small file system");
    }
    let Some(unshare) = tools::find("unshare") else { return };
    let line = r#"mkdir "$2/small" && mount -t tmpfs -o size="$1K" none "$2/small" || exit 77
        LD_PRELOAD="$3" FRAGTRACE_OUT="$2/small/%e.ftr" "$4" "$5" "$6" "$7" "$8" "$9"
        status=$?
        test ! -e "$2/small/victim.ftr" || cp "$2/small/victim.ftr" "$2" || exit 78
        exit $status"#;
    let mut limited = 0;
    for room_kib in ROOMS_KIB {
        let victim = Victim::new(format!("a disk of {room_kib} KiB"), 1);
        let mut wrapper = command(&unshare);
        wrapper.arg("--mount");
        let outcome = run(&mut scarce(&victim, wrapper, line, room_kib));
        if outcome.status.code() != Some(STATUS) && outcome.err().contains("mount") {
            return tools::skip_anyway("no file system can be mounted here");
        }
        assert_undisturbed(&victim.claim, &outcome);
        limited += u32::from(assert_told(&victim, DISK_FULL, "disk was full"));
    }
    assert!(limited > 0, "no ring went round and then met the full disk");
}
