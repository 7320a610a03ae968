//! Comparisons whose failure says what was expected and what was found.

use std::collections::HashMap;
use std::fmt::Write;

use crate::run::Outcome;

/// Compares named numbers, given as (name, expected, found); a failure shows all of them.
pub fn assert_numbers(claim: &str, numbers: &[(&str, u64, u64)]) {
    if numbers.iter().all(|(_, expected, found)| expected == found) {
        return;
    }
    let mut table = format!("not so: {claim}\n");
    for (name, expected, found) in numbers {
        let mark = if expected == found { " " } else { "*" };
        let _ = writeln!(table, "{mark} {name:24} expected {expected:>12}  found {found:>12}");
    }
    panic!("{table}");
}

/// Asserts that a number lies within `slack` of what is expected.
pub fn assert_near(name: &str, expected: u64, found: u64, slack: u64) {
    assert!(
        expected.abs_diff(found) <= slack,
        "{name}: expected {expected} within {slack}, found {found}, {} apart",
        expected.abs_diff(found)
    );
}

/// Compares two texts line by line; a failure shows the first difference and what led to it.
pub fn assert_same_lines(claim: &str, expected: &[u8], found: &[u8]) {
    if expected == found {
        return;
    }
    let (expected, found) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(found));
    let (expected, found): (Vec<_>, Vec<_>) =
        (expected.split('\n').collect(), found.split('\n').collect());
    let first = (0..expected.len().max(found.len()))
        .find(|&line| expected.get(line) != found.get(line))
        .unwrap_or_default();
    let before = expected[first.saturating_sub(3)..first].join("\n    ");
    panic!(
        "not so: {claim}\nfirst difference in line {} of {} and {}:\n    {before}\n\
         expected: {}\nfound:    {}",
        first + 1,
        expected.len(),
        found.len(),
        expected.get(first).unwrap_or(&"(end)"),
        found.get(first).unwrap_or(&"(end)")
    );
}

/// Asserts that two runs of a program wrote the same and ended the same way.
pub fn assert_same_run(bare: &Outcome, traced: &Outcome) {
    let claim = format!("`{}` runs as it does untraced", traced.command);
    assert_same_lines(&format!("{claim}: stdout"), &bare.stdout, &traced.stdout);
    assert_same_lines(&format!("{claim}: stderr"), &bare.stderr, &traced.stderr);
    assert!(bare.status == traced.status, "{claim}: {} became {}", bare.status, traced.status);
}

/// Asserts that a message to the user is calm: `least` to two lines, no panic, no backtrace.
pub fn assert_calm(outcome: &Outcome, least: usize) {
    let text = outcome.err();
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(
        (least..=2).contains(&lines),
        "expected {least} to 2 lines on stderr, found {lines}: {}",
        outcome.describe()
    );
    assert_no_panic(outcome);
}

/// Asserts that a program neither panicked nor was ended by a signal.
pub fn assert_no_panic(outcome: &Outcome) {
    let text = outcome.err();
    for sign in ["panicked", "RUST_BACKTRACE", "stack backtrace", "unwrap()"] {
        assert!(!text.contains(sign), "`{sign}` on stderr: {}", outcome.describe());
    }
    assert!(outcome.signal().is_none(), "ended by a signal: {}", outcome.describe());
}

/// The answers of a test program: `key=value` lines on its stdout.
#[derive(Debug, Clone)]
pub struct Answers(HashMap<String, u64>);

impl Answers {
    /// Reads a program's stdout.
    pub fn of(outcome: &Outcome) -> Self {
        let text = outcome.out();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let numbers = pairs.filter_map(|(key, value)| Some((key.into(), value.parse().ok()?)));
        Self(numbers.collect())
    }

    /// Whether the program said this.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// One answer; panics when the program did not give it.
    pub fn get(&self, key: &str) -> u64 {
        *self.0.get(key).unwrap_or_else(|| panic!("the program did not print {key}: {self:?}"))
    }
}
