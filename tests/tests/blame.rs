//! The code that pins memory is found, by function and line, in real programs: with frame
//! pointers and without, stripped, in C, C++ and Rust, in a library that is gone; and what is
//! predicted to come free does.
#![forbid(unsafe_code)]
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::path::Path;
use std::process::Command;

use fragtrace_tests::check::assert_near;
use fragtrace_tests::programs::{
    cpp_program, cpp_program_with_frame_pointers, library, program, program_with, rust_program,
    rust_program_with_frame_pointers,
};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;

const MIB: u64 = 1 << 20;

/// The line of the mark in a source.
fn marked_line(source: &str) -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(source);
    let text = fs::read_to_string(path).expect("the source");
    let line = text.lines().position(|line| line.contains("SITE")).expect("a mark");
    line as u64 + 1
}

/// The first site of a trace is this function, with its line and nearly all of the waste.
#[track_caller]
fn assert_first(blame: &Report, function: &str, source: &str) {
    assert_eq!(blame.text("/sites/0/function"), function);
    assert!(blame.text("/sites/0/file").ends_with(source), "{}", blame.text("/sites/0/file"));
    assert_eq!(blame.number("/sites/0/line"), marked_line(source));
    assert_most(blame);
}

#[track_caller]
fn assert_most(blame: &Report) {
    let (pinned, waste) =
        (blame.number("/sites/0/pinned_bytes"), blame.number("/pinned_waste_bytes"));
    assert!(waste > 35 * MIB, "40 MB are pinned: {waste}");
    assert!(pinned * 100 >= waste * 80, "{pinned} of {waste}");
    let sum: u64 =
        blame.array("/sites").iter().filter_map(|site| site["pinned_bytes"].as_u64()).sum();
    assert_eq!(sum, waste, "all of the waste is charged");
}

fn blame(command: Command) -> Report {
    Report::blame(&Traced::run_well(command).trace(), &[])
}

#[test]
fn the_function_that_pins_is_named_with_its_line() {
    let programs = [
        (program("pin"), "keep_session", "pin.c"),
        (program_with("pin", "pin-fp", &["-fno-omit-frame-pointer"]), "keep_session", "pin.c"),
        (program_with("pin", "pin-o2", &["-O2", "-fomit-frame-pointer"]), "keep_session", "pin.c"),
        (program_with("pin", "pin-fixed", &["-no-pie", "-O2"]), "keep_session", "pin.c"),
        (cpp_program("pin"), "shop::Registry<shop::Session>::keep", "pin.cpp"),
        (cpp_program_with_frame_pointers("pin"), "shop::Registry<shop::Session>::keep", "pin.cpp"),
        (rust_program("pin"), "pin::keep_session", "pin.rs"),
        (rust_program_with_frame_pointers("pin"), "pin::keep_session", "pin.rs"),
    ];
    for (path, function, source) in programs {
        assert_first(&blame(command(path)), function, source);
    }
}

