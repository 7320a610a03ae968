//! Ordering, replaying and measuring by themselves: `cargo bench -p fragtrace-analyzer`.
//!
//! The trace is that of four threads, each with blocks of 16 B to 4 KB in 5,000 places of an arena's
//! heap, and looks that tell its mappings.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use fragtrace_analyzer::measure::{self, Parts};
use fragtrace_analyzer::order::{self, Event};
use fragtrace_analyzer::read::Trace;
use fragtrace_analyzer::replay::Replay;
use fragtrace_format::record::Look;
use support::{Builder, anonymous, free, malloc};

const LANES: u32 = 4;
const EVENTS_A_LANE: u64 = 100_000;
const EVENTS: u64 = LANES as u64 * EVENTS_A_LANE;
const PLACES: u64 = 5000;
const HEAP: u64 = 0x7f00_0000_0000;
const HEAP_BYTES: u64 = 64 << 20;

fn trace() -> Trace {
    let mut builder = Builder { chunk_bytes: 64 << 10, ..Builder::default() };
    let heaps =
        || (0..u64::from(LANES)).map(|lane| anonymous(HEAP + lane * HEAP_BYTES, HEAP_BYTES));
    builder.look(Look { stamp: 1, monotonic_ns: 1, ..Look::default() }, heaps().collect());
    for lane in 1..=LANES {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64 * u64::from(lane);
        let mut live = vec![false; PLACES as usize];
        let mut stamp = 1000;
        for _ in 0..EVENTS_A_LANE {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            stamp += 1 + random % 50;
            let place = random % PLACES;
            let address = HEAP + u64::from(lane - 1) * HEAP_BYTES + 4096 * (place + 1) + 16;
            let taken = &mut live[place as usize];
            *taken = !*taken;
            let said =
                if *taken { malloc(address, 16 + (random >> 32) % 4000) } else { free(address) };
            builder.say(lane, stamp, said);
        }
    }
    builder.open()
}

fn stages(criterion: &mut Criterion) {
    let trace = trace();
    let mut events: Vec<Event> = Vec::new();
    order::for_each_batch(&trace, |batch| {
        events.extend(batch.events());
        true
    });
    assert_eq!(events.len() as u64, EVENTS);
    let mut group = criterion.benchmark_group("stages");
    group
        .throughput(Throughput::Elements(EVENTS))
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat);
    group.bench_function("order", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            order::for_each_batch(black_box(&trace), |batch| {
                count += batch.len() as u64;
                true
            });
            assert_eq!(count, EVENTS);
        });
    });
    group.bench_function("replay", |bencher| {
        bencher.iter_batched(
            || Replay::new(&trace),
            |mut replay| {
                events.iter().for_each(|event| replay.apply(event));
                replay
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("order, replay and measure at 1,000 moments", |bencher| {
        bencher.iter(|| measure::analyze(black_box(&trace)));
    });
    group.finish();

    let (analysis, replay) = measure::analyze_to_end(&trace);
    let at_ns = analysis.end.time_ns;
    let mut group = criterion.benchmark_group("measure");
    group.throughput(Throughput::Elements(replay.blocks().count()));
    group.bench_function("what the heap is made of, a block", |bencher| {
        bencher.iter(|| Parts::of(&trace, black_box(&replay), at_ns));
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
