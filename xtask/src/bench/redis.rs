//! redis-server's throughput: a real program whose allocator (jemalloc, in Debian's package) is
//! called a few times for each of a million requests.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::bytes::Row;
use super::facts::Facts;
use super::rig::{Rig, Samples, Variant};
use super::table::{Table, figure, grouped};
use crate::shell;

/// Requests on their way at once on each connection: 1 measures the network stack above all, 16
/// the server.
const PIPELINES: [u32; 2] = [1, 16];

/// Enough for a median, and for the whole bench to end soon.
const RUNS: usize = 5;

/// Measures; returns the section and, where redis is installed, the facts of the last traces.
pub fn run(rig: &Rig) -> Result<(String, Row)> {
    let name = "redis-server, SET, HSET, LPUSH".to_owned();
    let mut row = Row { name, without: None, with: None, in_mix: true };
    let programs = ["redis-server", "redis-benchmark", "redis-cli"].map(shell::find);
    let [Some(server), Some(benchmark), Some(client)] = programs else {
        let missing = "redis is not installed (Debian packages redis-server and redis-tools)";
        return Ok((format!("### redis\n\nSkipped: {missing}."), row));
    };
    let programs = Programs { server, benchmark, client };
    let mut samples: BTreeMap<(u32, String), Samples> = BTreeMap::new();
    let runs = rig.runs.min(RUNS);
    for run in 1..=runs {
        for variant in rig.variants() {
            for (pipeline, command, rate) in programs.measure(rig, variant)? {
                samples.entry((pipeline, command)).or_default().add(variant, rate);
            }
            match variant {
                Variant::Traced if run == runs => row.with = Some(rig.facts()?),
                Variant::WithoutStacks if run == runs => row.without = Some(rig.facts()?),
                _ => {}
            }
        }
    }
    let mut table = Table::new(&[
        "requests a second",
        "bare",
        "stamps alone",
        "without stacks",
        "with stacks",
        "heaptrack",
        "stamps keep",
        "without keeps",
        "with keeps",
        "heaptrack keeps",
    ]);
    for ((pipeline, command), samples) in &samples {
        let rate = |variant| samples.median(variant).map_or_else(|| "–".to_owned(), grouped);
        let kept = |variant| figure(samples.kept(variant), 1, " %");
        table.row([
            format!("{command}, pipeline {pipeline}"),
            rate(Variant::Bare),
            rate(Variant::Stamps),
            rate(Variant::WithoutStacks),
            rate(Variant::Traced),
            rate(Variant::Heaptrack),
            kept(Variant::Stamps),
            kept(Variant::WithoutStacks),
            kept(Variant::Traced),
            kept(Variant::Heaptrack),
        ]);
    }
    let section = format!(
        "### redis\n\nredis-benchmark and redis-server on this machine, 50 connections, 64 B \
         values, a fresh server for each run, medians of {runs}; *keeps*: of the \
         ratios to the bare run of the same round. {}\n\n{table}",
        row.with.as_ref().map(Facts::caveat).unwrap_or_default()
    );
    Ok((section, row))
}

struct Programs {
    server: PathBuf,
    benchmark: PathBuf,
    client: PathBuf,
}

impl Programs {
    /// One server's life: start, load, stop. Requests a second by pipeline and command.
    fn measure(&self, rig: &Rig, variant: Variant) -> Result<Vec<(u32, String, f64)>> {
        let port = free_port()?.to_string();
        let mut options = vec!["--port", &port, "--bind", "127.0.0.1", "--appendonly", "no"];
        options.extend(["--save", "", "--loglevel", "warning"]);
        let mut command = rig.command(variant, &self.server, &options)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start redis-server")?;
        let mut server = Server { child, client: &self.client, port };
        server.wait_until_ready()?;
        let mut rates = Vec::new();
        for pipeline in PIPELINES {
            let requests = match (pipeline, rig.quick) {
                (1, false) => 60_000,
                (1, true) => 20_000,
                (_, false) => 600_000,
                (_, true) => 100_000,
            };
            let csv = shell::capture(
                Command::new(&self.benchmark)
                    .args(["-h", "127.0.0.1", "-p", &server.port, "-t", "set,hset,lpush"])
                    .args(["-c", "50", "-d", "64", "-r", "100000", "--csv"])
                    .args(["-n", &requests.to_string(), "-P", &pipeline.to_string()]),
            )?;
            let found = csv.lines().filter_map(read_rate);
            rates.extend(found.map(|(command, rate)| (pipeline, command, rate)));
        }
        server.stop()?;
        if rates.is_empty() {
            bail!("redis-benchmark printed no rates");
        }
        Ok(rates)
    }
}

/// A line of `redis-benchmark --csv`: `"SET","123456.78",…`; its heading has no number there.
fn read_rate(line: &str) -> Option<(String, f64)> {
    let mut cells = line.split(',').map(|cell| cell.trim_matches('"'));
    let command = cells.next()?.split(' ').next()?.to_owned();
    Some((command, cells.next()?.parse().ok()?))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

struct Server<'a> {
    child: Child,
    client: &'a PathBuf,
    port: String,
}

impl Server<'_> {
    fn wait_until_ready(&mut self) -> Result<()> {
        for _ in 0..200 {
            if self.answers() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("redis-server ended at once: {status}");
            }
            sleep(Duration::from_millis(50));
        }
        bail!("redis-server did not answer within 10 s")
    }

    fn answers(&self) -> bool {
        let port = self.port.parse().unwrap_or(0);
        let mut pong = [0; 7];
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|mut stream| {
            let asked = stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
                && stream.write_all(b"PING\r\n").is_ok();
            asked && stream.read_exact(&mut pong).is_ok() && &pong == b"+PONG\r\n"
        })
    }

    fn stop(&mut self) -> Result<()> {
        let mut shutdown = Command::new(self.client);
        shutdown.args(["-h", "127.0.0.1", "-p", &self.port, "shutdown", "nosave"]);
        shell::output(&mut shutdown)?;
        self.child.wait().context("redis-server")?;
        Ok(())
    }
}

impl Drop for Server<'_> {
    /// On an error: neither the server nor a launcher above it may outlive the benchmark.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.stop().is_err() {
            let _ = self.child.kill();
        }
    }
}
