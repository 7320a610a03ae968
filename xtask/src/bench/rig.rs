//! What every benchmark stands on: a program run bare, traced, or under heaptrack, in a scratch
//! folder under the target folder.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::facts::Facts;
use super::table::median;
use crate::project::{self, Artifacts};
use crate::shell;

/// How a program is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Bare,
    /// Under a library that reads the clock and stores eight bytes for each event, and no more: what
    /// no tracer can go below.
    Stamps,
    /// Under libfragtrace.so as it comes: with stacks.
    Traced,
    /// Under libfragtrace.so with FRAGTRACE_STACKS=off.
    WithoutStacks,
    /// Under heaptrack as its user starts it: with stacks, which it always takes.
    Heaptrack,
}

/// Samples of one figure, by variant, in the order in which they were taken. Variants are compared run
/// by run: two that follow each other find the machine as fast, or nearly.
#[derive(Default)]
pub struct Samples(Vec<(Variant, f64)>);

impl Samples {
    pub fn add(&mut self, variant: Variant, value: f64) {
        self.0.push((variant, value));
    }

    /// The median of a variant's samples; `None` where there are none.
    pub fn median(&self, variant: Variant) -> Option<f64> {
        median(&self.of(variant).collect::<Vec<_>>())
    }

    /// The median of what a variant has more than the bare run of the same round.
    pub fn above_bare(&self, variant: Variant) -> Option<f64> {
        self.beside_bare(variant, |value, bare| value - bare)
    }

    /// What a variant adds, as a percentage of what heaptrack adds.
    pub fn of_heaptracks(&self, variant: Variant) -> Option<f64> {
        Some(100.0 * self.above_bare(variant)? / self.above_bare(Variant::Heaptrack)?)
    }

    /// Where samples are times: the bare ones as a percentage of the variant's.
    pub fn speed_kept(&self, variant: Variant) -> Option<f64> {
        self.beside_bare(variant, |value, bare| 100.0 * bare / value)
    }

    /// A variant's samples as a percentage of the bare ones.
    pub fn kept(&self, variant: Variant) -> Option<f64> {
        self.beside_bare(variant, |value, bare| 100.0 * value / bare)
    }

    fn of(&self, variant: Variant) -> impl Iterator<Item = f64> {
        self.0.iter().filter(move |(of, _)| *of == variant).map(|(_, value)| *value)
    }

    /// The median over the rounds of what a variant's sample is beside the bare one.
    fn beside_bare(&self, variant: Variant, compare: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let rounds = self.of(variant).zip(self.of(Variant::Bare));
        median(&rounds.map(|(value, bare)| compare(value, bare)).collect::<Vec<_>>())
    }
}

/// Where and how benchmarks run.
pub struct Rig {
    pub artifacts: Artifacts,
    pub runs: usize,
    pub quick: bool,
    folder: PathBuf,
    stamps: PathBuf,
    heaptrack: Option<PathBuf>,
}

/// Large enough for every program here: a full ring would record nothing, and cost nothing.
const RING: &str = "2G";

impl Rig {
    pub fn new(artifacts: Artifacts, quick: bool) -> Result<Rig> {
        let folder = artifacts.target.join("bench");
        let runs = if quick { 3 } else { 7 };
        let heaptrack = shell::find("heaptrack");
        let stamps = folder.join("libstamps.so");
        let rig = Rig { artifacts, runs, quick, folder, stamps, heaptrack };
        rig.forget_traces()?;
        rig.compile_as("stamps", "libstamps.so", &["-shared", "-fPIC", "-ldl"])?;
        Ok(rig)
    }

    /// The variants to compare, in the order in which they take turns.
    pub fn variants(&self) -> Vec<Variant> {
        let mut variants =
            vec![Variant::Bare, Variant::Stamps, Variant::Traced, Variant::WithoutStacks];
        variants.extend(self.heaptrack.as_ref().map(|_| Variant::Heaptrack));
        variants
    }

