//! How fast a recording becomes a report: `fragtrace report` beside `heaptrack_print`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure, grouped};
use crate::{project, shell};

/// Records the demo server with both, then lets both read what they wrote.
pub fn run(rig: &Rig) -> Result<String> {
    let server = project::build_demo_server(&rig.artifacts.target)?;
    let options: &[&str] = if rig.quick { &["--quick"] } else { &[] };
    let mut readers = Vec::new();
    let heaptrack_print = shell::find("heaptrack_print");
    if let Some(heaptrack_print) =
        heaptrack_print.filter(|_| rig.variants().contains(&Variant::Heaptrack))
    {
        shell::capture(&mut rig.command(Variant::Heaptrack, &server, options)?)?;
        // The compressor's ending depends on how heaptrack was built.
        let output = ["zst", "gz"]
            .map(|ending| rig.heaptrack_output().with_extension(ending))
            .into_iter()
            .find(|path| path.exists());
        readers.extend(output.map(|output| (Variant::Heaptrack, heaptrack_print, "-f", output)));
    }
    shell::capture(&mut rig.command(Variant::Traced, &server, options)?)?;
    let facts = rig.facts()?;
    readers.push((Variant::Traced, rig.artifacts.fragtrace.clone(), "report", facts.trace.clone()));

    let mut seconds = Samples::default();
    for _ in 0..rig.runs {
        for (variant, program, argument, recording) in &readers {
            seconds.add(*variant, time(program, argument, recording)?);
        }
    }
    let mut table = Table::new(&["the demo server", "events", "seconds", "events a second"]);
    for (name, variant) in
        [("fragtrace report", Variant::Traced), ("heaptrack_print", Variant::Heaptrack)]
    {
        let taken = seconds.median(variant);
        table.row([
            name.to_owned(),
            grouped(facts.events),
            figure(taken, 2, ""),
            taken.map_or_else(|| "–".to_owned(), |taken| grouped(facts.events / taken)),
        ]);
    }
    Ok(format!(
        "### Reports\n\nBoth read their own recording of the same program; it makes the same calls \
         each time. heaptrack's file was interpreted while it was written and holds no addresses. \
         {}\n\n{table}",
        facts.caveat()
    ))
}

fn time(program: &Path, argument: &str, recording: &Path) -> Result<f64> {
    let mut command = Command::new(program);
    command.arg(argument).arg(recording).stdout(Stdio::null());
    let start = Instant::now();
    shell::run(&mut command)?;
    Ok(start.elapsed().as_secs_f64())
}
