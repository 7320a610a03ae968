//! An allocator is asked what it says of itself only where the stack proves that this thread holds
//! none of its locks: at blocks of a program's own code, and neither in a signal's handler nor in what
//! the C library calls. That holds for an allocator that is preloaded as for one that is linked in.
#![forbid(unsafe_code)]

use std::path::Path;

use fragtrace_tests::check::Answers;
use fragtrace_tests::programs::{program, program_with};
use fragtrace_tests::run::command;
use fragtrace_tests::tools::tracer;
use fragtrace_tests::traced::{Traced, preload_list};

const CLOCKS_NS: u64 = 500_000;
const JEMALLOC: &str = "libjemalloc.so.2";

/// Whether jemalloc was asked while the program took blocks in such a place only.
fn is_asked(program: &Path, library: Option<&str>, place: &str, stacks: &str) -> bool {
    let mut command = command(program);
    command.arg(place).env("FRAGTRACE_LOOK_MS", "1").env("FRAGTRACE_STACKS", stacks);
    if let Some(library) = library {
        command.env("LD_PRELOAD", preload_list(&[&tracer(), Path::new(library)]));
    }
    let traced = Traced::run_well(command);
    let said = Answers::of(&traced.outcome);
    let looks = said.get("looks");
    assert!(looks > 8, "{place}: {looks} looks");
    let report = traced.report();
    report.assert_complete();
    let name = report.json["trace"]["allocator"].as_str().unwrap_or_default();
    assert!(name.contains("jemalloc"), "{name}");
    let start_ns = report.number("/trace/start_unix_ns");
    // The two clocks, and what a stamp is worth, are known to less than this.
    let waited_ns = said.get("from_unix_ns") - start_ns + CLOCKS_NS
        ..said.get("to_unix_ns") - start_ns - CLOCKS_NS;
    let asked = report.array("/series").iter().filter_map(|state| {
        let age_ns = state["allocator_view"]["age_ns"].as_u64()?;
        Some(state["time_ns"].as_u64()? - age_ns)
    });
    asked.filter(|asked_ns| waited_ns.contains(asked_ns)).count() > 0
}

#[test]
fn it_is_asked_where_no_lock_can_be_held_and_nowhere_else() {
    let flags = ["-l:libjemalloc.a", "-lstdc++", "-lm", "-ldl"];
    let ways = [
        (program("asked"), Some(JEMALLOC)),
        (program_with("asked", "asked_on_jemalloc", &flags), None),
    ];
    for (program, library) in ways {
        let is_asked = |place: &str| is_asked(&program, library, place, "on");
        assert!(is_asked("plain"), "{library:?}: in main");
        assert!(is_asked("thread"), "{library:?}: in a thread");
        assert!(!is_asked("handler"), "{library:?}: in a handler");
        assert!(!is_asked("callback"), "{library:?}: in what the C library called");
    }
    let program = program("asked");
    assert!(!is_asked(&program, Some(JEMALLOC), "plain", "off"), "without stacks");
    assert!(!is_asked(&program, Some(JEMALLOC), "plain", "1"), "with stacks that are cut");
}