    /// The path of a scratch file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A C program of the `bench` folder, compiled.
    pub fn compile(&self, name: &str) -> Result<PathBuf> {
        self.compile_as(name, name, &[])
    }

    /// The same, under another name and linked with more.
    pub fn compile_as(&self, source: &str, name: &str, flags: &[&str]) -> Result<PathBuf> {
        let cc = shell::find("cc").context("no C compiler `cc` here (Debian package gcc)")?;
        let source = project::root().join("xtask/bench").join(source).with_extension("c");
        let program = self.file(name);
        let mut compile = Command::new(cc);
        compile.args(["-O2", "-pthread", "-o"]).arg(&program).arg(source).args(flags);
        shell::run(&mut compile)?;
        Ok(program)
    }

    /// The program's command line, to be run as the variant says.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        variant: Variant,
        program: &Path,
        arguments: &[S],
    ) -> Result<Command> {
        self.forget_traces()?;
        let mut command = match (variant, &self.heaptrack) {
            (Variant::Heaptrack, Some(heaptrack)) => {
                let mut command = Command::new(heaptrack);
                command.arg("-o").arg(self.heaptrack_output()).arg(program);
                command
            }
            (Variant::Heaptrack, None) => bail!("heaptrack is not installed"),
            _ => Command::new(program),
        };
        if variant == Variant::Stamps {
            command.env("LD_PRELOAD", &self.stamps);
        }
        if matches!(variant, Variant::Traced | Variant::WithoutStacks) {
            command.env("LD_PRELOAD", &self.artifacts.tracer);
            command.env("FRAGTRACE_OUT", self.traces().join("%e.%p.ftr"));
            command.env("FRAGTRACE_RING", RING);
            command.env("FRAGTRACE_QUIET", "1");
        }
        if variant == Variant::WithoutStacks {
            command.env("FRAGTRACE_STACKS", "off");
        }
        command.args(arguments).current_dir(&self.folder);
        Ok(command)
    }

    /// What the last heaptrack run wrote.
    pub fn heaptrack_output(&self) -> PathBuf {
        self.file("heaptrack")
    }

    /// Where the trace of the last traced run is, which was one process.
    pub fn trace(&self) -> Result<PathBuf> {
        let mut all = fs::read_dir(self.traces()).context("cannot read the traces' folder")?;
        Ok(all.next().context("the traced program left no trace")??.path())
    }

    /// The trace of the last traced run; of several processes, the one with most events.
    pub fn facts(&self) -> Result<Facts> {
        let mut best: Option<Facts> = None;
        for entry in fs::read_dir(self.traces()).context("cannot read the traces' folder")? {
            let facts = Facts::read(&self.artifacts.fragtrace, &entry?.path())?;
            if best.as_ref().is_none_or(|best| best.events < facts.events) {
                best = Some(facts);
            }
        }
        best.context("the traced program left no trace")
    }

    /// Removes all scratch files.
    pub fn clear(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    fn traces(&self) -> PathBuf {
        self.file("traces")
    }

    fn forget_traces(&self) -> Result<()> {
        let traces = self.traces();
        if traces.exists() {
            fs::remove_dir_all(&traces)
                .with_context(|| format!("cannot empty {}", traces.display()))?;
        }
        fs::create_dir_all(&traces).with_context(|| format!("cannot make {}", traces.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_compared_run_by_run() {
        let mut samples = Samples::default();
        // The machine becomes slower by half, and slower again.
        for (bare, traced) in [(10.0, 11.0), (20.0, 22.0), (40.0, 44.0)] {
            samples.add(Variant::Bare, bare);
            samples.add(Variant::Traced, traced);
        }
        assert_eq!(samples.median(Variant::Traced), Some(22.0));
        assert_eq!(samples.above_bare(Variant::Traced), Some(2.0));
        assert_eq!(samples.kept(Variant::Traced), Some(110.0));
        assert_eq!(samples.kept(Variant::Heaptrack), None);
    }
}
