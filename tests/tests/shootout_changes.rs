//! The shootout with something other than recorded: reused buffers, blocks freed where they were
//! allocated, one thread for all, pauses that are waited for; and of traces that do not begin with a
//! process. What is predicted stands beside the program that was written so.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fragtrace_tests::check::{Answers, assert_calm, assert_near};
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

/// What an allocator that knows its blocks says at its end of a trace run again with these arguments:
/// how many blocks and bytes are live, how many calls there were, and how many blocks another thread freed
/// than acquired them.
fn census(trace: &Path, arguments: &[&str]) -> ([u64; 4], Report) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let said = folder.path().join("census");
    let library = library("census", "libcensus.so", &[]);
    let named = format!("census={},CENSUS={}", library.display(), said.display());
    let report = Report::shootout(trace, &[arguments, &["--allocator", &named]].concat());
    let text =
        fs::read_to_string(&said).unwrap_or_else(|error| panic!("{error}: {:#}", report.json));
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("it is told");
        line.trim().parse().expect("a number")
    };
    (["blocks ", "bytes ", "calls ", "across "].map(number), report)
}

/// Threads that run as they like acquire and free the same blocks as those that take turns: each block
/// is there before it is freed, by the thread that freed it, and what is live in the end is what the
/// recorded program had.
#[test]
fn threads_that_run_freely_keep_the_order_of_each_block() {
    const THREADS: u64 = 4;
    let mut leave = command(program("shootout"));
    leave.args(["leave", &THREADS.to_string(), "10000", "500"]);
    let traced = Traced::run_well(leave);
    let own = traced.report();
    let (turns, _) = census(&traced.trace(), &[]);
    for _ in 0..3 {
        let (free, report) = census(&traced.trace(), &["--threads", "free"]);
        eprintln!("blocks, bytes, calls, across: in turns {turns:?}, freely {free:?}");
        assert_eq!(free, turns);
        let census = report.array("/allocators").iter().find(|run| run["name"] == "census");
        assert!(census.is_some_and(|run| run["error"].is_null()), "{:#}", report.json);
    }
    let [blocks, bytes, _, across] = turns;
    // The driver's process has a few of its own: for each thread, and what the loader keeps.
    let live = own.number("/end/live_blocks");
    assert!((live..live + 20 + THREADS).contains(&blocks), "{blocks} for {live}");
    assert!(bytes >= own.number("/end/live_bytes"));
    let freed_elsewhere = own.number("/end/cross_thread_frees");
    assert!(across.abs_diff(freed_elsewhere) <= THREADS, "{across} for {freed_elsewhere}");
}

/// Threads that come and go while others work, and blocks of which parts are written later on.
#[test]
fn throughput_is_measured_with_all_threads_at_once() {
    let mut across = command(program("shootout"));
    across.args(["across", "8", "20000", "1000"]);
    let traced = Traced::run_well(across);
    let arguments = ["--threads", "free", "--allocators", "glibc,jemalloc,mimalloc"];
    let report = Report::shootout(&traced.trace(), &arguments);
    assert_eq!(report.text("/threads"), "free");
    for name in ["glibc", "jemalloc", "mimalloc"] {
        let run = run_of(&report, name, "");
        let calls = figure(run, "calls");
        let throughput = figure(run, "throughput_calls_per_second");
        assert_eq!(calls, figure(report.value("/recorded"), "calls"), "{name}");
        let all_ns = u128::from(figure(run, "run_time_ns"));
        assert_eq!(u128::from(throughput), u128::from(calls) * 1_000_000_000 / all_ns, "{name}");
        eprintln!("{name}: {throughput} calls a second");
        // What is live at once is written, whoever comes first.
        assert!(figure(run, "peak_rss_bytes") > 8 * 1000 * 2322, "{run:#}");
        for unknown in ["alloc_time_ns", "after_drop_rss_bytes", "mean_fragmentation_ratio"] {
            assert!(run[unknown].is_null(), "{name}: {unknown}");
        }
    }
    assert!(report.value("/error_ratio").is_null());
    assert!(report.value("/processors").is_u64());
    let text = analyze("shootout", &traced.trace(), &arguments).expect_code(0).out();
    assert!(text.contains("calls/s") && text.contains("Threads ran freely"), "{text}");
    // With which nothing else goes that needs threads to take turns.
    for more in [["--reuse", "work"], ["-o", "picture.png"]] {
        let refused = analyze("shootout", &traced.trace(), &[&arguments[..2], &more].concat());
        assert_calm(&refused.expect_code(2), 1);
    }
}

/// Threads that hand each block over as fast as they can; and hundreds that live for a moment, free
/// what others left and leave something themselves: with each a stand-in's thread ends, and the next one
/// goes on behind it.
#[test]
fn blocks_that_change_hands_all_the_time_are_the_same_when_threads_run_freely() {
    for (name, arguments) in [("handover", ["4", "40000"]), ("churn", ["300", "20"])] {
        let mut line = command(program(name));
        line.args(arguments);
        let traced = Traced::run_well(line);
        let (turns, _) = census(&traced.trace(), &[]);
        let (free, _) = census(&traced.trace(), &["--threads", "free"]);
        eprintln!("{name}: blocks, bytes, calls, across: in turns {turns:?}, freely {free:?}");
        assert_eq!(free[..3], turns[..3], "{name}");
        // Each block of the first program but those that are kept.
        assert!(name == "churn" || free[3] >= 39_800, "{free:?}");
    }
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
    assert!(text.contains("Not tried: musl (musl's malloc is part of its C library"), "{text}");
}

/// `cargo xtask snmalloc` builds it, and puts it beside the command; `cargo xtask test` has it do so.
#[test]
fn snmalloc_is_found_beside_the_command() {
    let beside = tools::analyzer().with_file_name("libsnmallocshim.so");
    let traced = Traced::run_well(command(program("pin")));
    let arguments = ["--allocators", "glibc,snmalloc"];
    if !beside.is_file() {
        let text = analyze("shootout", &traced.trace(), &arguments).expect_code(0).out();
        assert!(text.contains("cargo xtask snmalloc") || text.contains("snmalloc  "), "{text}");
        return tools::skip("snmalloc is not built (cargo xtask snmalloc)");
    }
    let report = Report::shootout(&traced.trace(), &arguments);
    let run = run_of(&report, "snmalloc", "");
    assert_eq!(run["library"].as_str().map(Path::new), beside.canonicalize().ok().as_deref());
    assert_eq!(figure(run, "calls"), figure(run_of(&report, "glibc", ""), "calls"));
    assert!(
        figure(run, "peak_rss_bytes") > figure(report.value("/recorded"), "peak_rss_bytes") / 4
    );
}
