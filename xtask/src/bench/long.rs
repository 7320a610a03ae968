//! A trace as long as a day: time and memory of its report.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::rig::{Rig, Variant};
use super::table::{Table, figure, grouped};
use crate::shell;

/// Each call of the stress is an acquisition, and a release sooner or later.
const EVENTS_OF_A_CALL: u64 = 2;
/// Blocks that its one thread has live at most.
const LIVE_BLOCKS: u64 = 5000;
/// Anonymous memory that a report may take: so much for each live block, and so much for all else.
const BYTES_A_BLOCK: u64 = 200;
const BYTES_BESIDE: u64 = 256 << 20;
/// How often memory is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Records a thousand million events and has them reported once.
pub fn run(rig: &Rig) -> Result<String> {
    let stress = rig.compile("stress")?;
    let calls: u64 = if rig.quick { 10_000_000 } else { 500_000_000 };
    let mut command = rig.command(Variant::WithoutStacks, &stress, &["1", &calls.to_string()])?;
    shell::capture(command.env("FRAGTRACE_RING", "8G"))?;
    let trace = rig.trace()?;
    let said = rig.file("report");
    let start = Instant::now();
    let mut report = Command::new(&rig.artifacts.fragtrace)
        .arg("report")
        .arg(&trace)
        .stdout(Stdio::from(File::create(&said)?))
        .spawn()
        .context("cannot start fragtrace")?;
    let anonymous = most_anonymous_bytes(&mut report)?;
    let seconds = start.elapsed().as_secs_f64();
    let said = fs::read_to_string(&said)?;
    let events = count_before(&said, " allocs,")? + count_before(&said, " frees,")?;
    if events < calls * EVENTS_OF_A_CALL {
        bail!("{events} events of {} were recorded", calls * EVENTS_OF_A_CALL);
    }
    let events = events as f64;
    let allowed = LIVE_BLOCKS * BYTES_A_BLOCK + BYTES_BESIDE;
    let mib = |bytes: u64| figure(Some(bytes as f64 / f64::from(1 << 20)), 0, " MiB");
    let mut table = Table::new(&[
        "events",
        "trace",
        "seconds",
        "events a second",
        "anonymous memory",
        "allowed",
    ]);
    table.row([
        grouped(events),
        figure(Some(fs::metadata(&trace)?.len() as f64 / 1e6), 0, " MB"),
        figure(Some(seconds), 1, " s"),
        grouped(events / seconds),
        mib(anonymous),
        mib(allowed),
    ]);
    Ok(format!(
        "### A long trace\n\nThe stress on one thread, {} blocks live, without stacks, read once by `report`. Memory \
         is the greatest that was seen, 10 times a second; allowed are {BYTES_A_BLOCK} bytes a block and {}.\n\n{table}",
        grouped(LIVE_BLOCKS as f64),
        mib(BYTES_BESIDE),
    ))
}

/// The number that stands before some words.
fn count_before(text: &str, words: &str) -> Result<u64> {
    let before = text.split_once(words).and_then(|(before, _)| before.split_whitespace().last());
    let digits = before.map(|number| number.replace(',', ""));
    digits
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("the report tells no{words}"))
}

/// The greatest anonymous memory of a process, until it ends well.
fn most_anonymous_bytes(process: &mut Child) -> Result<u64> {
    let status = format!("/proc/{}/status", process.id());
    let mut most = 0;
    loop {
        if let Some(ended) = process.try_wait()? {
            if !ended.success() {
                bail!("fragtrace report: {ended}");
            }
            return Ok(most);
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kib.unwrap_or(0) * 1024);
        thread::sleep(POLL);
    }
}
