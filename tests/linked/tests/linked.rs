//! Allocators linked into a program are seen as exactly as one that is interposed.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::{Account, NO_DECAY, Resting, at_the_same_places, seen_exactly, true_at_each_step};
use fragtrace_tests::check::{Answers, assert_numbers};
use fragtrace_tests::elf::readelf;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;

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
            fn the_program_is_undisturbed() {
                super::undisturbed(PROGRAM);
            }
        }
    )*};
}

services! { jemalloc mimalloc snmalloc }

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

/// Instructions that were moved lie near the program, but not where its heap grows to.
#[test]
fn the_heap_has_as_much_room_to_grow_as_without_the_tracer() {
    at_the_same_places(env!("CARGO_BIN_EXE_async_jemalloc"), "begin.heap_room", &[NO_DECAY]);
}

/// Under load, after the drop and after twelve seconds, jemalloc with threads that purge and without;
/// and what jemalloc and mimalloc say of themselves stands in the report as they told the program.
#[test]
fn figures_are_true_at_each_step_and_after_twelve_seconds() {
    let jemalloc = Path::new(env!("CARGO_BIN_EXE_async_jemalloc"));
    let runs = [
        Resting::on_jemalloc("jemalloc", jemalloc, true),
        Resting::on_jemalloc("jemalloc", jemalloc, false),
        Resting::new("mimalloc", Path::new(env!("CARGO_BIN_EXE_async_mimalloc"))),
        Resting::new("snmalloc", Path::new(env!("CARGO_BIN_EXE_async_snmalloc"))),
        Resting::new("wee_alloc", Path::new(env!("CARGO_BIN_EXE_async_wee"))),
    ];
    let asked = true_at_each_step(&runs);
    assert_eq!(asked, [true, true, true, false, false], "jemalloc and mimalloc tell of themselves");
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

/// Each call once, however the allocator's functions call each other; and of what is asked only, none.
/// What a run without any call has is the C library's.
#[test]
fn whole_interfaces_are_seen() {
    for program in [env!("CARGO_BIN_EXE_calls_jemalloc"), env!("CARGO_BIN_EXE_calls_mimalloc")] {
        let [(_, idle), (said, busy)] = ["0", "50"].map(|rounds| {
            let mut line = command(program);
            line.arg(rounds);
            let traced = Traced::run_well(line);
            (Answers::of(&traced.outcome), traced.report())
        });
        // As the process ends mimalloc frees a table of its own, which it had inside of a call.
        let own = busy.number("/trace/unknown_frees");
        let keys = ["/trace/allocs", "/trace/frees", "/trace/reallocs", "/end/live_bytes"];
        let numbers = keys.map(|key| {
            let name = key.rsplit('/').next().unwrap_or(key);
            let of_others = idle.number(key) + if name == "frees" { own } else { 0 };
            (name, said.get(&format!("calls.{name}")), busy.number(key) - of_others)
        });
        assert_numbers(program, &numbers);
        assert!(own <= u64::from(program.contains("mimalloc")), "{own} unknown frees");
        for key in ["/trace/order_anomalies", "/trace/dropped_events"] {
            assert_eq!(busy.number(key), 0, "{program}: {key}");
        }
    }
}

/// A copy without symbols.
fn stripped(program: &str, folder: &Path) -> PathBuf {
    let copy = folder.join("stripped");
    run(command("strip").arg("-o").arg(&copy).arg(program)).expect_code(0);
    copy
}

#[test]
fn doctor_says_what_is_hooked_and_what_to_do_where_nothing_can_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let jemalloc = env!("CARGO_BIN_EXE_async_jemalloc");
    let doctor = |program: &Path| {
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

/// A program's symbols in a file of their own, where distributions put it, for as long as this lives.
struct SymbolsApart(PathBuf);

impl SymbolsApart {
    /// `None`, after saying so, where they cannot be put there.
    fn of(program: &str) -> Option<SymbolsApart> {
        let notes = readelf("-n", Path::new(program));
        let id = notes.split_once("Build ID: ").and_then(|(_, id)| id.split_whitespace().next());
        let (Some(id), true) = (id, tools::is_root()) else {
            tools::skip_anyway("only root may put symbols under /usr/lib/debug");
            return None;
        };
        let (folder, name) = id.split_at(2);
        let folder = Path::new("/usr/lib/debug/.build-id").join(folder);
        std::fs::create_dir_all(&folder).expect("a folder for symbols");
        let path = folder.join(format!("{name}.debug"));
        let mut objcopy = command("objcopy");
        run(objcopy.args(["--only-keep-debug", program]).arg(&path)).expect_code(0);
        Some(SymbolsApart(path))
    }
}

impl Drop for SymbolsApart {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        // What others have there stays.
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}

/// No other test runs this one stripped, so nobody else is meant.
#[test]
fn symbols_in_a_file_of_their_own_are_enough() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = env!("CARGO_BIN_EXE_async_mimalloc");
    let bare = stripped(program, folder.path());
    let allocs =
        |program: &Path| Traced::run_well(command(program)).report().number("/trace/allocs");
    assert!(allocs(&bare) < 10_000, "it was to be stripped");
    let Some(_apart) = SymbolsApart::of(program) else { return };
    seen_exactly("mimalloc, symbols apart", bare.to_str().expect("a path in UTF-8"), true);
    let doctor = run(command(tools::analyzer()).arg("doctor").arg(&bare)).expect_code(0).out();
    assert!(doctor.contains("mimalloc, linked in as mi_malloc: the tracer hooks"), "{doctor}");
}
