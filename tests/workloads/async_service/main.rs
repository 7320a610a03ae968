//! A service on tokio that keeps responses in a cache: who frees what others allocated.
//!
//!   async-service stealing|per-core WORKERS [TIMES]
//!
//! TIMES: so many times the usual requests.
//!
//! Connections are tasks that send request after request. Each request makes a response, puts it in
//! the place of another one in the cache, and gives way to other tasks. On one runtime that steals
//! work a task goes on wherever a worker is free, so that what it evicts was allocated by any of
//! them: with N workers that share the work (N − 1)/N of it by another. With one runtime a worker,
//! each with connections and a cache of its own, none is.
//!
//! The program counts itself what the tracer is to find: responses that were freed, and those of
//! them that another thread had allocated.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

const CONNECTIONS: usize = 64;
const REQUESTS: usize = 240_000;
/// Responses in the cache, of all runtimes together: more than are made while one thread runs and
/// the others wait for a processor.
const CACHED: usize = 24_000;
/// Responses are of these sizes.
const SIZES: [usize; 5] = [128, 256, 512, 1024, 2048];

struct Response {
    made_by: ThreadId,
    body: Vec<u8>,
}

#[derive(Default)]
struct Freed {
    all: AtomicU64,
    crossed: AtomicU64,
}

struct Cache {
    responses: Mutex<Vec<Option<Response>>>,
    freed: Arc<Freed>,
}

impl Cache {
    fn new(places: usize, freed: &Arc<Freed>) -> Arc<Cache> {
        let responses = Mutex::new((0..places).map(|_| None).collect());
        Arc::new(Cache { responses, freed: freed.clone() })
    }

    fn put(&self, place: usize, response: Response) {
        let mut responses = self.responses.lock().expect("nobody panics with the cache");
        let place = place % responses.len();
        let evicted = responses[place].replace(response);
        drop(responses);
        if let Some(evicted) = evicted {
            let crossed = evicted.made_by != thread::current().id();
            self.freed.all.fetch_add(1, Ordering::Relaxed);
            self.freed.crossed.fetch_add(crossed.into(), Ordering::Relaxed);
            drop(evicted);
        }
    }
}

fn respond(random: u64) -> Response {
    let size = SIZES[(random >> 40) as usize % SIZES.len()];
    Response { made_by: thread::current().id(), body: vec![1; size] }
}

/// As a cipher or a parser would.
fn work(response: &mut Response) {
    for round in 0..8 {
        response.body.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(round));
    }
}

async fn connection(number: usize, requests: usize, cache: Arc<Cache>) {
    let mut random = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..requests {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut response = respond(random);
        work(&mut response);
        cache.put(random as usize >> 8, response);
        yield_now().await;
    }
}

/// Serves connections until all are closed.
fn serve(runtime: &Runtime, numbers: std::ops::Range<usize>, times: usize, cache: &Arc<Cache>) {
    runtime.block_on(async {
        let each = times * REQUESTS / CONNECTIONS;
        let open = numbers.map(|number| tokio::spawn(connection(number, each, cache.clone())));
        for closed in open.collect::<Vec<_>>() {
            closed.await.expect("a connection ends well");
        }
    });
}

fn stealing(workers: usize, times: usize, freed: &Arc<Freed>) {
    let runtime = Builder::new_multi_thread().worker_threads(workers).build().expect("a runtime");
    let cache = Cache::new(CACHED, freed);
    serve(&runtime, 0..CONNECTIONS, times, &cache);
    // What is in the cache goes with the process: whose it is says nothing.
    std::mem::forget(cache);
}

fn per_core(workers: usize, times: usize, freed: &Arc<Freed>) {
    thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                let runtime = Builder::new_current_thread().build().expect("a runtime");
                let cache = Cache::new(CACHED / workers, freed);
                let share = |worker| CONNECTIONS * worker / workers;
                serve(&runtime, share(worker)..share(worker + 1), times, &cache);
                std::mem::forget(cache);
            });
        }
    });
}

/// The program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let number = |at: usize| words.get(at).and_then(|count| count.parse().ok());
    let (workers, times) = (number(2).unwrap_or(4), number(3).unwrap_or(1));
    let freed = Arc::new(Freed::default());
    match words.get(1).map(String::as_str) {
        Some("stealing") => stealing(workers, times, &freed),
        Some("per-core") => per_core(workers, times, &freed),
        _ => {
            eprintln!("async-service stealing|per-core WORKERS [TIMES]");
            return ExitCode::from(2);
        }
    }
    println!("freed {}", freed.all.load(Ordering::Relaxed));
    println!("crossed {}", freed.crossed.load(Ordering::Relaxed));
    ExitCode::SUCCESS
}
