//! Call stacks are those that another unwinder sees, frame by frame; they can be turned off, and
//! what they are resolved against is on record.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use fragtrace_format::record::ModuleEvent;
use fragtrace_format::stack::Root;
use fragtrace_tests::programs::{cpp_program, library, program, rust_program};
use fragtrace_tests::run::command;
use fragtrace_tests::stacks::{self, Judge, Sample, Stack, Stacks};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};

/// Frames that are compared.
const DEPTH: usize = 32;

/// A stack of a trace without its innermost frame, which is the other unwinder's own; and the stack
/// as the other one saw it.
type Pair = (Stack, Vec<u64>);

/// Runs a command under both unwinders. `one_in`: how rare samples are.
fn stacks_by_both(judge: Judge, name: &str, mut command: Command, one_in: u64) -> Vec<Pair> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("backtraces");
    command.env("LD_PRELOAD", preload_list(&[&judge.library(), &tools::tracer()]));
    command.env("BACKTRACES", &path).env("BACKTRACES_ONE_IN", one_in.to_string());
    let traced = Traced::run(command);
    let trace = traced.traces().into_iter().next().expect("a trace");
    let found = Stacks::of(&trace);
    let pair = |sample: Sample| {
        let list = found.acquired.get(&sample.thread);
        let acquired = list.and_then(|list| list.get(sample.number as usize - 1));
        let acquired = acquired.unwrap_or_else(|| {
            panic!("{name}: thread {} has no acquisition {}", sample.thread, sample.number)
        });
        assert!(
            acquired.address == sample.address,
            "{name}: acquisition {} of thread {} is another",
            sample.number,
            sample.thread
        );
        let mut stack = found.stack(acquired.stack);
        stack.frames.drain(..stack.frames.len().min(1));
        (stack, sample.frames)
    };
    stacks::samples(&path).into_iter().map(pair).collect()
}

/// What of a stack is compared.
fn compared(frames: &[u64]) -> &[u64] {
    &frames[..frames.len().min(DEPTH)]
}

/// Runs a command under both unwinders and compares: the share of samples whose frames are the
/// same must be at least 99.9 %. `one_in`: how rare samples are; `least`: how many there must be.
fn assert_same_stacks(name: &str, command: Command, one_in: u64, least: usize) {
    assert_same_stacks_by(Judge::Compiler, name, command, one_in, least);
}

fn assert_same_stacks_by(judge: Judge, name: &str, command: Command, one_in: u64, least: usize) {
    let pairs = stacks_by_both(judge, name, command, one_in);
    let all = pairs.len();
    let unknown = pairs.iter().filter(|(stack, _)| stack.root == Root::Unknown).count();
    let differs = |(stack, expected): &&Pair| compared(&stack.addresses()) != compared(expected);
    let different: Vec<&Pair> = pairs.iter().filter(differs).collect();
    let same = all - different.len();
    println!("{name}, {judge:?}: {same} of {all} stacks are the same, {unknown} end early");
    assert!(all >= least, "{name}: {all} samples, fewer than {least}");
    let first = different.first().map(|(stack, expected)| {
        format!("expected {:x?}\nfound    {:x?}", compared(expected), stack.addresses())
    });
    assert!(
        same * 1000 >= all * 999,
        "{name}: {same} of {all} stacks are the same; the first that is not:\n{}",
        first.unwrap_or_default()
    );
}

