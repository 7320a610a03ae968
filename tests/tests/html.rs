//! `fragtrace html`: one file that a real browser opens without an error or a request, and in
//! which slider, mouse, keys, search, themes and links do what they say.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fragtrace_tests::approved::assert_like_approved;
use fragtrace_tests::programs::program;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::{command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;
use serde_json::Value;

/// A page is no larger, whatever the trace.
const MOST_BYTES: u64 = 5_000_000;
/// 95 % of the slider's steps are drawn within this.
const MOST_STEP_MS: f64 = 33.0;

/// What others take of the processors where the machine is quiet.
const QUIET_PROCESSORS: f64 = 0.25;

/// Sessions that pin the pages of requests.
fn ill() -> Traced {
    let mut line = command(program("illness"));
    line.args(["pinned-pages", "ill"]);
    Traced::run_well(line)
}

fn page_of(traced: &Traced, folder: &Path, arguments: &[&str]) -> PathBuf {
    let page = folder.join("report.html");
    let output = page.to_string_lossy();
    let arguments = [&["-o", &*output], arguments].concat();
    analyze("html", &traced.trace(), &arguments).expect_code(0);
    page
}

/// What a reader sees who does what the script does: without an error, and without a request.
fn used(script: &str, page: &Path, folder: &Path) -> Option<Value> {
    let (chromium, node) = (tools::find("chromium")?, tools::find("node")?);
    let script = tools::workspace().join("tests/browser").join(script);
    let mut browse = command(node);
    browse.arg(script).arg(chromium).arg(page).arg(folder.join("profile")).arg(folder);
    let outcome = run(&mut browse).expect_code(0);
    let seen: Value = serde_json::from_slice(&outcome.stdout).expect("the script prints JSON");
    assert_eq!(seen["failed"], Value::Null, "{seen:#}");
    assert_eq!(seen["errors"], Value::Array(vec![]));
    let itself = format!("file://{}", page.display());
    for request in seen["requests"].as_array().expect("requests") {
        assert!(request.as_str().is_some_and(|url| url.starts_with(&itself)), "{request}");
    }
    Some(seen)
}

fn text<'a>(seen: &'a Value, key: &str) -> &'a str {
    seen.pointer(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key} in {seen:#}"))
}

