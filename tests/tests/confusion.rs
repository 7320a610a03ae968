//! What is said of programs that are ill, cured, nearly ill, or healthy and real: the table in
//! docs/diagnoses/README.md is what this test found. `FRAGTRACE_BLESS=1` writes it.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use fragtrace_tests::check::Answers;
use fragtrace_tests::programs::{self, program};
use fragtrace_tests::report::{Report, analyze};
use fragtrace_tests::run::command;
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, preload_list};
use serde_json::Value;

/// Settings under which an illness shows, and is cured, on one allocator.
struct Tried {
    allocator: &'static str,
    library: Option<&'static str>,
    /// The program, the illness, and the function that is to be named first; empty where the
    /// illness has no site.
    illnesses: &'static [(&'static str, &'static str, &'static str)],
    /// What makes the allocator give back at once.
    giving_back: &'static str,
}

const TRIED: [Tried; 4] = [
    Tried {
        allocator: "glibc",
        library: None,
        illnesses: &[
            ("illness", "pinned-pages", "open_session"),
            ("illness", "pinned-class", "open_long_session"),
            ("illness", "retained-after-burst", "begin_request"),
            ("illness", "cached-free-chunks", "begin_request"),
            ("illness", "top-pinned", "take_log_buffer"),
            ("illness", "leak", "remember"),
            ("illness", CACHE, "remember"),
            ("illness", "size-class-slop", "make_node"),
            ("illness", "arena-proliferation", "begin_request"),
            ("illness", "rss-stairs", "open_long_session"),
            ("misuse", "cross-thread-free", "make_result"),
            ("misuse", "realloc-ladder", "grow_column"),
            ("misuse", "churn", "begin_line"),
            ("misuse", "purge-churn", "begin_picture"),
            ("misuse", "threshold-ratchet", "read_configuration"),
            ("misuse", LAZY, ""),
        ],
        giving_back: "",
    },
    Tried {
        allocator: "one that never merges",
        library: Some(UNMERGED),
        illnesses: &[("misuse", "address-growth", "make_tensor")],
        giving_back: "",
    },
    Tried {
        allocator: "jemalloc",
        library: Some("libjemalloc.so.2"),
        illnesses: &JEMALLOCS,
        giving_back: "MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0",
    },
    Tried {
        allocator: "mimalloc",
        library: Some("libmimalloc.so.2"),
        illnesses: &MIMALLOCS,
        giving_back: "MIMALLOC_RESET_DELAY=0",
    },
];

/// `tests/programs/unmerged.c`.
const UNMERGED: &str = "unmerged";

const JEMALLOCS: [(&str, &str, &str); 12] = [
    ("illness", "pinned-class", "open_long_session"),
    ("illness", "retained-after-burst", "begin_request"),
    ("illness", "leak", "remember"),
    ("illness", CACHE, "remember"),
    ("illness", LAZY, ""),
    ("illness", "size-class-slop", "make_node"),
    ("illness", "rss-stairs", "open_long_session"),
    ("misuse", "cross-thread-free", "make_result"),
    ("misuse", "realloc-ladder", "grow_column"),
    ("misuse", "churn", "begin_line"),
    ("misuse", "purge-churn", "begin_picture"),
    ("misuse", HUGE, ""),
];
const MIMALLOCS: [(&str, &str, &str); 11] = [
    ("illness", "pinned-class", "open_long_session"),
    ("illness", "retained-after-burst", "begin_request"),
    ("illness", "leak", "remember"),
    ("illness", CACHE, "remember"),
    ("illness", LAZY, ""),
    ("illness", "size-class-slop", "make_node"),
    ("illness", "rss-stairs", "open_long_session"),
    ("misuse", "cross-thread-free", "make_result"),
    ("misuse", "realloc-ladder", "grow_column"),
    ("misuse", "churn", "begin_line"),
    ("misuse", "purge-churn", "begin_picture"),
];
const HUGE: &str = "huge-page-bloat";
/// No illnesses: told as info.
const CACHE: &str = "cache-growth";
const LAZY: &str = "lazy-free";
/// Of 45 or 16 MiB that its program gives back lazily where the kernel leaves them until it needs them.
const LEAST_LAZY_BYTES: u64 = 12 << 20;
/// Of 96 MiB that its program has on huge pages when the kernel gives as many as are asked for.
const LEAST_HUGE_BYTES: u64 = 64 << 20;

