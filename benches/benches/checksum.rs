//! The Internet checksum over a header, a SYN's segment and a full segment: ours beside etherparse's.
//!
//! Run alone on the machine: `cargo bench -p syncline-benches --bench checksum`. It must never let the compiler know what is summed.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use etherparse::checksum::Sum16BitWords;
use stack::wire::checksum;

/// An IPv4 header, a TCP header with all options, the payload of a full segment; in bytes.
const LENGTHS: [usize; 3] = [20, 60, 1460];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for len in LENGTHS {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 151 + 17) as u8).collect();
        let ours = checksum::sum(&bytes).finish().to_bytes();
        let theirs = Sum16BitWords::new().add_slice(&bytes).ones_complement();
        assert_eq!(ours, theirs.to_ne_bytes(), "both sum the same");
        let mut group = criterion.benchmark_group(format!("checksum/{len}"));
        group.warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function("ours", |bencher| {
            bencher.iter(|| checksum::sum(black_box(&bytes)).finish());
        });
        if len <= 60 {
            group.bench_function("ours-header", |bencher| {
                bencher.iter(|| checksum::sum_header(black_box(&bytes)).finish());
            });
        }
        group.bench_function("etherparse", |bencher| {
            bencher.iter(|| {
                Sum16BitWords::new()
                    .add_slice(black_box(&bytes))
                    .ones_complement()
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
