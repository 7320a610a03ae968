//! Reading is total: a trace opens and is replayed as it was written; whatever else is in a
//! file, there is a trace or a clear error, and never a panic.
#![forbid(unsafe_code)]

mod support;

use fragtrace_analyzer::order::{self, Action, Event};
use fragtrace_analyzer::read::{ReadError, Trace};
use fragtrace_format::chunk::HEADER_BYTES as CHUNK_HEADER_BYTES;
use fragtrace_format::event::Acquire;
use fragtrace_format::header::{Area, End, HEADER_BYTES, HeaderInfo};
use fragtrace_format::record::{Cold, Look, LookCause, Module, ModuleEvent};
use proptest::prelude::*;
use support::exercise::exercise;
use support::{Builder, Said, anonymous, free, malloc, open, put_u32, put_u64};

const HEAP: u64 = 0x7f00_0000_0000;

/// A trace with something of everything.
fn eventful() -> Builder {
    let mut builder = Builder::default();
    builder.say(1, 10, Said::Cold(Cold::Brk { end: 0x5555_0000_0000 }));
    let mut stamp = 100;
    for round in 0..300u64 {
        let lane = (round % 3 + 1) as u32;
        stamp += 700;
        let address = HEAP + 0x1010 + round * 0x400;
        let stack = (round / 7) as u32;
        let block = Acquire { address, size: round * 3, stack, ..Acquire::default() };
        builder.say(lane, stamp, Said::Acquire(block));
        if round % 2 == 0 {
            builder.say(lane % 3 + 1, stamp + 5, free(address));
        }
        if round % 50 == 0 {
            let (address, bytes) = (HEAP + 0x2000 + round * 0x400, 0x3000);
            builder.say(lane, stamp + 9, Said::Cold(Cold::Advise { address, bytes, advice: 4 }));
        }
    }
    for depth in 1..60 {
        builder.stack(&[HEAP + depth, HEAP / 2 + depth % 3, 7]);
    }
    for stamp in [0, 40_000] {
        builder.modules.push(ModuleEvent::Loaded(Module {
            stamp,
            start: HEAP / 2,
            bytes: 4096,
            build_id: b"twenty bytes or less",
            path: "/nonexistent/libshop.so",
            ..Module::default()
        }));
        builder.modules.push(ModuleEvent::Gone { stamp: stamp + 9, start: HEAP / 2 });
    }
    for at in [0, 50_000, 150_000] {
        let look = Look {
            stamp: at,
            monotonic_ns: at,
            cause: LookCause::Due,
            rss_anon: Some(1 << 20),
            rss_file: Some(2 << 20),
            rss_shmem: Some(0),
            tracer_resident: 1 << 19,
            ..Look::default()
        };
        builder.look(look, vec![anonymous(HEAP, 0x100_0000), anonymous(HEAP + 0x200_0000, 0x1000)]);
    }
    builder
}

fn events(trace: &Trace) -> Vec<Event> {
    order::events(trace).flatten().collect()
}

#[test]
fn what_is_written_is_read_in_order() {
    let builder = eventful();
    let trace = builder.open();
    let events = events(&trace);
    let mut said: Vec<(u64, u32)> = builder
        .lanes
        .iter()
        .flat_map(|(lane, events)| events.iter().map(|(stamp, _)| (*stamp, *lane)))
        .collect();
    said.sort_unstable();
    let read: Vec<(u64, u32)> = events.iter().map(|event| (event.stamp, event.lane)).collect();
    assert_eq!(read, said);
    assert!(trace.chunks().len() > 3, "lanes have several chunks");
    assert_eq!(trace.looks().len(), 3);
    assert_eq!(trace.ending().to_string(), "exit");
    let stacks = events.iter().filter(|event| match event.action {
        Action::Acquire { size, stack, .. } => u64::from(stack) == size / 3 / 7,
        _ => false,
    });
    assert_eq!(stacks.count(), 300, "each block has its stack, also behind a chunk's start");
}

#[test]
fn a_file_that_is_cut_anywhere_opens_up_to_there() {
    let whole = eventful().bytes();
    let all = events(&open(&whole).expect("whole")).len();
    let mut before = 0;
    for cut in (HEADER_BYTES..whole.len()).step_by(512) {
        let trace = open(&whole[..cut]).expect("the header is whole");
        assert!(trace.damage().iter().any(|line| line.contains("cut")), "at {cut}");
        let count = events(&trace).len();
        assert!(count >= before && count <= all);
        before = count;
    }
    assert!(before > all / 2);
}

