//! `fragtrace map` and `fragtrace timeline` write whole PNG files of the size that was asked for,
//! and there is something to see on them.
#![forbid(unsafe_code)]

use fragtrace_tests::approved::assert_like_approved;
use fragtrace_tests::check::assert_no_panic;
use fragtrace_tests::pixels::Pixels;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;
use serde_json::Value;

fn traced() -> Traced {
    let mut holes = command(program("holes"));
    holes.arg("2000");
    Traced::run_well(holes)
}

/// Draws into a fresh folder and decodes the result.
fn drawn(traced: &Traced, subcommand: &str, arguments: &[&str]) -> Pixels {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("picture.png");
    let output = path.to_string_lossy();
    let arguments = [&["-o", &output], arguments].concat();
    let outcome = analyze(subcommand, &traced.trace(), &arguments).expect_code(0);
    assert_no_panic(&outcome);
    Pixels::read(&path)
}

#[test]
fn pictures_have_a_useful_size_and_more_than_a_few_colours() {
    let traced = traced();
    for subcommand in ["map", "timeline"] {
        let picture = drawn(&traced, subcommand, &[]);
        let size = (picture.width, picture.height);
        assert!(picture.width >= 640 && picture.height >= 400, "{subcommand}: {size:?}");
        let colours = picture.colours().len();
        assert!(colours >= 5, "{subcommand}: text, axes and data in {colours} colours");
    }
}

#[test]
fn pictures_have_the_size_that_was_asked_for() {
    let traced = traced();
    for subcommand in ["map", "timeline"] {
        for (size, width, height) in
            [("640x480", 640, 480), ("1921x1081", 1921, 1081), ("3840x2160", 3840, 2160)]
        {
            let picture = drawn(&traced, subcommand, &["--size", size]);
            let found = (picture.width, picture.height);
            assert!(found == (width, height), "{subcommand}: expected {size}, found {found:?}");
        }
    }
}

#[test]
fn themes_differ() {
    let traced = traced();
    for subcommand in ["map", "timeline"] {
        let [light, dark] = ["light", "dark"]
            .map(|theme| drawn(&traced, subcommand, &["--theme", theme]).colours());
        assert!(light != dark, "{subcommand}: the same colours in both themes");
    }
}

#[test]
fn tiny_and_senseless_sizes_are_calm() {
    let traced = traced();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let output = folder.path().join("picture.png");
    let output = output.to_string_lossy();
    for subcommand in ["map", "timeline"] {
        for size in ["1x1", "20x20", "3000x30", "0x0", "banana", "640", "-5x7", "9999999x9999999"] {
            let arguments = ["-o", &output, &format!("--size={size}")];
            let outcome = analyze(subcommand, &traced.trace(), &arguments);
            assert_no_panic(&outcome);
            assert!([0, 2].contains(&outcome.code()), "{}", outcome.describe());
        }
    }
}

#[test]
fn pictures_of_a_process_without_blocks_are_drawn() {
    let mut idle = command(program("state"));
    idle.arg("nothing");
    let traced = Traced::run_well(idle);
    for subcommand in ["map", "timeline"] {
        let picture = drawn(&traced, subcommand, &["--size", "640x480"]);
        assert!((picture.width, picture.height) == (640, 480), "{subcommand} is empty, but drawn");
    }
}

#[test]
fn the_same_trace_gives_the_same_picture() {
    let traced = traced();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for subcommand in ["map", "timeline"] {
        let bytes = ["one.png", "two.png"].map(|name| {
            let path = folder.path().join(format!("{subcommand}-{name}"));
            let output = path.to_string_lossy();
            analyze(subcommand, &traced.trace(), &["-o", &output]).expect_code(0);
            std::fs::read(&path).expect("the picture is there")
        });
        assert!(bytes[0] == bytes[1], "{subcommand} differs from run to run");
    }
}

#[test]
fn pages_at_a_moment_and_kinds_of_blocks_are_drawn() {
    let traced = traced();
    let fullness = drawn(&traced, "map", &["--at", "end"]).colours();
    assert!(fullness.len() >= 5, "pages in {} colours", fullness.len());
    for kind in ["site", "thread", "size", "age"] {
        let pages = drawn(&traced, "map", &["--at", "end", "--colour-by", kind]).colours();
        let over_time = drawn(&traced, "map", &["--colour-by", kind]).colours();
        assert!(pages != fullness && over_time.len() >= 5, "--colour-by {kind}");
    }
    let curves = ["--at", "peak", "--layout", "hilbert"];
    assert!(drawn(&traced, "map", &curves).colours().len() >= 5, "curves");
}

#[test]
fn bars_and_flames_are_png_or_svg_as_the_name_says() {
    let traced = traced();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for subcommand in ["holes", "blame"] {
        let drawn = drawn(&traced, subcommand, &["--size", "700x500"]);
        assert_eq!(drawn.width, 700, "{subcommand}");
        assert!(drawn.colours().len() >= 5, "{subcommand}: {} colours", drawn.colours().len());
        let dark = self::drawn(&traced, subcommand, &["--theme", "dark"]);
        assert_ne!(dark.colours(), drawn.colours(), "{subcommand}");
        let path = folder.path().join(format!("{subcommand}.svg"));
        let output = path.to_string_lossy();
        analyze(subcommand, &traced.trace(), &["-o", &output]).expect_code(0);
        let svg = std::fs::read_to_string(&path).expect("text");
        assert!(svg.starts_with("<svg") && svg.contains("<title>"), "{subcommand}");
        let refused = analyze(subcommand, &traced.trace(), &["-o", "picture.jpeg"]);
        assert!(refused.expect_code(2).err().contains("ends in .png or .svg"), "{subcommand}");
    }
}

