//! What is encoded is what is decoded, whatever the values and wherever the writer dies.
#![forbid(unsafe_code)]

use fragtrace_format::event::{
    Acquire, Decoder, Encoded, Event, Flags, MAX_WORD_BYTES, Plain, State, Upcoming, bit_length,
    half, pack_acquire, pack_release, zigzag,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Said {
    Acquire(Acquire),
    Release { address: u64, flags: Flags },
    Cold(Vec<u8>),
}

fn flags() -> impl Strategy<Value = Flags> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(zeroed, realloc, again)| {
        [(zeroed, Flags::ZEROED), (realloc, Flags::REALLOC), (again, Flags::AGAIN)]
            .into_iter()
            .filter(|(on, _)| *on)
            .fold(Flags::NONE, |all, (_, flag)| all.with(flag))
    })
}

fn address() -> impl Strategy<Value = u64> {
    // The two halves of a process, near and far, aligned and not.
    (prop_oneof![Just(0x5555_5555_0000u64), Just(0x7fff_f000_0000), 0..1u64 << 57], 0..1u64 << 30)
        .prop_flat_map(|(base, offset)| {
            prop_oneof![
                4 => Just((base.wrapping_add(offset) & !15) & ((1 << 57) - 1)),
                1 => Just(base.wrapping_add(offset) & ((1 << 57) - 1)),
            ]
        })
}

fn said() -> impl Strategy<Value = Said> {
    let size = prop_oneof![4 => 0..4096u64, 2 => 0..1u64 << 21, 1 => 0..1u64 << 48];
    let acquire = (
        address(),
        size,
        flags(),
        0..30u8,
        proptest::option::of(0..1u64 << 40),
        proptest::option::of(0..1u64 << 20),
        prop_oneof![3 => 0..3u32, 1 => any::<u32>()],
        prop_oneof![3 => Just(0u32), 1 => any::<u32>()],
    )
        .prop_map(|(address, size, flags, align_log2, usable, mapped_offset, stack, pool)| {
            Said::Acquire(Acquire {
                address,
                size,
                flags,
                align_log2,
                usable,
                mapped_offset,
                stack,
                pool,
            })
        });
    prop_oneof![
        4 => acquire,
        4 => (address(), flags()).prop_map(|(address, flags)| Said::Release { address, flags }),
        1 => prop::collection::vec(any::<u8>(), 1..300).prop_map(Said::Cold),
    ]
}

/// Writes as the recorder does: words in order, payloads behind their heads.
struct Writer {
    bytes: Vec<u8>,
    state: State,
    stack: u32,
    /// The length of `bytes` after each event.
    ends: Vec<usize>,
    /// The length of `bytes` after each store: a cold event's payload is there at once with
    /// its head, which is stored last.
    stores: Vec<usize>,
}

impl Writer {
    fn new() -> Self {
        Writer {
            bytes: Vec::new(),
            state: State::default(),
            stack: 0,
            ends: Vec::new(),
            stores: Vec::new(),
        }
    }

    fn put(&mut self, encoded: &Encoded) {
        for word in encoded.words() {
            assert!(word.fits, "{word:?}");
            assert!(word.bits & 0xff != 0, "a word starts with a byte that is not zero");
            self.bytes.extend_from_slice(&word.bits.to_le_bytes()[..word.len as usize]);
            self.stores.push(self.bytes.len());
        }
    }

    fn say(&mut self, stamp: u64, said: &Said) {
        match said {
            Said::Acquire(block) => {
                let known = self.stack == block.stack;
                self.stack = block.stack;
                let encoded = Encoded::acquire(&mut self.state, stamp, block, known);
                self.put(&encoded);
            }
            Said::Release { address, flags } => {
                let encoded = Encoded::release(&mut self.state, stamp, *address, *flags);
                self.put(&encoded);
            }
            Said::Cold(payload) => {
                let encoded = Encoded::cold(&mut self.state, stamp, payload.len());
                self.put(&encoded);
                self.bytes.extend_from_slice(payload);
                self.stores.pop();
                self.stores.push(self.bytes.len());
            }
        }
        self.ends.push(self.bytes.len());
    }
}

fn history() -> impl Strategy<Value = Vec<(u64, Said)>> {
    let step = prop_oneof![6 => 0..1000u64, 1 => 0..100_000u64, 1 => 0..1u64 << 40];
    prop::collection::vec((step, said()), 0..60)
}

