//! `fragtrace html`: one file that a real browser opens without an error or a request, and in
//! which slider, mouse, keys, search, themes and links do what they say.
#![forbid(unsafe_code)]

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

/// What a reader sees who tries everything.
fn used(page: &Path, folder: &Path) -> Option<Value> {
    let (chromium, node) = (tools::find("chromium")?, tools::find("node")?);
    let script = tools::workspace().join("tests/browser/page.mjs");
    let mut browse = command(node);
    browse.arg(script).arg(chromium).arg(page).arg(folder.join("profile")).arg(folder);
    let outcome = run(&mut browse).expect_code(0);
    Some(serde_json::from_slice(&outcome.stdout).expect("the script prints JSON"))
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
    let Some(seen) = used(&page, folder.path()) else { return };
    assert_eq!(seen["failed"], Value::Null, "{seen:#}");
    assert_eq!(seen["errors"], Value::Array(vec![]));
    let itself = format!("file://{}", page.display());
    for request in seen["requests"].as_array().expect("requests") {
        assert!(request.as_str().is_some_and(|url| url.starts_with(&itself)), "{request}");
    }

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
    let p95_ms = seen["slide"]["p95_ms"].as_f64().expect("a time");
    assert!(p95_ms < MOST_STEP_MS, "{:#}", seen["slide"]);
    for size in ["1280x720", "1920x1080", "3840x2160"] {
        assert_like_approved(&folder.path().join(format!("{size}.png")), &format!("html-{size}"));
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
fn a_process_without_blocks_has_a_page_too() {
    let mut idle = command(program("state"));
    idle.arg("nothing");
    let traced = Traced::run_well(idle);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let page = page_of(&traced, folder.path(), &[]);
    assert!(fs::read_to_string(page).expect("text").contains("</html>"));
}