#[test]
fn what_is_no_trace_is_said_so() {
    let whole = eventful().bytes();
    let error = |bytes: &[u8]| open(bytes).expect_err("not a trace");
    assert!(matches!(error(b""), ReadError::Empty { .. }));
    assert!(matches!(error(b"GIF89a and more"), ReadError::NotATrace { .. }));
    assert!(matches!(error(&whole[..100]), ReadError::TooShort { bytes: 100, .. }));
    let mut other = whole.clone();
    put_u32(&mut other, 8, 77);
    assert!(matches!(error(&other), ReadError::Version { found: 77, .. }));
    for error in [error(b""), error(b"x"), error(&whole[..100]), error(&other)] {
        let said = error.to_string();
        assert!(!said.contains('\n') && said.contains(".tmp"), "one line, with the name: {said}");
    }
    let missing = Trace::open(std::path::Path::new("/no/such/trace.ftr")).expect_err("missing");
    assert!(missing.to_string().starts_with("cannot read /no/such/trace.ftr: "));
}

#[test]
fn a_damaged_chunk_costs_only_itself() {
    let whole = eventful().bytes();
    let info = HeaderInfo::read(&whole).expect("a header");
    let area = (0..info.segment_count)
        .filter_map(|index| info.segment(&whole, index).ok())
        .find(|segment| segment.area == Area::Events)
        .expect("events");
    let mut damaged = whole.clone();
    // A form that no version knows, where the second event of the first chunk begins.
    let at = area.file_offset as usize + CHUNK_HEADER_BYTES;
    damaged[at..at + 8].copy_from_slice(&[0xc1; 8]);
    let trace = open(&damaged).expect("opens");
    let mut events = order::events(&trace);
    let left = events.by_ref().flatten().count();
    let told = events.told();
    assert_eq!(told.damage.len(), 1, "{told:?}");
    assert!(told.damage[0].contains(&format!("{at:#x}")), "{told:?}");
    let all = order::events(&open(&whole).expect("whole")).flatten().count();
    assert!(left < all && left > all / 2, "{left} of {all}");
}

#[test]
fn a_trace_that_is_still_written_is_as_of_one_stamp() {
    let builder = Builder { end: End::Open, ..eventful() };
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, &builder.bytes()).expect("room");
    let trace = Trace::open(file.path()).expect("opens");
    assert_eq!(trace.ending().to_string(), "unknown");
    let before = events(&trace);
    let mut later = builder.clone();
    for lane in 1..4 {
        for more in 0..5 {
            later.say(lane, 10_000_000 + more, malloc(HEAP + 0x1010 + more * 64, 24));
        }
    }
    // The writer goes on where chunks have room: their places do not change by that.
    let grown = later.bytes();
    let kept = builder.bytes().len().min(grown.len());
    std::fs::write(file.path(), &grown[..kept]).expect("room");
    let after: Vec<Event> =
        events(&trace).into_iter().filter(|event| event.stamp > trace.last_stamp()).collect();
    assert_eq!(after, []);
    assert!(before.iter().all(|event| event.stamp <= trace.last_stamp()));
}

#[test]
fn many_lanes_are_decoded_in_pieces_and_merge_all_the_same() {
    let mut builder = Builder { chunk_bytes: 64 << 10, ..Builder::default() };
    // So many that each lane is decoded a few hundred events at a time.
    let (lanes, each) = (5000u32, 400u64);
    for at in 0..each {
        for lane in 1..=lanes {
            let address = HEAP + u64::from(lane) * 0x10000 + (at / 2) * 64;
            let said =
                Said::Acquire(Acquire { address, size: 8, stack: lane, ..Acquire::default() });
            let said = if at % 2 == 0 { said } else { free(address) };
            builder.say(lane, at * 10_000 + u64::from(lane), said);
        }
    }
    let trace = builder.open();
    let mut last = 0;
    let mut count = 0;
    for event in order::events(&trace).flatten() {
        assert!(event.stamp >= last);
        last = event.stamp;
        count += 1;
        if let Action::Acquire { stack, .. } = event.action {
            assert_eq!(stack, event.lane);
        }
    }
    assert_eq!(count, u64::from(lanes) * each);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_damage_makes_the_analyzer_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 1..9usize), 1..20),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = eventful().bytes();
        for (at, value, len) in edits {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(trace) = open(&bytes) {
            exercise(&trace);
        }
    }

    #[test]
    fn no_bytes_behind_a_header_make_the_analyzer_panic(
        noise in prop::collection::vec(any::<u8>(), 0..3000),
        starts in prop::collection::vec((0..1u64 << 40, 0..3u32), 12..13),
    ) {
        let mut bytes = eventful().bytes();
        let begin = bytes.len() - 12 * 1024;
        for (chunk, (stamp, lane)) in starts.into_iter().enumerate() {
            let at = begin + chunk * 1024;
            bytes[at..at + 1024].fill(0);
            put_u64(&mut bytes, at, chunk as u64 + 1);
            put_u32(&mut bytes, at + 8, lane);
            put_u64(&mut bytes, at + 16, chunk as u64);
            put_u64(&mut bytes, at + 24, stamp);
            for (byte, noise) in bytes[at + 64..at + 1016].iter_mut().zip(noise.iter().cycle().skip(chunk * 99)) {
                *byte = *noise;
            }
        }
        if let Ok(trace) = open(&bytes) {
            exercise(&trace);
        }
    }
}
