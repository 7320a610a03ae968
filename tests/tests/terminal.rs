//! What is for people at a terminal is shown there, as wide as it is, and nowhere else: the report's
//! small charts, and the bars of long work.
#![forbid(unsafe_code)]

use std::process::Command;

use fragtrace_tests::programs::program;
use fragtrace_tests::run::{Outcome, command, run};
use fragtrace_tests::terminal::{Terminal, run_on};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Pairs in a trace whose map takes about a second to draw.
const PAIRS: u64 = 1_500_000;
const MOST_PAIRS: u64 = 32_000_000;

/// The analyzer, for a reader whose terminal can show everything.
fn fragtrace(traced: &Traced, arguments: &[&str]) -> Command {
    let mut line = command(tools::analyzer());
    line.arg(arguments[0]).arg(traced.trace()).args(&arguments[1..]);
    line.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color").env_remove("NO_COLOR");
    line
}

/// Sequences that steer a terminal taken out.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or("");
    }
    out + rest
}

/// Labels and bars of the report's charts.
fn charts(outcome: &Outcome) -> Vec<(String, String)> {
    let text = plain(&outcome.out());
    let parts = text.lines().filter_map(|line| {
        let first = line.find(BLOCKS)?;
        let last = line.rfind(BLOCKS)? + '▁'.len_utf8();
        Some((line[..first].trim().to_owned(), line[first..last].to_owned()))
    });
    parts.collect()
}

#[test]
fn the_report_has_charts_where_a_terminal_can_show_them() {
    let mut line = command(program("illness"));
    line.args(["pinned-pages", "ill"]);
    let traced = Traced::run_well(line);
    let report = || fragtrace(&traced, &["report"]);

    let shown = run_on(Terminal::Stdout, 120, &mut report()).expect_code(0);
    let found = charts(&shown);
    let labels: Vec<&str> = found.iter().map(|(label, _)| &**label).collect();
    assert_eq!(labels, ["live", "footprint", "heap resident", "RSS", "fragmentation"]);
    // Live bytes fall after the burst, what is held does not, and so the ratio rises.
    let last = |at: usize| found[at].1.chars().last();
    assert!(last(0).is_some_and(|bar| bar <= '▂'), "{found:#?}");
    assert!(last(1).is_some_and(|bar| bar >= '▆'), "{found:#?}");
    assert!(last(4).is_some_and(|bar| bar >= '▄'), "{found:#?}");

    for columns in [60, 80] {
        let shown = run_on(Terminal::Stdout, columns, &mut report()).expect_code(0);
        assert_eq!(charts(&shown).len(), 5, "{}", shown.describe());
        let text = plain(&shown.out());
        for line in text.lines().filter(|line| line.contains(BLOCKS)) {
            assert!(line.trim_end().chars().count() <= usize::from(columns), "{line}");
        }
    }

    let mut nowhere = vec![("a pipe", run(&mut report()))];
    nowhere.push(("40 columns", run_on(Terminal::Stdout, 40, &mut report())));
    nowhere.push(("stderr on a terminal", run_on(Terminal::Stderr, 120, &mut report())));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("LC_ALL", "C")] {
        let shown = run_on(Terminal::Stdout, 120, report().env(name, value));
        nowhere.push((name, shown));
    }
    nowhere.push(("no TERM", run_on(Terminal::Stdout, 120, report().env_remove("TERM"))));
    let mut never = fragtrace(&traced, &["report", "--color", "never"]);
    nowhere.push(("--color never", run_on(Terminal::Stdout, 120, &mut never)));
    for (where_not, outcome) in nowhere {
        let outcome = outcome.expect_code(0);
        assert_eq!(charts(&outcome), [], "{where_not}: {}", outcome.describe());
        assert!(outcome.out().contains("most live"), "{where_not}: the report is there");
    }
    let mut always = fragtrace(&traced, &["report", "--color", "always"]);
    assert_eq!(charts(&run(&mut always).expect_code(0)).len(), 5, "asked for in a pipe");
}

#[test]
fn long_work_shows_a_bar_where_a_terminal_can_show_it() {
    let mut work = Work::of(PAIRS);
    let text = work.shown(120, ("LANG", "C")).err();
    let bars: Vec<&str> = text.split(['\r', '\n']).filter(|part| part.contains(" left")).collect();
    assert!(bars.iter().all(|bar| bar.contains('%') && bar.contains('[')), "{bars:#?}");
    assert!(bars[0].contains("million events a second"), "{}", bars[0]);
    // It goes forward, and takes itself away in the end.
    let percents: Vec<u64> = bars.iter().filter_map(|bar| percent(bar)).collect();
    assert!(percents.is_sorted() && percents.iter().all(|percent| *percent <= 100), "{percents:?}");
    assert!(!last_line(&text).contains(" left"), "{text:?}");

    let narrow = work.shown(40, ("LANG", "C")).err();
    for bar in plain(&narrow).split(['\r', '\n']) {
        assert!(bar.chars().count() <= 40, "{bar:?}");
    }
    assert!(!narrow.contains("million"), "{narrow:?}");
    let no_colour = work.shown(120, ("NO_COLOR", "1")).err();
    let colours = no_colour.split("\x1b[").skip(1).filter(|sequence| {
        sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
    });
    assert_eq!(colours.count(), 0, "{no_colour:?}");
    for outcome in [
        run(&mut work.map()),
        run_on(Terminal::Stdout, 120, &mut work.map()),
        run_on(Terminal::Stderr, 120, work.map().env("TERM", "dumb")),
    ] {
        let err = outcome.expect_code(0).err();
        assert!(!err.contains(" left") && !err.contains('\x1b'), "{err:?}");
    }
}

/// A trace whose map takes a while to draw.
struct Work {
    pairs: u64,
    traced: Traced,
}

impl Work {
    fn of(pairs: u64) -> Work {
        let mut line = command(program("pairs"));
        line.arg(pairs.to_string()).env("FRAGTRACE_STACKS", "off").env("FRAGTRACE_RING", "1G");
        Work { pairs, traced: Traced::run_well(line) }
    }

    fn map(&self) -> Command {
        fragtrace(&self.traced, &["map", "-o", "/dev/null", "--size", "640x480"])
    }

    /// The map, drawn with its bar on a terminal so wide, with a variable set. Done within a second
    /// it has no bar: then there is twice as much to do from here on, however fast the machine is.
    fn shown(&mut self, columns: u16, (name, value): (&str, &str)) -> Outcome {
        loop {
            let shown = run_on(Terminal::Stderr, columns, self.map().env(name, value));
            let shown = shown.expect_code(0);
            if shown.err().contains(" left") {
                return shown;
            }
            assert!(
                self.pairs < MOST_PAIRS,
                "no bar for {} pairs: {}",
                self.pairs,
                shown.describe()
            );
            *self = Work::of(2 * self.pairs);
        }
    }
}

fn percent(bar: &str) -> Option<u64> {
    bar.split_once(" %")?.0.rsplit(' ').next()?.parse().ok()
}

/// What stands in the last line when all is written.
fn last_line(text: &str) -> String {
    let line = text.rsplit('\n').next().unwrap_or_default();
    // What is behind the last order to clear the line.
    plain(line.rsplit("\x1b[2K").next().unwrap_or_default())
}
