//! Programs that people use: each writes and returns what it does untraced, its report adds up,
//! and its counts are those of an independent count of the same run.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

use fragtrace_tests::check::assert_same_run;
use fragtrace_tests::report::Report;
use fragtrace_tests::run::{Outcome, command, run, run_with_input};
use fragtrace_tests::tools;
use fragtrace_tests::traced::Traced;
use fragtrace_tests::witness::Sandwich;

/// Runs a command bare and traced, compares, and checks the trace of each process that it started.
fn assert_undisturbed(make: impl Fn() -> Command) -> Traced {
    let bare = run(&mut make());
    assert!(!bare.stdout.is_empty(), "the run proves nothing: {}", bare.describe());
    let traced = Traced::run(make());
    assert_same_run(&bare, &traced.outcome);
    assert!(!traced.traces().is_empty(), "no trace: {}", traced.outcome.describe());
    for trace in traced.traces() {
        Report::of(&trace).assert_adds_up();
    }
    traced
}

/// A run of one process, its trace held against an independent count.
fn assert_counted(make: impl Fn() -> Command) {
    let sandwich = Sandwich::run(make());
    sandwich.assert_passed_on();
    sandwich.assert_reported(&sandwich.traced.report());
}

const SQL: &str = "\
create table orders (id integer primary key, customer text, cents integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
  insert into orders select i, 'customer ' || (i % 997), (i * 7919) % 100000 from n;
create index by_customer on orders (customer);
select customer, count(*), sum(cents) from orders group by customer order by 3 desc limit 20;
select group_concat(id) from (select id from orders order by cents limit 500);
delete from orders where id % 3 = 0;
vacuum;
select count(*), sum(cents) from orders;
";

#[test]
fn sqlite3_is_undisturbed_and_adds_up() {
    let Some(sqlite3) = tools::find("sqlite3") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let script = folder.path().join("script.sql");
    fs::write(&script, SQL).expect("a script can be written");
    let make = || {
        let mut sqlite3 = command(&sqlite3);
        sqlite3.arg(":memory:").arg(format!(".read {}", script.display()));
        sqlite3
    };
    assert_undisturbed(make);
    assert_counted(make);
}

#[test]
fn sqlite3_reads_its_input_as_it_does_untraced() {
    let Some(sqlite3) = tools::find("sqlite3") else { return };
    let mut bare = command(&sqlite3);
    let bare: Outcome = run_with_input(bare.arg(":memory:"), SQL.as_bytes());
    let mut traced = command(&sqlite3);
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    traced.arg(":memory:").env("LD_PRELOAD", tools::tracer());
    traced.env("FRAGTRACE_OUT", out.path().join("sqlite3.ftr"));
    let traced = run_with_input(&mut traced, SQL.as_bytes());
    assert_same_run(&bare, &traced);
    Report::of(&out.path().join("sqlite3.ftr")).assert_adds_up();
}

const PYTHON: &str = "\
import json, re, collections
words = [re.sub('[0-3]', 'x', str(i * 7919)) for i in range(30000)]
counts = collections.Counter(words)
text = json.dumps(counts, sort_keys=True)
big = [bytearray(n) for n in range(1, 200000, 1999)]
print(len(text), len(json.loads(text)), sum(map(len, big)), counts.most_common(3))
";

fn python(python3: &Path, allocator: Option<&str>) -> Command {
    let mut python = command(python3);
    python.args(["-S", "-c", PYTHON]).env("PYTHONHASHSEED", "0");
    if let Some(allocator) = allocator {
        python.env("PYTHONMALLOC", allocator);
    }
    python
}

#[test]
fn python3_is_undisturbed_and_adds_up() {
    let Some(python3) = tools::find("python3") else { return };
    assert_undisturbed(|| python(&python3, None));
    assert_counted(|| python(&python3, None));
    assert_counted(|| python(&python3, Some("malloc")));
}

#[test]
fn pythons_small_blocks_are_seen_once_it_takes_them_from_malloc() {
    let Some(python3) = tools::find("python3") else { return };
    let hidden = assert_undisturbed(|| python(&python3, None)).report();
    let shown = assert_undisturbed(|| python(&python3, Some("malloc"))).report();
    let (few, many) = (hidden.number("/trace/allocs"), shown.number("/trace/allocs"));
    assert!(many > 3 * few, "{few} allocs through its own arenas, {many} through malloc");
}

