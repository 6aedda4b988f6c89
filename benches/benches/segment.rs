//! The cost of building one segment: from a plan that is ready to a frame that could leave, checksums included.
//!
//! `ack` and `ack-ts` have no payload; the others take 1448 bytes from a kept frame, by copying or by reference. `pool` is a
//! NIC whose buffers cost two moves each; `memory` is the NIC of the tests, whose frames cost an allocation each, and which
//! can chain: its own bare ACK stands beside, to compare with. Run alone on the machine:
//!
//! ```text
//! cargo bench -p syncline-benches --bench segment
//! ```
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::net::Ipv4Addr;

use benches::loop_nic::{LoopFrame, cycles};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stack::conn::FlowKey;
use stack::counters::Counters;
use stack::local::addresses::LocalId;
use stack::nic::memory::MemoryNic;
use stack::nic::{BURST_FRAMES, Burst, Caps, Frame, Nic, PoolClass};
use stack::seq::SeqNum;
use stack::tcp::segment::{Flags, SegmentOptions, SendPlan, TimestampOption};
use stack::wire::MacAddr;
use stack::worker::frame_writer::{Path, Route, SegmentWriter};

/// Payload of a full segment with timestamps, in bytes.
const FULL: usize = 1448;

/// Buffers in memory, taken and returned; nothing is ever received or sent.
struct Pool {
    caps: Caps,
    free: Vec<LoopFrame>,
}

impl Nic for Pool {
    type Frame = LoopFrame;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn mac(&self) -> [u8; 6] {
        benches::LOCAL_MAC
    }

    fn rx(&mut self, _: &mut Burst<LoopFrame>) -> usize {
        0
    }

    fn tx(&mut self, _: &mut Burst<LoopFrame>) -> usize {
        0
    }

    fn alloc(&mut self, _: PoolClass, into: &mut Burst<LoopFrame>, n: usize) -> usize {
        let n = n.min(into.room()).min(self.free.len());
        for _ in 0..n {
            let Some(mut frame) = self.free.pop() else {
                break;
            };
            frame.clear();
            drop(into.push(frame));
        }
        n
    }

    fn share(&mut self, _: &mut LoopFrame) -> Option<LoopFrame> {
        None
    }

    fn free(&mut self, from: &mut Burst<LoopFrame>) {
        let n = from.len();
        self.free.extend(from.take_front(n));
    }

    fn cycles(&self) -> u64 {
        cycles()
    }
}

/// Builds a burst of segments of `plan`, each with all of `body` as payload if it has any, and frees them.
fn burst<N: Nic>(
    nic: &mut N,
    writer: &mut SegmentWriter<N::Frame>,
    body: &mut Option<N::Frame>,
    plan: &SendPlan,
) {
    let path = Path {
        key: FlowKey::v4(LocalId(0), 80, Ipv4Addr::new(198, 18, 250, 1), 54_321),
        local: Ipv4Addr::new(198, 18, 0, 2).into(),
        route: Route {
            dst: MacAddr([2, 0, 0, 0, 0, 2]),
            vlan: None,
        },
        is_doubtful: false,
    };
    let mut counters = Counters::new();
    let mut sent = Burst::new();
    for _ in 0..BURST_FRAMES {
        let (path, plan) = (black_box(&path), black_box(plan));
        let mut draft = writer
            .begin(nic, &mut counters, path, plan)
            .expect("a buffer");
        if let Some(body) = body {
            draft.append_frame(body, 0, FULL);
        }
        assert!(sent.push(draft.finish().expect("whole")).is_ok());
    }
    nic.free(black_box(&mut sent));
}

fn plan(timestamps: bool, payload_len: usize) -> SendPlan {
    SendPlan {
        seq: SeqNum(1),
        ack: SeqNum(2),
        flags: Flags::ACK,
        window: 1000,
        payload_len: payload_len as u32,
        options: SegmentOptions {
            timestamps: timestamps.then_some(TimestampOption { tsval: 1, tsecr: 2 }),
            ..SegmentOptions::default()
        },
        ..SendPlan::default()
    }
}

fn measure<N: Nic>(criterion: &mut Criterion, name: &str, mut nic: N, body: &mut Option<N::Frame>) {
    let mut group = criterion.benchmark_group(format!("segment/{name}"));
    group.throughput(Throughput::Elements(BURST_FRAMES as u64));
    let mut writer = SegmentWriter::new(MacAddr(nic.mac()), 64, nic.caps());
    let full = if nic.caps().tx_multi_seg {
        "chained-1448"
    } else {
        "copied-1448"
    };
    for (case, plan) in [("ack", plan(false, 0)), ("ack-ts", plan(true, 0))] {
        group.bench_function(case, |bencher| {
            bencher.iter(|| burst(&mut nic, &mut writer, &mut None, &plan));
        });
    }
    let plan = plan(true, FULL);
    group.bench_function(full, |bencher| {
        bencher.iter(|| burst(&mut nic, &mut writer, body, &plan));
    });
    writer.release(&mut nic);
    group.finish();
}

fn segment(criterion: &mut Criterion) {
    let caps = MemoryNic::new(benches::LOCAL_MAC).caps().clone();
    let mut body = LoopFrame::new();
    body.set_len(FULL).expect("room");
    let free = (0..4 * BURST_FRAMES).map(|_| LoopFrame::new()).collect();
    measure(criterion, "pool", Pool { caps, free }, &mut Some(body));
    let mut nic = MemoryNic::new(benches::LOCAL_MAC);
    nic.caps_mut().tx_multi_seg = true;
    let body = nic.frame(&[0; FULL]);
    measure(criterion, "memory", nic, &mut Some(body));
}

criterion_group!(benches, segment);
criterion_main!(benches);
