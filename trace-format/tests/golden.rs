//! The bytes of version 1, pinned: a change here is a new version of the format.
#![forbid(unsafe_code)]

use fragtrace_format::chunk::{self, bytes_for_ring};
use fragtrace_format::event::{Acquire, Decoder, Encoded, Event, Flags, State};
use fragtrace_format::header::{End, HEADER_BYTES, Header, HeaderError, HeaderInfo, MAGIC};
use fragtrace_format::record::{
    self, AllocatorView, Call, Cold, Description, Figure, Limits, Look, LookCause, LookPart,
    Mapping, MappingChange, Module, ModuleEvent, PageSource, Records, Scan, UsableRule,
};
use std::fmt::Write;
use std::mem::offset_of;

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).fold(String::new(), |mut text, line| {
        for byte in line {
            let _ = write!(text, "{byte:02x} ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    })
}

/// Compares with the golden file; with FRAGTRACE_BLESS=1 writes it instead.
fn golden(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let found = hex(bytes);
    if std::env::var_os("FRAGTRACE_BLESS").is_some() {
        std::fs::write(&path, &found).expect("golden files can be written");
    }
    let wanted = std::fs::read_to_string(&path).expect("golden file is there");
    assert_eq!(found, wanted, "{name}: the bytes of the format have changed");
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let len = record::encode(value, &mut bytes).expect("fits");
    bytes.truncate(len);
    bytes
}

/// A short history with every kind of word in it.
fn history() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |encoded: &Encoded| {
        for word in encoded.words() {
            bytes.extend_from_slice(&word.bits.to_le_bytes()[..word.len as usize]);
        }
    };
    let mut state = State { stamp: 1000, base: [0x5555_5555_9260 >> 4, 0] };
    let small = Acquire { address: 0x5555_5555_92a0, size: 24, ..Acquire::default() };
    put(&Encoded::acquire(&mut state, 1030, &small, true));
    put(&Encoded::release(&mut state, 1060, small.address, Flags::NONE));
    let medium = Acquire { address: 0x7fff_0000_0010, size: 70_000, ..Acquire::default() };
    put(&Encoded::acquire(&mut state, 5000, &medium, true));
    let large = Acquire {
        address: 0x7ffe_0000_0018,
        size: 3 << 30,
        flags: Flags::ZEROED,
        align_log2: 12,
        usable: Some((3 << 30) + 4072),
        mapped_offset: Some(16),
        stack: 77,
        pool: 3,
    };
    put(&Encoded::acquire(&mut state, 5001, &large, false));
    put(&Encoded::release(&mut state, 6000, large.address, Flags::REALLOC));
    let cold = encode(&Cold::Unmap { address: 0x7f00_0000_0000, bytes: 8192 });
    put(&Encoded::cold(&mut state, 6001, cold.len()));
    bytes.extend_from_slice(&cold);
    bytes.push(0);
    bytes
}

#[test]
fn events_are_as_version_1_writes_them() {
    let bytes = history();
    // The example in docs/trace-format.md.
    assert_eq!(bytes[..4], [0x93, 0x07, 0x18, 0x20]);
    golden("events", &bytes);
    let state = State { stamp: 1000, base: [0x5555_5555_9260 >> 4, 0] };
    let mut decoder = Decoder::new(&bytes, state);
    let mut stamps = Vec::new();
    while let Some((stamp, event)) = decoder.next_event().expect("whole events") {
        stamps.push(stamp);
        if let Event::Cold(payload) = event {
            let (cold, _) = record::decode::<Cold<'_>>(payload).expect("a cold event");
            assert_eq!(cold, Cold::Unmap { address: 0x7f00_0000_0000, bytes: 8192 });
        }
    }
    assert_eq!(stamps, [1030, 1060, 5000, 5001, 6000, 6001]);
}

#[test]
fn limits_are_as_version_1_writes_them() {
    let known = Limits { max_map_count: Some(65_530) };
    assert_eq!(encode(&known), [1, 251, 0xfa, 0xff]);
    // Padding reads as nothing known.
    assert_eq!(encode(&Limits::default()), [0]);
}

#[test]
fn cold_events_are_as_version_1_writes_them() {
    let all = [
        Cold::Thread { thread: 2, tid: 4711, name: "worker" },
        Cold::Map {
            address: 0x7f00_0000_0000,
            bytes: 1 << 20,
            protection: 3,
            flags: 34,
            file: false,
            heap: true,
        },
        Cold::Unmap { address: 0x7f00_0000_0000, bytes: 4096 },
        Cold::Remap { address: 0x1000, bytes: 4096, new_bytes: 8192 },
        Cold::Remapped { address: 0x2000, bytes: 8192 },
        Cold::Undo { address: 0x1000 },
        Cold::Advise { address: 0x1000, bytes: 4096, advice: 4 },
        Cold::Protect { address: 0x1000, bytes: 4096, protection: 1 },
        Cold::Brk { end: 0x5555_5580_0000 },
        Cold::ReallocFreed { address: 0x5555_5555_92a0 },
        Cold::End { kind: 1, status: 0 },
        Cold::Timed { call: Call::Realloc, ticks: 90_000 },
    ];
    let mut bytes = Vec::new();
    for cold in &all {
        bytes.extend_from_slice(&encode(cold));
    }
    golden("cold", &bytes);
    let mut rest = &bytes[..];
    for cold in &all {
        let (read, len) = record::decode::<Cold<'_>>(rest).expect("decodes");
        assert_eq!(read, *cold);
        rest = &rest[len..];
    }
}

#[test]
fn records_are_as_version_1_writes_them() {
    let description = Description {
        exe: "/usr/bin/server",
        command: b"server\0--port\x0080\0",
        host: "box",
        kernel: "6.1.0 #1 SMP",
        libc: "glibc 2.36",
        allocator: "/lib/libc.so.6",
        allocator_env: b"MALLOC_ARENA_MAX=2\0",
        transparent_huge_pages: "madvise",
        cgroup_limit_bytes: Some(1 << 30),
        page_bytes: 4096,
        tracer_version: "0.1.0",
        ring_asked_bytes: 256 << 20,
        look_ms: 50,
        stack_depth: 64,
        usable_rule: UsableRule::Glibc,
        parent_pid: 1,
    };
    let look = Look {
        stamp: 1,
        monotonic_ns: 2,
        cause: LookCause::Exit,
        rss_anon: Some(3 << 20),
        rss_file: Some(1 << 20),
        rss_shmem: Some(0),
        swapped: None,
        rss_peak: Some(9 << 20),
        tracer_resident: 65536,
        brk_end: Some(0x5555_5580_0000),
        lazyfree: Some(0),
        anon_huge: None,
        cost_stamps: 100,
        afresh: true,
        changes: 2,
        scans: 1,
        page_source: PageSource::Scan,
        scans_end: true,
    };
    let mapping = Mapping {
        start: 0x5555_5555_4000,
        bytes: 0x1000,
        permissions: 5,
        file_offset: 0,
        inode: 12,
        name: "/usr/bin/server",
    };
    let changes = [MappingChange::There(mapping), MappingChange::Gone { start: 0x7f00_0000_0000 }];
    // One tile, all of it in memory.
    let scan = Scan { start: 0x5555_5560_0000, bytes: 2 << 20, tiles: &[0, 1] };
    let module = ModuleEvent::Loaded(Module {
        stamp: 5,
        start: 0x5555_5555_4000,
        bytes: 0x9000,
        bias: 0x5555_5555_4000,
        text_address: 0x1000,
        text_offset: 0x1000,
        build_id: &[0xab; 20],
        path: "/usr/bin/server",
    });
    let look_and_more =
        [encode(&look), encode(&changes[0]), encode(&changes[1]), encode(&scan)].concat();
    let gone = ModuleEvent::Gone { stamp: 9, start: 0x5555_5555_4000 };
    let mut area = Vec::new();
    for payload in [encode(&description), look_and_more, encode(&module), encode(&gone)] {
        area.extend_from_slice(&record::frame(&payload).to_le_bytes());
        area.extend_from_slice(&payload);
        area.resize(area.len().next_multiple_of(8), 0);
    }
    golden("records", &area);
    let mut records = Records::new(&area);
    let first = records.next().expect("the description");
    assert_eq!(record::decode::<Description<'_>>(first).expect("decodes").0, description);
    let second = records.next().expect("the look");
    let (read, mut at) = record::decode::<Look>(second).expect("decodes");
    assert_eq!(read, look);
    for change in changes {
        let (read, len) = record::decode::<MappingChange<'_>>(&second[at..]).expect("decodes");
        assert_eq!(read, change);
        at += len;
    }
    assert_eq!(record::decode::<Scan<'_>>(&second[at..]).expect("decodes").0, scan);
    for event in [module, gone] {
        let payload = records.next().expect("a module's event");
        assert_eq!(record::decode::<ModuleEvent<'_>>(payload).expect("decodes").0, event);
    }
    assert!(records.next().is_none());
    area[12] ^= 1;
    assert!(Records::new(&area).next().is_none(), "a damaged record is none");
}

#[test]
fn what_an_allocator_says_of_itself() {
    let view = AllocatorView { stamp: 70_000, figures: 2 };
    let figures = [
        Figure { name: "stats.allocated", bytes: 5_000_000 },
        Figure { name: "stats.active", bytes: 1 << 40 },
    ];
    let bytes = [encode(&view), encode(&figures[0]), encode(&figures[1])].concat();
    golden("allocator_view", &bytes);
    let (read, mut at) = record::decode::<AllocatorView>(&bytes).expect("decodes");
    assert_eq!(read, view);
    for figure in figures {
        let (read, len) = record::decode::<Figure<'_>>(&bytes[at..]).expect("decodes");
        assert_eq!(read, figure);
        at += len;
    }
    assert_eq!(at, bytes.len());
}

#[test]
fn what_else_a_look_tells() {
    let none = AllocatorView::default();
    let listed = LookPart::Listed { from: 0x1000, to: u64::MAX, mappings: 768 };
    let heap = LookPart::ArenaHeap { start: 0x7f00_0800_0000, first_heap: 0x7f00_0000_0000 };
    let bytes = [encode(&none), encode(&listed), encode(&heap)].concat();
    golden("look_parts", &bytes);
    let (read, at) = record::decode::<AllocatorView>(&bytes).expect("decodes");
    assert_eq!(read, none);
    let (read, len) = record::decode::<LookPart>(&bytes[at..]).expect("decodes");
    assert_eq!(read, listed);
    let (read, more) = record::decode::<LookPart>(&bytes[at + len..]).expect("decodes");
    assert_eq!((read, at + len + more), (heap, bytes.len()));
}

#[test]
fn the_header_has_its_fields_where_the_page_says() {
    let offsets = [
        (offset_of!(Header, magic), 0),
        (offset_of!(Header, version), 8),
        (offset_of!(Header, header_bytes), 12),
        (offset_of!(Header, required_features), 16),
        (offset_of!(Header, optional_features), 24),
        (offset_of!(Header, clock_kind), 32),
        (offset_of!(Header, clock_shift), 36),
        (offset_of!(Header, clock_start), 40),
        (offset_of!(Header, clock_last), 72),
        (offset_of!(Header, pid), 104),
        (offset_of!(Header, end), 108),
        (offset_of!(Header, ring_bytes), 112),
        (offset_of!(Header, chunk_bytes), 120),
        (offset_of!(Header, chunks_taken), 128),
        (offset_of!(Header, dropped_events), 136),
        (offset_of!(Header, looks), 144),
        (offset_of!(Header, dropped_looks), 152),
        (offset_of!(Header, slow_path_stamps), 160),
        (offset_of!(Header, threads), 168),
        (offset_of!(Header, control), 176),
        (offset_of!(Header, folds), 184),
        (offset_of!(Header, folding), 192),
        (offset_of!(Header, limits), 200),
        (offset_of!(Header, looks_half_bytes), 208),
        (offset_of!(Header, regions_half_bytes), 216),
        (offset_of!(Header, list_cycles), 224),
        (offset_of!(Header, scan_cycles), 232),
        (offset_of!(Header, cuts), 248),
        (offset_of!(Header, segment_count), 4088),
        (offset_of!(Header, segments), 4096),
    ];
    for (found, wanted) in offsets {
        assert_eq!(found, wanted);
    }
}

#[test]
fn a_header_is_read_or_refused_with_the_reason() {
    let mut bytes = vec![0u8; HEADER_BYTES];
    assert_eq!(HeaderInfo::read(&bytes), Err(HeaderError::NotATrace));
    assert_eq!(HeaderInfo::read(&[]), Err(HeaderError::TooShort(0)));
    bytes[..8].copy_from_slice(&MAGIC);
    assert_eq!(HeaderInfo::read(&bytes[..100]), Err(HeaderError::TooShort(100)));
    bytes[8] = 2;
    assert_eq!(HeaderInfo::read(&bytes), Err(HeaderError::Version(2)));
    bytes[8] = 1;
    assert_eq!(HeaderInfo::read(&bytes), Err(HeaderError::Damaged(32)));
    bytes[32] = 1;
    assert_eq!(HeaderInfo::read(&bytes), Err(HeaderError::Damaged(120)));
    bytes[120..128].copy_from_slice(&65536u64.to_le_bytes());
    bytes[108..112].copy_from_slice(&End::Signal(9).to_word().to_le_bytes());
    let info = HeaderInfo::read(&bytes).expect("a header now");
    assert_eq!(info.end, End::Signal(9));
    bytes[16] = 1;
    assert_eq!(HeaderInfo::read(&bytes), Err(HeaderError::Features(1)));
}

#[test]
fn chunk_size_follows_ring_size() {
    for (ring, chunk) in
        [(64 << 10, 1 << 10), (1 << 20, 16 << 10), (256 << 20, 64 << 10), (1 << 40, 64 << 10)]
    {
        assert_eq!(bytes_for_ring(ring), chunk);
        assert!((chunk::MIN_BYTES..=chunk::MAX_BYTES).contains(&chunk));
    }
}
