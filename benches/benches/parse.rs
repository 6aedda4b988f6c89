//! Taking a frame apart: the whole parser beside etherparse's, the headers at fixed offsets of the fast lane, and the options.
//!
//! One frame over and over, so every branch is predicted and every line is in the first cache: what is left is the work.
//! Run alone on the machine: `cargo bench -p syncline-benches --bench parse`. It must never measure a frame that is refused.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use benches::LOCAL_MAC;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use etherparse::SlicedPacket;
use stack::wire::tcp::Flags;
use stack::wire::tcp_options::{SegmentOptions, only_timestamps};
use stack::wire::{
    Link, MacAddr, OptionBytes, SegmentSpec, Tcp4Headers, Tcp6Headers, Timestamps, parse,
};
use zerocopy::FromBytes;

const LINK: Link = Link {
    dst: MacAddr(LOCAL_MAC),
    src: MacAddr([2, 0, 0, 0, 0, 1]),
    vlan: None,
};
const TIMESTAMPS: Timestamps = Timestamps { tsval: 1, tsecr: 0 };
const VLAN_TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x07];
/// As in Windows' SYNs: the same options as Linux sends, in another order, without timestamps.
const OTHER_ORDER: [u8; 12] = [2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2];

fn v4() -> (SocketAddr, SocketAddr) {
    let [remote, local] = [1, 2].map(|last| Ipv4Addr::new(198, 18, 0, last));
    ((remote, 40_000).into(), (local, 80).into())
}

fn v6() -> (SocketAddr, SocketAddr) {
    let [remote, local] = [1, 2].map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    ((remote, 40_000).into(), (local, 80).into())
}

fn frame(
    (src, dst): (SocketAddr, SocketAddr),
    flags: Flags,
    options: &OptionBytes,
    payload: &[u8],
) -> Vec<u8> {
    let spec = SegmentSpec {
        flags,
        options: options.as_padded(),
        payload,
        ..SegmentSpec::new(LINK, src, dst)
    };
    let mut bytes = vec![0; 2048];
    let len = spec.emit(&mut bytes).expect("it fits");
    bytes.truncate(len.max(60));
    bytes
}

fn short(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
}

fn bench_frames(criterion: &mut Criterion) {
    let syn = OptionBytes::syn(Some(1460), Some(7), true, Some(TIMESTAMPS));
    let data = OptionBytes::timestamps(TIMESTAMPS);
    let usual_syn = frame(v4(), Flags::SYN, &syn, &[]);
    let mut tagged = usual_syn.clone();
    tagged.splice(12..12, VLAN_TAG);
    let frames = [
        (
            "bare-syn-v4",
            frame(v4(), Flags::SYN, &OptionBytes::new(), &[]),
        ),
        ("linux-syn-v4", usual_syn),
        ("linux-syn-v4-vlan", tagged),
        ("linux-syn-v6", frame(v6(), Flags::SYN, &syn, &[])),
        (
            "full-segment-v4",
            frame(v4(), Flags::ACK, &data, &[7; 1448]),
        ),
    ];
    for (name, bytes) in &frames {
        let parsed = parse(bytes).expect("well-formed");
        assert_eq!(parsed.verify_checksums(true, true), Ok(()));
        SlicedPacket::from_ethernet(bytes).expect("well-formed to others too");
        let mut group = criterion.benchmark_group(format!("parse/{name}"));
        short(&mut group);
        group.bench_function("ours", |bencher| bencher.iter(|| parse(black_box(bytes))));
        group.bench_function("ours-and-checksums", |bencher| {
            bencher.iter(|| {
                parse(black_box(bytes)).and_then(|parsed| parsed.verify_checksums(true, true))
            });
        });
        group.bench_function("etherparse", |bencher| {
            bencher.iter(|| SlicedPacket::from_ethernet(black_box(bytes)));
        });
        group.finish();
    }
}

/// The loads of the fast lane in its place: all headers in one piece.
fn bench_fixed_offsets(criterion: &mut Criterion) {
    let none = OptionBytes::new();
    let [four, six] = [v4(), v6()].map(|ends| frame(ends, Flags::SYN, &none, &[]));
    let mut group = criterion.benchmark_group("headers");
    short(&mut group);
    group.bench_function("v4", |bencher| {
        bencher.iter(|| {
            let (headers, _) = Tcp4Headers::ref_from_prefix(black_box(&four)).ok()?;
            Some((headers.tcp.src_port.get(), headers.tcp.seq().0))
        });
    });
    group.bench_function("v6", |bencher| {
        bencher.iter(|| {
            let (headers, _) = Tcp6Headers::ref_from_prefix(black_box(&six)).ok()?;
            Some((headers.tcp.src_port.get(), headers.tcp.seq().0))
        });
    });
    group.finish();
}

fn bench_options(criterion: &mut Criterion) {
    let linux = OptionBytes::syn(Some(1460), Some(7), true, Some(TIMESTAMPS));
    let data = OptionBytes::timestamps(TIMESTAMPS);
    assert!(
        SegmentOptions::parse_syn(linux.as_padded())
            .timestamps
            .is_some()
    );
    assert!(SegmentOptions::parse_syn(&OTHER_ORDER).mss.is_some());
    assert!(only_timestamps(data.as_padded()).is_some());
    let mut group = criterion.benchmark_group("options");
    short(&mut group);
    let syns = [
        ("syn/linux", linux.as_padded()),
        ("syn/other-order", &OTHER_ORDER),
    ];
    for (name, bytes) in syns {
        group.bench_function(name, |bencher| {
            bencher.iter(|| SegmentOptions::parse_syn(black_box(bytes)));
        });
    }
    group.bench_function("only-timestamps", |bencher| {
        bencher.iter(|| only_timestamps(black_box(data.as_padded())));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_frames(&mut criterion);
    bench_fixed_offsets(&mut criterion);
    bench_options(&mut criterion);
    criterion.final_summary();
}
