//! redis-server as Debian builds it, on jemalloc, under load: the same answers as untraced, an
//! orderly end, and a report that adds up and agrees with redis's own figure of its memory.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use fragtrace_tests::check::{assert_near, assert_same_lines};
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

    /// What redis says it uses: the sum of its blocks' usable sizes.
    fn used_memory(&self, folder: &Path) -> u64 {
        let answer = self.ask(folder, "INFO memory").out();
        let line = answer.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or_else(|| panic!("no used_memory in\n{answer}"))
    }
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
    used_memory: u64,
}

fn traced_session(tools: &Tools) -> Session {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = TracedRunning::start(tools.server(folder.path()));
    server.running.wait_for("eady to accept connections");
    let answers = tools.converse(folder.path());
    tools.load(folder.path());
    // The server frees what belonged to the load's connections.
    thread::sleep(Duration::from_millis(500));
    let used_memory = tools.used_memory(folder.path());
    tools.ask(folder.path(), "SHUTDOWN NOSAVE");
    Session { traced: server.finish(), answers, used_memory }
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
    // What redis counts is the sum of usable sizes, which size classes put up to a fifth above
    // what it asked for. Connections and buffers come and go between its answer and its end.
    let live = report.number("/end/live_bytes");
    assert_near("live_bytes beside redis's used_memory", session.used_memory, live, {
        session.used_memory / 5
    });
}
