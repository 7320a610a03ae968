//! Runs the driver: this program again, under an allocator, with a script as its input and a file
//! for its results as its output.

use anyhow::{Context, Result, anyhow, bail};
use fragtrace_analyzer::shootout::{Baseline, Source};
use fragtrace_shootout_driver::COUNT;
use fragtrace_shootout_driver::results::{TOTALS, Total, file_bytes};
use fragtrace_shootout_driver::script::{Head, Op, word};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// The first argument by which this program knows that it is the driver.
pub const HIDDEN_NAME: &str = "shootout-driver";

/// How often the driver is looked at.
const POLL: Duration = Duration::from_millis(10);
/// Of what an allocator says on standard error so much is shown.
const MOST_SAID_BYTES: u64 = 4096;

/// How much memory a run may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    max_rss_bytes: Option<u64>,
}

impl Limits {
    /// As the user says, else what is free less a tenth.
    pub fn new(said: Option<u64>) -> Limits {
        Limits { max_rss_bytes: said.or_else(|| free_bytes().map(|free| free - free / 10)) }
    }
}

/// What the machine, or this process's cgroup, has left.
fn free_bytes() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let free = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    Some(cgroup_free_bytes().map_or(free, |left| left.min(free)))
}

fn cgroup_free_bytes() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let number =
        |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// Starts drivers.
#[derive(Debug)]
pub struct Driver {
    program: PathBuf,
    limits: Limits,
    page_bytes: u64,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Measure,
    /// It takes its time for that: its other figures say nothing.
    CountSystemCalls,
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    words: Vec<u64>,
    error: Option<String>,
    /// What the loader said when it went on without the library: the figures are the C library's.
    pub without_library: Option<String>,
}

impl Outcome {
    /// For the figures.
    pub fn source(&self) -> Source<'_> {
        Source { words: &self.words, error: self.error.as_deref() }
    }
}

impl Driver {
    /// # Errors
    /// When this program's own path cannot be told.
    pub fn new(limits: Limits) -> Result<Driver> {
        let program = std::env::current_exe().context("the path of this program cannot be told")?;
        let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(4096);
        Ok(Driver { program, limits, page_bytes })
    }

    /// What the driver has in memory by itself: a script without calls, on the C library's malloc.
    ///
    /// # Errors
    /// When the driver cannot be run.
    pub fn baseline(&self) -> Result<Baseline> {
        let head = Head { slots: 1, stand_ins: 1, samples: 1, ..Head::default() };
        let steps = [word(Op::Sample, 0, 0), word(Op::Done, 0, 0)];
        let mut file = tempfile::tempfile()?;
        for word in head.words().into_iter().chain(steps) {
            file.write_all(&word.to_le_bytes())?;
        }
        let outcome = self.run(&file, 1, None, &[], Purpose::Measure, |_| {})?;
        match &outcome.error {
            None => Ok(outcome.source().baseline()),
            Some(error) => bail!("the shootout cannot be run here: {error}"),
        }
    }

    /// Runs a script, with a library preloaded and variables set. `progress` gets the words done.
    ///
    /// # Errors
    /// When the driver cannot be started. What goes wrong in it is in the outcome.
    pub fn run(
        &self,
        script: &File,
        samples: u64,
        library: Option<&Path>,
        variables: &[(String, String)],
        purpose: Purpose,
        mut progress: impl FnMut(u64),
    ) -> Result<Outcome> {
        let results = tempfile::tempfile()?;
        results.set_len(file_bytes(samples))?;
        let mut said = tempfile::tempfile()?;
        let mut input = script.try_clone()?;
        input.seek(SeekFrom::Start(0))?;
        let mut command = Command::new(&self.program);
        // Nothing of the user's environment may steer the allocator.
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        if let Some(library) = library {
            command.env("LD_PRELOAD", library);
        }
        command.arg(HIDDEN_NAME);
        if purpose == Purpose::CountSystemCalls {
            command.arg(OsStr::from_bytes(COUNT));
        }
        command.stdin(input).stdout(results.try_clone()?);
        command.stderr(Stdio::from(said.try_clone()?));
        let mut child = command
            .spawn()
            .map_err(|error| anyhow!("{} cannot be run again: {error}", self.program.display()))?;
        let ended = self.wait(&mut child, &results, &mut progress)?;
        let mut text = String::new();
        said.seek(SeekFrom::Start(0))?;
        let _ = said.take(MOST_SAID_BYTES).read_to_string(&mut text);
        let words = read_words(&results, samples)?;
        let without_library = refused(&text);
        let error = trouble(ended, &text, &words);
        Ok(Outcome { words, error, without_library })
    }

    /// Waits for the end. `Err`: it was stopped, and why.
    fn wait(
        &self,
        child: &mut Child,
        results: &File,
        progress: &mut impl FnMut(u64),
    ) -> Result<Result<ExitStatus, String>> {
        let statm = format!("/proc/{}/statm", child.id());
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Ok(status));
            }
            if let (Some(most), Some(rss)) = (self.limits.max_rss_bytes, self.resident(&statm))
                && rss > most
            {
                child.kill()?;
                child.wait()?;
                return Ok(Err("stopped: it needed more memory than --max-rss allows".into()));
            }
            let mut word = [0; 8];
            let place = Total::Words as u64 * 8;
            if results.read_exact_at(&mut word, place).is_ok() {
                progress(u64::from_le_bytes(word));
            }
            thread::sleep(POLL);
        }
    }

    fn resident(&self, statm: &str) -> Option<u64> {
        let text = fs::read_to_string(statm).ok()?;
        Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * self.page_bytes)
    }
}

fn read_words(results: &File, samples: u64) -> Result<Vec<u64>> {
    let mut bytes = vec![0; usize::try_from(file_bytes(samples))?];
    results.read_exact_at(&mut bytes, 0)?;
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    Ok(bytes.chunks_exact(8).map(word).collect())
}

/// The loader's words about a library that it cannot load: it goes on without.
fn refused(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains("cannot be preloaded"))?;
    Some(line.trim().to_owned())
}

/// Why a run says nothing, or not all: how it ended, and what the loader or the allocator said.
fn trouble(ended: Result<ExitStatus, String>, said: &str, words: &[u64]) -> Option<String> {
    let line = said.lines().find(|line| !line.trim().is_empty()).map(str::trim);
    let status = match ended {
        Ok(status) => status,
        Err(stopped) => return Some(stopped),
    };
    if let Some(signal) = status.signal() {
        let line = line.map_or_else(String::new, |line| format!(": {line}"));
        return Some(format!("killed by signal {signal}{line}"));
    }
    let done = words.get(Total::Done as usize) == Some(&1) && words.len() >= TOTALS;
    match (status.success() && done, line) {
        (false, line) => Some(line.unwrap_or("the driver did not come to its end").to_owned()),
        // A setting that the allocator does not know: the run is not what its name says.
        (true, Some(line)) => Some(format!("it says: {line}")),
        (true, None) => None,
    }
}