fn matches(said: &Said, event: &Event<'_>) -> bool {
    match (said, event) {
        (Said::Acquire(want), Event::Acquire(got)) => want == got,
        (Said::Release { address, flags }, Event::Release { address: a, flags: f }) => {
            (address, flags) == (a, f)
        }
        (Said::Cold(want), Event::Cold(got)) => want == got,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_is_read(history in history()) {
        let mut writer = Writer::new();
        let mut now = 0;
        for (step, said) in &history {
            now += step;
            writer.say(now, said);
        }
        writer.bytes.extend_from_slice(&[0; MAX_WORD_BYTES]);
        let mut decoder = Decoder::new(&writer.bytes, State::default());
        let mut now = 0;
        for (step, said) in &history {
            now += step;
            let (stamp, event) = decoder.next_event().unwrap().expect("an event for each said");
            prop_assert_eq!(stamp, now);
            prop_assert!(matches(said, &event), "said {:?}, read {:?}", said, event);
        }
        prop_assert_eq!(decoder.next_event(), Ok(None));
    }

    #[test]
    fn a_writer_that_dies_between_two_stores_loses_the_event_under_way_alone(
        history in history(), cut in any::<prop::sample::Index>(),
    ) {
        let mut writer = Writer::new();
        for (index, (_, said)) in history.iter().enumerate() {
            writer.say(index as u64 * 2000, said);
        }
        // Everything behind the last store is still zero, as in a fresh chunk.
        let whole = writer.bytes.len();
        writer.stores.push(0);
        let stored = writer.stores[cut.index(writer.stores.len())];
        let last_end = writer.ends.iter().copied().filter(|end| *end <= stored).max().unwrap_or(0);
        let complete = writer.ends.iter().filter(|end| **end <= stored).count();
        writer.bytes.truncate(stored);
        writer.bytes.resize(whole + MAX_WORD_BYTES, 0);
        let mut decoder = Decoder::new(&writer.bytes, State::default());
        let mut read = 0;
        while let Some(_event) = decoder.next_event().expect("no damage") {
            read += 1;
        }
        prop_assert_eq!(read, complete);
        prop_assert_eq!(decoder.offset(), last_end);
    }

    #[test]
    fn any_bytes_are_events_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::new(&bytes, State::default());
        let mut last = 0;
        while let Ok(Some(_)) = decoder.next_event() {
            prop_assert!(decoder.offset() > last, "each event moves on");
            last = decoder.offset();
        }
        prop_assert!(decoder.offset() <= bytes.len());
    }

    #[test]
    fn the_short_ways_read_what_the_general_one_reads(
        history in history(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        limit in prop_oneof![Just(u64::MAX), 0..100_000u64],
    ) {
        let mut writer = Writer::new();
        for (index, (_, said)) in history.iter().enumerate() {
            writer.say(index as u64 * 2000, said);
        }
        writer.bytes.push(0);
        for (at, byte) in damage {
            let at = at.index(writer.bytes.len());
            writer.bytes[at] = byte;
        }
        let mut general = Decoder::new(&writer.bytes, State::default());
        let mut short = general.clone();
        loop {
            let Some(plain) = short.next_usual(limit) else {
                let (one, other) = (short.next_until(limit), general.next_until(limit));
                prop_assert_eq!(one, other);
                if !matches!(one, Ok(Upcoming::Event(..))) {
                    break;
                }
                continue;
            };
            let stack = short.stack();
            let Plain { stamp, address, size, acquires } = plain;
            let event = if acquires {
                Event::Acquire(Acquire { address, size, stack, ..Acquire::default() })
            } else {
                Event::Release { address, flags: Flags::NONE }
            };
            prop_assert_eq!(general.next_until(limit), Ok(Upcoming::Event(stamp, event)));
            prop_assert_eq!(
                (short.offset(), short.state(), stack),
                (general.offset(), general.state(), general.stack())
            );
        }
    }

    #[test]
    fn the_event_path_and_the_general_encoder_agree(
        address in address(), previous in address(), size in 0..1u64 << 22, step in 0..2000u64,
    ) {
        // The recorder packs by itself, and takes the general way when the word does not fit.
        let mut state = State { stamp: 7, base: [previous >> 4; 2] };
        let units = address >> 4;
        let zigzag = zigzag(units.wrapping_sub(previous >> 4) as i64);
        let bits = bit_length(zigzag);
        let acquire = pack_acquire(half(address), step, size, zigzag, bits);
        let release = pack_release(half(address), step, zigzag, bits);
        let block = Acquire { address, size, ..Acquire::default() };
        if acquire.fits && address & 15 == 0 {
            let encoded = Encoded::acquire(&mut state.clone(), 7 + step, &block, true);
            prop_assert_eq!(encoded.words(), &[acquire][..]);
        }
        if release.fits && address & 15 == 0 {
            let encoded = Encoded::release(&mut state, 7 + step, address, Flags::NONE);
            prop_assert_eq!(encoded.words(), &[release][..]);
        }
    }
}
