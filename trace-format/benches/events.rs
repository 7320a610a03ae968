//! Encoding and decoding by themselves: `cargo bench -p fragtrace-format`.
//!
//! The stream is that of a program with blocks of 16 B to 4 KB in 5,000 places, on one thread.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fragtrace_format::event::{
    Acquire, Decoder, Encoded, Flags, State, bit_length, half, pack_acquire, pack_release, zigzag,
};

const EVENTS: usize = 100_000;
const PLACES: u64 = 5000;

/// A block that comes, with its size, or goes.
#[derive(Clone, Copy)]
struct Said {
    stamp: u64,
    address: u64,
    size: Option<u64>,
}

fn stream() -> Vec<Said> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut live = vec![false; PLACES as usize];
    let mut stamp = 1000;
    let say = |_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        stamp += 1 + random % 50;
        let place = random % PLACES;
        let taken = &mut live[place as usize];
        *taken = !*taken;
        let size = taken.then_some(16 + (random >> 32) % 4080);
        Said { stamp, address: 0x5555_5560_0000 + place * 4096, size }
    };
    (0..EVENTS).map(say).collect()
}

/// As the recorder's event path does it: one word, stored whole.
fn pack(stream: &[Said], out: &mut [u8]) -> usize {
    let (mut at, mut state) = (0, State { stamp: 1000, base: [0; 2] });
    for said in stream {
        let units = said.address >> 4;
        let side = half(said.address);
        let step = zigzag(units.wrapping_sub(state.base[side]) as i64);
        let time_step = said.stamp - state.stamp;
        let word = match said.size {
            Some(size) => pack_acquire(side, time_step, size, step, bit_length(step)),
            None => pack_release(side, time_step, step, bit_length(step)),
        };
        out[at..at + 8].copy_from_slice(&word.bits.to_le_bytes());
        at += word.len as usize;
        (state.stamp, state.base[side]) = (said.stamp, units);
    }
    at
}

/// As everything rare is written: with whatever prefixes it needs.
fn encode(stream: &[Said], out: &mut Vec<u8>) {
    let mut state = State { stamp: 1000, base: [0; 2] };
    for said in stream {
        let Said { stamp, address, size } = *said;
        let encoded = match size {
            Some(size) => {
                let block = Acquire { address, size, ..Acquire::default() };
                Encoded::acquire(&mut state, stamp, &block, true)
            }
            None => Encoded::release(&mut state, stamp, address, Flags::NONE),
        };
        for word in encoded.words() {
            out.extend_from_slice(&word.bits.to_le_bytes()[..word.len as usize]);
        }
    }
}

fn events(criterion: &mut Criterion) {
    let stream = stream();
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let mut packed = vec![0; EVENTS * 8 + 8];
    group.bench_function("pack", |bencher| {
        bencher.iter(|| pack(black_box(&stream), black_box(&mut packed)));
    });
    let mut bytes = Vec::with_capacity(EVENTS * 16);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            encode(black_box(&stream), &mut bytes);
            bytes.len()
        });
    });
    bytes.clear();
    encode(&stream, &mut bytes);
    bytes.extend_from_slice(&[0; 16]);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut decoder = Decoder::new(black_box(&bytes), State { stamp: 1000, base: [0; 2] });
            let mut count = 0;
            while let Ok(Some((_, event))) = decoder.next_event() {
                black_box(&event);
                count += 1;
            }
            assert_eq!(count, EVENTS);
        });
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
