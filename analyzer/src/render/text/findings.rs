//! What is wrong, how it is known and what to do: right under the report's first lines.

use super::{BOLD, DIM, Style, WARNING, capital, indented, paragraph, scale};
use crate::diagnose::{Diagnoses, Diagnosis, Severity};
use crate::render::verdict::without_finding;
use std::fmt::Write;

/// So many are told; JSON has all.
const MOST: usize = 5;

/// The findings, or in one line that there are none, or why it cannot be told.
pub(super) fn draw(diagnoses: &Diagnoses) -> String {
    let mut out = diagnoses.judged_at_ns.map_or_else(String::new, |at_ns| {
        let at = scale::duration(at_ns);
        let words =
            format!("Judged as it was at {at}: then the program freed what it had, and exited.");
        paragraph(&words, DIM)
    });
    if diagnoses.worst().is_none_or(|worst| worst < Severity::Warning) {
        out += &paragraph(&without_finding(diagnoses), BOLD);
        for found in diagnoses.list.iter().take(MOST) {
            out.push_str(&finding(found));
        }
        return out;
    }
    for (index, found) in diagnoses.list.iter().take(MOST).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&finding(found));
    }
    if diagnoses.list.len() > MOST {
        let _ = writeln!(out, "{} more: --json lists all.", diagnoses.list.len() - MOST);
    }
    out
}

fn finding(found: &Diagnosis) -> String {
    let style = if found.severity >= Severity::Warning { WARNING } else { BOLD };
    let head = format!("{} ({}): {}.", capital(found.severity.label()), found.id, found.title);
    let mut out = paragraph(&head, style);
    out.push_str(&indented(&found.explanation, 2, Style::new()));
    if found.bytes > 0 {
        let gain = format!("At stake: about {}.", scale::bytes(found.bytes));
        out.push_str(&indented(&gain, 2, Style::new()));
    }
    for line in found.remedy.lines() {
        out.push_str(&indented(line, 2, Style::new()));
    }
    out
}
