//! What the tracer leaves of small processes is small, and its memory stands in no core file.
#![forbid(unsafe_code)]

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use fragtrace_tests::programs::program;
use fragtrace_tests::run::{Running, Signal, command};
use fragtrace_tests::traced::{Traced, TracedRunning, file_name, shell};
use fragtrace_tests::victim::{Victim, wait_until_wrapped};

const KIB: u64 = 1 << 10;
/// Of the disk, for a process that does little.
const MOST_BYTES: u64 = 256 * KIB;
/// All that the tracer maps lies here, where nobody else's mappings are.
const TRACER: Range<u64> = 0x1400_0000_0000..0x2400_0000_0000;

#[test]
fn a_process_that_does_little_leaves_little() {
    let mut one = command("/bin/true");
    one.env_remove("FRAGTRACE_RING");
    let mut ends = command(program("ends"));
    ends.arg("exit");
    let mut killed = command(program("ends"));
    killed.args(["signal", "9"]);
    for command in [one, ends, killed, shell("true; exit 0")] {
        let traced = Traced::run(command);
        let (trace, claim) = (traced.trace(), &traced.outcome.command);
        let file = fs::metadata(trace).expect("the trace is there");
        let allocated = file.blocks() * 512;
        assert!(allocated <= MOST_BYTES, "{claim}: {allocated} bytes on the disk");
        assert!(file.len() <= MOST_BYTES, "{claim}: a file of {} bytes", file.len());
    }
}

#[test]
fn a_child_that_only_becomes_another_program_leaves_no_file() {
    for how in ["exec", "vfork", "spawn"] {
        let mut children = command(program("children"));
        children.args([how, "/bin/true"]);
        let traced = Traced::run_well(children);
        let mut names: Vec<_> = traced.traces().iter().map(|trace| file_name(trace)).collect();
        names.sort();
        let all = |name: &str| names.iter().filter(|found| found.starts_with(name)).count();
        let found = (names.len(), all("children."), all("true."));
        assert!(found == (2, 1, 1), "{how}: one trace a program: {names:?}");
    }
}

/// The tracer's mappings as /proc/PID/smaps shows them: their first lines and their flags.
fn tracer_mappings(pid: u32) -> Vec<(String, String)> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process runs");
    let mut mappings = Vec::new();
    let mut head = "";
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if let Some(flags) = line.strip_prefix("VmFlags: ") {
            mappings.push((head.to_owned(), flags.to_owned()));
        } else if !first.ends_with(':') {
            head = line;
        }
    }
    mappings.retain(|(head, _)| {
        let start = head.split('-').next().and_then(|start| u64::from_str_radix(start, 16).ok());
        start.is_some_and(|start| TRACER.contains(&start))
    });
    mappings
}

fn assert_undumped(claim: &str, pid: u32, trace_name: &str) {
    let mappings = tracer_mappings(pid);
    let of_trace = mappings.iter().filter(|(head, _)| head.ends_with(trace_name)).count();
    assert!(of_trace > 0, "{claim}: the trace is mapped: {mappings:?}");
    for (head, flags) in &mappings {
        let kept_out = flags.split(' ').any(|flag| flag == "dd");
        assert!(kept_out, "{claim}: a core file would hold {head}: {flags}");
    }
}

#[test]
fn no_core_file_holds_the_ring() {
    let mut hangs = command(program("ends"));
    hangs.arg("hang");
    let mut traced = TracedRunning::start(hangs);
    traced.running.wait_for("ready");
    assert_undumped("a ring that is not full", traced.running.pid(), ".ftr");
    traced.running.signal(Signal::KILL);
    traced.finish();
}

#[test]
fn no_core_file_holds_the_table_of_a_ring_that_goes_round() {
    let victim = Victim::new("a ring that goes round".into(), 2);
    let running = Running::start(&mut victim.command(5, "1M"));
    victim.wait_until_at_work();
    wait_until_wrapped(&victim.trace());
    assert_undumped(&victim.claim, running.pid(), "victim.ftr");
    running.signal(Signal::KILL);
    running.finish();
}
