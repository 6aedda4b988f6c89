//! Looking up a flow: ours burst by burst and one by one, hashbrown's `HashTable`, and the bare loop over our memory.
//!
//! Hits and misses at 1 k, 1 M and 10 M connections, each table at its full capacity, flows uniformly random. Hashes are
//! computed outside the measured time (the same for all; see `hash`). Run alone on the machine:
//!
//! ```text
//! GLIBC_TUNABLES=glibc.malloc.hugetlb=1 cargo bench -p syncline-benches --bench table
//! ```
//!
//! The tunable gives hashbrown the huge pages that ours asks for itself: its memory can't be advised from outside.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::table::{bare_probe, flow, full_table, scramble};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use hashbrown::HashTable;
use stack::conn::{ConnTable, FlowHash, FlowHasher, FlowKey, Probe};
use stack::memory::{PageOptions, Pages, ProcessMemory};
use stack::nic::BURST_FRAMES;

/// Flows looked up between two readings of the clock: small enough for the caches to hold keys and hashes, large enough
/// for the clock not to count.
const BATCH: usize = 16 * BURST_FRAMES;

const SIZES: [(u32, &str); 3] = [(1_000, "1k"), (1_000_000, "1M"), (10_000_000, "10M")];

/// The baseline: hashbrown's table of indices into an array of 64-byte records that begin with the key, in huge pages
/// like ours.
struct Baseline {
    table: HashTable<u32>,
    records: Pages<[u64; 8]>,
}

impl Baseline {
    fn full(connections: u32, hasher: &FlowHasher) -> Self {
        let mut records = Pages::<[u64; 8]>::zeroed(connections as usize, PageOptions::default())
            .expect("memory for the records");
        let mut table = HashTable::with_capacity(connections as usize);
        for index in 0..connections {
            let key = flow(u64::from(index), false);
            records.as_mut_slice()[index as usize][..2].copy_from_slice(&words(&key));
            // Reserved at start, so it never asks for a hash again.
            table.insert_unique(hasher.hash(&key).0, index, |_| unreachable!());
        }
        Self { table, records }
    }

    #[inline]
    fn lookup(&self, key: &FlowKey, hash: FlowHash) -> Option<u32> {
        let (records, wanted) = (self.records.as_slice(), words(key));
        self.table
            .find(hash.0, |&index| records[index as usize][..2] == wanted)
            .copied()
    }
}

/// The key in two words: as compact as our record's own.
#[inline]
fn words(key: &FlowKey) -> [u64; 2] {
    let std::net::IpAddr::V4(remote) = key.remote() else {
        return [u64::MAX; 2];
    };
    let ports = u64::from(key.remote_port()) << 16 | u64::from(key.local_port());
    [
        u64::from(remote.to_bits()),
        u64::from(key.local().0) << 32 | ports,
    ]
}

/// Measures `lookup` over batches of random flows, drawn anew each time and outside the measured time.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    (connections, hit): (u32, bool),
    hasher: &FlowHasher,
    mut lookup: impl FnMut(&[FlowKey], &[FlowHash]) -> usize,
) {
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut drawn = 0u64;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|batches| {
            let mut spent = Duration::ZERO;
            let mut keys = Vec::with_capacity(BATCH);
            let mut hashes = Vec::with_capacity(BATCH);
            for _ in 0..batches {
                keys.clear();
                hashes.clear();
                for _ in 0..BATCH {
                    drawn += 1;
                    let index = scramble(drawn) % u64::from(connections);
                    let key = flow(index, !hit);
                    keys.push(key);
                    hashes.push(hasher.hash(&key));
                }
                let start = Instant::now();
                black_box(lookup(black_box(&keys), black_box(&hashes)));
                spent += start.elapsed();
            }
            spent
        });
    });
}

