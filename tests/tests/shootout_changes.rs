//! The shootout with something other than recorded: reused buffers, blocks freed where they were
//! allocated, one thread for all, pauses that are waited for; and of traces that do not begin with a
//! process. What is predicted stands beside the program that was written so.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_near};
use fragtrace_tests::programs::{library, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::shootout::{assert_reproduced, figure, run_of};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};

const MIMALLOC: &str = "libmimalloc.so.2";

fn changed<'r>(report: &'r Report, name: &str) -> &'r serde_json::Value {
    let mut runs = report.array("/allocators").iter();
    let found = runs.find(|run| run["name"] == name && !run["change"].is_null());
    found.unwrap_or_else(|| panic!("no changed run of {name} in {:#}", report.json))
}

/// On an allocator that never merges, which the trace knows by its path alone.
#[test]
fn reuse_that_is_only_tried_saves_what_it_saves_when_it_is_written() {
    let unmerged: PathBuf = library("unmerged", "libunmerged.so", &[]);
    let tensors = |how: &str| {
        let mut tensors = command(program("misuse"));
        tensors.args(["address-growth", how]);
        tensors.env("LD_PRELOAD", preload_list(&[&tools::tracer(), &unmerged]));
        Traced::run_well(tensors)
    };
    let report = Report::shootout(&tensors("ill").trace(), &["--reuse", "make_tensor"]);
    assert_eq!(report.text("/allocators/0/name"), "unmerged");
    assert!(report.value("/error_ratio").as_f64().is_some_and(|error| error <= 0.05));
    let own = tensors("cured").report().number("/end/rss_bytes");
    let reused = changed(&report, "unmerged");
    eprintln!("reused: {own} when written, {} predicted", figure(reused, "end_rss_bytes"));
    assert_near("end", own, figure(reused, "end_rss_bytes"), own / 10);
    assert!(figure(&report.array("/allocators")[0], "end_rss_bytes") > 2 * own);
    assert!(report.text("/verdict").contains("saves memory"), "{}", report.text("/verdict"));
}

/// 1,500 pictures of a mapping each are as many calls of mmap and of munmap; in one that is kept there
/// are none. Beside them the heap grows, in steps of 128 KiB, to 24 MiB.
#[test]
fn system_calls_of_the_allocator_are_counted() {
    const PICTURES: u64 = 1500;
    const STEPS: u64 = (24 << 20) / (128 << 10);
    let mut pictures = command(program("misuse"));
    pictures.args(["purge-churn", "ill"]);
    let traced = Traced::run_well(pictures);
    let setting = "mmap_threshold=131072";
    let named = format!("glibc:{setting},jemalloc");
    let arguments = ["--reuse", "begin_picture", "--allocators", &named];
    let report = Report::shootout(&traced.trace(), &arguments);
    let runs = report.array("/allocators").iter().filter(|run| run["settings"] == setting);
    let calls: Vec<u64> = runs.map(|run| figure(run, "system_calls")).collect();
    eprintln!("{calls:?}");
    let [each, kept] = calls[..] else { panic!("two runs: {calls:?}") };
    let made = 2 * PICTURES + STEPS;
    assert!((made - STEPS..made + STEPS).contains(&each), "{each} for {made}");
    assert!((STEPS / 2..2 * STEPS).contains(&kept), "{kept} for {STEPS}");
    // It takes more at once, in its own way.
    assert!(figure(run_of(&report, "jemalloc", ""), "system_calls") > 0);
    assert!(report.value("/recorded/system_calls").is_null(), "no hook sees glibc's");
}

/// mimalloc keeps what another thread freed until its owner comes by: with every block freed where it
/// was allocated it gives back what the program does whose threads free their own.
#[test]
fn blocks_freed_where_they_were_allocated_go_back_as_in_the_program_that_does_so() {
    let line = |way: &str| {
        let mut line = command(program("shootout"));
        line.args([way, "8", "40000", "1500"]);
        line
    };
    let bare = |way: &str| {
        let mut line = line(way);
        Answers::of(&run(line.env("LD_PRELOAD", MIMALLOC)).expect_code(0)).get("end")
    };
    let traced = Traced::run_well(line("across"));
    let arguments = ["--same-thread-free", "--allocators", "mimalloc"];
    let report = Report::shootout(&traced.trace(), &arguments);
    let across = figure(run_of(&report, "mimalloc", ""), "end_rss_bytes");
    let same = figure(changed(&report, "mimalloc"), "end_rss_bytes");
    let (own_across, own_same) = (bare("across"), bare("slots"));
    eprintln!("across: {own_across}, again {across}; same: {own_same}, predicted {same}");
    assert!(own_across > 3 * own_same, "{own_across} and {own_same}");
    assert!(across > 3 * same, "{across} and {same}");
    assert_near("freed where allocated", own_same, same, own_same / 5);
}

