//! A process that its memory cgroup kills in the middle of an allocation: its trace opens, and
//! holds exactly what lived.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use fragtrace_tests::report::analyze;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::victim::Victim;

/// victim.c takes up to 450 MB at the end.
const LIMIT_BYTES: u64 = 96 << 20;
const KILLED: i32 = 9;

/// A memory cgroup of the test's own; goes when dropped.
struct Group {
    folder: PathBuf,
}

impl Group {
    /// Below the group of this process, of either version; `None` where there is none to be had.
    fn make() -> Option<Group> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        // hierarchy:controllers:path
        let own = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            match (parts.next()?, parts.next()?) {
                ("memory", path) => Some(("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes")),
                ("", path) => Some(("/sys/fs/cgroup", path, "memory.max")),
                _ => None,
            }
        });
        let mut places = own.flat_map(|(root, path, limit)| {
            let here = PathBuf::from(format!("{root}{path}"));
            // With version 2 a group that has processes can have no groups with memory below it.
            let above = here.parent().map(Path::to_path_buf);
            [Some(here), above].into_iter().flatten().map(move |at| (at, limit))
        });
        places.find_map(|(parent, limit)| {
            let folder = parent.join(format!("fragtrace-test-{}", std::process::id()));
            fs::create_dir(&folder).ok()?;
            let group = Group { folder };
            fs::write(group.folder.join(limit), LIMIT_BYTES.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // All that were in it have ended.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Runs the program in the group, which it enters by itself.
fn run_within(group: &Group, victim: &Victim, ring: &str) -> Outcome {
    let traced = victim.command(3, ring);
    let mut shell = command("/bin/sh");
    let line = r#"echo $$ > "$1/cgroup.procs" || exit 77; LD_PRELOAD="$2"; shift 2
        export LD_PRELOAD; exec "$@""#;
    shell.args(["-c", line, "sh"]).arg(&group.folder).arg(tools::tracer());
    shell.arg(traced.get_program()).args(traced.get_args()).args(["1500000", "eat"]);
    shell.env("FRAGTRACE_RING", ring).env("FRAGTRACE_QUIET", "1");
    run(shell.env("FRAGTRACE_OUT", victim.trace()))
}

#[test]
fn a_process_that_runs_out_of_memory_leaves_a_whole_trace() {
    let Some(group) = tools::is_root().then(Group::make).flatten() else {
        return tools::skip_anyway("no memory cgroup can be made here");
    };
    for (threads, ring) in [(1, "64K"), (1, "4M"), (2, "1M")] {
        let victim = Victim::new(format!("{threads} threads out of memory, ring {ring}"), threads);
        let outcome = run_within(&group, &victim, ring);
        if outcome.status.code() == Some(77) {
            return tools::skip_anyway("the memory cgroup takes no processes here");
        }
        let claim = &victim.claim;
        assert!(outcome.signal() == Some(KILLED), "{claim}: {}", outcome.describe());
        let report = victim.assert_exact();
        assert_eq!(report.text("/trace/end"), "unknown", "{claim}");
        assert_eq!(report.number("/trace/cgroup_limit_bytes"), LIMIT_BYTES, "{claim}");
        assert_eq!(report.value("/trace/wrapped").as_bool(), Some(true), "{claim}: it wraps");
        let live = report.number("/end/live_bytes");
        assert!(live > LIMIT_BYTES / 2, "{claim}: only {live} bytes live: what was eaten?");
        let text = analyze("report", &victim.trace(), &[]).expect_code(0).out();
        let told = text.replace('\n', " ");
        for words in ["consistent with an OOM kill: the heap's last footprint was", "is 96.0 MiB"] {
            assert!(told.contains(words), "{claim}: {text}");
        }
    }
}
