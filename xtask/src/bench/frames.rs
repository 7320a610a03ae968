//! What one more frame of a stack costs: of stacks that are known, and of new ones.

use std::path::Path;

use anyhow::Result;

use super::pair::first_number;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure};
use crate::shell;

/// Which stacks there are.
struct Stacks {
    name: &'static str,
    paths: u64,
    /// They differ in so many frames, the innermost ones; `None`: in all but those of `main`.
    differ: Option<u64>,
    /// How often each is taken; and under heaptrack, which takes longer.
    rounds: u64,
    heaptracks_rounds: u64,
}

const STACKS: [Stacks; 5] = [
    Stacks {
        name: "known: that of the call before",
        paths: 1,
        differ: None,
        rounds: 2_000_000,
        heaptracks_rounds: 1_000_000,
    },
    Stacks {
        name: "known: two in turn",
        paths: 2,
        differ: None,
        rounds: 1_000_000,
        heaptracks_rounds: 500_000,
    },
    Stacks {
        name: "known: 64 in turn, this frame in all of them",
        paths: 64,
        differ: Some(6),
        rounds: 8_000,
        heaptracks_rounds: 4_000,
    },
    Stacks {
        name: "known: 64 in turn, different from the root on",
        paths: 64,
        differ: None,
        rounds: 8_000,
        heaptracks_rounds: 4_000,
    },
    Stacks { name: "new", paths: 1 << 14, differ: None, rounds: 1, heaptracks_rounds: 1 },
];
/// What lies between is what is told of. New stacks differ in more levels than those that number them.
const LEVELS: [u64; 2] = [16, 28];

/// Measures; returns the section.
pub fn run(rig: &Rig) -> Result<String> {
    let program = rig.compile("frames")?;
    let mut table = Table::new(&["stacks", "fragtrace, a frame", "heaptrack, a frame"]);
    for stacks in STACKS {
        let mut samples = Samples::default();
        for _ in 0..rig.runs {
            for variant in rig.variants().into_iter().filter(|v| *v != Variant::Stamps) {
                let [few, many] = [
                    call_ns(rig, &program, variant, &stacks, LEVELS[0])?,
                    call_ns(rig, &program, variant, &stacks, LEVELS[1])?,
                ];
                samples.add(variant, (many - few) / (LEVELS[1] - LEVELS[0]) as f64);
            }
        }
        let above = |variant, without| Some(samples.median(variant)? - samples.median(without)?);
        // The recursion is in both, and so is the event.
        let ours = above(Variant::Traced, Variant::WithoutStacks);
        let heaptracks = above(Variant::Heaptrack, Variant::Bare);
        table.row([stacks.name.to_owned(), figure(ours, 1, " ns"), figure(heaptracks, 1, " ns")]);
    }
    Ok(format!(
        "### What a frame costs\n\n\
         malloc and its free at the bottom of a recursion: what {} more levels take with stacks and \
         not without, by frame. *Known*: the stack was met before. Of 64 in turn each is walked, up \
         to what it has in common with the one before. heaptrack's interpreter, which works beside \
         it, is not in these figures.\n\n{table}",
        LEVELS[1] - LEVELS[0]
    ))
}

/// Nanoseconds of a call at the bottom of so many levels.
fn call_ns(
    rig: &Rig,
    program: &Path,
    variant: Variant,
    stacks: &Stacks,
    levels: u64,
) -> Result<f64> {
    let rounds = match variant {
        Variant::Heaptrack => stacks.heaptracks_rounds,
        _ => stacks.rounds,
    };
    let calls = stacks.paths * if rig.quick { rounds.div_ceil(10) } else { rounds };
    let shared = stacks.differ.map_or(0, |differ| levels - differ);
    let arguments = [stacks.paths, shared, levels, calls].map(|number| number.to_string());
    first_number(&shell::capture(&mut rig.command(variant, program, &arguments)?)?)
}
