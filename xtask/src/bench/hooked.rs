//! One malloc and its free on the same jemalloc: as a library, whose calls the tracer is in the way
//! of by the loader's order of names, and linked into the executable, whose functions it hooks.

use anyhow::{Context, Result};

use super::pair::first_number;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure};
use crate::shell;

/// How the program has its jemalloc: what it is called, the scratch file, the linker's flags.
const WAYS: [(&str, &str, &[&str]); 2] = [
    ("interposed: a library", "pair_shared", &["-l:libjemalloc.so.2"]),
    ("hooked: in the executable", "pair_static", &["-l:libjemalloc.a", "-lstdc++", "-lm", "-ldl"]),
];
const VARIANTS: [Variant; 3] = [Variant::Bare, Variant::Traced, Variant::WithoutStacks];

/// Measures; returns the section.
pub fn run(rig: &Rig) -> Result<String> {
    let mut programs = Vec::new();
    for (way, name, flags) in WAYS {
        let program = rig.compile_as("pair", name, flags);
        programs.push((way, program.context("is libjemalloc-dev installed?")?));
    }
    let mut samples = [Samples::default(), Samples::default()];
    let pairs = if rig.quick { 1_000_000 } else { 5_000_000 };
    for _ in 0..rig.runs {
        for ((_, program), samples) in programs.iter().zip(&mut samples) {
            for variant in VARIANTS {
                let arguments = ["1".to_owned(), pairs.to_string()];
                let text = shell::capture(&mut rig.command(variant, program, &arguments)?)?;
                samples.add(variant, first_number(&text)?);
            }
        }
    }
    let mut table = Table::new(&[
        "a pair on jemalloc",
        "bare",
        "without stacks, above bare",
        "with stacks, above bare",
    ]);
    for ((way, _), samples) in programs.iter().zip(&samples) {
        table.row([
            (*way).to_owned(),
            figure(samples.median(Variant::Bare), 1, " ns"),
            figure(samples.above_bare(Variant::WithoutStacks), 1, " ns"),
            figure(samples.above_bare(Variant::Traced), 1, " ns"),
        ]);
    }
    let [interposed, hooked] = &samples;
    let more = |variant| Some(hooked.above_bare(variant)? - interposed.above_bare(variant)?);
    table.row([
        "the hook more".to_owned(),
        String::new(),
        figure(more(Variant::WithoutStacks), 1, " ns"),
        figure(more(Variant::Traced), 1, " ns"),
    ]);
    Ok(format!(
        "### What a hook on a linked-in allocator costs\n\n\
         The same program and the same jemalloc, on one thread.\n\n{table}"
    ))
}