/// Findings that are more than worth knowing, or that nothing can be said.
fn grave(report: &Report) -> String {
    if !report.value("/cannot_tell").is_null() {
        return "cannot tell".into();
    }
    let list = report.array("/diagnoses").iter().filter(|found| found["severity"] != "info");
    let ids: Vec<&str> = list.filter_map(|found| found["id"].as_str()).collect();
    if ids.is_empty() { "none".into() } else { ids.join(", ") }
}

/// The same, and this one if it is told as info.
fn told(report: &Report, name: &str) -> String {
    let found = grave(report);
    let is_told = find(report, name).is_some_and(|told| told["severity"] == "info");
    match (&*found, is_told && [CACHE, LAZY].contains(&name)) {
        ("none", true) => format!("{name} (info)"),
        (_, true) => format!("{found}, {name} (info)"),
        (_, false) => found,
    }
}

fn find<'r>(report: &'r Report, id: &str) -> Option<&'r Value> {
    report.array("/diagnoses").iter().find(|found| found["id"] == id)
}

/// The function that a finding names first.
fn first_site<'r>(report: &'r Report, id: &str) -> Option<&'r str> {
    let evidence = &find(report, id)?["evidence"];
    evidence.pointer("/sites/0").or(evidence.get("site"))?["function"].as_str()
}

/// What is said to be at stake is what the cured program does not hold, within a fifth. Of a leak all
/// is at stake, and the cure keeps as much of it as a cache.
#[track_caller]
fn assert_at_stake(name: &str, id: &str, sick: &Report, cured: &Report) {
    // Whether pages that were given back lazily are the heap's is left open: they are in RSS.
    let held = if id == LAZY { "/end/rss_bytes" } else { "/end/heap_resident_bytes" };
    let resident = |report: &Report| report.number(held);
    let sites = cured.array("/sites").iter().filter(|site| site["function"] == "remember");
    let kept: u64 = sites.filter_map(|site| site["live_bytes"].as_u64()).sum();
    let measured = (resident(sick) + kept).saturating_sub(resident(cured));
    let said = find(sick, id).and_then(|found| found["bytes"].as_u64()).expect("bytes");
    println!("{name}: {said} said to be at stake, {measured} measured");
    assert!(
        id.contains("churn") || said.abs_diff(measured) <= measured / 5,
        "{name}: {said} for {measured}"
    );
}

