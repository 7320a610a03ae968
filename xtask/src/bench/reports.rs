//! How fast a recording becomes a report: `fragtrace report` beside `heaptrack_print`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use super::facts::Facts;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure, grouped};
use crate::{project, shell};

/// What is recorded and read: its name in the table, the program and its arguments.
type Case = (&'static str, PathBuf, Vec<&'static str>);

/// Records programs with both, then lets both read what they wrote.
pub fn run(rig: &Rig) -> Result<String> {
    let server = project::build_demo_server(&rig.artifacts.target)?;
    let stress = rig.compile("stress")?;
    let allocations = if rig.quick { "20000" } else { "1000000" };
    let of_forty = if rig.quick { "2000" } else { "100000" };
    let cases: [Case; 3] = [
        ("stress, 4 threads, 48 MB live", stress.clone(), vec!["4", allocations]),
        ("stress, 40 threads, 480 MB live", stress, vec!["40", of_forty]),
        (
            "the demo server, 3.1 million blocks live",
            server,
            if rig.quick { vec!["--quick"] } else { Vec::new() },
        ),
    ];
    let mut table = Table::new(&[
        "program",
        "events",
        "fragtrace report",
        "heaptrack_print",
        "events a second",
        "of heaptrack_print's",
    ]);
    let mut caveats = Vec::new();
    for (name, program, arguments) in &cases {
        let (seconds, facts) = read_both(rig, program, arguments)?;
        let taken = seconds.median(Variant::Traced);
        let theirs = seconds.median(Variant::Heaptrack);
        table.row([
            (*name).to_owned(),
            grouped(facts.events),
            figure(taken, 2, " s"),
            figure(theirs, 2, " s"),
            taken.map_or_else(|| "–".to_owned(), |taken| grouped(facts.events / taken)),
            figure(theirs.zip(taken).map(|(theirs, taken)| theirs / taken), 2, " ×"),
        ]);
        caveats.push(facts.caveat());
    }
    caveats.dedup();
    Ok(format!(
        "### Reports\n\nBoth read their own recording of the same program; it makes the same calls \
         each time. heaptrack's file was interpreted while it was written and holds no addresses. \
         {}\n\n{table}",
        caveats.join(" ")
    ))
}

/// Records a program with both, and times how long each takes to read what it wrote.
fn read_both(rig: &Rig, program: &Path, arguments: &[&str]) -> Result<(Samples, Facts)> {
    let mut readers = Vec::new();
    let heaptrack_print = shell::find("heaptrack_print");
    if let Some(heaptrack_print) =
        heaptrack_print.filter(|_| rig.variants().contains(&Variant::Heaptrack))
    {
        shell::capture(&mut rig.command(Variant::Heaptrack, program, arguments)?)?;
        // The compressor's ending depends on how heaptrack was built.
        let output = ["zst", "gz"]
            .map(|ending| rig.heaptrack_output().with_extension(ending))
            .into_iter()
            .find(|path| path.exists());
        readers.extend(output.map(|output| (Variant::Heaptrack, heaptrack_print, "-f", output)));
    }
    shell::capture(&mut rig.command(Variant::Traced, program, arguments)?)?;
    let facts = rig.facts()?;
    readers.push((Variant::Traced, rig.artifacts.fragtrace.clone(), "report", facts.trace.clone()));
    let mut seconds = Samples::default();
    for _ in 0..rig.runs {
        for (variant, program, argument, recording) in &readers {
            seconds.add(*variant, time(program, argument, recording)?);
        }
    }
    Ok((seconds, facts))
}

fn time(program: &Path, argument: &str, recording: &Path) -> Result<f64> {
    let mut command = Command::new(program);
    command.arg(argument).arg(recording).stdout(Stdio::null());
    let start = Instant::now();
    shell::run(&mut command)?;
    Ok(start.elapsed().as_secs_f64())
}