/// Real programs and programs of ours, with how rare samples are for 10,000 of each.
fn programs() -> Vec<(&'static str, Command, u64)> {
    const SQL: &str = "create table t (id integer primary key, name text, n integer); \
        with recursive c(i) as (select 1 union all select i + 1 from c where i < 40000) \
        insert into t select i, 'name ' || (i % 997), (i * 7919) % 100000 from c; \
        create index by_name on t (name); \
        select name, count(*), sum(n) from t group by name order by 3 desc limit 20; \
        select group_concat(upper(name), ',') from t where n % 7 = 0 limit 3; \
        select json_group_array(name) from t where id < 2000;";
    const SCRIPT: &str = "import json, re, collections, decimal\n\
        words = [re.sub('[0-3]', 'x', str(i * 7919)) for i in range(20000)]\n\
        counts = collections.Counter(words)\n\
        text = json.dumps(counts, sort_keys=True, indent=1)\n\
        def deep(n): return [n] if n == 0 else sorted(deep(n - 1) + [n], key=lambda x: -x)\n\
        print(len(text), len(json.loads(text)), len(deep(200)))\n\
        print(sum(decimal.Decimal(i) / 7 for i in range(2000)))";
    let mut programs = Vec::new();
    if let Some(sqlite3) = tools::find("sqlite3") {
        let mut sqlite3 = command(sqlite3);
        sqlite3.args([":memory:", SQL]);
        programs.push(("sqlite3", sqlite3, 8));
    }
    if let Some(python3) = tools::find("python3") {
        let mut python3 = command(python3);
        python3.args(["-c", SCRIPT]).env("PYTHONMALLOC", "malloc").env("PYTHONHASHSEED", "0");
        programs.push(("python3", python3, 40));
    }
    let mut cpp = command(cpp_program("calls"));
    cpp.arg("1000");
    programs.push(("a C++ program", cpp, 15));
    let mut rust = command(rust_program("calls"));
    rust.arg("2000");
    programs.push(("a Rust program", rust, 60));
    programs
}

#[test]
fn stacks_are_as_the_compilers_own_unwinder_sees_them() {
    for (name, command, one_in) in programs() {
        assert_same_stacks(name, command, one_in, 10_000);
    }
}

#[test]
fn stacks_are_as_libunwind_sees_them() {
    for (name, command, one_in) in programs() {
        assert_same_stacks_by(Judge::Libunwind, name, command, one_in, 10_000);
    }
}

/// The C program whose stacks are hard to walk, in one of its ways.
fn frames(mode: &str, rounds: u32) -> Command {
    let mut frames = command(program("frames"));
    frames.args([mode, &rounds.to_string()]);
    frames
}

#[test]
fn stacks_of_coroutines_are_as_another_unwinder_sees_them() {
    assert_same_stacks("coroutines", frames("coroutines", 500), 1, 10_000);
}

#[test]
fn stacks_of_handlers_are_as_another_unwinder_sees_them() {
    assert_same_stacks("handlers", frames("handlers", 1200), 1, 10_000);
}

#[test]
fn stacks_of_small_threads_are_as_another_unwinder_sees_them() {
    assert_same_stacks("threads", frames("threads", 600), 1, 10_000);
}

#[test]
fn code_that_cannot_be_unwound_ends_a_stack() {
    assert_same_stacks("code made at run time", frames("made", 1000), 1, 3000);
}

/// Frames that stacks keep when their table is nearly full, without the other unwinder's own.
const KEPT_FRAMES: usize = 3;

#[test]
fn a_table_that_fills_up_drops_outer_frames_and_keeps_sites() {
    let mut many = frames("many", 6000);
    // Room for 16,384 frames: 6,000 stacks of some 20 frames that few others share need more.
    many.env("FRAGTRACE_RING", "1M");
    let pairs = stacks_by_both(Judge::Compiler, "many ways", many, 1);
    let cut = pairs.iter().filter(|(stack, _)| stack.root == Root::Full).count();
    println!("{cut} of {} stacks are cut for want of room", pairs.len());
    assert!(cut >= 1000 && pairs.len() - cut >= 500, "{cut} of {}", pairs.len());
    for (stack, expected) in &pairs {
        let found = stack.addresses();
        let least = if stack.root == Root::Full { KEPT_FRAMES } else { compared(expected).len() };
        assert!(
            found.len() >= least && compared(expected).starts_with(compared(&found)),
            "expected {expected:x?}\nfound    {found:x?}"
        );
    }
}