impl Tried {
    /// The setting that a program runs under. What is given back at once cures a burst, and makes churn of
    /// pages; what is pinned stays, and what waits for a thread that sleeps.
    fn setting(&self, name: &str, how: &str) -> &'static str {
        match (self.allocator, name) {
            ("jemalloc", "cross-thread-free") => "MALLOC_CONF=dirty_decay_ms:100,muzzy_decay_ms:0",
            ("jemalloc", HUGE) if how == "cured" => "MALLOC_CONF=thp:never,narenas:64",
            ("jemalloc", HUGE) => "MALLOC_CONF=thp:always,narenas:64",
            // Its own thread purges, first lazily; where that is cured, at once.
            ("jemalloc", LAZY) if how == "cured" => {
                "MALLOC_CONF=background_thread:true,dirty_decay_ms:10,muzzy_decay_ms:0"
            }
            ("jemalloc", LAZY) => {
                "MALLOC_CONF=background_thread:true,dirty_decay_ms:10,muzzy_decay_ms:-1"
            }
            ("mimalloc", LAZY) if how != "cured" => {
                "MIMALLOC_PAGE_RESET=1 MIMALLOC_RESET_DELAY=1000000"
            }
            (_, LAZY) => self.giving_back,
            (_, "retained-after-burst") if how != "cured" => "",
            (
                _,
                "pinned-class"
                | "purge-churn"
                | "rss-stairs"
                | "cross-thread-free"
                | "retained-after-burst",
            ) => self.giving_back,
            _ => "",
        }
    }

    fn run(&self, program_name: &str, name: &str, how: &str) -> Traced {
        let mut line = command(program(program_name));
        line.args([name, how]);
        if let Some(library) = self.library {
            let path = match library {
                UNMERGED => programs::library(UNMERGED, "libunmerged.so", &[]),
                installed => PathBuf::from(installed),
            };
            line.env("LD_PRELOAD", preload_list(&[&tools::tracer(), &path]));
        }
        line.envs(self.setting(name, how).split(' ').filter_map(|setting| setting.split_once('=')));
        Traced::run_well(line)
    }

    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for (program_name, name, site) in self.illnesses {
            let runs = ["ill", "cured", "near"].map(|how| self.run(program_name, name, how));
            if *name == HUGE && Answers::of(&runs[0].outcome).get("huge_bytes") < LEAST_HUGE_BYTES {
                tools::skip_anyway("the kernel has no huge pages to give, so none can be found");
                continue;
            }
            let lazily = match (*name == LAZY, self.library) {
                (false, _) => None,
                (true, Some(_)) => Some(Answers::of(&runs[0].outcome).get("lazily_freed_bytes")),
                // The other program does not tell.
                (true, None) => runs[0].report().value("/end/lazyfree_bytes").as_u64(),
            };
            if lazily.is_some_and(|lazily| lazily < LEAST_LAZY_BYTES) {
                tools::skip_anyway(&format!("{lazily:?} bytes are left of what went lazily"));
                continue;
            }
            let reports = runs.map(|run| run.report());
            let found = reports.each_ref().map(|report| told(report, name));
            let id = if *name == "pinned-class" { "pinned-pages" } else { *name };
            let is_info = [CACHE, LAZY].contains(name);
            let expected = if is_info { format!("{id} (info)") } else { id.to_owned() };
            assert_eq!(found[0], expected, "{name} on {}", self.allocator);
            // The first of all, unless it is one that is never more than info.
            assert!(is_info || reports[0].array("/diagnoses")[0]["id"] == id);
            let named = first_site(&reports[0], id);
            assert_eq!(named.unwrap_or_default(), *site, "{name} on {}", self.allocator);
            for (how, found) in [("cured", &found[1]), ("near", &found[2])] {
                // Cured, some are too small to judge where allocators keep much for themselves.
                let may_be_small = self.library.is_some() || *name == CACHE;
                let small = may_be_small && found == "cannot tell";
                assert!(found == "none" || small, "{name}, {how}, on {}: {found}", self.allocator);
            }
            let shown = format!("{name} on {}", self.allocator);
            assert_at_stake(&shown, id, &reports[0], &reports[1]);
            let [ill, cured, near] = found;
            rows.push(format!("| `{name}` | {} | {ill} | {cured} | {near} |", self.allocator));
        }
        rows
    }
}

const SQL: &str = "create table orders (id integer primary key, customer text, note text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000)
  insert into orders select i, 'customer ' || (i % 9973), hex(randomblob(100)) from n;
create index by_customer on orders (customer);
select count(*), max(length(note)) from orders;";
const PYTHON: &str = "d = {str(i * 7919): [i, str(i)] for i in range(300000)}; print(len(d))";
const PERL: &str = "my %c; $c{$_ * 7919} = \"x$_\" for 1 .. 500000; print scalar(keys %c), \"\\n\"";
const NODE: &str = "const b = []; for (let i = 0; i < 100; i++) b.push(Buffer.alloc(1 << 20, i)); \
                    console.log(b.length)";
const AWK: &str = "{ line[NR] = $0 } END { print length(line) }";
/// A function of so many branches that its compiler's sets and graphs take 64 MB: most else a
/// compiler has in a heap of its own.
fn branches() -> String {
    const COUNT: u32 = 6000;
    let branch = |n: u32| {
        format!("if (t[{n}] > a) a += t[b & {COUNT}] * {n}; else c -= b + {n}, t[{n}] = c;\n")
    };
    let all: String = (0..COUNT).map(branch).collect();
    format!(
        "int t[{COUNT}];\nint f(int x) {{ int a = x, b = 1, c = 2;\n{all}return a + b + c; }}\n"
    )
}

