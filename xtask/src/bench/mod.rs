//! `cargo xtask bench`: what tracing costs and what reading a trace costs, side by side with the
//! peers installed here.
//!
//! Every figure is a median of runs that are interleaved (bare, traced, peer, bare, …), so that a
//! machine whose speed drifts does not favour one of them. The tables come out as Markdown, as
//! docs/benchmarks.md keeps them.

mod bytes;
mod commands;
mod evidence;
mod facts;
mod frames;
mod hooked;
mod long;
mod machine;
mod memory;
mod pair;
mod programs;
mod redis;
mod reports;
mod rig;
mod shootout;
mod table;
mod tails;
mod wrapping;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{project, shell};
use rig::Rig;

const BEGIN: &str = "<!-- tables: begin, written by `cargo xtask bench --write` -->";
const END: &str = "<!-- tables: end -->";

/// The sections by name, in their order; bytes an event are told of what the others trace.
pub const SECTIONS: [&str; 13] = [
    "pair", "frames", "hooked", "memory", "tails", "wrapping", "evidence", "redis", "programs",
    "reports", "commands", "long", "shootout",
];

/// Runs benchmarks, prints their tables and, if asked, keeps them. `only`: these sections; all,
/// when none is named.
pub fn run(quick: bool, write: bool, only: &[String]) -> Result<()> {
    if write && !only.is_empty() {
        bail!("--write keeps all tables: name no section with it");
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
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
    let mut traced = Vec::new();
    for name in SECTIONS.into_iter().filter(|name| wanted(name)) {
        let section = match name {
            "pair" => told(pair::run(&rig)?, &mut traced),
            "frames" => frames::run(&rig)?,
            "hooked" => hooked::run(&rig)
                .unwrap_or_else(|error| format!("jemalloc's pair was not measured: {error:#}")),
            "memory" => memory::run(&rig)?,
            "tails" => tails::run(&rig)?,
            "wrapping" => wrapping::run(&rig)?,
            "evidence" => evidence::run(&rig)?,
            "redis" => told(redis::run(&rig)?, &mut traced),
            "programs" => {
                let (section, mut rows) = programs::run(&rig)?;
                traced.append(&mut rows);
                section
            }
            "reports" => reports::run(&rig)?,
            "commands" => commands::run(&rig)?,
            "long" => long::run(&rig)?,
            _ => shootout::run(&rig)?,
        };
        add(section);
    }
    if !traced.is_empty() {
        add(bytes::section(&traced));
    }
    rig.clear()?;
    if write {
        let path = project::root().join("docs/benchmarks.md");
        keep(&path, &sections.join("\n\n"))?;
        println!("\n{}", path.display());
    }
    Ok(())
}

/// A section, whose row is kept.
fn told((section, row): (String, bytes::Row), traced: &mut Vec<bytes::Row>) -> String {
    traced.push(row);
    section
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
