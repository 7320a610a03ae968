//! `cargo xtask bench`: what tracing costs and what reading a trace costs, side by side with the
//! peers installed here.
//!
//! Every figure is a median of runs that are interleaved (bare, traced, peer, bare, …), so that a
//! machine whose speed drifts does not favour one of them. The tables come out as Markdown, as
//! docs/benchmarks.md keeps them.

mod bytes;
mod evidence;
mod facts;
mod hooked;
mod machine;
mod pair;
mod programs;
mod redis;
mod reports;
mod rig;
mod table;
mod tails;
mod wrapping;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{project, shell};
use rig::Rig;

const BEGIN: &str = "<!-- tables: begin, written by `cargo xtask bench --write` -->";
const END: &str = "<!-- tables: end -->";

/// Runs all benchmarks, prints their tables and, if asked, keeps them.
pub fn run(quick: bool, write: bool) -> Result<()> {
    let rig = Rig::new(project::build()?, quick)?;
    let mut sections = vec![machine::describe(rig.runs)?];
    let mut add = |section: String| {
        let section = section.trim_end();
        println!("\n{section}");
        sections.push(section.to_owned());
    };
    if shell::find("heaptrack").is_none() {
        add("heaptrack is not installed (Debian package heaptrack): its columns are empty.".into());
    }
    let (section, pair) = pair::run(&rig)?;
    add(section);
    match hooked::run(&rig) {
        Ok(section) => add(section),
        Err(error) => add(format!("jemalloc's pair was not measured: {error:#}")),
    }
    add(tails::run(&rig)?);
    add(wrapping::run(&rig)?);
    add(evidence::run(&rig)?);
    let (section, redis) = redis::run(&rig)?;
    add(section);
    let (section, programs) = programs::run(&rig)?;
    add(section);
    add(bytes::section(&[vec![pair, redis], programs].concat()));
    add(reports::run(&rig)?);
    rig.clear()?;
    if write {
        let path = project::root().join("docs/benchmarks.md");
        keep(&path, &sections.join("\n\n"))?;
        println!("\n{}", path.display());
    }
    Ok(())
}

/// Puts the tables between the markers of the document; appends them where it has none.
fn keep(path: &Path, tables: &str) -> Result<()> {
    let old = if path.exists() {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        "# Benchmarks\n".to_owned()
    };
    let (before, after) = match (old.split_once(BEGIN), old.split_once(END)) {
        (Some((before, _)), Some((_, after))) => (before, after),
        _ => (&*old, "\n"),
    };
    let text = format!("{}\n\n{BEGIN}\n{tables}\n{END}{after}", before.trim_end());
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
