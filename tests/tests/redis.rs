//! redis-server as Debian builds it, on jemalloc, under load: the same answers as untraced, an
//! orderly end, and a report that adds up and agrees with redis's own figure of its memory.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fragtrace_tests::check::{assert_near, assert_same_lines};
use fragtrace_tests::checkpoint::number;
use fragtrace_tests::run::{Outcome, Running, command, run};
use fragtrace_tests::tools;
use fragtrace_tests::traced::{Traced, TracedRunning};

struct Tools {
    server: PathBuf,
    client: PathBuf,
    benchmark: PathBuf,
}

fn installed() -> Option<Tools> {
    Some(Tools {
        server: tools::find("redis-server")?,
        client: tools::find("redis-cli")?,
        benchmark: tools::find("redis-benchmark")?,
    })
}

impl Tools {
    fn server(&self, folder: &Path) -> Command {
        let mut server = command(&self.server);
        server.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        server.arg("--unixsocket").arg(folder.join("socket"));
        server.arg("--dir").arg(folder);
        server
    }

    fn ask(&self, folder: &Path, question: &str) -> Outcome {
        let mut client = command(&self.client);
        client.arg("-s").arg(folder.join("socket")).args(question.split(' '));
        run(&mut client)
    }

    fn load(&self, folder: &Path) {
        let mut benchmark = command(&self.benchmark);
        benchmark.arg("-s").arg(folder.join("socket"));
        benchmark.args(["-n", "30000", "-r", "20000", "-d", "200", "-c", "20", "-P", "8", "-q"]);
        benchmark.args(["-t", "set,get,lpush,lpop,sadd,hset,zadd"]);
        run(&mut benchmark).expect_code(0);
    }

    /// Asks the same questions; returns all answers.
    fn converse(&self, folder: &Path) -> Vec<u8> {
        let questions = [
            "FLUSHALL",
            "MSET a 1 b 2 c 3",
            "APPEND a 23456",
            "GET a",
            "SETRANGE big 100000 x",
            "STRLEN big",
            "EVAL return{KEYS[1],redis.call('GET','b')} 1 b",
            "HSET h f1 v1 f2 v2",
            "HGETALL h",
            "RPUSH list 1 2 3 4 5",
            "LRANGE list 0 -1",
            "NO-SUCH-COMMAND",
            "DEBUG-DIGEST",
            "DEL a b c big h list",
            "DBSIZE",
        ];
        questions.iter().flat_map(|question| self.ask(folder, question).stdout).collect()
    }

    /// What redis says of its memory.
    fn memory(&self, folder: &Path) -> Memory {
        let answer = self.ask(folder, "INFO memory").out();
        let figure = |name: &str| {
            let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|number| number.trim().parse().ok())
                .unwrap_or_else(|| panic!("no {name} in\n{answer}"))
        };
        Memory {
            asked_unix_ns: unix_ns(),
            used: figure("used_memory"),
            allocated: figure("allocator_allocated"),
            resident: figure("allocator_resident"),
        }
    }
}

/// INFO memory.
struct Memory {
    /// Right after the answer.
    asked_unix_ns: u64,
    /// The sum of its blocks' usable sizes; what its Lua takes is not in it.
    used: u64,
    /// jemalloc's stats.allocated and stats.resident, as of a tenth of a second ago.
    allocated: u64,
    resident: u64,
}

fn unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}

fn bare_answers(tools: &Tools) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Running::start(&mut tools.server(folder.path()));
    server.wait_for("eady to accept connections");
    let answers = tools.converse(folder.path());
    tools.ask(folder.path(), "SHUTDOWN NOSAVE");
    server.finish().expect_code(0);
    answers
}

struct Session {
    traced: Traced,
    answers: Vec<u8>,
    memory: Memory,
}

fn traced_session(tools: &Tools) -> Session {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = TracedRunning::start(tools.server(folder.path()));
    server.running.wait_for("eady to accept connections");
    let answers = tools.converse(folder.path());
    tools.load(folder.path());
    // The server frees what belonged to the load's connections.
    thread::sleep(Duration::from_millis(500));
    let memory = tools.memory(folder.path());
    tools.ask(folder.path(), "SHUTDOWN NOSAVE");
    Session { traced: server.finish(), answers, memory }
}

#[test]
fn redis_on_jemalloc_is_undisturbed_and_adds_up() {
    let Some(tools) = installed() else { return };
    let session = traced_session(&tools);
    let outcome = &session.traced.outcome;
    assert!(outcome.code() == 0, "{}", outcome.describe());
    assert!(outcome.stderr.is_empty(), "{}", outcome.describe());
    assert_same_lines("redis answers as untraced", &bare_answers(&tools), &session.answers);

    let report = session.traced.report();
    report.assert_adds_up();
    assert!(report.number("/trace/allocs") > 100_000, "the load is in the trace");
    let allocator = report.text("/trace/allocator");
    assert!(allocator.contains("jemalloc"), "the allocator is jemalloc, found {allocator}");
    let memory = session.memory;
    let asked_ns = memory.asked_unix_ns - report.number("/trace/start_unix_ns");
    let states = report.array("/series").iter();
    let state = states.take_while(|state| number(state, "time_ns") <= asked_ns).last();
    let ours = |key: &str| number(state.expect("moments before it was asked"), key);
    // Buffers of the connection that asks come and go; Lua's blocks are not in redis's sum.
    assert_near(
        "usable_bytes beside redis's used_memory",
        memory.used,
        ours("usable_bytes"),
        memory.used / 20,
    );
    // jemalloc counts what its threads' caches hold, too, and pages that were never touched.
    let (allocated, usable) = (memory.allocated, ours("usable_bytes"));
    assert!(allocated + allocated / 20 >= usable, "{allocated} allocated, {usable} usable");
    let (resident, here) = (memory.resident, ours("heap_resident_bytes"));
    assert!(resident + resident / 20 >= here, "{resident} resident, {here} in memory");
}