#[test]
fn holes_and_pages_are_drawn_as_the_text_counts_them() {
    let traced = traced();
    let at_end = |arguments: &[&str]| analyze("holes", &traced.trace(), arguments).expect_code(0);
    let svg = at_end(&["-o", "-"]).out();
    let json: Value = serde_json::from_str(&at_end(&["--json"]).out()).expect("JSON");
    let buckets = json["histogram"].as_array().expect("buckets");
    assert!(!buckets.is_empty());
    for bucket in buckets {
        let count = bucket["count"].as_u64().expect("a count");
        let words =
            if count == 1 { "1 hole<".into() } else { format!("{} holes<", grouped(count)) };
        assert!(svg.contains(&format!(" in {words}")), "{words}: {svg:.3000}");
    }
    let report: Value =
        serde_json::from_str(&analyze("report", &traced.trace(), &["--json"]).expect_code(0).out())
            .expect("JSON");
    let pages = report["end"]["page_live_histogram"].as_array().expect("pages are known here");
    for held in pages.iter().filter_map(Value::as_u64).filter(|held| *held > 1) {
        assert!(svg.contains(&format!(">{} pages<", grouped(held))), "{held} pages");
    }
}

/// As the texts write counts.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

/// Times in these depend on pauses of the program, not on how busy the machine is, or not at all.
/// Thin lines and a few bars would be lost in the tolerance: timelines and holes are compared pixel by
/// pixel, on a synthetic trace (`analyzer/tests/pictures.rs`).
#[test]
fn pictures_are_like_those_that_were_looked_at() {
    let of = |illness: &str| {
        let mut line = command(program("illness"));
        line.args([illness, "ill"]);
        Traced::run_well(line)
    };
    let (stairs, pinned) = (of("rss-stairs"), of("pinned-pages"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (traced, name, arguments) in [
        (&stairs, "map-stairs", &["map"][..]),
        (&pinned, "pages-pinned", &["map", "--at", "end"]),
        (&pinned, "flame-pinned", &["blame"]),
    ] {
        let path = folder.path().join(format!("{name}.png"));
        let output = path.to_string_lossy();
        let arguments = [arguments, &["-o", &output, "--size", "1280x720"]].concat();
        analyze(arguments[0], &traced.trace(), &arguments[1..]).expect_code(0);
        assert_like_approved(&path, name);
    }
}

#[test]
fn a_finding_says_since_when_its_memory_lies_idle() {
    let mut line = command(program("illness"));
    line.args(["pinned-pages", "ill"]);
    let traced = Traced::run_well(line);
    let report: Value =
        serde_json::from_str(&analyze("report", &traced.trace(), &["--json"]).expect_code(0).out())
            .expect("JSON");
    let found = &report["diagnoses"][0];
    let since_ns = found["since_ns"].as_u64().expect("idle memory is at stake");
    let peak_ns = report["peak"]["time_ns"].as_u64().expect("a time");
    let duration_ns = report["trace"]["duration_ns"].as_u64().expect("a time");
    assert!((peak_ns..duration_ns).contains(&since_ns), "{since_ns} is after the burst");
}

#[test]
fn nothing_shared_names_folders_or_hosts() {
    let mut line = command(program("illness"));
    line.args(["pinned-pages", "ill"]);
    let traced = Traced::run_well(line);
    let home = program("illness");
    let home = home.parent().expect("it lies in a folder").to_string_lossy().into_owned();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let host = host.trim();
    for shared in [
        &["report", "--json"][..],
        &["report"],
        &["blame", "--json"],
        &["blame", "--folded"],
        &["blame", "-o", "-"],
        &["holes", "--json"],
        &["holes", "-o", "-"],
    ] {
        let arguments = [&shared[1..], &["--anonymize"]].concat();
        let out = analyze(shared[0], &traced.trace(), &arguments).expect_code(0).out();
        assert!(!out.contains(&home), "{shared:?}: {out:.3000}");
        assert!(!out.contains("illness "), "{shared:?} has the command: {out:.3000}");
        let named = format!("on {host},");
        assert!(!out.contains(&named) && !out.contains(&format!("\"{host}\"")), "{shared:?}");
    }
}

#[test]
fn a_layout_without_a_moment_is_refused() {
    let outcome = analyze("map", &traced().trace(), &["-o", "-", "--layout", "hilbert"]);
    assert!(outcome.expect_code(2).err().contains("--at"));
}

#[test]
fn a_flame_graph_names_the_functions_of_the_stacks() {
    let mut line = command(program("illness"));
    line.args(["pinned-pages", "ill"]);
    let traced = Traced::run_well(line);
    for weight in ["pinned", "live", "allocs"] {
        let arguments = ["-o", "-", "--weight", weight];
        let svg = analyze("blame", &traced.trace(), &arguments).expect_code(0).out();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{weight}");
        assert!(svg.contains("<title>open_session: "), "{weight}: {svg:.2000}");
    }
    let whose = |arguments: &[&str]| analyze("blame", &traced.trace(), arguments);
    assert!(whose(&["-o", "-"]).out().contains("illness pinned-pages"), "which trace it is of");
    let anonymous = whose(&["-o", "-", "--anonymize"]).expect_code(0).out();
    assert!(!anonymous.contains("illness"), "{anonymous:.2000}");
    assert!(whose(&["--weight", "live"]).expect_code(2).err().contains("--folded"));
}
