//! The timeline and the histogram of holes of one synthetic trace, pixel by pixel like those that were
//! approved: with times of its own choosing nothing in them depends on a machine.
//!
//! `FRAGTRACE_BLESS=1` approves what there is: look at the pictures first.
#![forbid(unsafe_code)]

mod support;

use fragtrace_format::record::Look;
use std::env;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Builder, anonymous, free, malloc};

const HEAP: u64 = 0x7f00_0000_0000;
const HEAP_BYTES: u64 = 128 << 20;
const MS: u64 = 1_000_000;
/// Three bursts of so many blocks, each larger than the one before.
const BURSTS: [u64; 3] = [4_000, 8_000, 12_000];
const BLOCK_BYTES: u64 = 4096;
/// One in so many of a burst's blocks stays.
const KEPT: u64 = 16;

/// Blocks come and go in three bursts, a second apart, and leave holes of three sizes behind.
fn bursts() -> Builder {
    let mut builder = Builder::default();
    let mut kept = 0;
    for (burst, blocks) in (0..).zip(BURSTS) {
        let start = burst * 1_000 * MS + 100 * MS;
        let address = |block: u64| HEAP + (kept + block) * BLOCK_BYTES + 16;
        for block in 0..blocks {
            builder.say(1, start + block * MS / 40, malloc(address(block), BLOCK_BYTES - 16));
        }
        for block in (0..blocks).filter(|block| block % (KEPT << burst) != 0) {
            builder.say(1, start + 400 * MS + block * MS / 40, free(address(block)));
        }
        kept += blocks;
    }
    for look in 0..=64 {
        let stamp = look * 50 * MS;
        let come =
            BURSTS.iter().zip(0..).filter(|(_, burst)| stamp > burst * 1_000 * MS + 300 * MS);
        let touched: u64 = come.map(|(blocks, _)| blocks * BLOCK_BYTES).sum();
        let rss_anon = Some((2 << 20) + touched);
        let (rss_file, rss_shmem) = (Some(1 << 20), Some(0));
        let look =
            Look { stamp, monotonic_ns: stamp, rss_anon, rss_file, rss_shmem, ..Look::default() };
        builder.look(look, vec![anonymous(HEAP, HEAP_BYTES)]);
    }
    builder
}

/// The pixels of a PNG, as its bytes have them.
fn pixels(path: &Path) -> (u32, Vec<u8>) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().expect("it is a PNG file");
    let mut bytes = vec![0; reader.output_buffer_size().expect("its size fits in memory")];
    let frame = reader.next_frame(&mut bytes).expect("it is whole");
    bytes.truncate(frame.buffer_size());
    (frame.width, bytes)
}

fn assert_approved(subcommand: &str, options: &[&str], name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (trace, drawn) = (folder.path().join("bursts.ftr"), folder.path().join("drawn.png"));
    fs::write(&trace, bursts().bytes()).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fragtrace"));
    command.arg(subcommand).arg(&trace).args(options).arg("-o").arg(&drawn);
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/approved");
    let approved = folder.join(name);
    if env::var("FRAGTRACE_BLESS").is_ok_and(|value| value == "1") {
        fs::copy(&drawn, &approved).expect("a picture can be copied");
    }
    let (drawn, wanted) = (pixels(&drawn), pixels(&approved));
    assert!(drawn.0 == wanted.0 && drawn.1.len() == wanted.1.len(), "{name} has another size");
    let pairs = drawn.1.iter().zip(&wanted.1);
    // Rounding may differ from processor to processor.
    let different = pairs.filter(|(a, b)| a.abs_diff(**b) > 2).count();
    assert!(different * 1000 <= drawn.1.len(), "{name}: {different} bytes of pixels differ");
}

#[test]
fn timelines_are_as_approved() {
    assert_approved("timeline", &["--size", "1280x720"], "timeline.png");
    assert_approved("timeline", &["--size", "1280x720", "--theme", "dark"], "timeline-dark.png");
}

#[test]
fn histograms_of_holes_are_as_approved() {
    assert_approved("holes", &["--size", "1280x720"], "holes.png");
}
