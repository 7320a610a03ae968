//! How many bytes of trace an event takes, over programs of different habits.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::facts::Facts;
use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped};
use crate::shell;

/// Rows inserted, indexed, joined and deleted again in memory.
const SQL: &str = "
create table item(id integer primary key, name text, price real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
  insert into item select i, hex(randomblob(10 + i % 40)), i * 0.5 from n;
create index by_name on item(name);
select count(*), sum(length(a.name)) from item a join item b on a.name = b.name;
delete from item where id % 3 = 0;
vacuum;
";

/// Dictionaries, strings and lists built, sorted and dropped.
const PYTHON: &str = "
import json, random
random.seed(1)
kept = []
for turn in range(60):
    rows = [{'id': i, 'name': 'n%d' % random.randrange(10**6), 'tags': list(range(i % 7))}
            for i in range(1500)]
    rows.sort(key=lambda row: row['name'])
    kept.append(json.loads(json.dumps(rows[::50])))
print(len(kept))
";

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

/// Measures; pair and redis were traced already.
pub fn run(rig: &Rig, pair: Facts, redis: Option<Facts>) -> Result<String> {
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
    add("pair, 2 threads", Some(pair));
    add("redis-server, SET, HSET, LPUSH", redis);
    add("sqlite3, in memory", trace(rig, "sqlite3", &[":memory:", SQL], &[])?);
    let malloc = [("PYTHONMALLOC", "malloc")];
    add("python3 with PYTHONMALLOC=malloc", trace(rig, "python3", &["-c", PYTHON], &malloc)?);
    let source = rig.file("compile.cpp");
    fs::write(&source, CPP).with_context(|| format!("cannot write {}", source.display()))?;
    add("g++ -O1, its cc1plus", trace(rig, "g++", &["-O1", "-c", "compile.cpp"], &[])?);
    add("stress, 32 threads, random sizes and slots", Some(stress(rig)?));
    notes.insert(0, "With stacks.".to_owned());
    Ok(format!("### Bytes an event\n\n{}\n\n{table}", notes.join(" ")))
}

fn trace(
    rig: &Rig,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Option<Facts>> {
    let Some(path) = shell::find(program) else { return Ok(None) };
    let mut command: Command = rig.command(Variant::Traced, &path, arguments)?;
    shell::capture(command.envs(environment.iter().copied()))?;
    rig.facts().map(Some)
}

fn stress(rig: &Rig) -> Result<Facts> {
    let program: PathBuf = rig.compile("stress")?;
    let allocations = if rig.quick { "20000" } else { "200000" };
    shell::capture(&mut rig.command(Variant::Traced, &program, &["32", allocations])?)?;
    rig.facts()
}
