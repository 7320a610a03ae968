//! Whole programs, as they are: what they take bare, traced, and under heaptrack.
//!
//! Most are timed by the clock that each has in itself: what it takes to start them, and to end a
//! tracer, is not in it. A compiler has none, and is timed from outside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::bytes::Row;
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

const PREPROCESSED: &str = "compile.ii";

/// Enough for a median, and for the whole bench to end soon.
const RUNS: usize = 5;
/// Of the published stress, whose threads share these, and of what is handed over.
const STRESS_ALLOCATIONS: u64 = 2_000_000;
const HANDED_OVER: u64 = 1_000_000;
/// That stress as it was published, for bytes an event alone.
const PUBLISHED: [&str; 2] = ["32", "200000"];

/// How long a program took.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// It says so itself, in lines as sqlite3's `.timer` words them.
    Own,
    /// From its start to its end.
    Outside,
}

/// A program with its input.
struct Program {
    name: String,
    /// `None`: it is not installed.
    path: Option<PathBuf>,
    arguments: Vec<String>,
    variables: &'static [(&'static str, &'static str)],
    input: &'static str,
    clock: Clock,
}

impl Program {
    fn new(name: &str, path: Option<PathBuf>, arguments: &[&str]) -> Program {
        Program {
            name: name.to_owned(),
            path,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            variables: &[],
            input: "",
            clock: Clock::Own,
        }
    }
}

fn programs(rig: &Rig) -> Result<Vec<Program>> {
    let sqlite = Program::new("sqlite3, in memory", shell::find("sqlite3"), &[":memory:"]);
    // By its place: a version manager's stand-in is a shell, and heaptrack follows no exec.
    let python = Some(PathBuf::from("/usr/bin/python3")).filter(|path| path.exists());
    let python = Program::new("python3 with PYTHONMALLOC=malloc", python, &["-"]);
    let compile = ["-fpreprocessed", "-quiet", "-O1", PREPROCESSED, "-o", "/dev/null"];
    let compile = Program::new("g++ -O1, its cc1plus", compiler(rig)?, &compile);
    let mut programs = vec![
        Program { input: SQL, ..sqlite },
        Program { input: PYTHON, variables: &[("PYTHONMALLOC", "malloc")], ..python },
        Program { clock: Clock::Outside, ..compile },
    ];
    let quick = if rig.quick { 10 } else { 1 };
    let blocks = (HANDED_OVER / quick).to_string();
    let handover = Some(rig.compile("handover")?);
    programs.push(Program::new("producer and consumer, 2 threads", handover, &["1", &blocks]));
    let stress = rig.compile("stress")?;
    for threads in [1, 2, 8] {
        let name = format!("stress, {threads} thread{}", if threads == 1 { "" } else { "s" });
        let each = (STRESS_ALLOCATIONS / quick / threads).to_string();
        let arguments = [&*threads.to_string(), &each];
        programs.push(Program::new(&name, Some(stress.clone()), &arguments));
    }
    Ok(programs)
}

/// The C++ compiler proper, as `g++` itself only starts it, and its input in the scratch folder.
fn compiler(rig: &Rig) -> Result<Option<PathBuf>> {
    let Some(driver) = shell::find("g++") else { return Ok(None) };
    let source = rig.file("compile.cpp");
    fs::write(&source, CPP).with_context(|| format!("cannot write {}", source.display()))?;
    let mut preprocess = Command::new(&driver);
    preprocess.arg("-E").arg(&source).arg("-o").arg(rig.file(PREPROCESSED));
    shell::run(&mut preprocess)?;
    let path = shell::capture(Command::new(driver).arg("-print-prog-name=cc1plus"))?;
    Ok(Some(PathBuf::from(path.trim())).filter(|path| path.is_absolute()))
}