/// A column of the table of sites.
fn column(seen: &Value, key: &str, place: usize) -> Vec<String> {
    let rows = seen[key].as_array().expect("rows");
    rows.iter().map(|row| row[place].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_reader_finds_who_pins_the_heap() {
    let traced = ill();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let page = page_of(&traced, folder.path(), &[]);
    let bytes = fs::metadata(&page).expect("the page is there").len();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    let Some(seen) = used("page.mjs", &page, folder.path()) else { return };

    // The finding is the way in; it leads to its site, as a click on the table does.
    assert_eq!(seen["findings"][0], "pinned-pages", "{:#}", seen["findings"]);
    let moments = seen["moments"].as_array().expect("moments");
    let is_told = |moment: &Value| {
        moment.as_str().is_some_and(|moment| moment.starts_with("pinned-pages since "))
    };
    assert!(moments.iter().any(is_told), "{moments:#?}");
    for key in ["/findingSite", "/site"] {
        assert!(text(&seen, key).contains("open_session"), "{key}: {}", text(&seen, key));
    }
    assert!(column(&seen, "rows", 0)[0].contains("open_session"));
    assert_eq!(seen["siteShown"], true, "the site's pages stand out");

    // Slider and keys move pages and figures together.
    assert_ne!(text(&seen, "/moment/home"), text(&seen, "/moment/next"));
    assert_ne!(text(&seen, "/moment/next"), text(&seen, "/moment/end"));
    assert_eq!((&seen["pagesMove"], &seen["endAgain"]), (&true.into(), &true.into()));

    // Hover and click, down to a block.
    assert!(text(&seen, "/tip").starts_with("0x"), "{}", text(&seen, "/tip"));
    assert!(text(&seen, "/page").contains("pinned by"), "{}", text(&seen, "/page"));
    let columns = seen["historyColumns"].as_u64();
    assert!(columns.is_some_and(|columns| columns > 100), "drawn for a hidden page: {columns:?}");
    let blocks = seen["blockTips"].as_array().expect("tips");
    let is_told = |tip: &Value| {
        tip.as_str().is_some_and(|tip| {
            tip.contains("open_session (illness.c:") || tip.contains("open_session (")
        })
    };
    assert!(blocks.iter().any(is_told), "{blocks:#?}");

    // Search and sort.
    assert_eq!(column(&seen, "searchedInVain", 0), ["No site fits."]);
    assert_eq!(seen["afterSearch"], seen["rows"]);
    let mut rising = column(&seen, "byLiveRising", 3);
    rising.reverse();
    assert_eq!(column(&seen, "byLive", 3), rising);

    assert!(text(&seen, "/holes").contains("lie free in"));
    assert!(text(&seen, "/about").contains("what was left out"));
    assert_ne!(seen["light"], seen["dark"]);
    assert_eq!(seen["linkKept"], true, "{}", text(&seen, "/hash"));
    for moment in seen["senseless"].as_array().expect("moments") {
        assert_eq!(moment, &seen["moment"]["end"], "a senseless link shows the end");
    }
    assert_slides(&seen["slide"]);
    assert_colourings(&seen["colourings"]);
    for size in ["1280x720", "1920x1080", "3840x2160"] {
        assert_like_approved(&folder.path().join(format!("{size}.png")), &format!("html-{size}"));
    }
}

/// How long a step takes is what the processor has to do for it, whatever else that does; how long
/// one waits for it is held where the machine does nothing else.
fn assert_slides(slide: &Value) {
    println!("{slide:#}");
    let figure = |key: &str| slide[key].as_f64().unwrap_or_else(|| panic!("no {key}: {slide:#}"));
    let median_ms = figure("processor_p50_ms");
    assert!(median_ms > 0.0 && median_ms < MOST_STEP_MS, "{slide:#}");
    if figure("others") < QUIET_PROCESSORS {
        assert!(figure("step_p95_ms") < MOST_STEP_MS, "{slide:#}");
    }
}

/// Each colouring is another picture with its own legend, and the link keeps it.
fn assert_colourings(colourings: &Value) {
    let all = colourings.as_array().expect("colourings");
    let names: Vec<_> = all.iter().filter_map(|shown| shown["name"].as_str()).collect();
    assert_eq!(names, ["fullness", "age", "size", "site", "thread"]);
    for key in ["pages", "overview", "legend"] {
        let different: BTreeSet<_> = all.iter().filter_map(|shown| shown[key].as_str()).collect();
        assert_eq!(different.len(), all.len(), "{key}: {colourings:#}");
    }
    assert!(all.iter().all(|shown| shown["kept"] == true), "{colourings:#}");
    let legend = |at: usize| all[at]["legend"].as_str().unwrap_or_default();
    for (at, words) in [(1, "older"), (2, "to 128 B"), (3, "open_session"), (4, "thread 1")] {
        assert!(legend(at).contains(words), "{}", legend(at));
    }
}

#[test]
fn an_anonymous_page_names_no_folder_and_no_host() {
    let traced = ill();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let Some(node) = tools::find("node") else { return };
    let unpack = "const page = require('fs').readFileSync(process.argv[1], 'utf8');\
        const packed = page.match(/id=\"data\">([^<]*)</)[1];\
        process.stdout.write(require('zlib').inflateSync(Buffer.from(packed, 'base64')));";
    let whole = |arguments: &[&str]| {
        let page = page_of(&traced, folder.path(), arguments);
        run(command(&node).args(["-e", unpack]).arg(page)).expect_code(0).out()
    };
    let home = program("illness");
    let home = home.parent().expect("it lies in a folder").to_string_lossy();
    assert!(whole(&[]).contains(&*home), "its folder is there otherwise");
    let shared = whole(&["--anonymize"]);
    assert!(!shared.contains(&*home) && !shared.contains("illness\""), "{shared:.2000}");
    assert!(shared.contains("open_session"), "functions stay: they are the result");
}

#[test]
fn pools_are_listed_and_lead_to_their_pages() {
    let traced = Traced::run_well(command(program("pools")));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let page = page_of(&traced, folder.path(), &[]);
    let Some(seen) = used("pools.mjs", &page, folder.path()) else { return };
    assert_eq!((&seen["tab"], &seen["shown"]), (&true.into(), &true.into()));
    // One that is kept, and one for each of 50 requests.
    let names = column(&seen, "rows", 0);
    assert_eq!(names.iter().filter(|name| *name == "request").count(), 50, "{names:?}");
    assert_eq!(column(&seen, "found", 0), ["kept"]);
    assert_eq!(column(&seen, "found", 1), ["1.00 MiB"]);
    assert_eq!(column(&seen, "found", 2), ["250 KiB"], "500 blocks of 512 bytes are live in it");
    assert_eq!(column(&seen, "found", 3), ["500"]);
    let mut rising = column(&seen, "byName", 0);
    rising.sort();
    rising.reverse();
    assert_eq!(column(&seen, "byName", 0), rising, "sorted");
    let said = "in pool kept of 1.00 MiB, 250 KiB live in it at the end";
    assert!(text(&seen, "/page").contains(said), "{}", text(&seen, "/page"));
}

#[test]
fn a_process_without_blocks_has_a_page_too() {
    let mut idle = command(program("state"));
    idle.arg("nothing");
    let traced = Traced::run_well(idle);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let page = page_of(&traced, folder.path(), &[]);
    assert!(fs::read_to_string(page).expect("text").contains("</html>"));
}