#[test]
fn perl_is_undisturbed_and_adds_up() {
    const SCRIPT: &str = "my %count; for my $i (1 .. 30000) { $count{ $i * 7919 % 5003 } .= $i } \
         my $text = join ',', map { \"$_=\" . length $count{$_} } sort keys %count; \
         $text =~ s/(\\d+)=/<$1>/g; print length($text), \"\\n\", substr($text, 0, 200), \"\\n\"; \
         exit 4;";
    let Some(perl) = tools::find("perl") else { return };
    let make = || {
        let mut perl = command(&perl);
        perl.args(["-e", SCRIPT]).env("PERL_HASH_SEED", "0");
        perl
    };
    let traced = assert_undisturbed(make);
    assert!(traced.outcome.code() == 4, "{}", traced.outcome.describe());
    assert_counted(make);
}

fn git(git: &Path, repository: &Path, arguments: &[&str]) -> Command {
    let mut git = command(git);
    git.arg("-C").arg(repository).args(["-c", "gc.auto=0"]).args(arguments);
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "A").env(format!("GIT_{role}_EMAIL"), "a@example.org");
        git.env(format!("GIT_{role}_DATE"), "2024-01-01T00:00:00Z");
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    git
}

#[test]
fn git_is_undisturbed_and_adds_up() {
    let Some(path) = tools::find("git") else { return };
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder can be made"));
    for folder in &folders {
        for number in 0..200 {
            let text = format!("file {number}\n").repeat(number + 1);
            fs::write(folder.path().join(format!("file{number}")), text).expect("a file");
        }
    }
    let steps: [&[&str]; 7] = [
        &["init", "--quiet", "--initial-branch=main"],
        &["add", "--all"],
        &["commit", "--quiet", "--message=all"],
        &["log", "--stat", "--format=%H %an %s"],
        &["repack", "-a", "-d", "--quiet"],
        &["fsck", "--full", "--strict", "--no-progress"],
        &["no-such-command"],
    ];
    for step in steps {
        let bare = run(&mut git(&path, folders[0].path(), step));
        let traced = Traced::run(git(&path, folders[1].path(), step));
        assert_same_run(&bare, &traced.outcome);
        for trace in traced.traces() {
            Report::of(&trace).assert_adds_up();
        }
    }
    assert_counted(|| git(&path, folders[1].path(), &["log", "--stat"]));
}

#[test]
fn gcc_and_the_programs_it_starts_are_undisturbed_and_add_up() {
    let Some(gcc) = tools::find("gcc") else { return };
    let source = tools::workspace().join("tests/programs/counts.c");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let objects = ["bare", "traced"].map(|name| folder.path().join(name));
    let compile = |to: &Path| {
        let mut gcc = command(&gcc);
        gcc.args(["-O2", "-frandom-seed=1", "-o"]).arg(to).arg(&source).arg("-pthread");
        gcc
    };
    let bare = run(&mut compile(&objects[0])).expect_code(0);
    let traced = Traced::run(compile(&objects[1]));
    assert!(bare.stderr == traced.outcome.stderr, "{}", traced.outcome.describe());
    assert!(traced.outcome.code() == 0, "{}", traced.outcome.describe());
    let [bare, same] = objects.map(|object| fs::read(object).expect("gcc writes its result"));
    assert!(bare == same, "gcc's result differs: {} and {} bytes", bare.len(), same.len());
    let traces = traced.traces();
    assert!(traces.len() >= 4, "driver, compiler, assembler and linker: {traces:?}");
    for trace in &traces {
        Report::of(trace).assert_adds_up();
    }
    let compiler = Report::of(&traced.trace_of("cc1"));
    assert!(compiler.number("/trace/allocs") > 1000, "the compiler itself is traced");
}

#[test]
fn gcc_fails_as_it_does_untraced() {
    let Some(gcc) = tools::find("gcc") else { return };
    let make = || {
        let mut gcc = command(&gcc);
        gcc.args(["-x", "c", "-c", "-o", "/dev/null", "/dev/null/no-such-file.c"]);
        gcc
    };
    assert_same_run(&run(&mut make()), &Traced::run(make()).outcome);
}

#[test]
fn node_is_undisturbed_and_adds_up() {
    const SCRIPT: &str = "const m = new Map(); \
         for (let i = 0; i < 50000; i++) m.set('k' + i * 7919 % 9973, [i, String(i)]); \
         const buffers = Array.from({length: 200}, (_, i) => Buffer.alloc(i * 1000, 1)); \
         console.log(m.size, JSON.stringify([...m]).length, Buffer.concat(buffers).length); \
         process.exitCode = 6;";
    let Some(node) = tools::find("node") else { return };
    let traced = assert_undisturbed(|| {
        let mut node = command(&node);
        node.args(["-e", SCRIPT]);
        node
    });
    assert!(traced.outcome.code() == 6, "{}", traced.outcome.describe());
}
