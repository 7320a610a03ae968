//! `--anonymize`: what is shared does not depend on names of people, places or machines.
//!
//! A trace is given other names (folders, program, arguments, environment, threads, host) and is
//! otherwise the same to the bit. Whatever is made of the two must differ only where nobody asked
//! for it to be anonymous: then no name can be in it, not even drawn as pixels.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use fragtrace_format::record::{self, Description, FRAME_BYTES};
use fragtrace_tests::programs::program;
use fragtrace_tests::report::analyze;
use fragtrace_tests::run::command;
use fragtrace_tests::traced::Traced;
use tempfile::TempDir;

/// In all names of the one trace; as long as that of the other.
const ONE: &str = "alphonse";
const OTHER: &str = "berthold";

/// Records with names in them are not longer.
const MOST_RECORD_BYTES: usize = 16 << 10;

/// What is made of a trace, and whether it has names in it.
const SHARED: [(&[&str], bool); 20] = [
    (&["report"], true),
    (&["report", "--json"], true),
    (&["holes"], false),
    (&["holes", "--json"], false),
    (&["holes", "-o", "-"], true),
    (&["holes", "-o", "picture.png"], true),
    (&["blame"], false),
    (&["blame", "--json"], true),
    (&["blame", "--by", "module"], true),
    (&["blame", "--by", "thread"], true),
    (&["blame", "--folded"], false),
    (&["blame", "-o", "-"], true),
    (&["blame", "-o", "picture.png"], true),
    (&["map", "-o", "-"], true),
    (&["map", "-o", "-", "--at", "end"], true),
    (&["map", "-o", "-", "--colour-by", "thread"], true),
    (&["map", "-o", "-", "--colour-by", "site"], true),
    (&["timeline", "-o", "-"], true),
    (&["html", "-o", "-"], true),
    (&["dump"], true),
];

struct Named {
    folder: TempDir,
}

impl Named {
    /// A program that is called by the first name in all respects, traced, and the same trace
    /// under the other.
    fn traced() -> Named {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let home = |name: &str| folder.path().join(format!("home-of-{name}"));
        for name in [ONE, OTHER] {
            fs::create_dir(home(name)).expect("a folder can be made");
            let tool = home(name).join(format!("{name}-tool"));
            fs::copy(program("illness"), tool).expect("a program can be copied");
        }
        let mut line = command(home(ONE).join(format!("{ONE}-tool")));
        line.args(["arena-proliferation", "ill", &format!("--password={ONE}")]);
        line.env("MALLOC_CONF", format!("prof_prefix:/home/{ONE}")).current_dir(home(ONE));
        let traced = Traced::run_well(line);
        let bytes = fs::read(traced.trace()).expect("the trace is there");
        let named = Named { folder };
        fs::write(named.trace(ONE), &bytes).expect("written");
        fs::write(named.trace(OTHER), renamed(bytes)).expect("written");
        named
    }

    fn trace(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("home-of-{name}/{name}.ftr"))
    }

    /// What a subcommand makes of the trace of that name.
    fn made(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let picture = self.folder.path().join("picture.png");
        let path = picture.to_string_lossy();
        let arguments: Vec<&str> = (arguments.iter())
            .map(|argument| if *argument == "picture.png" { &*path } else { argument })
            .collect();
        let outcome = analyze(arguments[0], &self.trace(name), &arguments[1..]).expect_code(0);
        fs::read(&picture)
            .inspect(|_| fs::remove_file(&picture).expect("it is there"))
            .unwrap_or(outcome.stdout)
    }
}

/// The trace with the other name in the place of the first, and another host.
fn renamed(mut bytes: Vec<u8>) -> Vec<u8> {
    let frames = frames_with(&bytes, ONE);
    assert!(frames.len() >= 2, "a description and an object at least: {frames:?}");
    let mut found = 0;
    while let Some(at) = find(&bytes, ONE.as_bytes()) {
        bytes[at..at + ONE.len()].copy_from_slice(OTHER.as_bytes());
        found += 1;
    }
    assert!(found >= 5, "executable, arguments, environment, object, thread: {found}");
    for at in &frames {
        seal(&mut bytes, *at);
    }
    let described = frames.iter().any(|at| rename_host(&mut bytes, *at));
    assert!(described, "no description was found");
    bytes
}

