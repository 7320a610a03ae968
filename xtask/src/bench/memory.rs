//! How much memory of the process the tracer takes, by the kernel's own count: of a thread, and of
//! events that went by.

use anyhow::{Context, Result};

use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped, median};
use crate::shell;

const VARIANTS: [Variant; 3] = [Variant::Bare, Variant::WithoutStacks, Variant::Traced];
/// Threads, and pairs that each makes.
const ONE: (u64, u64) = (1, 1_000);
const MANY: (u64, u64) = (65, 1_000);
const LONG: (u64, u64) = (1, 20_000_000);

/// Bytes that a process has in memory, anonymous and of files.
type Resident = [f64; 2];

/// Measures; returns the section.
pub fn run(rig: &Rig) -> Result<String> {
    let program = rig.compile("threads")?;
    let mut above = [[[None; 2]; 2]; 3];
    for (above, (threads, pairs)) in above.iter_mut().zip([ONE, MANY, LONG]) {
        let mut samples = [const { Vec::<Resident>::new() }; VARIANTS.len()];
        for _ in 0..rig.runs {
            for (variant, samples) in VARIANTS.iter().zip(&mut samples) {
                let arguments = [threads.to_string(), pairs.to_string()];
                let text = shell::capture(&mut rig.command(*variant, &program, &arguments)?)?;
                samples.push(resident(&text)?);
            }
        }
        let [bare, without, with] = samples.map(|runs| {
            [0, 1].map(|kind| median(&runs.iter().map(|run| run[kind]).collect::<Vec<_>>()))
        });
        *above = [without, with].map(|traced| {
            [0, 1].map(|kind| traced[kind].zip(bare[kind]).map(|(traced, bare)| traced - bare))
        });
    }
    let [one, many, long] = above;
    let threads_more = (MANY.0 - ONE.0) as f64;
    let each = [0, 1].map(|stacks| {
        [0, 1].map(|kind| {
            let (many, one) = many[stacks][kind].zip(one[stacks][kind])?;
            Some((many - one) / threads_more)
        })
    });
    let mut table = Table::new(&[
        "resident, more than bare",
        "anonymous, without stacks",
        "with stacks",
        "of the trace, without stacks",
        "with stacks",
    ]);
    let [one_name, long_name] = [ONE, LONG]
        .map(|(_, pairs)| format!("1 thread, after {} events", grouped((2 * pairs) as f64)));
    for (name, of) in
        [(one_name, one), (long_name, long), ("each of 64 threads more".to_owned(), each)]
    {
        let kib = |bytes: Option<f64>| figure(bytes.map(|bytes| bytes / 1024.0), 1, " KiB");
        let [without, with] = of.map(|of| of.map(kib));
        let [[without_anonymous, without_file], [with_anonymous, with_file]] = [without, with];
        table.row([name, without_anonymous, with_anonymous, without_file, with_file]);
    }
    Ok(format!(
        "### Memory\n\n\
         What the kernel counts of the process while its threads wait, medians of {} runs. Of the \
         trace: pages of the file that are mapped in, chunks and tables alike; all of them can be \
         written back and taken away.\n\n{table}",
        rig.runs
    ))
}

fn resident(text: &str) -> Result<Resident> {
    let figures: Vec<f64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [anonymous, of_files] = figures[..].try_into().context("threads printed no two figures")?;
    Ok([anonymous * 1024.0, of_files * 1024.0])
}
