//! How fast the shootout runs a trace again, and how alike two runs are.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped, median};
use crate::shell;

const ALLOCATORS: &str = "glibc,jemalloc,mimalloc,tcmalloc,snmalloc";
const RUNS: usize = 3;

/// What is said of one allocator in one run.
struct Run {
    name: String,
    calls: f64,
    seconds: f64,
    /// Peak and last resident set.
    rss: [f64; 2],
}

/// Records one thread that hands its blocks back at once, and one with a thousand of them, and runs
/// both again.
pub fn run(rig: &Rig) -> Result<String> {
    let calls = if rig.quick { 1 } else { 10 };
    let cases = [
        ("pair, 1 thread", rig.compile("pair")?, vec!["1".to_owned(), format!("{calls}00000")]),
        ("stress, 1 thread", rig.compile("stress")?, vec!["1".to_owned(), format!("{calls}00000")]),
    ];
    let mut table = Table::new(&[
        "trace, allocator",
        "calls",
        "seconds",
        "calls a second",
        "peak RSS differs by",
        "last RSS by",
    ]);
    for (name, program, arguments) in &cases {
        shell::capture(&mut rig.command(Variant::WithoutStacks, program, arguments)?)?;
        let trace = rig.facts()?.trace;
        let runs: Vec<Vec<Run>> =
            (0..rig.runs.min(RUNS)).map(|_| again(rig, &trace)).collect::<Result<_>>()?;
        for index in 0..runs[0].len() {
            let of = |what: &dyn Fn(&Run) -> f64| -> Vec<f64> {
                runs.iter().filter_map(|run| run.get(index)).map(what).collect()
            };
            let first = &runs[0][index];
            let seconds = median(&of(&|run| run.seconds));
            table.row([
                format!("{name}, {}", first.name),
                grouped(first.calls),
                figure(seconds, 3, ""),
                seconds.map_or_else(|| "–".to_owned(), |taken| grouped(first.calls / taken)),
                figure(spread(&of(&|run| run.rss[0])), 2, " %"),
                figure(spread(&of(&|run| run.rss[1])), 2, " %"),
            ]);
        }
    }
    Ok(format!(
        "### The shootout\n\nA trace run again by `fragtrace shootout`, {} times. *Seconds*: from the \
         first call to the last, with reading the script, timing each call and writing to the blocks; \
         medians. *Differs*: greatest and least of these runs, of the least.\n\n{table}",
        rig.runs.min(RUNS)
    ))
}

fn again(rig: &Rig, trace: &Path) -> Result<Vec<Run>> {
    let mut command = Command::new(&rig.artifacts.fragtrace);
    command.arg("shootout").arg(trace).args(["--json", "--allocators", ALLOCATORS]);
    let answer: Value = serde_json::from_str(&shell::capture(&mut command)?)?;
    let runs = answer["allocators"].as_array().context("the shootout names no allocator")?;
    let of = |run: &Value| -> Option<Run> {
        Some(Run {
            name: run["name"].as_str()?.to_owned(),
            calls: run["calls"].as_f64()?,
            seconds: run["run_time_ns"].as_f64()? / 1e9,
            rss: [run["peak_rss_bytes"].as_f64()?, run["end_rss_bytes"].as_f64()?],
        })
    };
    Ok(runs.iter().filter_map(of).collect())
}

/// By how much the greatest is more than the least, in percent.
fn spread(figures: &[f64]) -> Option<f64> {
    let least = figures.iter().copied().min_by(f64::total_cmp)?;
    let greatest = figures.iter().copied().max_by(f64::total_cmp)?;
    Some(100.0 * (greatest / least - 1.0))
}