/// One thread has one arena, whatever the tunable says; and no other row is compared with a program
/// that had eight threads.
#[test]
fn one_thread_makes_all_calls() {
    let mut slots = command(program("shootout"));
    let traced = Traced::run_well({
        slots.args(["slots", "8", "20000", "1000"]);
        slots
    });
    let arguments = ["--threads", "one", "--allocators", "glibc,glibc:arena_max=1"];
    let report = Report::shootout(&traced.trace(), &arguments);
    let [many, one] = ["", "arena_max=1"].map(|settings| run_of(&report, "glibc", settings));
    for key in ["peak_rss_bytes", "end_rss_bytes", "calls"] {
        let (many, one) = (figure(many, key), figure(one, key));
        assert_near(key, many, one, many / 100);
    }
    assert_eq!(figure(many, "calls"), figure(report.value("/recorded"), "calls"));
    assert!(report.value("/error_ratio").is_null());
    assert_eq!(report.text("/threads"), "one");
}

#[test]
fn pauses_are_waited_for_on_request() {
    let traced = Traced::run_well(command(program("trim")));
    let length_ns = traced.report().number("/trace/duration_ns");
    let took_ns = |more: &[&str]| {
        let arguments = [&["--allocators", "glibc"], more].concat();
        let report = Report::shootout(&traced.trace(), &arguments);
        figure(run_of(&report, "glibc", ""), "run_time_ns")
    };
    let recorded_ns = took_ns(&["--speed", "recorded"]);
    eprintln!("{length_ns} recorded, {recorded_ns} again");
    // The last event and the last look come a little before the end.
    assert!(recorded_ns >= length_ns * 9 / 10, "{recorded_ns} of {length_ns}");
}

/// It begins with the blocks and holes that its parent had.
#[test]
fn a_child_of_fork_is_reproduced() {
    let traced = Traced::run_well(command(program("heir")));
    let traces = traced.traces();
    assert_eq!(traces.len(), 2, "{traces:?}");
    let child = traces.iter().find(|trace| Report::of(trace).value("/trace/forked_from").is_u64());
    let report = assert_reproduced("a child", child.expect("one is the child's"), "glibc");
    let peak = figure(report.value("/recorded"), "peak_rss_bytes");
    let end = figure(report.value("/recorded"), "end_rss_bytes");
    assert!(peak > 48 << 20 && end < peak * 3 / 4, "{peak} and {end}");
}

/// What memcached's clients say: values of several sizes under many keys.
const CLIENT: &str = "\
import random, socket, sys
chance = random.Random(int(sys.argv[1]))
s = socket.socket(socket.AF_UNIX); s.connect('s'); f = s.makefile('rwb')
for _ in range(4000):
    n = chance.choice([100, 500, 2000, 9000])
    f.write(b'set k%d 0 0 %d\\r\\n%s\\r\\n' % (chance.randrange(20000), n, b'x' * n)); f.flush()
    assert f.readline() == b'STORED\\r\\n'
";
/// The trace's folder has to be its user's, as it writes it.
const MEMCACHED: &str = "\
chmod 777 .; memcached -u nobody -s $PWD/s -a 777 -t 4 -m 64 & m=$!
until test -S s; do sleep 0.05; done; unset LD_PRELOAD
for c in 1 2 3 4; do python3 -S -c \"$CLIENT\" $c & p=\"$p $!\"; done
wait $p || exit 1; kill -TERM $m; wait $m";

/// A server with four threads, which gives up its user: no look can scan its heap then.
#[test]
fn memcached_is_reproduced() {
    if tools::find("memcached").is_none() || tools::find("python3").is_none() {
        return;
    }
    if !tools::is_root() {
        return tools::skip_anyway("only root has a user to give up");
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut line: Command = command("/bin/sh");
    line.args(["-c", MEMCACHED]).current_dir(folder.path()).env("CLIENT", CLIENT);
    let traced = Traced::run_well(line);
    let report = assert_reproduced("memcached", &traced.trace_of("memcached"), "glibc");
    assert!(figure(report.value("/recorded"), "peak_rss_bytes") > 32 << 20);
}

#[test]
fn an_allocator_that_is_not_installed_is_named_with_how_it_comes() {
    let traced = Traced::run_well(command(program("pin")));
    let trace = traced.trace();
    let text = analyze("shootout", &trace, &["--allocators", "glibc,musl"]).expect_code(0).out();
    assert!(text.contains("Not here: musl (musl's malloc is part of its C library"), "{text}");
}
