//! `cargo xtask demo`: from nothing to a report and its pictures in one command.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{project, shell};

/// Builds, traces the demo server, prints the report and says where the pictures are.
pub fn run(cured: bool) -> Result<()> {
    let artifacts = project::build()?;
    let server = project::build_demo_server(&artifacts.target)?;

    let folder = artifacts.target.join(if cured { "demo-cured" } else { "demo" });
    if folder.exists() {
        // The tracer never overwrites a trace: the last demo's would push this one's name aside.
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let trace = folder.join("demo.ftr");
    let fragtrace = || Command::new(&artifacts.fragtrace);
    let mut record = fragtrace();
    record.args(["record", "-o"]).arg(&trace).arg("--").arg(&server);
    shell::run(record.args(cured.then_some("--cured")))?;

    println!();
    shell::run(fragtrace().arg("report").arg(&trace))?;
    let mut paths = vec![trace.clone()];
    for (picture, file) in
        [("map", "heap.png"), ("timeline", "timeline.png"), ("html", "report.html")]
    {
        let path = folder.join(file);
        shell::run(fragtrace().arg(picture).arg(&trace).arg("-o").arg(&path))?;
        paths.push(path);
    }
    println!();
    for path in paths {
        println!("{}", path.display());
    }
    Ok(())
}
