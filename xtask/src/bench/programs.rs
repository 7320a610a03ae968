//! Whole programs, as they are, by the clock that each has in itself: what it takes to start
//! them, and to end a tracer, is not in it.

use std::fs::{self, File};

use anyhow::{Context, Result};

use super::facts::Facts;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure};
use crate::shell;

/// Rows inserted, indexed, joined and deleted again in memory.
const SQL: &str = ".timer on
create table item(id integer primary key, name text, price real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)
  insert into item select i, hex(randomblob(10 + i % 40)), i * 0.5 from n;
create index by_name on item(name);
select count(*), sum(length(a.name)) from item a join item b on a.name = b.name;
delete from item where id % 3 = 0;
vacuum;
";

/// Dictionaries, strings and lists built, sorted and dropped.
const PYTHON: &str = "
import json, random, time
begin = time.perf_counter()
random.seed(1)
kept = []
for turn in range(60):
    rows = [{'id': i, 'name': 'n%d' % random.randrange(10**6), 'tags': list(range(i % 7))}
            for i in range(1500)]
    rows.sort(key=lambda row: row['name'])
    kept.append(json.loads(json.dumps(rows[::50])))
print('Run Time: real', time.perf_counter() - begin)
";

/// A program that reads a script from its standard input.
struct Program {
    name: &'static str,
    file: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    script: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "sqlite3, in memory",
        file: "sqlite3",
        arguments: &[":memory:"],
        variables: &[],
        script: SQL,
    },
    Program {
        name: "python3 with PYTHONMALLOC=malloc",
        // By its place: a version manager's stand-in is a shell, and heaptrack follows no exec.
        file: "/usr/bin/python3",
        arguments: &["-"],
        variables: &[("PYTHONMALLOC", "malloc")],
        script: PYTHON,
    },
];

/// A program and its trace's facts, if it is installed.
pub type Traced = (String, Option<Facts>);

/// Measures; returns the section, and the facts of each program's trace with stacks.
pub fn run(rig: &Rig) -> Result<(String, Vec<Traced>)> {
    let mut table = Table::new(&[
        "seconds",
        "bare",
        "without stacks",
        "with stacks",
        "heaptrack",
        "without, of heaptrack's",
        "with, of heaptrack's",
    ]);
    let mut traced = Vec::new();
    for program in PROGRAMS {
        let Program { name, file, .. } = program;
        let Some(path) = shell::find(file) else {
            traced.push((name.to_owned(), None));
            continue;
        };
        let script = rig.file("script");
        fs::write(&script, program.script)
            .with_context(|| format!("cannot write {}", script.display()))?;
        let mut samples = Samples::default();
        let mut facts = None;
        for run in 1..=rig.runs {
            for variant in rig.variants() {
                let mut command = rig.command(variant, &path, program.arguments)?;
                command.envs(program.variables.iter().copied()).stdin(File::open(&script)?);
                let text = shell::capture(&mut command)?;
                samples.add(variant, seconds(&text).with_context(|| format!("{file}: no time"))?);
                if variant == Variant::Traced && run == rig.runs {
                    facts = Some(rig.facts()?);
                }
            }
        }
        let time = |variant| figure(samples.median(variant), 3, "");
        let share = |variant| figure(samples.of_heaptracks(variant), 1, " %");
        table.row([
            name.to_owned(),
            time(Variant::Bare),
            time(Variant::WithoutStacks),
            time(Variant::Traced),
            time(Variant::Heaptrack),
            share(Variant::WithoutStacks),
            share(Variant::Traced),
        ]);
        traced.push((name.to_owned(), facts));
    }
    let section = format!(
        "### Whole programs\n\nBy their own clocks. The last columns: what is above bare, of what \
         is above bare under heaptrack.\n\n{table}"
    );
    Ok((section, traced))
}

/// The sum of the times that a program prints, as sqlite3's `.timer` words them.
fn seconds(text: &str) -> Option<f64> {
    let times = text.lines().filter_map(|line| line.strip_prefix("Run Time: real "));
    let times: Vec<f64> =
        times.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect();
    (!times.is_empty()).then(|| times.iter().sum())
}
