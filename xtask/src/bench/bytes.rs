//! How many bytes of trace an event takes, over programs of different habits.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::facts::Facts;
use super::programs::Traced;
use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped};
use crate::shell;

const CPP: &str = "
#include <algorithm>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <vector>
int main() {
    std::map<std::string, std::vector<int>> words;
    words[\"a\"].push_back(1);
    std::function<int(int)> twice = [](int x) { return 2 * x; };
    return std::regex_match(\"abc\", std::regex(\"[a-c]+\")) ? twice(0) : 1;
}
";

/// Measures; some programs were traced already.
pub fn run(rig: &Rig, traced: Vec<Traced>) -> Result<String> {
    let mut table = Table::new(&["program", "events", "bytes an event"]);
    let mut notes = Vec::new();
    let mut add = |name: &str, facts: Option<Facts>| {
        let Some(facts) = facts else {
            notes.push(format!("{name}: not installed."));
            return;
        };
        table.row([name.to_owned(), grouped(facts.events), figure(facts.bytes_per_event, 2, "")]);
        if facts.dropped_events > 0.0 {
            notes.push(format!("{name}: {}", facts.caveat()));
        }
    };
    for (name, facts) in traced {
        add(&name, facts);
    }
    add("g++ -O1, its cc1plus", compile(rig)?);
    add("stress, 32 threads, random sizes and slots", Some(stress(rig)?));
    notes.insert(0, "With stacks.".to_owned());
    Ok(format!("### Bytes an event\n\n{}\n\n{table}", notes.join(" ")))
}

fn compile(rig: &Rig) -> Result<Option<Facts>> {
    let Some(compiler) = shell::find("g++") else { return Ok(None) };
    let source = rig.file("compile.cpp");
    fs::write(&source, CPP).with_context(|| format!("cannot write {}", source.display()))?;
    let arguments = ["-O1", "-c", "compile.cpp"];
    shell::capture(&mut rig.command(Variant::Traced, &compiler, &arguments)?)?;
    rig.facts().map(Some)
}

fn stress(rig: &Rig) -> Result<Facts> {
    let program: PathBuf = rig.compile("stress")?;
    let allocations = if rig.quick { "20000" } else { "200000" };
    shell::capture(&mut rig.command(Variant::Traced, &program, &["32", allocations])?)?;
    rig.facts()
}
