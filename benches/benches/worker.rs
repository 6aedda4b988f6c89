//! The whole worker on the one-core loop, a burst of 64 an iteration: resets and SYN cookies, empty table and a million records.
//!
//! Time is the worker's own, converted from its cycle counter: what the loop's NIC does to prepare frames is left out. Run
//! alone on the machine: `cargo bench -p syncline-benches --bench worker`; `scripts/bench-loop` prints the same in cycles. It must
//! never print a time of a run whose replies were wrong.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use benches::loop_nic::cycles;
use benches::worker_loop::{LoopSpec, Scenario, build, check};
use criterion::{Criterion, Throughput};
use stack::nic::BURST_FRAMES;

const CASES: [(&str, Scenario, u32); 4] = [
    ("rst/empty", Scenario::Rst, 0),
    ("rst/1M", Scenario::Rst, 1_000_000),
    ("syn-cookies/empty", Scenario::SynCookies, 0),
    ("syn-cookies/1M", Scenario::SynCookies, 1_000_000),
];

/// Cycles per second of the counter that the worker reads.
fn cycles_per_second() -> f64 {
    let (clock, started) = (Instant::now(), cycles());
    while clock.elapsed() < Duration::from_millis(100) {
        std::hint::spin_loop();
    }
    cycles().wrapping_sub(started) as f64 / clock.elapsed().as_secs_f64()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let rate = cycles_per_second();
    let mut group = criterion.benchmark_group("worker");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    for (name, scenario, connections) in CASES {
        let spec = LoopSpec {
            scenario,
            connections,
            burst: BURST_FRAMES,
            packets: 0,
        };
        let mut worker_loop = build(&spec).expect("memory for the table");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|bursts| {
                let own = worker_loop.run(bursts * BURST_FRAMES as u64).own;
                Duration::from_secs_f64(own as f64 / rate)
            });
        });
        check(worker_loop.into_nic().counts()).expect("right replies");
    }
    group.finish();
    criterion.final_summary();
}
