//! The timing wheel with a million connections: moving a random timer, and firing each timer once per 100 ms of time.
//!
//! ```text
//! cargo bench -p syncline-benches --bench timer
//! ```
#![forbid(unsafe_code)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stack::time::Instant;
use stack::timer::TimerWheel;

const TIMERS: u32 = 1_000_000;
/// Timers moved between two readings of the clock.
const BATCH: u32 = 1024;

/// A cheap scramble (xorshift*), so that neighbours in time are strangers in memory.
fn scramble(n: u64) -> u64 {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn full(now_ns: u64, span_ns: u64) -> TimerWheel {
    let mut wheel = TimerWheel::new(TIMERS, Instant::from_ns(now_ns)).expect("fits");
    for index in 0..TIMERS {
        let after_ns = scramble(u64::from(index)) % span_ns;
        wheel.arm(index, Instant::from_ns(now_ns + after_ns));
    }
    wheel
}

fn timer(criterion: &mut Criterion) {
    const SECOND_NS: u64 = 1_000_000_000;
    let mut group = criterion.benchmark_group("timer");
    group.throughput(Throughput::Elements(BATCH.into()));
    let mut wheel = full(0, SECOND_NS);
    let mut n = 0;
    group.bench_function("move", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                n += 1;
                let index = (scramble(n) % u64::from(TIMERS)) as u32;
                wheel.arm(
                    index,
                    Instant::from_ns(SECOND_NS / 2 + scramble(n + 1) % SECOND_NS),
                );
            }
        });
    });
    // Each timer fires every 100 ms, so a turn of 1 ms finds a hundredth of them due, and arms them again.
    let span_ns = SECOND_NS / 10;
    let mut wheel = full(0, span_ns);
    let mut now_ns = span_ns;
    wheel.poll(Instant::from_ns(now_ns), |_| {});
    for index in 0..TIMERS {
        wheel.arm(
            index,
            Instant::from_ns(now_ns + scramble(index.into()) % span_ns),
        );
    }
    group.throughput(Throughput::Elements(u64::from(TIMERS) / 100));
    group.bench_function("fire and arm again, per 1 ms turn", |bencher| {
        bencher.iter(|| {
            now_ns += SECOND_NS / 1000;
            let now = Instant::from_ns(now_ns);
            while let Some(index) = wheel.pop_due(now) {
                wheel.arm(index, Instant::from_ns(now_ns + span_ns));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, timer);
criterion_main!(benches);