/// Where framed records start that have this text in them.
fn frames_with(bytes: &[u8], text: &str) -> Vec<usize> {
    let mut frames = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], text.as_bytes()).map(|found| from + found) {
        from = at + text.len();
        let starts = (0..=at / 8).rev().map(|words| words * 8).take(MOST_RECORD_BYTES / 8);
        let holds = |start: &usize| {
            payload(bytes, *start)
                .is_some_and(|payload| start + FRAME_BYTES + payload.len() >= from)
        };
        frames.extend(starts.filter(|start| start + FRAME_BYTES <= at).find(holds));
    }
    frames.dedup();
    frames
}

fn payload(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (len, check) = (word(at)? as usize, word(at + 4)?);
    let payload = bytes.get(at + FRAME_BYTES..at + FRAME_BYTES + len)?;
    let is_one = len > 0 && len <= MOST_RECORD_BYTES && record::check(payload) == check;
    is_one.then_some(payload)
}

/// Makes a frame fit what it frames.
fn seal(bytes: &mut [u8], at: usize) {
    let len = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let start = at + FRAME_BYTES;
    let frame = record::frame(&bytes[start..start + len]);
    bytes[at..start].copy_from_slice(&frame.to_le_bytes());
}

/// Gives the host another name, if the record is the description.
fn rename_host(bytes: &mut [u8], at: usize) -> bool {
    let Some(payload) = payload(bytes, at).map(<[u8]>::to_vec) else { return false };
    let Some((description, len)) = record::decode::<Description<'_>>(&payload) else {
        return false;
    };
    let named = find(description.exe.as_bytes(), OTHER.as_bytes()).is_some();
    if len != payload.len() || !named {
        return false;
    }
    let host = "z".repeat(description.host.len());
    assert!(!host.is_empty() && host != description.host, "{}", description.host);
    let other = Description { host: &host, ..description };
    let start = at + FRAME_BYTES;
    assert_eq!(record::encode(&other, &mut bytes[start..start + len]), Some(len));
    seal(bytes, at);
    true
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

fn holds(made: &[u8], path: &Path) -> bool {
    find(made, path.as_os_str().as_encoded_bytes()).is_some()
}

#[test]
fn what_is_shared_does_not_depend_on_names() {
    let named = Named::traced();
    let home = named.folder.path().to_owned();
    for (arguments, has_names) in SHARED {
        let [one, other] = [ONE, OTHER].map(|name| named.made(name, arguments));
        assert!(one.len() > 100, "{arguments:?} makes something");
        assert_eq!(one != other, has_names, "{arguments:?} has names in it: as said");
        let hidden = [arguments, &["--anonymize"]].concat();
        let [one, other] = [ONE, OTHER].map(|name| named.made(name, &hidden));
        assert!(one == other, "{hidden:?} depends on names");
        assert!(!holds(&one, &home) && find(&one, ONE.as_bytes()).is_none(), "{hidden:?}");
    }
}

#[test]
fn a_list_of_traces_does_not_depend_on_names() {
    let named = Named::traced();
    for json in [&[][..], &["--json"]] {
        let list = |name: &str, hidden: &[&str]| {
            let trace = named.trace(name);
            let folder = trace.parent().expect("it lies in a folder");
            analyze("report", folder, &[json, hidden].concat()).expect_code(0).stdout
        };
        assert_ne!(list(ONE, &[]), list(OTHER, &[]), "{json:?}");
        assert_eq!(list(ONE, &["--anonymize"]), list(OTHER, &["--anonymize"]), "{json:?}");
    }
}