#[test]
fn wrong_unwind_data_end_no_program() {
    for mode in ["nonsense", "filtered"] {
        let outcome = Traced::run(frames(mode, 1000)).outcome;
        assert!(outcome.code() == 0 && outcome.out() == "done\n", "{}", outcome.describe());
    }
}

#[test]
fn stacks_and_modules_follow_what_is_loaded_and_unloaded() {
    let plugins = ["3", "500"].map(|frame| {
        library("plugin", &format!("libplugin{frame}.so"), &[("FRAME", frame.to_string())])
    });
    let mut loads = frames("loaded", 200);
    loads.args(&plugins);
    assert_same_stacks("loaded objects", loads, 1, 1000);
    let mut loads = frames("loaded", 4);
    loads.args(&plugins);
    let traced = Traced::run_well(loads);
    let stacks = Stacks::of(&traced.trace());
    let mut there = HashMap::new();
    let mut gone = 0;
    for event in stacks.modules() {
        match event {
            ModuleEvent::Loaded(module) => {
                let before = there.insert(module.start, module.path);
                assert!(before.is_none(), "{} is where {before:?} is", module.path);
            }
            ModuleEvent::Gone { start, .. } => {
                let path = there.remove(&start).expect("what goes was there");
                assert!(path.contains("libplugin"), "{path} is gone");
                gone += 1;
            }
        }
    }
    assert!(gone >= 3, "four plugins took turns, and {gone} were seen to go");
}

/// The one trace of a run of the C++ program.
fn traced_calls(depth: Option<&str>) -> (Traced, PathBuf) {
    let mut calls = command(cpp_program("calls"));
    calls.arg("100");
    if let Some(depth) = depth {
        calls.env("FRAGTRACE_STACKS", depth);
    }
    let traced = Traced::run_well(calls);
    let trace = traced.trace();
    (traced, trace)
}

#[test]
fn stacks_are_as_deep_as_asked_for() {
    for (asked, most) in [(None, 64), (Some("on"), 64), (Some("1"), 1), (Some("7"), 7)] {
        let (_traced, trace) = traced_calls(asked);
        let stacks = Stacks::of(&trace);
        let numbers: Vec<_> = stacks.acquired.values().flatten().map(|block| block.stack).collect();
        assert!(numbers.len() > 1000 && numbers.iter().all(|number| *number != 0));
        let deepest = numbers.iter().map(|number| stacks.stack(*number).frames.len()).max();
        assert!(deepest == Some(most), "{asked:?}: the deepest stack has {deepest:?} frames");
    }
}

#[test]
fn stacks_can_be_turned_off() {
    let (_traced, trace) = traced_calls(Some("off"));
    let stacks = Stacks::of(&trace);
    assert!(stacks.acquired.values().flatten().all(|block| block.stack == 0));
    assert!(stacks.modules().count() == 0);
}

#[test]
fn all_code_on_a_stack_lies_in_a_module_on_record() {
    let (_traced, trace) = traced_calls(None);
    let stacks = Stacks::of(&trace);
    let modules: Vec<_> = stacks
        .modules()
        .filter_map(|event| match event {
            ModuleEvent::Loaded(module) => Some(module),
            ModuleEvent::Gone { .. } => None,
        })
        .collect();
    for block in stacks.acquired.values().flatten() {
        for frame in stacks.stack(block.stack).frames {
            let at = |start: u64, bytes: u64| (start..start + bytes).contains(&frame.address);
            let module = modules.iter().find(|module| at(module.start, module.bytes));
            let module = module.unwrap_or_else(|| panic!("{:#x} is in no module", frame.address));
            assert!(!module.path.is_empty());
        }
    }
    let calls = modules.iter().find(|module| module.path.ends_with("/calls")).expect("itself");
    assert!(calls.build_id.len() == 20 && calls.text_address != 0, "{calls:?}");
}
