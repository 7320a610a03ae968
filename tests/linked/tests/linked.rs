//! Allocators linked into a program are seen as exactly as one that is interposed.

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{Account, STEPS, seen_exactly, true_at_each_step};
use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::checkpoint::Checkpoints;
use fragtrace_tests::idle::idle_like_the_tracer;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, run_at_fixed_addresses};

/// The tracer changes nothing that the program can see: it hands out the same offsets.
fn undisturbed(program: &str) {
    let bare = run(&mut command(program)).expect_code(0);
    let traced = Traced::run_well(command(program));
    let numbers = |out: &str| -> HashMap<String, String> {
        let lines = out.lines().filter_map(|line| line.split_once('='));
        let counts = lines.filter(|(key, _)| key.contains("allocs") || key.contains("usable"));
        counts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    assert_eq!(numbers(&bare.out()), numbers(&traced.outcome.out()));
}

macro_rules! services {
    ($($name:ident)*) => {$(
        mod $name {
            const PROGRAM: &str = env!(concat!("CARGO_BIN_EXE_async_", stringify!($name)));

            #[test]
            fn each_call_is_on_record_once() {
                super::seen_exactly(stringify!($name), PROGRAM, true);
            }

            #[test]
            fn figures_are_true_at_each_step() {
                super::true_at_each_step(stringify!($name), PROGRAM);
            }

            #[test]
            fn the_program_is_undisturbed() {
                super::undisturbed(PROGRAM);
            }
        }
    )*};
}

services! { jemalloc mimalloc snmalloc }

/// What the last lines say, under a library that does nothing and under the tracer: the same, with
/// looks as often as can be, in which jemalloc is asked for its figures.
///
/// The loader keeps what it knows of libraries in pages of its own: one more of these, for a longer
/// path or table, and all that is mapped later lies a page lower. Whether the two libraries need as
/// many depends on what else is there; so it is enough that places are the same with one of some
/// lengths of its search path. What the tracer itself would move would be moved with each.
fn at_the_same_places(program: &str, key: &str, settings: &[&str]) {
    let mut all = Vec::new();
    for length in [1, 500, 1000, 2000, 3000] {
        let path = format!("LD_LIBRARY_PATH=/{}", "x".repeat(length));
        let settings: Vec<_> =
            settings.iter().copied().chain(["FRAGTRACE_LOOK_MS=1", path.as_str()]).collect();
        let at = |preload: &Path| {
            let outcome = run_at_fixed_addresses(preload, &settings, Path::new(program), &[])?;
            Some(Answers::of(&outcome).get(key))
        };
        let Some(expected) = at(&idle_like_the_tracer()) else { return };
        let found = at(&tools::tracer());
        if found == Some(expected) {
            return;
        }
        all.push((expected, found));
    }
    panic!("{program}: {key} differ: {all:?}");
}

/// Purging goes by time, and so does then what is used again.
const NO_DECAY: &str = "_RJEM_MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1";

#[test]
fn blocks_have_the_same_addresses_as_without_the_tracer() {
    let (jemalloc, wrapped) =
        (env!("CARGO_BIN_EXE_async_jemalloc"), env!("CARGO_BIN_EXE_async_wrapped"));
    at_the_same_places(jemalloc, "exit.addresses", &[NO_DECAY]);
    at_the_same_places(wrapped, "exit.addresses", &[NO_DECAY]);
    at_the_same_places(env!("CARGO_BIN_EXE_async_wee"), "exit.addresses", &[]);
    at_the_same_places(env!("CARGO_BIN_EXE_async_snmalloc"), "exit.addresses", &[]);
    // It begins at a place of chance.
    at_the_same_places(env!("CARGO_BIN_EXE_async_mimalloc"), "exit.offsets", &[]);
}

/// What jemalloc says of itself stands in the report as it told the program at the same moment.
#[test]
fn jemallocs_own_figures_are_shown_as_it_gave_them() {
    let program = env!("CARGO_BIN_EXE_async_jemalloc");
    let steps = Checkpoints::of("jemalloc", command(program), &[]);
    for step in STEPS {
        for state in steps.states(step) {
            let figures = &state["allocator_view"]["figures"];
            for key in ["stats.allocated", "stats.active", "stats.resident", "stats.retained"] {
                assert_eq!(figures[key], steps.said(step, key), "{step}, {key}: {figures}");
            }
        }
    }
}

#[test]
fn mimallocs_own_figures_are_shown() {
    let program = env!("CARGO_BIN_EXE_async_mimalloc");
    let steps = Checkpoints::of("mimalloc", command(program), &[]);
    for step in ["load", "dropped"] {
        for state in steps.states(step) {
            let figures = &state["allocator_view"]["figures"];
            for key in ["current_commit", "peak_commit"] {
                assert_eq!(figures[key], steps.said(step, key), "{step}, {key}: {figures}");
            }
        }
    }
}

#[test]
fn an_allocator_that_is_inlined_is_on_record_through_its_wrapper() {
    seen_exactly("wee_alloc", env!("CARGO_BIN_EXE_async_wee"), false);
}

#[test]
fn a_wrapper_keeps_silent_where_the_allocator_is_seen_anyway() {
    seen_exactly("jemalloc, wrapped", env!("CARGO_BIN_EXE_async_wrapped"), true);
}

/// An allocator that never coalesces: addresses rise with each tensor, although a hole would have
/// held it but for 48 bytes that were cut from it. The system's does not do this.
#[test]
fn tensors_make_addresses_grow_only_where_nothing_is_coalesced() {
    const TENSOR_BYTES: u64 = 1 << 20;
    let report = |program: &str| {
        let report = Traced::run_well(command(program)).report();
        report.assert_complete();
        assert!(report.number("/peak/live_bytes") < 3 * TENSOR_BYTES);
        report
    };
    let wee = report(env!("CARGO_BIN_EXE_tensors_wee"));
    let found = &wee.array("/diagnoses")[0];
    assert_eq!(found["id"], "address-growth", "{found}");
    let tensors = |bytes: Option<u64>| bytes.unwrap_or_default() / TENSOR_BYTES;
    let grown = tensors(found["evidence"]["growth_despite_fit_bytes"].as_u64());
    assert!((60..70).contains(&grown), "{found}");
    // What came last was not idle for long.
    assert!((40..70).contains(&tensors(found["bytes"].as_u64())), "{found}");
    let site = found["evidence"]["site"]["function"].as_str().unwrap_or_default();
    assert!(site.ends_with("::tensors::tensor"), "{found}");
    let (wrapped, all) = (wee.number("/trace/wrapped_blocks"), wee.number("/trace/allocs"));
    assert!(wrapped > 128 && wrapped < all, "{wrapped} of {all}: the C library has a few");
    let system = report(env!("CARGO_BIN_EXE_tensors_system"));
    let grown = system.number("/end/growth_despite_fit_bytes");
    assert!(grown < TENSOR_BYTES / 4, "{grown} bytes of growth on the system's allocator");
    assert!(system.array("/diagnoses").is_empty(), "{:?}", system.array("/diagnoses"));
    assert_eq!(system.number("/trace/wrapped_blocks"), 0);
}

/// A copy without symbols.
fn stripped(program: &str, folder: &std::path::Path) -> std::path::PathBuf {
    let copy = folder.join("stripped");
    run(command("strip").arg("-o").arg(&copy).arg(program)).expect_code(0);
    copy
}

#[test]
fn doctor_says_what_is_hooked_and_what_to_do_where_nothing_can_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let jemalloc = env!("CARGO_BIN_EXE_async_jemalloc");
    let doctor = |program: &std::path::Path| {
        let outcome = run(command(tools::analyzer()).arg("doctor").arg(program));
        outcome.expect_code(0).out()
    };
    let named = doctor(jemalloc.as_ref());
    assert!(named.contains("jemalloc, linked in as _rjem_malloc: the tracer hooks"), "{named}");
    let nameless = doctor(&stripped(jemalloc, folder.path()));
    for part in ["no symbols tell where", "fragtrace_alloc::Traced", "strip"] {
        assert!(nameless.contains(part), "{nameless}");
    }
}

/// Without symbols nothing is hooked, and the report's first line says that the heap is not seen;
/// through the wrapper each block is.
#[test]
fn a_stripped_program_is_seen_through_the_wrapper_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bare = stripped(env!("CARGO_BIN_EXE_async_jemalloc"), folder.path());
    let traced = Traced::run_well(command(bare));
    assert!(traced.report().number("/trace/allocs") < 10_000);
    let wrapped = stripped(env!("CARGO_BIN_EXE_async_wrapped"), folder.path());
    let traced = Traced::run_well(command(wrapped));
    let said = Answers::of(&traced.outcome);
    let libc = said.get("begin.program")..said.get("dropped.heap_end");
    let listing = analyze("dump", &traced.trace(), &[]).expect_code(0).out();
    let account = Account::of(&listing, libc);
    assert_numbers(
        "stripped and wrapped",
        &[
            ("allocs", said.get("exit.allocs"), account.allocs),
            ("frees", said.get("exit.frees"), account.frees),
        ],
    );
}