/// Measures; returns the section, and the facts of each program's trace without and with stacks.
pub fn run(rig: &Rig) -> Result<(String, Vec<Row>)> {
    let mut table = Table::new(&[
        "seconds",
        "bare",
        "stamps alone",
        "without stacks",
        "with stacks",
        "heaptrack",
        "stamps keep",
        "without keeps",
        "with keeps",
        "without, of heaptrack's",
        "with, of heaptrack's",
    ]);
    let mut traced = Vec::new();
    let runs = rig.runs.min(RUNS);
    for program in programs(rig)? {
        let mut samples = Samples::default();
        let (mut without, mut with) = (None, None);
        if let Some(path) = &program.path {
            for run in 1..=runs {
                // heaptrack 1.4's interpreter dies of the compiler, which then waits for ever.
                let peers_too = program.clock == Clock::Own;
                let fits = |variant: &Variant| peers_too || *variant != Variant::Heaptrack;
                for variant in rig.variants().into_iter().filter(fits) {
                    samples.add(variant, seconds(rig, &program, path, variant)?);
                    match variant {
                        Variant::Traced if run == runs => with = Some(rig.facts()?),
                        Variant::WithoutStacks if run == runs => without = Some(rig.facts()?),
                        _ => {}
                    }
                }
            }
            let time = |variant| figure(samples.median(variant), 3, "");
            let kept = |variant| figure(samples.speed_kept(variant), 0, " %");
            let share = |variant| figure(samples.of_heaptracks(variant), 1, " %");
            table.row([
                program.name.clone(),
                time(Variant::Bare),
                time(Variant::Stamps),
                time(Variant::WithoutStacks),
                time(Variant::Traced),
                time(Variant::Heaptrack),
                kept(Variant::Stamps),
                kept(Variant::WithoutStacks),
                kept(Variant::Traced),
                share(Variant::WithoutStacks),
                share(Variant::Traced),
            ]);
        }
        traced.push(Row { name: program.name, without, with, in_mix: true });
    }
    traced.push(published(rig)?);
    let section = format!(
        "### Whole programs\n\nMedians of {runs} runs. By their own clocks, but for the compiler, which \
         is timed from start to end, and of which heaptrack's interpreter dies. The stress is the published one: \
         random sizes of 128 B to 8 KB, 5,000 live a thread, nothing else. *Stamps alone*: as for a \
         pair. *Keeps*: speed beside the bare run of the same round. The last columns: what is above \
         that run, of what is above it under heaptrack.\n\n{table}"
    );
    Ok((section, traced))
}

/// The published stress, traced without and with stacks, not timed.
fn published(rig: &Rig) -> Result<Row> {
    let stress = rig.compile("stress")?;
    let facts = |variant| {
        shell::capture(&mut rig.command(variant, &stress, &PUBLISHED)?)?;
        rig.facts()
    };
    let (without, with) = (facts(Variant::WithoutStacks)?, facts(Variant::Traced)?);
    let name = "stress, 32 threads, as published".to_owned();
    Ok(Row { name, without: Some(without), with: Some(with), in_mix: false })
}

/// Runs a program once.
fn seconds(rig: &Rig, program: &Program, path: &Path, variant: Variant) -> Result<f64> {
    let script = rig.file("script");
    fs::write(&script, program.input)
        .with_context(|| format!("cannot write {}", script.display()))?;
    let mut command = rig.command(variant, path, &program.arguments)?;
    command.envs(program.variables.iter().copied()).stdin(File::open(&script)?);
    let start = Instant::now();
    let text = shell::capture(&mut command)?;
    match program.clock {
        Clock::Own => told(&text).with_context(|| format!("{}: no time", program.name)),
        Clock::Outside => Ok(start.elapsed().as_secs_f64()),
    }
}

/// The sum of the times that a program prints, as sqlite3's `.timer` words them.
fn told(text: &str) -> Option<f64> {
    let times = text.lines().filter_map(|line| line.strip_prefix("Run Time: real "));
    let times: Vec<f64> =
        times.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect();
    (!times.is_empty()).then(|| times.iter().sum())
}
