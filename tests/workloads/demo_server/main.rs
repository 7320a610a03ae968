//! A server that fragments its heap, as servers do: the program behind `cargo xtask demo`.
//!
//! Four workers answer requests (short-lived blocks), keep sessions (long-lived blocks), and three
//! times import a batch of documents (a burst of small nodes, all dropped afterwards). While a
//! worker imports, clients go on logging in, so that each page of the burst gets a session's user
//! agent in its middle. When the documents are gone, these few bytes hold the pages: RSS climbs a
//! step with each larger import and never comes back, although nothing leaks.
//!
//! With `--cured` the user agents live in one pool that was reserved before the first import; all
//! else is the same, and the pages can be given back. Only std and the system's allocator are
//! used, so that what is seen is glibc's doing and this program's, nobody else's.

mod document;
mod memory;
mod request;
mod rng;
mod session;

use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use document::Element;
use rng::Rng;
use session::Store;

const WORKERS: usize = 4;
/// How long a worker waits for the next group of requests, or for the next document.
const WAIT: Duration = Duration::from_millis(4);
const REQUESTS_AT_ONCE: usize = 40;
/// What a group of requests is read into. glibc looks for memory to give back when a block of more
/// than 64 KiB is freed, so a server with such buffers returns all that nothing pins.
const READ_BUFFER_BYTES: usize = 72 << 10;

/// What all workers do at the same time, until all are done.
#[derive(Clone, Copy)]
enum Phase {
    /// Answer requests in so many groups, with a rest after each.
    Serve { groups: u32 },
    /// Parse so many documents on each worker and hold them, logins arriving all the while.
    Import { documents: usize },
    /// Publish what was imported and drop it.
    Publish,
    /// Nothing to do: give back what can be given back, and rest.
    Idle { rest: Duration },
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Serve { .. } => "serve",
            Phase::Import { .. } => "import",
            Phase::Publish => "publish",
            Phase::Idle { .. } => "idle",
        }
    }
}

/// Three imports, each larger than the one before, with ordinary service between them.
fn script(quick: bool) -> Vec<Phase> {
    let (groups, imports, rest) = if quick {
        (30, [8, 14, 20], Duration::from_millis(100))
    } else {
        (200, [60, 100, 150], Duration::from_millis(400))
    };
    let mut phases = vec![Phase::Serve { groups }];
    for documents in imports {
        phases.extend([Phase::Import { documents }, Phase::Publish]);
        phases.extend([Phase::Idle { rest }, Phase::Serve { groups }]);
    }
    phases.push(Phase::Idle { rest: rest * 5 });
    phases
}

struct Worker<'a> {
    store: &'a Store,
    shard: usize,
    rng: Rng,
    imported: Vec<Element>,
}

impl Worker<'_> {
    fn run(&mut self, phase: Phase) {
        match phase {
            Phase::Serve { groups } => self.serve(groups),
            Phase::Import { documents } => self.import(documents),
            Phase::Publish => self.publish(),
            Phase::Idle { rest } => {
                if self.shard == 0 {
                    memory::give_back();
                }
                std::thread::sleep(rest);
            }
        }
    }

    fn serve(&mut self, groups: u32) {
        for _ in 0..groups {
            std::thread::sleep(WAIT);
            let mut buffer = String::with_capacity(READ_BUFFER_BYTES);
            for _ in 0..REQUESTS_AT_ONCE {
                let user = self.store.any_user(self.shard, &mut self.rng);
                request::answer(&mut buffer, user, &mut self.rng);
            }
        }
    }

    /// The burst. A document is parsed in one go, but the worker looks after its clients every few
    /// elements: that is what puts long-lived blocks between short-lived ones.
    fn import(&mut self, documents: usize) {
        let mut clients = self.rng.fork();
        for _ in 0..documents {
            std::thread::sleep(WAIT);
            let source = document::compose(&mut self.rng);
            let (store, shard) = (self.store, self.shard);
            self.imported.push(document::parse(&source, &mut || {
                store.log_in(shard, &mut clients);
            }));
        }
    }

    fn publish(&mut self) {
        let bytes: usize = self.imported.drain(..).map(|document| document.published_bytes()).sum();
        black_box(bytes);
    }
}

fn log(start: Instant, store: &Store, what: &str) {
    eprintln!(
        "demo-server {:5.2} s  {what:<10} RSS {:6.1} MiB  {:6} sessions",
        start.elapsed().as_secs_f64(),
        memory::resident_mib(),
        store.len(),
    );
}

fn serve_all(phases: &[Phase], store: &Store) {
    let start = Instant::now();
    let barrier = Barrier::new(WORKERS + 1);
    log(start, store, "start");
    std::thread::scope(|scope| {
        for shard in 0..WORKERS {
            let barrier = &barrier;
            scope.spawn(move || {
                let rng = Rng::new(shard as u64 + 1);
                let mut worker = Worker { store, shard, rng, imported: Vec::with_capacity(256) };
                for &phase in phases {
                    worker.run(phase);
                    barrier.wait();
                    barrier.wait();
                }
            });
        }
        for phase in phases {
            barrier.wait();
            log(start, store, phase.name());
            barrier.wait();
        }
    });
}

fn main() -> ExitCode {
    let (mut quick, mut cured) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--cured" => cured = true,
            other => {
                eprintln!(
                    "demo-server: {other}: not known; usage: demo-server [--quick] [--cured]"
                );
                return ExitCode::from(2);
            }
        }
    }
    // Servers are stopped, they do not tidy up: what is held at the end stays visible as held.
    let store = ManuallyDrop::new(Store::new(WORKERS, cured));
    serve_all(&script(quick), &store);
    ExitCode::SUCCESS
}