fn ours_in_bursts(table: &ConnTable, keys: &[FlowKey], hashes: &[FlowHash]) -> usize {
    let mut hits = 0;
    let mut probes = [Probe::MISS; BURST_FRAMES];
    for (keys, hashes) in keys.chunks(BURST_FRAMES).zip(hashes.chunks(BURST_FRAMES)) {
        for &hash in hashes {
            table.prefetch_bucket(hash);
        }
        for (probe, &hash) in probes.iter_mut().zip(hashes) {
            *probe = table.probe(hash);
        }
        let found = keys.iter().zip(hashes).zip(&probes);
        hits += found
            .filter(|&((key, &hash), &probe)| table.confirm(key, hash, probe).is_some())
            .count();
    }
    hits
}

/// The resident memory of this process; `None` where the system doesn't report it.
fn process_memory() -> Option<ProcessMemory> {
    ProcessMemory::parse(&std::fs::read_to_string(ProcessMemory::PATH).ok()?)
}

/// Cost of a parked IPv4 connection in bytes, by the growth of the process and by the reserved memory.
fn print_memory(table: &ConnTable, connections: u32, before: Option<ProcessMemory>) {
    let each = |bytes: u64| bytes as f64 / f64::from(connections);
    let stats = table.index_stats();
    println!(
        "{connections} connections: {:.1} B each reserved, {:.1} B of that the index ({} buckets, {:.2} % full)",
        each(table.reserved_bytes() as u64),
        each(u64::from(stats.buckets) * 64),
        stats.buckets,
        100.0 * f64::from(stats.full_buckets) / f64::from(stats.buckets),
    );
    if let (Some(before), Some(after)) = (before, process_memory()) {
        println!(
            "{connections} connections: {:.1} B each resident, {:.1} B of that in huge pages",
            each(after.resident_bytes.saturating_sub(before.resident_bytes)),
            each(after.huge_bytes.saturating_sub(before.huge_bytes)),
        );
    }
}

fn bench_size(c: &mut Criterion, connections: u32, name: &str, hasher: &FlowHasher) {
    let before = process_memory();
    let table = full_table(connections, hasher).expect("memory for the table");
    print_memory(&table, connections, before);
    let baseline = Baseline::full(connections, hasher);
    for (hit, case) in [(true, "hit"), (false, "miss")] {
        let mut group = c.benchmark_group(format!("{case}/{name}"));
        group.sample_size(20);
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_millis(600));
        let case = (connections, hit);
        measure(&mut group, "ours-burst", case, hasher, |keys, hashes| {
            ours_in_bursts(&table, keys, hashes)
        });
        measure(&mut group, "ours-single", case, hasher, |keys, hashes| {
            let found = keys
                .iter()
                .zip(hashes)
                .filter_map(|(k, &h)| table.lookup(k, h));
            found.count()
        });
        measure(&mut group, "hashbrown", case, hasher, |keys, hashes| {
            let found = keys
                .iter()
                .zip(hashes)
                .filter_map(|(k, &h)| baseline.lookup(k, h));
            found.count()
        });
        measure(&mut group, "bare", case, hasher, |_, hashes| {
            bare_probe(&table, hashes)
        });
        group.finish();
    }
}

fn bench_hash(c: &mut Criterion, hasher: &FlowHasher) {
    let keys: Vec<FlowKey> = (0..BATCH as u64).map(|index| flow(index, false)).collect();
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("flow-key", |bencher| {
        bencher.iter(|| {
            black_box(&keys)
                .iter()
                .fold(0, |sum, key| sum ^ hasher.hash(key).0)
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let hasher = FlowHasher::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
    if std::env::var("GLIBC_TUNABLES").is_ok_and(|value| value.contains("hugetlb=1")) {
        println!("hashbrown: huge pages (glibc.malloc.hugetlb=1)");
    } else {
        println!(
            "hashbrown: small pages, to its disadvantage (set GLIBC_TUNABLES=glibc.malloc.hugetlb=1)"
        );
    }
    bench_hash(&mut criterion, &hasher);
    for (connections, name) in SIZES {
        bench_size(&mut criterion, connections, name, &hasher);
    }
    criterion.final_summary();
}
