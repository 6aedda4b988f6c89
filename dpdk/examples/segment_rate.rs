//! Nanoseconds to build one segment out of real mbufs: ACKs, 1448 bytes copied, 1448 bytes chained.
//!
//! ```text
//! cargo run --release -p syncline-dpdk --example segment_rate
//! ```
//! Needs no root, hugepages or NIC. Each burst of 64 is built and freed again; freeing is part of the figure. It never sends.

use std::net::Ipv4Addr;
use std::time::Instant;

use dpdk::{DpdkNic, Eal, EalConfig, RingConfig};
use stack::conn::FlowKey;
use stack::counters::Counters;
use stack::local::addresses::LocalId;
use stack::nic::{BURST_FRAMES, Burst, Frame, Nic, PoolClass};
use stack::tcp::segment::{Flags, SegmentOptions, SendPlan, TimestampOption};
use stack::wire::MacAddr;
use stack::worker::frame_writer::{Path, Route, SegmentWriter};

const BURSTS: usize = 20_000;
const FULL: usize = 1448;

/// Where the payload comes from.
#[derive(Clone, Copy)]
enum Source {
    Nothing,
    Copied,
    Chained,
}

fn main() -> Result<(), dpdk::Error> {
    let eal = Eal::init(&EalConfig::default())?;
    let ((_, pairs), _peer) = dpdk::ring_pair(&eal, &RingConfig::default())?;
    let mut nic = DpdkNic::new(pairs.into_iter().next().expect("one queue pair"));
    let cases = [
        ("ack", false, Source::Nothing),
        ("ack-ts", true, Source::Nothing),
        ("copied-1448", true, Source::Copied),
        ("chained-1448", true, Source::Chained),
    ];
    for offload in [false, true] {
        let mut caps = nic.caps().clone();
        caps.tx_ipv4_checksum = offload;
        caps.tx_tcp_checksum = offload;
        let mut writer = SegmentWriter::new(MacAddr(nic.mac()), 64, &caps);
        for (name, timestamps, source) in cases {
            // The best of five: what disturbs only adds.
            let ns = (0..5)
                .map(|_| run(&mut nic, &mut writer, timestamps, source))
                .fold(f64::INFINITY, f64::min);
            println!("{name:13} checksum offload {offload:5}: {ns:6.1} ns a segment");
        }
        writer.release(&mut nic);
    }
    Ok(())
}

fn run(
    nic: &mut DpdkNic,
    writer: &mut SegmentWriter<dpdk::Mbuf>,
    timestamps: bool,
    source: Source,
) -> f64 {
    let path = Path {
        key: FlowKey::v4(LocalId(0), 80, Ipv4Addr::new(198, 18, 250, 1), 54_321),
        local: Ipv4Addr::new(198, 18, 0, 2).into(),
        route: Route {
            dst: MacAddr([2, 0, 0, 0, 0, 2]),
            vlan: None,
        },
        is_doubtful: false,
    };
    let timestamps = timestamps.then_some(TimestampOption { tsval: 1, tsecr: 2 });
    let plan = SendPlan {
        flags: Flags::ACK,
        payload_len: if matches!(source, Source::Nothing) {
            0
        } else {
            FULL as u32
        },
        options: SegmentOptions {
            timestamps,
            ..SegmentOptions::default()
        },
        ..SendPlan::default()
    };
    let mut bodies = Burst::new();
    nic.alloc(PoolClass::Data, &mut bodies, 1);
    let body = &mut bodies.as_mut_slice()[0];
    body.set_len(FULL).expect("room");
    let (mut sent, mut counters) = (Burst::new(), Counters::new());
    let bytes = [7; FULL];
    let start = Instant::now();
    for _ in 0..BURSTS {
        for _ in 0..BURST_FRAMES {
            let (path, plan) = (std::hint::black_box(&path), std::hint::black_box(&plan));
            let mut draft = writer
                .begin(nic, &mut counters, path, plan)
                .expect("a buffer");
            match source {
                Source::Nothing => {}
                Source::Copied => draft.append_copy(&bytes),
                Source::Chained => draft.append_frame(body, 0, FULL),
            }
            assert!(sent.push(draft.finish().expect("whole")).is_ok());
        }
        nic.free(&mut sent);
    }
    start.elapsed().as_nanos() as f64 / (BURSTS * BURST_FRAMES) as f64
}