/// Programs that people use, each with work for which its heap needs 64 MB or more.
fn real(folder: &Path) -> Vec<(&'static str, &'static str, Command)> {
    let path = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file can be written");
        path
    };
    let line = |n: u64| format!("{} {n}\n", n * 7919 % 10_000_019);
    let lines = path("lines", (0..1_000_000).map(line).collect());
    let others = path("others", (0..1_000_000).rev().map(line).collect());
    let source = path("source.c", branches());
    let script = path("script.sql", SQL.into());
    let mut programs = Vec::new();
    let mut add = |name: &'static str, exe: &'static str, with: &dyn Fn(&mut Command)| {
        let Some(tool) = tools::find(name) else { return };
        let mut tool = command(tool);
        with(&mut tool);
        programs.push((name, exe, tool));
    };
    add("sqlite3", "sqlite3", &|c| {
        c.arg(":memory:").arg(format!(".read {}", script.display()));
    });
    add("git", "git", &|c| {
        c.args(["diff", "--no-index", "--stat"]).args([&lines, &others]);
    });
    add("python3", "python3", &|c| {
        c.args(["-S", "-c", PYTHON]).env("PYTHONMALLOC", "malloc");
    });
    add("perl", "perl", &|c| {
        c.args(["-e", PERL]);
    });
    add("node", "node", &|c| {
        c.args(["-e", NODE]);
    });
    add("awk", "", &|c| {
        c.arg(AWK).args([&lines, &others]);
    });
    add("sort", "sort", &|c| {
        c.args(["-S", "100M", "--parallel=1"]).arg(&lines);
    });
    add("xz", "xz", &|c| {
        c.args(["-6", "-T1", "-k", "-c"]).arg(&script);
    });
    add("gcc", "cc1", &|c| {
        c.args(["-O1", "-S", "-o", "/dev/null"]).arg(&source);
    });
    programs
}

fn real_rows() -> Vec<String> {
    let mut rows = Vec::new();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (name, exe, command) in real(folder.path()) {
        let traced = Traced::run(command);
        let traces = traced.traces();
        let mut of_exe = traces.iter().filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(exe))
        });
        let trace = of_exe.next().expect("the program leaves a trace");
        let report = Report::of(trace);
        let found = grave(&report);
        assert_eq!(found, "none", "{name}: {:#}", report.value("/diagnoses"));
        let text = analyze("report", trace, &[]).expect_code(0).out();
        let healthy = ["The heap is healthy", "Nothing wrong is found"];
        assert!(healthy.iter().any(|words| text.contains(words)), "{name}: {text}");
        let peak = report.number("/peak/live_bytes");
        assert!(peak >= 64_000_000, "{name}: a peak of {peak} proves little");
        rows.push(format!("| {name} | glibc | {found} | | |"));
    }
    rows
}

const BEGIN: &str = "<!-- written by tests/tests/confusion.rs -->\n";
const END: &str = "<!-- end -->";

#[test]
fn what_is_found_is_what_the_table_says() {
    // Most of the time these programs rest.
    let rows: Vec<String> = thread::scope(|scope| {
        let mut groups: Vec<_> = TRIED.iter().map(|tried| scope.spawn(|| tried.rows())).collect();
        groups.push(scope.spawn(real_rows));
        groups.into_iter().flat_map(|group| group.join().expect("all are told apart")).collect()
    });
    let page = tools::workspace().join("docs/diagnoses/README.md");
    let text = fs::read_to_string(&page).expect("the page can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("FRAGTRACE_BLESS").is_some() {
        let head =
            "| program | allocator | ill, or as it is | cured | near |\n|---|---|---|---|---|";
        let table = format!("{head}\n{}\n", rows.join("\n"));
        fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page");
        return;
    }
    // A program that this machine lacks has no row here.
    let missing: Vec<_> = rows.iter().filter(|row| !table.lines().any(|l| l == *row)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
}