#[test]
fn a_stripped_program_is_named_by_its_separate_debug_file() {
    for (path, function, source) in [
        (program("pin"), "keep_session", "pin.c"),
        (cpp_program("pin"), "shop::Registry<shop::Session>::keep", "pin.cpp"),
        (rust_program("pin"), "pin::keep_session", "pin.rs"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (stripped, debug) =
            (folder.path().join("pin"), folder.path().join("symbols/pin.debug"));
        fs::create_dir(folder.path().join("symbols")).expect("made");
        run(command("objcopy").arg("--only-keep-debug").arg(&path).arg(&debug)).expect_code(0);
        run(command("strip").arg("-o").arg(&stripped).arg(&path)).expect_code(0);
        let traced = Traced::run_well(command(&stripped));
        let bare = Report::blame(&traced.trace(), &[]);
        // What a template made may be a dynamic symbol, which stripping leaves.
        let name = bare.value("/sites/0/function");
        assert!(name.is_null() || name.as_str() == Some(function), "{name}");
        assert!(bare.value("/sites/0/line").is_null() && bare.number("/sites/0/offset") > 0);
        assert!(bare.text("/sites/0/module").ends_with("/pin"));
        assert_most(&bare);
        let said = analyze("blame", &traced.trace(), &[]).expect_code(0).out();
        assert!(
            said.contains(bare.text("/sites/0/build_id")) && said.contains("--symbols"),
            "{said}"
        );
        let symbols = folder.path().join("symbols");
        let symbols = ["--symbols", symbols.to_str().expect("text")];
        assert_first(&Report::blame(&traced.trace(), &symbols), function, source);
    }
}

#[test]
fn a_library_that_is_gone_is_named_all_the_same() {
    let pin = library("pin", "libpin.so", &[("LIBRARY", "1".into())]);
    let mut host = command(program_with("pin_host", "pin_host", &["-ldl"]));
    host.arg(&pin);
    let blame = blame(host);
    assert_first(&blame, "keep_session", "pin.c");
    assert!(blame.text("/sites/0/module").ends_with("/libpin.so"));
}

#[test]
fn what_is_predicted_to_come_free_does() {
    for path in [program("pin"), cpp_program("pin"), rust_program("pin")] {
        let traced = Traced::run_well(command(&path));
        let blame = Report::blame(&traced.trace(), &[]);
        let mut pooled = command(&path);
        pooled.arg("pooled");
        let pooled = Traced::run_well(pooled).report();
        let freed =
            traced.report().number("/end/footprint_bytes") - pooled.number("/end/footprint_bytes");
        let predicted = blame.number("/sites/0/unlock_bytes");
        println!("{}: {predicted} predicted, {freed} came free", path.display());
        assert_near("what comes free", predicted, freed, freed / 10);
    }
}

#[test]
fn the_report_begins_with_the_site() {
    let traced = Traced::run_well(command(program("pin")));
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    let site = format!("keep_session (programs/pin.c:{})", marked_line("pin.c"));
    let before_the_table = text.split("most live").next().unwrap_or_default();
    assert!(before_the_table.contains(&site), "{text}");
    let report = traced.report();
    assert_eq!(report.text("/sites/0/function"), "keep_session");
    let blame = Report::blame(&traced.trace(), &[]);
    assert_eq!(report.number("/end/pinned_waste_bytes"), blame.number("/pinned_waste_bytes"));
}

#[test]
fn without_stacks_the_report_says_so_and_names_nobody() {
    let mut command = command(program("pin"));
    command.env("FRAGTRACE_STACKS", "off");
    let traced = Traced::run_well(command);
    let text = analyze("report", &traced.trace(), &[]).expect_code(0).out();
    assert!(text.contains("FRAGTRACE_STACKS=off") && !text.contains("keep_session"), "{text}");
    let blame = analyze("blame", &traced.trace(), &["--json"]).expect_code(0);
    assert!(blame.out().contains("\"sites\": []"), "{}", blame.describe());
}

#[test]
fn sites_are_known_after_the_ring_went_round() {
    let mut small = command(program("pin"));
    small.env("FRAGTRACE_RING", "64K");
    let traced = Traced::run_well(small);
    assert!(traced.report().value("/trace/wrapped").as_bool() == Some(true));
    assert_first(&Report::blame(&traced.trace(), &[]), "keep_session", "pin.c");
}

#[test]
fn programs_of_the_system_are_told_without_symbols() {
    let Some(python) = tools::find("python3") else { return };
    let mut script = command(python);
    script.args(["-c", "import json; x = [json.dumps({i: 1}) for i in range(2000)]"]);
    let traced = Traced::run_well({
        script.env("PYTHONMALLOC", "malloc");
        script
    });
    for by in ["stack", "function", "module", "thread"] {
        let blame = Report::blame(&traced.trace(), &["--by", by]);
        let sum: u64 =
            blame.array("/sites").iter().filter_map(|site| site["pinned_bytes"].as_u64()).sum();
        assert_eq!(sum, blame.number("/pinned_waste_bytes"), "by {by}");
    }
}
