//! `fragtrace holes` on a program whose holes are known, down to the byte.
#![forbid(unsafe_code)]

use fragtrace_tests::check::{Answers, assert_near, assert_numbers};
use fragtrace_tests::programs::{musl_program, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools::tracer;
use fragtrace_tests::traced::{Traced, preload_list};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// How long the program holds its blocks before it frees every second one.
const WAIT_NS: u64 = 100_000_000;

fn traced(size: &str) -> (Answers, Traced) {
    traced_with(&[size])
}

fn traced_with(arguments: &[&str]) -> (Answers, Traced) {
    let mut holes = command(program("holes"));
    holes.args(arguments);
    let traced = Traced::run_well(holes);
    (Answers::of(&traced.outcome), traced)
}

fn integer(entry: &Value, key: &str) -> u64 {
    entry[key].as_u64().unwrap_or_else(|| panic!("no integer {key} in {entry}"))
}

/// The class of the histogram that counts holes of this size.
fn class_of(holes: &Report, bytes: u64) -> (u64, u64) {
    let classes = holes.array("/histogram").iter();
    let class = classes
        .filter(|class| integer(class, "from_bytes") <= bytes)
        .max_by_key(|class| integer(class, "from_bytes"));
    class.map_or((0, 0), |class| (integer(class, "count"), integer(class, "bytes")))
}

#[test]
fn holes_are_counted_exactly() {
    // Sizes whose holes share no power of two with what is free before and after the blocks.
    for size in ["2000", "5000"] {
        let (answers, traced) = traced(size);
        let holes = Report::holes(&traced.trace(), &[]);
        let (count, bytes) = class_of(&holes, answers.get("hole_bytes"));
        let expected = answers.get("holes");
        assert_numbers(
            &format!("every second block of {size} bytes is a hole"),
            &[
                ("holes", expected, count),
                ("bytes in them", expected * answers.get("hole_bytes"), bytes),
            ],
        );
    }
}

#[test]
fn the_answers_add_up_and_agree_with_the_report() {
    let (_, traced) = traced("2000");
    let (holes, report) = (Report::holes(&traced.trace(), &[]), traced.report());
    let classes = holes.array("/histogram");
    let sum = |key: &str| classes.iter().map(|class| integer(class, key)).sum::<u64>();
    assert_numbers(
        "holes and report say the same",
        &[
            ("holes of all classes", holes.number("/hole_count"), sum("count")),
            ("bytes of all classes", holes.number("/free_bytes"), sum("bytes")),
            ("hole_count", report.number("/end/hole_count"), holes.number("/hole_count")),
            ("free_bytes", report.number("/end/free_bytes"), holes.number("/free_bytes")),
        ],
    );
    report.assert_adds_up();
}

/// All 500 of them, each where the program freed a block, and what stands on both sides.
#[test]
fn holes_lie_where_the_program_freed() {
    for (arguments, region) in [(&["2000"][..], "brk heap"), (&["2000", "thread"], "arena heap")] {
        let (answers, traced) = traced_with(arguments);
        let holes = Report::holes(&traced.trace(), &["--largest", "1000"]);
        let largest = holes.array("/largest");
        let sizes: Vec<_> = largest.iter().map(|hole| integer(hole, "bytes")).collect();
        assert!(sizes.is_sorted_by(|one, next| one >= next), "largest first: {sizes:?}");
        let (first, last) = (answers.get("first_block"), answers.get("last_block"));
        let bytes = answers.get("hole_bytes");
        let mut found: Vec<u64> = Vec::new();
        for hole in largest.iter().filter(|hole| (first..last).contains(&integer(hole, "address")))
        {
            assert_numbers(
                "a hole between two blocks",
                &[
                    ("bytes", bytes, integer(hole, "bytes")),
                    ("block before", 2000, integer(hole, "before")),
                    ("block after", 2000, integer(hole, "after")),
                ],
            );
            assert_eq!(hole["region"], region);
            // The program waited before it freed.
            let age_ns = integer(hole, "age_ns");
            assert!(age_ns <= holes.number("/at_ns") - WAIT_NS, "{age_ns} ns: {hole}");
            found.push(integer(hole, "address"));
        }
        found.sort_unstable();
        // A hole begins with the header of the block that was there.
        let expected: Vec<u64> =
            (0..answers.get("holes")).map(|hole| first - 8 + (2 * hole + 1) * bytes).collect();
        assert!(found == expected, "{arguments:?}: holes at {found:x?}, expected {expected:x?}");
    }
}

/// On each allocator, each where the program freed: from the end of what may be used of the block below
/// to the block above.
#[test]
fn holes_on_other_allocators_lie_where_the_program_freed() {
    const SIZE: u64 = 2000;
    let preloaded = ["libjemalloc.so.2", "libmimalloc.so.2", "libtcmalloc_minimal.so.4"];
    let with = |library: &str| {
        let mut command = command(program("holes_anywhere"));
        command.env("LD_PRELOAD", preload_list(&[&tracer(), Path::new(library)]));
        command
    };
    let mut runs: Vec<_> = preloaded.map(|library| (library, with(library))).into();
    runs.extend(musl_program("holes_anywhere").map(|program| ("musl", command(program))));
    for (name, mut command) in runs {
        command.arg(SIZE.to_string());
        let traced = Traced::run_well(command);
        let said = Answers::of(&traced.outcome);
        let holes = Report::holes(&traced.trace(), &["--largest", "100000"]);
        let between = |hole: &&Value| hole["before"] == SIZE && hole["after"] == SIZE;
        let freed = said.get("usable")..2 * said.get("usable");
        let found: Vec<_> = holes.array("/largest").iter().filter(between).collect();
        let found = found.into_iter().filter(|hole| freed.contains(&integer(hole, "bytes")));
        let (mut count, mut bytes, mut addresses) = (0, 0, 0);
        for hole in found {
            count += 1;
            bytes += integer(hole, "bytes");
            addresses ^= integer(hole, "address");
        }
        assert!(said.get("holes") > 500, "{name}: {said:?}");
        assert_numbers(
            &format!("holes on {name}"),
            &[
                ("holes", said.get("holes"), count),
                ("bytes", said.get("hole_bytes"), bytes),
                ("addresses", said.get("addresses"), addresses),
            ],
        );
    }
}

#[test]
fn what_would_fit_is_told() {
    let (_, traced) = traced("2000");
    let share = |size: &str| {
        let holes = Report::holes(&traced.trace(), &["--fit", size]);
        let share = holes.value("/fit/share_ratio").as_f64();
        share.unwrap_or_else(|| panic!("no share for {size}: {}", holes.value("/fit")))
    };
    let (fits, too_large) = (share("1500"), share("1M"));
    assert!(fits > 0.98, "1,500 bytes fit into nearly all that is free, found {fits}");
    assert!(too_large < 0.001, "1 MiB fits into nothing that is free, found {too_large}");
    let holes = Report::holes(&traced.trace(), &["--fit", "1500"]);
    let over_time = holes.array("/fit/over_time");
    assert_eq!(over_time.len(), 100);
    assert_eq!(over_time[99]["share_ratio"], holes.json["fit"]["share_ratio"]);
    assert_eq!(over_time[99]["time_ns"], holes.json["at_ns"]);
    let text = analyze("holes", &traced.trace(), &["--fit", "1500"]).expect_code(0).out();
    assert!(text.contains("Over time that share was from"), "{text}");
}

/// Those that the program fills again in each cycle are a reserve; those that it freed once and for
/// all are none, although both are holes at the moment that is asked for.
#[test]
fn holes_that_are_filled_again_are_a_reserve() {
    let traced = Traced::run_well(command(program("cycles")));
    let (said, start_ns) =
        (Answers::of(&traced.outcome), traced.report().number("/trace/start_unix_ns"));
    let at_ns = said.get("moment_unix_ns") - start_ns;
    let at = format!("{}.{:09}s", at_ns / 1_000_000_000, at_ns % 1_000_000_000);
    let holes = Report::holes(&traced.trace(), &["--at", &at, "--largest", "1000"]);
    let with = |bytes: u64, ratio: f64| {
        let of_size = holes.array("/largest").iter().filter(|hole| integer(hole, "bytes") == bytes);
        of_size.filter(|hole| hole["refill_ratio"] == ratio).count() as u64
    };
    let (again, once) = (said.get("again_bytes"), said.get("once_bytes"));
    let expected = said.get("holes");
    assert_numbers(
        "holes by size, and whether they are filled again",
        &[
            ("again and again", expected, with(again, 1.0)),
            ("not", 0, with(again, 0.0)),
            ("once", expected, with(once, 0.0)),
            ("reserve_bytes", expected * again, holes.number("/reserve_bytes")),
        ],
    );
    let text = analyze("holes", &traced.trace(), &["--at", &at]).expect_code(0).out();
    assert!(text.contains("of that is a reserve"), "{text}");
}

/// The same where an allocator keeps sizes apart and gives the same places out again, some of them in
/// turn: those of one class are a reserve, whole slabs of the other are none.
#[test]
fn holes_that_are_filled_again_are_a_reserve_on_other_allocators_too() {
    for library in ["libjemalloc.so.2", "libmimalloc.so.2", "libtcmalloc_minimal.so.4"] {
        let mut cycles = command(program("cycles"));
        cycles.env("LD_PRELOAD", preload_list(&[&tracer(), Path::new(library)]));
        // What may be used of a block: the program counts glibc's header with it.
        assert_reserve(library, cycles, 10, |said| said.get("again_bytes") - 8);
    }
    let Some(cycles) = musl_program("cycles") else { return };
    // Its class for 2,000 bytes has places of 2,032, within which it shifts blocks by 16 bytes: the
    // holes are larger by up to 80, and what of them is a reserve is told in cells of 512.
    assert_reserve("musl", command(cycles), 40, |_| 2032);
}

/// `thousandths`: how near the reserve must come.
fn assert_reserve(
    name: &str,
    cycles: Command,
    thousandths: u64,
    place_bytes: impl Fn(&Answers) -> u64,
) {
    let traced = Traced::run_well(cycles);
    let (said, start_ns) =
        (Answers::of(&traced.outcome), traced.report().number("/trace/start_unix_ns"));
    let at_ns = said.get("moment_unix_ns") - start_ns;
    let at = format!("{}.{:09}s", at_ns / 1_000_000_000, at_ns % 1_000_000_000);
    let holes = Report::holes(&traced.trace(), &["--at", &at]);
    let expected = said.get("places") * place_bytes(&said);
    let reserve = holes.number("/reserve_bytes");
    assert_near(&format!("reserve on {name}"), expected, reserve, expected * thousandths / 1000);
}

#[test]
fn holes_are_told_by_region_as_well() {
    let (answers, traced) = traced_with(&["2000", "thread"]);
    let holes = Report::holes(&traced.trace(), &[]);
    let regions = holes.array("/by_region");
    let sum = |key: &str| regions.iter().map(|region| integer(region, key)).sum::<u64>();
    assert_numbers(
        "all regions",
        &[
            ("holes", holes.number("/hole_count"), sum("count")),
            ("bytes", holes.number("/free_bytes"), sum("bytes")),
        ],
    );
    let arena: Vec<_> = regions.iter().filter(|of| of["region"] == "arena heap").collect();
    assert_eq!(arena.len(), 1, "{regions:?}");
    assert_eq!(integer(arena[0], "start"), answers.get("first_block") >> 26 << 26);
    assert!(integer(arena[0], "count") >= answers.get("holes"), "{:?}", arena[0]);
}

/// All of the program's blocks are of one size.
#[test]
fn slop_is_told_by_size_class() {
    let (answers, traced) = traced("2000");
    let report = traced.report();
    let (blocks, usable) = (answers.get("live_blocks"), answers.get("hole_bytes") - 8);
    let classes = report.array("/slop_by_class").iter();
    let mut classes = classes.filter(|class| integer(class, "from_bytes") <= usable);
    let class = classes.rfind(|class| integer(class, "to_bytes") >= usable).expect("a class");
    assert_numbers(
        "the class of the program's blocks",
        &[
            ("blocks", blocks, integer(class, "blocks")),
            ("live_bytes", blocks * 2000, integer(class, "live_bytes")),
            ("usable_bytes", blocks * usable, integer(class, "usable_bytes")),
            ("slop_bytes", blocks * (usable - 2000), integer(class, "slop_bytes")),
        ],
    );
    let details = analyze("report", &traced.trace(), &["--details"]).expect_code(0).out();
    for title in ["Heaps, largest first", "Threads, by", "Free bytes by place", "Slop by size"] {
        assert!(details.contains(title), "no `{title}` in\n{details}");
    }
}

#[test]
fn before_the_blocks_were_freed_there_were_no_holes() {
    let (answers, traced) = traced("2000");
    let at_peak = Report::holes(&traced.trace(), &["--at", "peak"]);
    let (count, _) = class_of(&at_peak, answers.get("hole_bytes"));
    assert!(count <= 1, "expected no holes between blocks at the peak, found {count}");
    assert!(at_peak.number("/at_ns") < Report::holes(&traced.trace(), &[]).number("/at_ns"));
}

#[test]
fn the_text_shows_sizes_for_people() {
    let (_, traced) = traced("2000");
    let outcome = analyze("holes", &traced.trace(), &[]).expect_code(0);
    assert!(outcome.out().contains("KiB"), "sizes in KiB: {}", outcome.describe());
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
}

#[test]
fn a_moment_or_a_size_that_makes_no_sense_is_refused() {
    let (_, traced) = traced("2000");
    for arguments in [["--at", "banana"], ["--at", "500%"], ["--fit", "banana"]] {
        let outcome = analyze("holes", &traced.trace(), &arguments).expect_code(2);
        assert!(outcome.err().contains(arguments[1]), "{}", outcome.describe());
        fragtrace_tests::check::assert_no_panic(&outcome);
    }
}
